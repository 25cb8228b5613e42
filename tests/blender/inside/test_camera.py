"""Camera: against Blender's own projection, and against where pixels are in a rendered picture."""

import math
from dataclasses import dataclass

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Euler, Matrix, Vector

from blendtorch.btb.camera import Camera
from blendtorch.errors import BlendTorchError, ConfigError, SceneError
from blendtorch.labels import projection

POINTS = np.random.default_rng(7).uniform(-1.5, 1.5, (200, 3))


@dataclass(frozen=True)
class Case:
    """Settings of one camera; the defaults are Blender's."""

    name: str
    kind: str = "PERSP"
    fit: str = "AUTO"
    shift: tuple[float, float] = (0.0, 0.0)
    resolution: tuple[int, int] = (120, 90)
    percentage: int = 100
    aspect: tuple[float, float] = (1.0, 1.0)
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)


CASES = [
    Case("plain"),
    Case("portrait", resolution=(80, 130)),
    Case("square", resolution=(96, 96)),
    Case("horizontal-portrait", fit="HORIZONTAL", resolution=(80, 130)),
    Case("vertical-landscape", fit="VERTICAL"),
    Case("vertical-portrait", fit="VERTICAL", resolution=(80, 130)),
    Case("shift", shift=(0.08, -0.05)),
    Case("shift-portrait", shift=(-0.06, 0.11), resolution=(80, 130)),
    Case("shift-vertical", shift=(0.07, 0.09), fit="VERTICAL"),
    Case("percentage", percentage=50, resolution=(240, 160)),
    Case("aspect-wide", aspect=(1.6, 1.0)),
    Case("aspect-tall", aspect=(1.0, 1.5)),
    Case("aspect-turns-auto-fit", aspect=(1.0, 1.7)),
    Case("aspect-shift-vertical", aspect=(1.3, 1.0), shift=(0.06, 0.05), fit="VERTICAL"),
    Case("scaled", scale=(2.0, 0.5, 3.0)),
    Case("mirrored", scale=(-1.0, 1.0, 1.0), shift=(0.05, 0.0)),
    Case("ortho", kind="ORTHO"),
    Case("ortho-portrait", kind="ORTHO", resolution=(80, 130)),
    Case("ortho-horizontal-portrait", kind="ORTHO", fit="HORIZONTAL", resolution=(80, 130)),
    Case("ortho-vertical", kind="ORTHO", fit="VERTICAL"),
    Case("ortho-shift", kind="ORTHO", shift=(0.08, -0.05)),
    Case("ortho-aspect-shift", kind="ORTHO", aspect=(1.6, 1.0), shift=(-0.05, 0.07)),
    Case("ortho-scaled-percentage", kind="ORTHO", scale=(2.0, 0.5, 3.0), percentage=50, resolution=(240, 160)),
]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.fixture(autouse=True)
def scene():
    bpy.data.batch_remove(bpy.data.objects)
    return bpy.context.scene


def add(name, data, location=(0.0, 0.0, 0.0), rotation=(0.0, 0.0, 0.0)):
    obj = bpy.data.objects.new(name, data)
    obj.location, obj.rotation_euler = location, rotation
    bpy.context.scene.collection.objects.link(obj)
    return obj


def add_camera(case=CASES[0]):
    """A camera 5 m from the world's origin, obliquely turned, looking somewhat past the origin."""
    scene = bpy.context.scene
    data = bpy.data.cameras.new("camera")
    data.type, data.sensor_fit, data.ortho_scale = case.kind, case.fit, 3.6
    data.shift_x, data.shift_y = case.shift
    scene.render.resolution_x, scene.render.resolution_y = case.resolution
    scene.render.resolution_percentage = case.percentage
    scene.render.pixel_aspect_x, scene.render.pixel_aspect_y = case.aspect
    rotation = Euler((0.9, 0.25, 0.6))
    camera = add("camera", data, rotation.to_matrix() @ Vector((0.05, -0.1, 5.0)) + Vector((0, 0, 0.03)), rotation)
    camera.scale = case.scale
    scene.camera = camera
    return camera


def add_mesh(vertices, faces, matrix=None, name="mesh"):
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(vertices, [], faces)
    obj = add(name, mesh)
    obj.matrix_world = Matrix.Identity(4) if matrix is None else matrix
    return obj


def add_cube(matrix=None, half=0.5):
    corners = [(x, y, z) for x in (-half, half) for y in (-half, half) for z in (-half, half)]
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return add_mesh(corners, faces, matrix, "cube")


def rendered_mask(path):
    """Render with Workbench, without anti-aliasing; returns (H, W) bool, upper row first: something is drawn there."""
    scene = bpy.context.scene
    scene.render.engine = "BLENDER_WORKBENCH"
    scene.display.render_aa = "OFF"
    scene.render.film_transparent = True
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGBA"
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(str(path))
    width, height = image.size
    pixels = np.empty(width * height * 4, dtype=np.float32)
    image.pixels.foreach_get(pixels)
    return pixels.reshape(height, width, 4)[::-1, :, 3] > 0.5


def mask_box(mask):
    """XYXY of the pixels that are set, outer edges."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


def points_box(xy):
    return np.concatenate([xy.min(axis=0), xy.max(axis=0)])


@each_case
def test_agrees_with_world_to_camera_view(case, scene):
    bpy_camera = add_camera(case)
    bpy.context.view_layer.update()
    ndc, depth = Camera().world_to_ndc(POINTS, return_depth=True)
    expected = np.array([world_to_camera_view(scene, bpy_camera, Vector(point)) for point in POINTS])
    np.testing.assert_allclose((ndc[:, :2] + 1) / 2, expected[:, :2], atol=1e-5)
    np.testing.assert_allclose(depth, expected[:, 2], atol=1e-5)


@each_case
def test_rectangle_is_drawn_where_it_is_projected(case, scene, tmp_path):
    bpy_camera = add_camera(case)
    # Facing the camera, so that its picture has straight upright edges and each is known to half a pixel.
    corners = [(-0.31, -0.23, -5), (0.4, -0.23, -5), (0.4, 0.34, -5), (-0.31, 0.34, -5)]
    rectangle = add_mesh(
        corners, [(0, 1, 2, 3)], Matrix.LocRotScale(bpy_camera.location, bpy_camera.rotation_euler, None)
    )
    camera = Camera()
    mask = rendered_mask(tmp_path / "out.png")
    assert mask.shape == camera.shape
    box = points_box(camera.object_to_pixel(rectangle))
    height, width = camera.shape
    assert np.all((box > 1) & (box < np.array([width, height] * 2) - 1)), "rectangle must lie inside the picture"
    np.testing.assert_allclose(box, mask_box(mask), atol=0.51)


@pytest.mark.parametrize("kind", ["PERSP", "ORTHO"])
def test_cube_is_drawn_where_it_is_projected(kind, tmp_path):
    add_camera(Case("", kind=kind, resolution=(320, 240), shift=(0.05, 0.03)))
    cube = add_cube(Matrix.LocRotScale((0.2, 0.1, -0.1), Euler((0.3, 0.2, 0.5)), (1.0, 0.7, 1.2)))
    box = points_box(Camera().object_to_pixel(cube))
    np.testing.assert_allclose(box, mask_box(rendered_mask(tmp_path / "out.png")), atol=1.0)


@pytest.mark.parametrize(
    ("resolution", "percentage"), [((101, 77), 33), ((199, 101), 50), ((123, 45), 99), ((64, 32), 200)]
)
def test_shape_is_that_of_the_render(resolution, percentage, tmp_path):
    add_camera(Case("", resolution=resolution, percentage=percentage))
    add_cube()
    assert Camera().shape == rendered_mask(tmp_path / "out.png").shape


def test_given_shape_wins_and_follows_through():
    add_camera()
    camera = Camera(shape=(50, 200))
    assert camera.shape == (50, 200)
    np.testing.assert_allclose(camera.ndc_to_pixel([[1.0, -1.0, 0.0]]), [[200, 50]])
    # Square pixels: the projection has the image's aspect.
    np.testing.assert_allclose(camera.proj_matrix[1, 1] / camera.proj_matrix[0, 0], 200 / 50, rtol=1e-6)


def test_pixel_origin_and_corners():
    add_camera(Case("", resolution=(120, 90)))
    camera = Camera()
    ndc = [[-1, 1, 0], [1, -1, 0], [0, 0, 0], [-1 + 1 / 120, 1 - 1 / 90, 0]]
    np.testing.assert_allclose(camera.ndc_to_pixel(ndc), [[0, 0], [120, 90], [60, 45], [0.5, 0.5]])
    np.testing.assert_allclose(camera.ndc_to_pixel(ndc, "lower-left"), [[0, 90], [120, 0], [60, 45], [0.5, 89.5]])
    with pytest.raises(ConfigError, match="upper-left"):
        camera.ndc_to_pixel(ndc, "top")
    with pytest.raises(ValueError, match="shape"):
        camera.world_to_pixel([[1.0, 2.0]])


@each_case
def test_matrices_and_intrinsics_are_consistent(case):
    add_camera(case)
    camera = Camera()
    xy, depth = camera.world_to_pixel(POINTS, return_depth=True)
    xyz_opencv = projection.transform_points(camera.camera_from_world_opencv, POINTS)
    np.testing.assert_allclose(xyz_opencv[:, 2], depth)
    assert camera.type == case.kind
    np.testing.assert_array_equal(camera.view_matrix, camera.camera_from_world)
    for matrix in (camera.view_matrix, camera.proj_matrix, camera.camera_from_world_opencv):
        assert matrix.shape == (4, 4)
        assert matrix.dtype == np.float64
    if case.kind == "ORTHO":
        with pytest.raises(ConfigError, match="orthographic"):
            _ = camera.intrinsics
    else:
        np.testing.assert_allclose(projection.from_homogeneous(xyz_opencv @ camera.intrinsics.T), xy, atol=1e-9)


def test_intrinsics_are_lens_over_sensor_times_pixels():
    bpy_camera = add_camera(Case("", resolution=(640, 480), shift=(0.1, -0.2)))
    bpy_camera.data.lens, bpy_camera.data.sensor_width = 35.0, 32.0
    focal = 640 * 35.0 / 32.0
    # Blender's shift is in units of the longer side; a lens shifted right shows the scene farther left.
    expected = [[focal, 0, 320 - 0.1 * 640], [0, focal, 240 - 0.2 * 640], [0, 0, 1]]
    np.testing.assert_allclose(Camera().intrinsics, expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("kind", ["PERSP", "ORTHO"])
def test_ndc_z_spans_the_clip_range(kind):
    bpy_camera = add_camera(Case("", kind=kind))
    bpy_camera.data.clip_start, bpy_camera.data.clip_end = 0.5, 20.0
    camera = Camera()
    assert camera.clip_range == (0.5, 20.0)
    world_from_camera = np.linalg.inv(camera.view_matrix)
    depths = np.array([0.5, 3.0, 20.0])
    points = projection.transform_points(world_from_camera, [(0.0, 0.0, -depth) for depth in depths])
    ndc, depth = camera.world_to_ndc(points, return_depth=True)
    np.testing.assert_allclose(depth, depths, rtol=1e-6)
    np.testing.assert_allclose(ndc[[0, 2], 2], [-1, 1], atol=1e-5)
    np.testing.assert_allclose(projection.linear_depth(ndc[:, 2], camera.proj_matrix), depths, rtol=1e-4)


@pytest.mark.parametrize("kind", ["PERSP", "ORTHO"])
def test_points_behind_the_camera_are_nan_with_their_depth(kind):
    bpy_camera = add_camera(Case("", kind=kind))
    bpy_camera.matrix_world = Matrix.Translation((0, 0, 4))
    camera = Camera()
    points = [(0.1, 0.2, 5.5), (0.1, 0.2, 4.0), (0.1, 0.2, 3.0), (90.0, 0.0, 3.0)]
    ndc, depth = camera.world_to_ndc(points, return_depth=True)
    np.testing.assert_allclose(depth, [-1.5, 0.0, 1.0, 1.0], atol=1e-6)
    assert np.isnan(ndc[:2]).all()
    assert np.isfinite(ndc[2:]).all()
    xy = camera.world_to_pixel(points)
    assert np.isnan(xy[:2]).all()
    assert np.isfinite(xy[2:]).all()


def test_follows_animation_parents_constraints_and_unflushed_changes(scene):
    bpy_camera = add_camera()
    camera = Camera()
    bpy_camera.matrix_world = Matrix.Translation((1.0, 2.0, 3.0))
    np.testing.assert_allclose(camera.view_matrix[:3, 3], [-1, -2, -3], atol=1e-6)

    for frame, x, lens in ((1, 0.0, 20.0), (11, 5.0, 80.0)):
        bpy_camera.location.x, bpy_camera.data.lens = x, lens
        bpy_camera.keyframe_insert("location", frame=frame)
        bpy_camera.data.keyframe_insert("lens", frame=frame)
    for frame, x, lens in ((1, 0.0, 20.0), (11, 5.0, 80.0)):
        scene.frame_set(frame)
        np.testing.assert_allclose(camera.view_matrix[0, 3], -x, atol=1e-6)
        np.testing.assert_allclose(camera.intrinsics[0, 0], 120 * lens / 36, rtol=1e-5)

    parent = add("parent", None, (0.0, 10.0, 0.0))
    bpy_camera.parent = parent
    np.testing.assert_allclose(camera.view_matrix[1, 3], -12.0, atol=1e-5)
    parent.location.y = 20.0
    np.testing.assert_allclose(camera.view_matrix[1, 3], -22.0, atol=1e-5)

    target = add("target", None, (3.0, -4.0, 1.0))
    constraint = bpy_camera.constraints.new("TRACK_TO")
    constraint.target, constraint.track_axis, constraint.up_axis = target, "TRACK_NEGATIVE_Z", "UP_Y"
    np.testing.assert_allclose(camera.world_to_ndc([target.location])[0, :2], 0.0, atol=1e-5)


def test_shape_follows_the_scene(scene):
    add_camera(Case("", resolution=(120, 90)))
    camera = Camera()
    scene.render.resolution_x = 60
    assert camera.shape == (90, 60)
    assert math.isclose(camera.intrinsics[0, 2], 30.0, rel_tol=1e-6)


@pytest.mark.parametrize("position", [None, (3.0, -2.0, 4.0)])
@pytest.mark.parametrize("with_parent", [False, True])
def test_look_at_centres_the_target_with_world_z_up(position, with_parent):
    bpy_camera = add_camera(Case("", scale=(2.0, 2.0, 2.0)))
    if with_parent:
        bpy_camera.parent = add("parent", None, (1.0, 2.0, 3.0), (0.3, 0.4, 0.5))
    camera = Camera()
    before = np.linalg.inv(camera.view_matrix)[:3, 3]
    target = np.array([0.3, 0.7, -0.2])
    camera.look_at(target, position)
    after = np.linalg.inv(camera.view_matrix)[:3, 3]
    np.testing.assert_allclose(after, before if position is None else position, atol=1e-5)
    ndc, depth = camera.world_to_ndc([target, np.add(target, (0, 0, 0.1))], return_depth=True)
    np.testing.assert_allclose(ndc[0, :2], 0.0, atol=1e-5)
    np.testing.assert_allclose(depth[0], np.linalg.norm(target - after), rtol=1e-5)
    assert abs(ndc[1, 0]) < 1e-5, "world +Z must be upright in the picture"
    assert ndc[1, 1] > 0.01, "world +Z must be up in the picture"


def test_look_at_allows_for_a_parent_that_has_just_moved():
    bpy_camera, parent = add_camera(), add("parent", None)
    bpy_camera.parent = parent
    bpy.context.view_layer.update()
    parent.location, parent.rotation_euler = (1.0, 2.0, 3.0), (0.3, 0.4, 0.5)
    camera = Camera()
    camera.look_at((0.0, 0.0, 0.0), (4.0, 4.0, 4.0))
    np.testing.assert_allclose(np.linalg.inv(camera.view_matrix)[:3, 3], (4, 4, 4), atol=1e-5)


@pytest.mark.parametrize("z", [5.0, -5.0])
def test_look_at_straight_down_and_up(z):
    add_camera()
    camera = Camera()
    camera.look_at((1.0, 1.0, 0.0), (1.0, 1.0, z))
    ndc, depth = camera.world_to_ndc([(1.0, 1.0, 0.0)], return_depth=True)
    np.testing.assert_allclose([*ndc[0, :2], depth[0]], [0.0, 0.0, 5.0], atol=1e-5)
    assert np.linalg.det(camera.view_matrix[:3, :3]) == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(ConfigError, match="differ"):
        camera.look_at((1.0, 1.0, z))


def test_object_and_box_projection_with_the_seeds_calls():
    bpy_camera = add_camera()
    cube, other = add_cube(), add_cube(Matrix.Translation((0.3, 0.0, 0.2)))
    cam = Camera()
    xy, depth = cam.object_to_pixel(cube, return_depth=True)
    assert xy.shape == (8, 2)
    assert depth.shape == (8,)
    vertices = np.array([cube.matrix_world @ vertex.co for vertex in cube.data.vertices])
    ndc, expected_depth = cam.world_to_ndc(vertices, return_depth=True)
    np.testing.assert_allclose(xy, cam.ndc_to_pixel(ndc))
    np.testing.assert_allclose(depth, expected_depth)
    assert cam.object_to_pixel(cube, other).shape == (16, 2)
    boxes, depths = cam.bbox_object_to_pixel(cube, other, return_depth=True)
    assert boxes.shape == (16, 2)
    assert depths.shape == (16,)
    np.testing.assert_allclose(points_box(boxes[:8]), points_box(xy), atol=1e-4)
    np.testing.assert_allclose(boxes[:8], cam.bbox_object_to_pixel(cube), atol=1e-9)
    assert cam.bpy_camera == bpy_camera
    assert cam.shape == (90, 120)
    assert cam.view_matrix.shape == cam.proj_matrix.shape == (4, 4)


def test_camera_given_is_the_one_used(scene):
    add_camera()
    other = add("other", bpy.data.cameras.new("other"), (7.0, 0.0, 0.0))
    np.testing.assert_allclose(Camera(other).view_matrix[:3, 3], [-7, 0, 0], atol=1e-6)
    assert Camera(other.evaluated_get(bpy.context.evaluated_depsgraph_get())).bpy_camera == other
    default = Camera()
    scene.camera = other
    assert default.bpy_camera.name == "camera", "stays the camera it was made for"


def test_errors_say_what_to_do(scene):
    with pytest.raises(SceneError, match="no active camera"):
        Camera()
    bpy_camera = add_camera()
    with pytest.raises(TypeError, match="CAMERA"):
        Camera(add_cube())
    with pytest.raises(ConfigError, match="at least 1"):
        Camera(shape=(0, 10))
    camera = Camera()
    bpy_camera.data.type = "PANO"
    for use in (Camera, lambda: camera.proj_matrix, lambda: camera.type, lambda: camera.world_to_pixel(POINTS)):
        with pytest.raises(ValueError, match=r"PANO.*'PERSP' or 'ORTHO'"):
            use()
    bpy_camera.data.type = "PERSP"
    unlinked = Camera(bpy.data.objects.new("nowhere", bpy.data.cameras.new("nowhere")))
    with pytest.raises(BlendTorchError, match="'nowhere' is not evaluated"):
        _ = unlinked.view_matrix
    bpy_camera.scale.x = 0.0
    with pytest.raises(SceneError, match="scale zero"):
        _ = camera.view_matrix
