"""Final renders as arrays, against scenes whose truth is known: depth, normals, positions, ids, flow, AOVs, colours."""

import bpy
import numpy as np
import pytest

from blendtorch.btb.camera import Camera
from blendtorch.btb.frame_renderer import FrameRenderer

SHAPE = (60, 80)
ENGINES = ["EEVEE", "CYCLES"]


def clear():
    for obj in list(bpy.data.objects):
        bpy.data.objects.remove(obj)


def add_camera(location, rotation=(0, 0, 0), ortho_scale=None):
    data = bpy.data.cameras.new("Eye")
    if ortho_scale is not None:
        data.type, data.ortho_scale = "ORTHO", ortho_scale
    camera = bpy.data.objects.new("Eye", data)
    camera.location, camera.rotation_euler = location, rotation
    bpy.context.scene.collection.objects.link(camera)
    bpy.context.scene.camera = camera
    return camera


def node_tree(material):
    if material.node_tree is None:
        material.use_nodes = True
    return material.node_tree


def emission(name, color):
    material = bpy.data.materials.new(name)
    tree = node_tree(material)
    tree.nodes.clear()
    light, out = tree.nodes.new("ShaderNodeEmission"), tree.nodes.new("ShaderNodeOutputMaterial")
    light.inputs["Color"].default_value = (*color, 1)
    tree.links.new(light.outputs[0], out.inputs[0])
    return material


def add_plane(name, x, y, z=0.0, material=None):
    """A plane that faces up, from x[0] to x[1] and y[0] to y[1]."""
    bpy.ops.mesh.primitive_plane_add(size=1, location=((x[0] + x[1]) / 2, (y[0] + y[1]) / 2, z))
    plane = bpy.context.object
    plane.name, plane.scale = name, (x[1] - x[0], y[1] - y[0], 1)
    if material is not None:
        plane.data.materials.append(material)
    return plane


def rays(camera):
    """Start and direction of the rays through the pixels' centres, world; a step along a ray is a metre of depth."""
    height, width = camera.shape
    inverse = np.linalg.inv(camera.proj_matrix)
    x, y = np.meshgrid((np.arange(width) + 0.5) / width * 2 - 1, 1 - (np.arange(height) + 0.5) / height * 2)
    ends = []
    for z in (-0.9, 0.9):
        point = np.stack([x, y, np.full_like(x, z), np.ones_like(x)], -1) @ inverse.T
        ends.append(point / point[..., 3:])
    direction = (ends[1] - ends[0]) / -(ends[1] - ends[0])[..., 2:3]
    start = ends[0] + direction * ends[0][..., 2:3]  # of depth 0
    world_from_camera = np.linalg.inv(camera.view_matrix)
    return (start @ world_from_camera.T)[..., :3], (direction @ world_from_camera.T)[..., :3]


def hit_sphere(start, direction, center, radius):
    offset = start - np.array(center)
    a, b = (direction**2).sum(-1), (direction * offset).sum(-1)
    root = b**2 - a * ((offset**2).sum(-1) - radius**2)
    return np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)


def inner(ids):
    """Pixels whose neighbours show the same."""
    same = np.ones(ids.shape, bool)
    for axis in (0, 1):
        for step in (-1, 1):
            same &= np.roll(ids, step, axis) == ids
    same[[0, -1]] = same[:, [0, -1]] = False
    return same


@pytest.mark.parametrize("engine", ENGINES)
def test_sphere_and_plane(engine):
    clear()
    scene = bpy.context.scene
    bpy.ops.mesh.primitive_uv_sphere_add(segments=256, ring_count=128, radius=1, location=(0.3, 0.2, 1))
    bpy.context.object.name = "Ball"
    bpy.ops.object.shade_smooth()
    add_plane("Floor", (-4, 4), (-4, 4))
    eye = add_camera((4, -5, 3.5), (1.15, 0.1, 0.65))
    eye.data.shift_x, eye.data.dof.use_dof = 0.05, True
    scene.render.pixel_aspect_x = 1.2
    scene.render.use_motion_blur = True
    camera = Camera(shape=SHAPE)
    outputs = ("depth", "position", "normals_world", "normals_camera", "object_ids")
    renderer = FrameRenderer(camera, outputs, engine=engine, noise_free=True)
    got = renderer.render()

    start, direction = rays(camera)
    depths = np.stack(
        [np.full(SHAPE, np.inf), hit_sphere(start, direction, (0.3, 0.2, 1), 1), -start[..., 2] / direction[..., 2]]
    )
    points = start + np.where(np.isfinite(depths[2]), depths[2], 0)[..., None] * direction
    depths[2][(np.abs(points[..., :2]) > 4).any(-1) | (depths[2] < 0)] = np.inf
    truth = depths.argmin(0)
    depth = depths.min(0)
    points = start + np.where(truth > 0, depth, 0)[..., None] * direction
    normals = np.where((truth == 1)[..., None], points - (0.3, 0.2, 1), (0, 0, 1)) * (truth > 0)[..., None]
    assert [(truth == kind).sum() > 300 for kind in range(3)] == [True] * 3

    assert renderer.objects == {1: "Ball", 2: "Eye", 3: "Floor"}
    ids = np.array([0, 1, 3])[truth]
    sure = inner(truth)
    np.testing.assert_array_equal(got["object_ids"][sure], ids[sure])
    assert (got["object_ids"] != ids).sum() < 5
    # Nothing is blended: also along edges each pixel shows one surface, and all outputs the same one.
    background = got["object_ids"] == 0
    assert np.isinf(got["depth"][background]).all()
    assert np.isnan(got["position"][background]).all()
    assert (got["normals_world"][background] == 0).all()
    assert (got["normals_camera"][background] == 0).all()
    assert np.isfinite(got["depth"][~background]).all()

    facing = np.abs((normals * direction).sum(-1)) / np.linalg.norm(direction, axis=-1)
    sure &= (truth > 0) & ((truth == 2) | (facing > 0.3))
    np.testing.assert_allclose(got["depth"][sure], depth[sure], rtol=1e-4)
    np.testing.assert_allclose(got["position"][sure], points[sure], atol=1e-3)
    np.testing.assert_allclose(got["normals_world"][sure], normals[sure], atol=2e-3)
    rotated = normals @ camera.view_matrix[:3, :3].T
    np.testing.assert_allclose(got["normals_camera"][sure], rotated[sure], atol=2e-3)
    assert {name: (array.shape, array.dtype) for name, array in got.items()} == {
        "depth": (SHAPE, np.float32),
        "position": ((*SHAPE, 3), np.float32),
        "normals_world": ((*SHAPE, 3), np.float32),
        "normals_camera": ((*SHAPE, 3), np.float32),
        "object_ids": (SHAPE, np.uint32),
    }


@pytest.mark.parametrize("engine", [*ENGINES, "WORKBENCH"])
def test_depth_and_position_of_an_orthographic_camera(engine):
    clear()
    plane = add_plane("Slope", (-2, 2), (-2, 2))
    plane.rotation_euler = (0.3, 0.5, 0)
    add_camera((1, 0.5, 6), (0.1, 0.2, 0.3), ortho_scale=8)
    camera = Camera(shape=SHAPE)
    got = FrameRenderer(camera, ("depth", "position"), engine=engine, noise_free=True).render()
    start, direction = rays(camera)
    normal = np.array(plane.matrix_world, np.float64)[:3, 2]
    depth = -(start @ normal) / (direction @ normal)
    shown = np.isfinite(got["depth"])
    assert 500 < shown.sum() < 3000
    np.testing.assert_allclose(got["depth"][shown], depth[shown], rtol=1e-4)
    np.testing.assert_allclose(got["position"][shown], (start + depth[..., None] * direction)[shown], atol=1e-3)
    assert np.isnan(got["position"][~shown]).all()


def test_depth_of_a_surface_near_the_clip_end():
    clear()
    add_plane("Far", (-2, 2), (-2, 2))
    eye = add_camera((0, 0, 9.9), ortho_scale=8)
    eye.data.clip_end = 10
    depth = FrameRenderer(Camera(shape=(20, 20)), ("depth",), engine="EEVEE", noise_free=True).render()["depth"]
    np.testing.assert_allclose(depth[5:15, 5:15], 9.9, rtol=1e-4)
    assert np.isinf(depth[:4]).all()
    eye.data.clip_end = 1e4  # a wide range makes the depth of background differ from it
    eye.data.clip_start = 0.001
    depth = FrameRenderer(Camera(shape=(20, 20)), ("depth",), engine="EEVEE", noise_free=True).render()["depth"]
    np.testing.assert_allclose(depth[5:15, 5:15], 9.9, rtol=1e-2)
    assert np.isinf(depth[:4]).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_ids_of_overlapping_objects(engine):
    clear()
    red, blue = emission("Rot", (1, 0, 0)), emission("Bläu", (0, 0, 1))
    # The exponents of the float32 of these hashes would be 0 and 255: denormal, and infinite or NaN.
    add_plane("n17", (-8, 0), (-4, 4), z=0, material=red)
    add_plane("n535", (-4, 4), (-2, 6), z=1, material=blue)
    add_plane("Fläche 日本", (-2, 2), (-6, 0), z=2)
    add_camera((0, 0, 5), ortho_scale=20)
    renderer = FrameRenderer(Camera(shape=(20, 20)), ("object_ids", "material_ids"), engine=engine, noise_free=True)
    got = renderer.render()
    objects = {name: number for number, name in renderer.objects.items()}
    materials = {name: number for number, name in renderer.materials.items()}
    assert sorted(objects) == list(objects) == sorted(["n17", "n535", "Fläche 日本", "Eye"])
    assert list(objects.values()) == [1, 2, 3, 4]
    expected = {"object_ids": np.zeros((20, 20)), "material_ids": np.zeros((20, 20))}
    for name, x, y, material in [
        ("n17", (-8, 0), (-4, 4), materials["Rot"]),
        ("n535", (-4, 4), (-2, 6), materials["Bläu"]),
        ("Fläche 日本", (-2, 2), (-6, 0), 0),
    ]:
        where = np.s_[10 - y[1] : 10 - y[0], 10 + x[0] : 10 + x[1]]
        expected["object_ids"][where] = objects[name]
        expected["material_ids"][where] = material
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array)


@pytest.mark.parametrize("engine", ENGINES)
def test_ids_of_many_samples_are_what_covers_most(engine):
    clear()
    add_plane("Most", (-6.7, -1), (-4, 4))  # 0.7 of column 3
    add_plane("Little", (1.7, 6), (-4, 4))  # 0.3 of column 11
    add_camera((0, 0, 5), ortho_scale=20)
    bpy.context.scene.cycles.use_denoising = False
    samples = {"CYCLES": 64, "EEVEE": 8}[engine]
    renderer = FrameRenderer(Camera(shape=(20, 20)), ("object_ids",), engine=engine, samples=samples)
    row = renderer.render()["object_ids"][10]
    little, most = 2, 3
    assert renderer.objects == {1: "Eye", little: "Little", most: "Most"}
    assert row.tolist() == [0] * 3 + [most] * 6 + [0] * 3 + [little] * 4 + [0] * 4


@pytest.mark.parametrize("engine", ENGINES)
def test_flow_of_moving_objects_and_camera(engine):
    clear()
    scene = bpy.context.scene
    bpy.ops.mesh.primitive_cube_add(size=2)
    cube = bpy.context.object
    floor = add_plane("Floor", (-5, 5), (-5, 5), z=-1)
    eye = add_camera((4, -6, 4), (1.0, 0, 0.55))
    for frame in (1, 2, 3):
        cube.location, cube.rotation_euler = (0.3 * frame**2, 0.2 * frame, 0), (0, 0.05 * frame, 0.1 * frame)
        eye.location, eye.rotation_euler = (4 + 0.1 * frame, -6, 4 + 0.05 * frame**2), (1.0, 0.01 * frame, 0.55)
        for obj in (cube, eye):
            obj.keyframe_insert("location", frame=frame)
            obj.keyframe_insert("rotation_euler", frame=frame)
    camera = Camera(shape=SHAPE)
    cameras, poses = {}, {}
    for frame in (1, 3, 2):
        scene.frame_set(frame)
        poses[frame] = {obj.name: np.array(obj.matrix_world, np.float64) for obj in (cube, floor)}
        cameras[frame] = (camera.proj_matrix, camera.view_matrix)
    outputs = ("flow_backward", "flow_forward", "position", "object_ids")
    renderer = FrameRenderer(camera, outputs, engine=engine, noise_free=True)
    got = renderer.render()
    assert scene.frame_current == 2
    names = {name: number for number, name in renderer.objects.items()}
    x, y = np.meshgrid(np.arange(SHAPE[1]) + 0.5, np.arange(SHAPE[0]) + 0.5)
    for name, frame in (("flow_backward", 1), ("flow_forward", 3)):
        assert got[name].shape == (*SHAPE, 2)
        for obj in ("Cube", "Floor"):
            shown = got["object_ids"] == names[obj]
            assert shown.sum() > 300
            points = np.concatenate([got["position"][shown], np.ones((shown.sum(), 1))], -1)
            points = points @ (poses[frame][obj] @ np.linalg.inv(poses[2][obj])).T
            clip = points @ (cameras[frame][0] @ cameras[frame][1]).T
            ndc = clip[:, :2] / clip[:, 3:]
            there = (ndc * (1, -1) + 1) / 2 * (SHAPE[1], SHAPE[0])
            expected = there - np.stack([x[shown], y[shown]], -1)
            assert np.abs(expected).max() > 1
            rtol = {"CYCLES": 0.0, "EEVEE": 2e-3}[engine]  # half floats
            np.testing.assert_allclose(got[name][shown], expected, rtol=rtol, atol=5e-3)
        background = got["object_ids"] == 0
        assert background.any()
        assert np.isnan(got[name][background]).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_aovs(engine):
    clear()
    view_layer = bpy.context.view_layer
    for name, kind in (("tint", "COLOR"), ("weight", "VALUE")):
        aov = view_layer.aovs.add()
        aov.name, aov.type = name, kind
    material = emission("Material with AOVs", (1, 1, 1))
    for name, slot, value in (("tint", 0, (0.25, 0.5, 2.0, 1.0)), ("weight", 1, 0.75)):
        node = material.node_tree.nodes.new("ShaderNodeOutputAOV")
        node.aov_name = name
        node.inputs[slot].default_value = value
    add_plane("Plane", (-2, 2), (-2, 2), material=material)
    add_camera((0, 0, 5), ortho_scale=8)
    got = FrameRenderer(Camera(shape=(8, 8)), ("aov:tint", "aov:weight"), engine=engine, noise_free=True).render()
    tint, weight = np.zeros((8, 8, 4), np.float32), np.zeros((8, 8), np.float32)
    tint[2:6, 2:6], weight[2:6, 2:6] = (0.25, 0.5, 2.0, 1.0), 0.75
    np.testing.assert_allclose(got["aov:tint"], tint, rtol=1e-3)
    np.testing.assert_allclose(got["aov:weight"], weight, rtol=1e-3)


def srgb(linear):
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) * 255


@pytest.mark.parametrize("engine", ENGINES)
def test_linear_and_display_colours(engine):
    clear()
    scene = bpy.context.scene
    scene.view_settings.view_transform = "Standard"
    scene.render.film_transparent = True
    scene.render.image_settings.color_management = "OVERRIDE"  # a copy of the scene's
    scene.render.image_settings.linear_colorspace_settings.name = "Linear Rec.2020"  # is not for our floats
    colors = [(0.02, 0.2, 0.9), (0.5, 0.001, 0.1)]
    add_plane("Above", (-2, 2), (0, 2), material=emission("Above", colors[0]))
    add_plane("Below", (-2, 2), (-2, 0), material=emission("Below", colors[1]))
    add_camera((0, 0, 5), ortho_scale=8)
    camera = Camera(shape=(8, 8))
    options = {"engine": engine, "noise_free": True}
    got = FrameRenderer(camera, ("image_linear", "image"), mode="rgba", **options).render()
    assert list(got) == ["image_linear", "image"]
    linear = np.zeros((8, 8, 4), np.float32)
    linear[2:4, 2:6], linear[4:6, 2:6] = (*colors[0], 1), (*colors[1], 1)
    np.testing.assert_allclose(got["image_linear"], linear, atol=1e-3)
    assert got["image"].dtype == np.uint8
    assert got["image"].shape == (8, 8, 4)
    np.testing.assert_allclose(got["image"][..., :3], srgb(linear[..., :3]), atol=1)
    np.testing.assert_array_equal(got["image"][..., 3], 255 * linear[..., 3])
    alone = FrameRenderer(camera, engine=engine, noise_free=True).render()
    assert list(alone) == ["image"]
    np.testing.assert_array_equal(alone["image"], got["image"][..., :3])
    assert alone["image"].flags.c_contiguous
    assert alone["image"].flags.writeable


def test_the_view_transform_is_the_scenes():
    scene = bpy.context.scene
    camera = Camera(shape=(24, 32))
    images = {}
    for transform in ("Standard", "Raw"):
        scene.view_settings.view_transform = transform
        images[transform] = FrameRenderer(camera, engine="CYCLES", noise_free=True).render()["image"]
    # The default world's colour, 0.05088 linear, is 63 in sRGB.
    assert np.abs(images["Standard"][0, 0].astype(int) - 63).max() <= 1
    assert np.abs(images["Raw"][0, 0].astype(int) - 13).max() <= 1
