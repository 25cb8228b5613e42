"""Pictures drawn off screen: channels, origin, size, colours, samples."""

import bpy
import numpy as np
import pytest

from blendtorch import btb
from blendtorch.errors import ConfigError, SceneError

SHAPE = (48, 64)


@pytest.fixture
def quadrants():
    """A scene whose picture is red, green / blue, white, by planes without light, exactly a quarter each."""
    for obj in list(bpy.data.objects):
        bpy.data.objects.remove(obj)
    bpy.ops.object.camera_add(location=(0, 0, 5))
    camera = bpy.context.object
    camera.data.type = "ORTHO"
    camera.data.ortho_scale = 4
    bpy.context.scene.camera = camera
    for x, y, color in [(-1, 1, (1, 0, 0)), (1, 1, (0, 1, 0)), (-1, -1, (0, 0, 1)), (1, -1, (1, 1, 1))]:
        bpy.ops.mesh.primitive_plane_add(size=2, location=(x, y, 0))
        bpy.context.object.color = (*color, 1)
    shading = viewport().shading
    shading.light, shading.color_type = "FLAT", "OBJECT"
    shading.show_object_outline = False
    return camera


def viewport():
    screen = bpy.context.window_manager.windows[0].screen
    return next(area.spaces.active for area in screen.areas if area.type == "VIEW_3D")


def corners(image):
    """The colours near the four corners, in reading order of the array."""
    return [tuple(image[y, x].tolist()) for y in (10, -10) for x in (10, -10)]


R, G, B, W = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


@pytest.mark.parametrize(
    ("mode", "origin", "expected"),
    [
        ("rgb", "upper-left", [R, G, B, W]),
        ("rgb", "lower-left", [B, W, R, G]),
        ("bgr", "upper-left", [B, G, R, W]),
        ("rgba", "upper-left", [(*c, 255) for c in (R, G, B, W)]),
    ],
)
def test_channels_and_origin(quadrants, mode, origin, expected):
    renderer = btb.OffScreenRenderer(btb.Camera(shape=SHAPE), mode=mode, origin=origin, samples=1)
    image = renderer.render()
    assert image.shape == renderer.shape == (*SHAPE, len(expected[0]))
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert corners(image) == expected


def test_each_picture_is_the_callers_own(quadrants):
    renderer = btb.OffScreenRenderer(btb.Camera(shape=SHAPE), mode="rgb", samples=1)
    first = renderer.render()
    first[:] = 7
    assert corners(renderer.render()) == [R, G, B, W]
    assert (first == 7).all()


def test_draws_into_an_array_of_the_caller(quadrants):
    renderer = btb.OffScreenRenderer(btb.Camera(shape=SHAPE), mode="rgb", samples=1)
    out = np.zeros((*SHAPE, 3), np.uint8)
    assert renderer.render(out=out) is out
    assert corners(out) == [R, G, B, W]


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((48, 64, 4), np.uint8),
        np.zeros((48, 64, 3), np.float32),
        np.zeros((64, 48, 3), np.uint8).transpose(1, 0, 2),
        np.frombuffer(bytes(48 * 64 * 3), np.uint8).reshape(48, 64, 3),
    ],
)
def test_refuses_an_unfit_array(quadrants, out):
    renderer = btb.OffScreenRenderer(btb.Camera(shape=SHAPE), mode="rgb")
    with pytest.raises(ConfigError, match=r"expected writable C-contiguous uint8 of shape \(48, 64, 3\)"):
        renderer.render(out=out)


def test_follows_size_and_changes_of_the_scene(quadrants):
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 64, 48, 100
    renderer = btb.OffScreenRenderer(mode="rgb", samples=1)
    assert renderer.render().shape == (48, 64, 3)
    scene.render.resolution_percentage = 50
    bpy.data.objects["Plane"].color = (0, 0, 0, 1)  # without an update of the view layer
    image = renderer.render()
    assert image.shape == (24, 32, 3)
    assert tuple(image[5, 5]) == (0, 0, 0)


def test_samples_smooth_edges_and_leave_the_preferences(quadrants):
    bpy.context.scene.camera.rotation_euler.z = 0.3
    before = bpy.context.preferences.system.viewport_aa
    colors = {}
    for samples in (1, 16):
        image = btb.OffScreenRenderer(btb.Camera(shape=SHAPE), mode="rgb", samples=samples).render()
        colors[samples] = len(np.unique(image.reshape(-1, 3), axis=0))
        assert bpy.context.preferences.system.viewport_aa == before
    assert colors[1] <= 5  # four planes and the background
    assert colors[16] > 20


def test_rendered_shading_follows_lights_and_view_transform():
    scene = bpy.context.scene
    scene.eevee.taa_samples = 1
    renderer = btb.OffScreenRenderer(btb.Camera(shape=SHAPE), mode="rgb", samples=1)
    renderer.set_render_style("RENDERED", overlays=False)
    scene.view_settings.view_transform = "Standard"
    standard = renderer.render()
    # The default world's colour, 0.05088 linear, is 63 in sRGB.
    np.testing.assert_allclose(standard[0, 0], 63, atol=1)
    scene.view_settings.view_transform = "Raw"
    np.testing.assert_allclose(renderer.render()[0, 0], 13, atol=1)
    bpy.data.objects["Light"].data.energy = 0
    scene.view_settings.view_transform = "Standard"
    assert renderer.render().mean() < standard.mean()
    assert scene.eevee.taa_samples == 1


def test_linear_values_without_colour_management():
    renderer = btb.OffScreenRenderer(btb.Camera(shape=SHAPE), mode="rgb", samples=1, color_management=False)
    renderer.set_render_style("RENDERED")
    np.testing.assert_allclose(renderer.render()[0, 0], 13, atol=1)


def test_overlays(quadrants):
    renderer = btb.OffScreenRenderer(btb.Camera(shape=SHAPE), mode="rgb", samples=1)
    plain = renderer.render()
    viewport().overlay.show_wireframes = True
    np.testing.assert_array_equal(renderer.render(), plain)
    renderer.set_render_style("SOLID", overlays=True)
    assert (renderer.render() != plain).any()


def test_two_renderers_with_styles_of_their_own(quadrants):
    solid = btb.OffScreenRenderer(btb.Camera(shape=SHAPE), mode="rgb", samples=1)
    wire = btb.OffScreenRenderer(btb.Camera(shape=SHAPE), mode="rgb", samples=1)
    wire.set_render_style("WIREFRAME")
    for _ in range(2):
        assert corners(solid.render()) == [R, G, B, W]
        assert corners(wire.render()) != [R, G, B, W]


def test_survives_loading_a_file(quadrants, tmp_path):
    btb.OffScreenRenderer(btb.Camera(shape=SHAPE)).render()
    file = str(tmp_path / "scene.blend")
    bpy.ops.wm.save_as_mainfile(filepath=file)
    for _ in range(3):
        bpy.ops.wm.open_mainfile(filepath=file)
        renderer = btb.OffScreenRenderer(btb.Camera(shape=SHAPE), mode="rgb", samples=1)
        assert corners(renderer.render()) == [R, G, B, W]


def test_making_the_gpu_context_leaves_nothing_in_the_file():
    counts = [len(bpy.data.scenes), len(bpy.data.objects), len(bpy.data.cameras)]
    engine = bpy.context.scene.render.engine
    btb.OffScreenRenderer(btb.Camera(shape=SHAPE)).render()
    assert [len(bpy.data.scenes), len(bpy.data.objects), len(bpy.data.cameras)] == counts
    assert bpy.context.scene.render.engine == engine


def test_a_file_without_a_viewport():
    for screen in bpy.data.screens:
        for area in screen.areas:
            if area.type == "VIEW_3D":
                area.type = "IMAGE_EDITOR"
    with pytest.raises(SceneError, match="no 3D viewport"):
        btb.OffScreenRenderer(btb.Camera(shape=SHAPE))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "gray"}, "mode is 'gray', expected one of 'rgb', 'rgba', 'bgr'"),
        ({"origin": "top"}, "origin is 'top', expected one of 'upper-left', 'lower-left'"),
        ({"samples": 0}, "samples is 0"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ConfigError, match=message):
        btb.OffScreenRenderer(btb.Camera(shape=SHAPE), **options)


def test_bad_style():
    renderer = btb.OffScreenRenderer(btb.Camera(shape=SHAPE), samples=4)
    with pytest.raises(ConfigError, match="shading is 'PRETTY'"):
        renderer.set_render_style("PRETTY")
    with pytest.raises(ConfigError, match=r"samples is 4, SOLID shading takes one of 1, 5, 8"):
        renderer.render()
