"""Labels against analytic truth: spheres, planes, corners, a thousand ids."""

import itertools

import bpy
import numpy as np
import pytest
from label_scenes import FACES, add, add_camera, add_cube, add_plane, add_sphere, mesh
from mathutils import Vector

from blendtorch import btb
from blendtorch.labels.projection import transform_points

ALL = ("ids", "depth", "normals_world", "normals_camera")


@pytest.fixture(autouse=True)
def scene():
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    return bpy.context.scene


def sight_lines(camera):
    """Where the lines of sight of the pixels' centres begin, and where they go per metre of depth: H x W x 3, world."""
    height, width = camera.shape
    x, y = np.meshgrid((np.arange(width) + 0.5) / width * 2 - 1, 1 - (np.arange(height) + 0.5) / height * 2)
    ndc = np.stack([x, y], axis=-1)
    world_from_camera = np.linalg.inv(camera.view_matrix)
    camera_from_clip = np.linalg.inv(camera.proj_matrix)

    def unproject(z):
        clip = np.concatenate([ndc, np.full((*ndc.shape[:2], 1), z), np.ones((*ndc.shape[:2], 1))], axis=-1)
        points = clip @ camera_from_clip.T
        return points[..., :3] / points[..., 3:]

    near, far = unproject(-1.0), unproject(1.0)
    slope = (far - near) / (near[..., 2:] - far[..., 2:])
    start = near + slope * near[..., 2:]  # in the plane of the camera
    return transform_points(world_from_camera, start), slope @ world_from_camera[:3, :3].T


def sphere_depth(camera, center, radius):
    """Depth and world normals of a sphere, inf where the line of sight passes it; how far it passes from the centre."""
    start, slope = sight_lines(camera)
    offset = start - center
    a, b, c = (slope**2).sum(-1), (offset * slope).sum(-1), (offset**2).sum(-1) - radius**2
    root = b**2 - a * c
    depth = np.where(root >= 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
    closest = np.linalg.norm(offset - (b / a)[..., None] * slope, axis=-1)
    with np.errstate(invalid="ignore"):
        normals = (start + depth[..., None] * slope - center) / radius
    return depth, np.where(root[..., None] >= 0, normals, 0), closest


CAMERAS = {
    "perspective": {},
    "orthographic": {"kind": "ORTHO", "ortho_scale": 6},
    "shifted": {"shift_x": 0.15, "shift_y": -0.1},
}
POSE = {"location": (6, -5, 4), "rotation": (1.13, 0.1, 0.87)}


@pytest.mark.parametrize("kind", CAMERAS)
def test_depth_and_normals_of_a_sphere(kind):
    add_camera(**POSE, **CAMERAS[kind])
    center = np.array([0.2, 0.3, 0.1])
    add_sphere(location=center, radius=1.5)
    camera = btb.Camera(shape=(96, 128))
    drawn = btb.LabelRenderer(camera, ALL).render()
    depth, normals, closest = sphere_depth(camera, center, 1.5)
    inside, outside = closest < 1.5 * 0.98, closest > 1.5 * 1.02
    assert inside.sum() > 500
    assert outside.sum() > 500
    assert (drawn["ids"][inside] == 1).all()
    assert (drawn["ids"][outside] == 0).all()
    assert np.isinf(drawn["depth"][outside]).all()
    np.testing.assert_array_equal(np.isinf(drawn["depth"]), drawn["ids"] == 0)
    np.testing.assert_allclose(drawn["depth"][inside], depth[inside], rtol=1e-4)
    rotation = camera.view_matrix[:3, :3]
    for name, expected in (("normals_world", normals), ("normals_camera", normals @ rotation.T)):
        np.testing.assert_allclose(np.linalg.norm(drawn[name][inside], axis=-1), 1, atol=1e-6)
        cosine = (drawn[name][inside] * expected[inside]).sum(-1)
        assert np.degrees(np.arccos(cosine.clip(-1, 1))).max() < 0.5, name
        assert (drawn[name][outside] == 0).all(), name


@pytest.mark.parametrize("kind", CAMERAS)
@pytest.mark.parametrize("side", [1, -1])
def test_depth_and_normals_of_a_plane_from_both_sides(kind, side):
    add_camera(**POSE, **CAMERAS[kind])
    plane = add_plane(x=(-50, 50), y=(-50, 50))
    plane.scale.x = side  # mirrored, it has its triangles the other way round
    camera = btb.Camera(shape=(48, 64))
    drawn = btb.LabelRenderer(camera, ALL).render()
    start, slope = sight_lines(camera)
    depth = -start[..., 2] / slope[..., 2]
    seen = drawn["ids"] > 0
    assert seen.mean() > 0.5
    np.testing.assert_allclose(drawn["depth"][seen], depth[seen], rtol=1e-4)
    np.testing.assert_allclose(drawn["normals_world"][seen], np.tile((0, 0, 1), (seen.sum(), 1)), atol=1e-6)
    bpy.context.scene.camera.location.z = -4
    bpy.context.scene.camera.rotation_euler = (np.pi - 1.13, 0.1, 0.87)
    below = btb.LabelRenderer(camera, ALL).render()
    seen = below["ids"] > 0
    assert seen.mean() > 0.5
    np.testing.assert_allclose(below["normals_world"][seen], np.tile((0, 0, -1), (seen.sum(), 1)), atol=1e-6)


def test_normals_of_objects_that_are_scaled_unevenly_and_turned():
    add_camera()
    cube = add_cube(half=1, rotation=(0.3, -0.4, 0.5))
    cube.scale = (2, 0.5, 1.5)
    bpy.context.view_layer.update()
    drawn = btb.LabelRenderer(btb.Camera(shape=(48, 64)), ALL).render()
    inverse = np.linalg.inv(np.array(cube.matrix_world)[:3, :3])
    expected = inverse / np.linalg.norm(inverse, axis=1, keepdims=True)  # of the faces +X, +Y, +Z
    seen = drawn["normals_world"][drawn["ids"] > 0]
    assert (np.abs(seen @ expected.T).max(axis=1) > 1 - 1e-6).all()


RESOLUTIONS = {
    "square pixels": (160, 120, 100, 1, 1),
    "wide pixels": (120, 120, 100, 2, 1),
    "percentage": (320, 240, 37, 1, 1.5),
}


@pytest.mark.parametrize("resolution", RESOLUTIONS)
@pytest.mark.parametrize("kind", CAMERAS)
def test_masks_of_cubes_end_where_their_corners_are(kind, resolution, scene):
    """The mask has all pixels whose centres lie in the hull of the projected corners: edges are right to 0.02 pixels.

    That a corner is near the mask's edge says less: a pixelated corner ends up to 0.7 pixels off.
    """
    add_camera(**POSE, **CAMERAS[kind])
    render = scene.render
    render.resolution_x, render.resolution_y, render.resolution_percentage = RESOLUTIONS[resolution][:3]
    render.pixel_aspect_x, render.pixel_aspect_y = RESOLUTIONS[resolution][3:]
    cube = add_cube(half=1.2)
    camera = btb.Camera()
    labels = btb.LabelRenderer(camera)
    rng = np.random.default_rng(1)
    for _ in range(8):
        cube.rotation_euler = rng.uniform(0, 2 * np.pi, 3)
        mask = labels.render()["ids"] == 1
        xy = labels.annotate(amodal=False)["instances"]["box3d_pixel"][0]
        np.testing.assert_allclose(np.sort(xy, 0), np.sort(camera.object_to_pixel(cube), 0), atol=1e-3)
        inside = distance_into_hull(xy, mask.shape)
        assert (inside > 0).sum() > 300
        assert (mask[inside > 0.02]).all()
        assert not (mask[inside < -0.02]).any()


def distance_into_hull(points, shape):
    """How far, in pixels, the centre of each pixel is inside of the convex hull of a few points; H x W."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    distance = np.full(shape, np.inf)
    for a, b in itertools.permutations(points, 2):
        if np.linalg.norm(b - a) > 1e-6:
            nx, ny = np.array([a[1] - b[1], b[0] - a[0]]) / np.linalg.norm(b - a)
            if ((points[:, 0] - a[0]) * nx + (points[:, 1] - a[1]) * ny >= -1e-6).all():
                distance = np.minimum(distance, (x - a[0]) * nx + (y - a[1]) * ny)
    return distance


def test_a_thousand_objects_have_a_thousand_ids_exact_to_the_byte():
    """A picture of 40 x 25 tiles of 4 x 4 pixels, each one an object of its own."""
    add_camera(kind="ORTHO", ortho_scale=40)
    order = np.random.default_rng(3).permutation(1000)
    tile = mesh([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)], [(0, 1, 2, 3)])
    for place, number in enumerate(order):
        obj = add(f"tile {number:04d}", tile)
        obj.location = (place % 40 - 20, 12.5 - 1 - place // 40, 0)
        obj["class_id"] = int(number) * 2_000_000
    renderer = btb.LabelRenderer(btb.Camera(shape=(100, 160)), ("ids", "semantic"))
    drawn = renderer.render()
    expected = np.kron((order + 1).reshape(25, 40), np.ones((4, 4), int)).astype(np.uint32)
    assert drawn["ids"].tobytes() == expected.tobytes()
    assert drawn["semantic"].tobytes() == ((expected - 1) * 2_000_000).astype(np.uint32).tobytes()
    assert renderer.instances.objects == tuple(f"tile {number:04d}" for number in range(1000))
    table = renderer.annotate()["instances"]
    assert (table["pixels"] == 16).all()
    assert (table["visible_fraction"] == 1).all()
    corners = np.stack([np.arange(1000) % 40 * 4, np.arange(1000) // 40 * 4], 1)[np.argsort(order)]
    np.testing.assert_array_equal(table["box"], np.concatenate([corners, corners + 4], 1))
    np.testing.assert_array_equal(table["box_amodal"], table["box"])


def test_ids_of_sixteen_million_and_beyond_are_exact(monkeypatch):
    """Ids are numbers of instances; nobody has so many, so these are given out from the top."""
    from blendtorch.btb import label_scene

    wanted = [2**24 - 1, 2**24, 2**24 + 1, 2**31 - 1, 2**31 + 1, 2**32 - 2, 2**32 - 1]
    monkeypatch.setattr(label_scene, "_number", lambda keys, view_layer: np.array(wanted, np.uint32))
    add_camera(kind="ORTHO", ortho_scale=7)
    for i in range(7):
        add_plane(f"plane {i}", x=(i - 3.5, i - 2.5), y=(-5, 5))
    drawn = btb.LabelRenderer(btb.Camera(shape=(8, 56)), ("ids",)).render()["ids"]
    np.testing.assert_array_equal(drawn, np.tile(np.repeat(np.array(wanted, np.uint32), 8), (8, 1)))


def test_far_from_the_origin_nothing_moves():
    """300 km away single precision leaves 3 cm, and three pixels here; products of matrices in double precision none."""
    pictures = []
    for offset in ((0, 0, 0), (262144, -131072, 65536)):  # which single precision has exactly
        bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
        rotation = Vector((6, -8, 16)).to_track_quat("Z", "Y").to_euler()
        add_camera(location=np.add(offset, (6, -8, 16)), rotation=rotation, lens=80)
        add_cube(location=offset, half=1, rotation=(0.3, 0.4, 0.5))
        pictures.append(btb.LabelRenderer(btb.Camera(shape=(96, 128))).render())
    assert (pictures[0]["ids"] > 0).sum() > 500
    np.testing.assert_array_equal(pictures[0]["ids"], pictures[1]["ids"])
    np.testing.assert_allclose(pictures[0]["depth"], pictures[1]["depth"], rtol=1e-6)


def test_the_cube_of_the_tests_is_closed():
    assert sorted(sum(FACES, ())) == sorted(list(range(8)) * 3)
