"""Final renders that cannot be: arguments, scenes and engines that do not give what is wanted."""

import bpy
import pytest

from blendtorch.btb.camera import Camera
from blendtorch.btb.frame_renderer import FrameRenderer
from blendtorch.errors import ConfigError, SceneError


def test_names_that_the_exr_file_cannot_hold():
    view_layer = bpy.context.view_layer
    view_layer.name = "a.b " + "x" * 10
    assert FrameRenderer(Camera(shape=(8, 8)), ("depth",), engine="WORKBENCH").render()["depth"].shape == (8, 8)
    view_layer.name = "x" * 63
    renderer = FrameRenderer(Camera(shape=(8, 8)), ("depth",), engine="WORKBENCH")
    if bpy.app.version < (5, 0, 0):
        with pytest.raises(SceneError, match=r"no channel 'x+.Depth.Z'.*shorten"):
            renderer.render()
    else:
        assert renderer.render()["depth"].shape == (8, 8)


def test_names_of_ids_that_were_not_rendered():
    renderer = FrameRenderer(Camera(shape=(8, 8)), ("depth",), engine="WORKBENCH")
    renderer.render()
    for name in ("objects", "materials"):
        with pytest.raises(SceneError, match=r"were rendered yet: name it in outputs"):
            getattr(renderer, name)


@pytest.mark.parametrize(
    ("outputs", "options", "message"),
    [
        (("imgae",), {}, r"'imgae' is unknown, expected one of 'image', 'image_linear', .*'aov:NAME'"),
        (("aov:",), {}, r"'aov:' is unknown"),
        ((), {}, r"outputs is empty, expected some of"),
        ("image", {}, r"outputs is the text 'image', expected a list of names"),
        (("image",), {"samples": 0}, r"samples is 0, expected at least 1"),
        (("image",), {"samples": 2, "noise_free": True}, r"samples is 2, but noise_free"),
        (("image",), {"samples": 3, "engine": "WORKBENCH"}, r"Workbench takes one of 1, 5, 8"),
        (("image",), {"engine": "LUXCORE"}, r"engine is 'LUXCORE', expected None or one of 'EEVEE'"),
        (("image",), {"mode": "bgr"}, r"mode is 'bgr', expected one of 'rgb', 'rgba'"),
        (
            ("normals_world", "object_ids", "depth"),
            {"engine": "WORKBENCH"},
            r"'WORKBENCH' does not give normals_world, object_ids: render with engine='EEVEE' or engine='CYCLES'",
        ),
    ],
)
def test_bad_arguments(outputs, options, message):
    with pytest.raises(ConfigError, match=message):
        FrameRenderer(Camera(shape=(8, 8)), outputs, **options)


def test_scenes_that_cannot_give_it():
    scene, view_layer = bpy.context.scene, bpy.context.view_layer
    camera = Camera(shape=(8, 8))
    scene.render.engine = "BLENDER_WORKBENCH"
    with pytest.raises(ConfigError, match="'WORKBENCH' does not give object_ids"):
        FrameRenderer(camera, ("object_ids",)).render()
    with pytest.raises(ConfigError, match=r"view layer 'ViewLayer' declares no AOV 'tint', it has none"):
        FrameRenderer(camera, ("aov:tint",), engine="CYCLES").render()
    view_layer.aovs.add().name = "tint"
    with pytest.raises(ConfigError, match="no material or world has an AOV Output node"):
        FrameRenderer(camera, ("aov:tint",), engine="CYCLES").render()
    scene.render.use_motion_blur = True
    with pytest.raises(ConfigError, match="flow_forward is wanted and motion blur is on"):
        FrameRenderer(camera, ("flow_forward",), engine="CYCLES").render()
    with pytest.raises(ConfigError, match=r"shape is \(3, 8\), Blender renders 4 pixels or more"):
        FrameRenderer(Camera(shape=(3, 8)), engine="CYCLES").render()
    stray = bpy.data.objects.new("Stray", bpy.data.cameras.new("Stray"))
    renderer = FrameRenderer(Camera(stray, shape=(8, 8)), engine="CYCLES")
    with pytest.raises(SceneError, match="camera 'Stray' is not in scene 'Scene'"):
        renderer.render()
    bpy.data.objects.remove(stray)
    with pytest.raises(SceneError, match="camera was deleted"):
        renderer.render()
    scene.camera = None
    with pytest.raises(SceneError, match="no active camera"):
        FrameRenderer()


def test_cycles_that_is_not_enabled():
    import addon_utils

    addon_utils.disable("cycles")
    try:
        with pytest.raises(ConfigError, match=r"addon_utils.enable\('cycles'\)"):
            FrameRenderer(Camera(shape=(8, 8)), engine="CYCLES")
    finally:
        addon_utils.enable("cycles")
    FrameRenderer(Camera(shape=(8, 8)), engine="CYCLES", samples=1).render()


def test_rendering_while_rendering():
    """By a handler, which a render calls itself."""
    renderer = FrameRenderer(Camera(shape=(8, 8)), ("depth",), engine="WORKBENCH")
    errors = []

    def handler(*args):
        try:
            renderer.render()
        except SceneError as error:
            errors.append(str(error))

    bpy.app.handlers.frame_change_post.append(handler)
    try:
        assert renderer.render()["depth"].shape == (8, 8)
    finally:
        bpy.app.handlers.frame_change_post.remove(handler)
    assert errors
    assert "called while it renders" in errors[0]
    assert renderer.render()["depth"].shape == (8, 8)
