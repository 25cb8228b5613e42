"""Visibility by ray casting, on scenes whose visible fraction is known."""

import bpy
import numpy as np
import pytest
from mathutils import Matrix

from blendtorch.btb.camera import Camera
from blendtorch.btb.visibility import object_visibility, points_visible
from blendtorch.errors import ConfigError, SceneError

KINDS = pytest.mark.parametrize("kind", ["PERSP", "ORTHO"])
# Five standard errors of a fraction near one half from that many points.
NUM_POINTS, ATOL = 1000, 5 * np.sqrt(0.25 / 1000)


@pytest.fixture(autouse=True)
def scene():
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    return bpy.context.scene


def add(name, data, location=(0.0, 0.0, 0.0)):
    obj = bpy.data.objects.new(name, data)
    obj.location = location
    bpy.context.scene.collection.objects.link(obj)
    return obj


def add_camera(kind="PERSP"):
    """Square picture, 10 m above the world's origin, looking down: x right, y up; 2 m by 2 m are seen at z = 0."""
    render = bpy.context.scene.render
    render.resolution_x = render.resolution_y = 64
    data = bpy.data.cameras.new("camera")
    data.type, data.ortho_scale, data.sensor_width, data.lens = kind, 2.0, 20.0, 100.0
    bpy.context.scene.camera = add("camera", data, (0.0, 0.0, 10.0))
    return Camera()


def add_plane(x, y, z, name="plane"):
    """Rectangle across the view from x[0] to x[1] and y[0] to y[1]."""
    mesh = bpy.data.meshes.new(name)
    corners = [(x[0], y[0], 0.0), (x[1], y[0], 0.0), (x[1], y[1], 0.0), (x[0], y[1], 0.0)]
    mesh.from_pydata(corners, [], [(0, 1, 2, 3)])
    return add(name, mesh, (0.0, 0.0, z))


def add_cube(half, location=(0.0, 0.0, 0.0), name="cube"):
    mesh = bpy.data.meshes.new(name)
    corners = [(x, y, z) for x in (-half, half) for y in (-half, half) for z in (-half, half)]
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    mesh.from_pydata(corners, [], faces)
    return add(name, mesh, location)


def instance_of(obj, location, name="instance"):
    """An empty that instances `obj` at a place; `obj` itself leaves the scene."""
    collection = bpy.data.collections.new(name)
    collection.objects.link(obj)
    if obj.name in bpy.context.scene.collection.objects:
        bpy.context.scene.collection.objects.unlink(obj)
    empty = add(name, None, location)
    empty.instance_type, empty.instance_collection = "COLLECTION", collection
    return empty


@KINDS
@pytest.mark.parametrize("half", [0.2, 0.6])
def test_alone_in_view_is_one_and_fully_covered_is_zero(kind, half):
    camera = add_camera(kind)
    cube = add_cube(half)
    assert object_visibility(cube, camera) == 1.0, "an object does not hide itself"
    add_plane((-3, 3), (-3, 3), 2.0)
    assert object_visibility(cube, camera) == 0.0


@KINDS
def test_occluder_behind_or_beside_does_not_count(kind):
    camera = add_camera(kind)
    cube = add_cube(0.3)
    add_plane((-3, 3), (-3, 3), -0.5)
    add_plane((0.5, 3), (-3, 3), 1.0)
    assert object_visibility(cube, camera) == 1.0


@KINDS
@pytest.mark.parametrize("covered", [0.25, 0.5, 0.9])
def test_partly_covered_plane(kind, covered):
    camera = add_camera(kind)
    plane = add_plane((-0.5, 0.5), (-0.5, 0.5), 0.0)
    # The shadow of an edge, cast from the eye, is farther out than the edge; with parallel rays it is not.
    z, shrink = 2.0, 0.8 if kind == "PERSP" else 1.0
    add_plane((-3, (covered - 0.5) * shrink), (-3, 3), z, "cover")
    assert object_visibility(plane, camera, NUM_POINTS) == pytest.approx(1 - covered, abs=ATOL)


@KINDS
def test_outside_the_frame_does_not_count(kind):
    camera = add_camera(kind)
    assert object_visibility(add_plane((0.0, 2.0), (-0.5, 0.5), 0.0), camera, NUM_POINTS) == pytest.approx(
        0.5, abs=ATOL
    )
    assert object_visibility(add_plane((5.0, 6.0), (-0.5, 0.5), 0.0), camera) == 0.0
    assert object_visibility(add_plane((-0.5, 0.5), (-0.5, 0.5), 12.0), camera) == 0.0, "behind the camera"


@KINDS
def test_weighted_as_in_the_picture(kind):
    """A tent: one face flat, one steep of equal width in the picture; the flat one is covered."""
    camera = add_camera(kind)
    mesh = bpy.data.meshes.new("tent")
    vertices = [(-0.4, -0.5, 0), (0, -0.5, 0), (0, 0.5, 0), (-0.4, 0.5, 0), (0.4, -0.5, -3), (0.4, 0.5, -3)]
    mesh.from_pydata(vertices, [], [(0, 1, 2, 3), (1, 4, 5, 2)])
    tent = add("tent", mesh)
    add_plane((-3, 0), (-3, 3), 1.0)
    # By area it would be 0.88. In perspective the steep face spans x / depth up to 0.4 / 13 and tapers off.
    inner, outer = 0.4 / 10, 0.4 / 13
    seen = outer * (0.5 / 10 + 0.5 / 13) if kind == "PERSP" else 0.5
    expected = seen / (seen + inner * 2 * 0.5 / 10) if kind == "PERSP" else 0.5
    assert object_visibility(tent, camera, 4 * NUM_POINTS) == pytest.approx(expected, abs=ATOL)


@KINDS
def test_clip_range(kind):
    camera = add_camera(kind)
    data = camera.bpy_camera.data
    plane = add_plane((-0.5, 0.5), (-0.5, 0.5), 0.0)
    add_plane((-3, 3), (-3, 3), 6.0, "cover")
    assert object_visibility(plane, camera) == 0.0
    data.clip_start = 5.0
    assert object_visibility(plane, camera) == 1.0, "what is nearer than the near plane is not drawn"
    assert points_visible([(0.0, 0.0, 0.0)], camera).all()
    data.clip_end = 9.0
    assert object_visibility(plane, camera) == 0.0
    assert not points_visible([(0.0, 0.0, 0.0)], camera).any()


def test_same_generator_state_same_number():
    camera = add_camera()
    plane = add_plane((-0.5, 0.5), (-0.5, 0.5), 0.0)
    add_plane((-3, 0), (-3, 3), 1.0)
    values = [object_visibility(plane, camera, 100, np.random.default_rng(seed)) for seed in (1, 1, 2, 3, 4)]
    assert values[0] == values[1]
    assert len(set(values)) > 1
    assert object_visibility(plane, camera) == object_visibility(plane, camera)


def test_modifiers_count(scene):
    camera = add_camera()
    plane = add_plane((-0.5, -0.1), (-0.5, 0.5), 0.0)
    array = plane.modifiers.new("array", "ARRAY")
    array.use_relative_offset, array.use_constant_offset, array.constant_offset_displace = False, True, (0.6, 0, 0)
    add_plane((0, 3), (-3, 3), 0.1, "cover")
    assert object_visibility(plane, camera, NUM_POINTS) == pytest.approx(0.5, abs=ATOL)


def test_instances_belong_to_their_instancer_and_cover_others():
    camera = add_camera()
    cube = add_cube(0.2)
    below = instance_of(cube, (0.0, 0.0, 0.0), "below")
    assert object_visibility(below, camera) == 1.0
    above = instance_of(cube, (0.0, 0.0, 3.0), "above")
    assert object_visibility(above, camera) == 1.0
    assert object_visibility(below, camera) == 0.0, "another's instance of the same cube is another thing"


def test_geometry_node_instances_of_an_object_hide_nothing_of_it():
    camera = add_camera()
    tree = bpy.data.node_groups.new("nodes", "GeometryNodeTree")
    tree.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    tree.interface.new_socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    instancing, cube = tree.nodes.new("GeometryNodeInstanceOnPoints"), tree.nodes.new("GeometryNodeMeshCube")
    cube.inputs["Size"].default_value = (0.2, 0.2, 0.2)
    tree.links.new(tree.nodes.new("NodeGroupInput").outputs[0], instancing.inputs["Points"])
    tree.links.new(cube.outputs["Mesh"], instancing.inputs["Instance"])
    tree.links.new(instancing.outputs[0], tree.nodes.new("NodeGroupOutput").inputs[0])
    column = add_plane((-0.3, 0.3), (-0.3, 0.3), 0.0, "column")
    column.rotation_euler = (0.0, np.pi / 2, 0.1)  # upright: some instances lie above others
    column.modifiers.new("nodes", "NODES").node_group = tree
    assert object_visibility(column, camera) == 1.0
    add_plane((-3, 3), (-3, 3), 2.0)
    assert object_visibility(column, camera) == 0.0


@pytest.mark.parametrize("how", ["eye", "hide_viewport", "excluded", "hide_render", "wire", "camera-ray"])
def test_what_counts_as_occluder(how, scene):
    camera = add_camera()
    cube, cover = add_cube(0.2), add_plane((-3, 3), (-3, 3), 2.0)
    expected = 0.0 if how in ("hide_render", "wire", "camera-ray") else 1.0
    if how == "eye":
        cover.hide_set(True)
    elif how == "hide_viewport":
        cover.hide_viewport = True
    elif how == "hide_render":
        cover.hide_render = True
    elif how == "wire":
        cover.display_type = "WIRE"
    elif how == "camera-ray":
        cover.visible_camera = False
    else:
        collection = bpy.data.collections.new("collection")
        scene.collection.children.link(collection)
        collection.objects.link(cover)
        scene.collection.objects.unlink(cover)
        bpy.context.view_layer.layer_collection.children["collection"].exclude = True
    assert object_visibility(cube, camera) == expected
    assert points_visible([(0.0, 0.0, 0.2)], camera).all() == bool(expected)


def test_hidden_object_is_not_visible():
    camera, cube = add_camera(), add_cube(0.2)
    cube.hide_set(True)
    assert object_visibility(cube, camera) == 0.0


@KINDS
def test_points(kind):
    camera = add_camera(kind)
    add_cube(0.5)
    points = [
        (0.0, 0.0, 0.5),  # on the near face
        (0.0, 0.0, 0.4999),  # within the tolerance below it
        (0.0, 0.0, 0.49),  # below it by more than that
        (0.0, 0.0, -0.5),  # on the far face
        (0.0, 0.0, 1.0),  # free in the air before the cube
        (0.9, 0.9, 0.0),  # beside it
        (0.9, -0.9, -0.1),
        (1.1, 0.0, 0.0),  # outside the frame
        (0.0, 0.0, 10.5),  # behind the camera
        (0.0, 0.0, 9.95),  # nearer than the near clip plane, 0.1 m
    ]
    visible = points_visible(points, camera)
    assert visible.dtype == np.bool_
    assert visible.tolist() == [True, True, False, False, True, True, True, False, False, False]
    assert points_visible(points, camera, tolerance_m=0.05)[2]
    assert points_visible(np.empty((0, 3)), camera).shape == (0,)


def test_rays_start_at_the_picture_not_at_the_eye_when_orthographic():
    """A small plate between the eye and an outlying point, but not on the point's parallel ray."""
    camera = add_camera("ORTHO")
    add_plane((0.35, 0.55), (-0.1, 0.1), 5.0)
    assert points_visible([(0.9, 0.0, 0.0), (0.45, 0.0, 0.0)], camera).tolist() == [True, False]
    camera.bpy_camera.data.type = "PERSP"
    assert points_visible([(0.9, 0.0, 0.0), (0.45, 0.0, 0.0)], camera).tolist() == [False, True]


def test_moved_and_turned_camera():
    camera = add_camera()
    points = np.array([(0.0, 0.0, 0.5), (0.0, 0.0, -0.5), (0.5, 0.0, 0.0)])  # centres of faces
    add_cube(0.5)
    camera.look_at((0.0, 0.0, 0.0), (0.0, 0.0, -10.0))
    assert points_visible(points, camera).tolist() == [False, True, False]
    camera.bpy_camera.matrix_world = Matrix.Rotation(np.pi / 2, 4, "Y") @ Matrix.Translation((0.0, 0.0, 10.0))
    assert points_visible(points, camera).tolist() == [False, False, True]


def test_errors():
    camera = add_camera()
    cube = add_cube(0.2)
    with pytest.raises(ConfigError, match="num_points"):
        object_visibility(cube, camera, 0)
    with pytest.raises(SceneError, match="'empty' has no surface"):
        object_visibility(add("empty", None), camera)
    with pytest.raises(SceneError, match="not evaluated"):
        object_visibility(bpy.data.objects.new("free", cube.data), camera)
