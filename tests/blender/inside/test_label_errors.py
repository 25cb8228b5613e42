"""What LabelRenderer says to bad input, and that it leaves everything as it was."""

import bpy
import gpu
import numpy as np
import pytest
from label_scenes import SHAPE, add_camera, add_cube, add_sphere, draw_labels, viewport

from blendtorch import btb
from blendtorch.errors import ConfigError, SceneError


@pytest.fixture(autouse=True)
def scene():
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    return bpy.context.scene


@pytest.mark.parametrize("value", [-1, 1.5, "three"])
def test_a_class_that_is_no_id(value):
    add_camera()
    add_cube("a")["class_id"] = value
    with pytest.raises(SceneError, match=r"'class_id' of object 'a'.*expected an integer, 0 or more"):
        draw_labels()
    with pytest.raises(ConfigError, match="expected an integer, 0 or more"):
        draw_labels(classes={"cars": value})


def test_survives_loading_a_file(tmp_path):
    add_camera()
    add_cube()
    expected, _ = draw_labels()
    file = str(tmp_path / "scene.blend")
    bpy.ops.wm.save_as_mainfile(filepath=file)
    for _ in range(3):
        bpy.ops.wm.open_mainfile(filepath=file)
        np.testing.assert_array_equal(draw_labels()[0]["ids"], expected["ids"])


def test_no_camera():
    add_cube()
    with pytest.raises(SceneError, match="has no active camera"):
        btb.LabelRenderer()


def test_a_camera_of_another_scene():
    data = bpy.data.cameras.new("elsewhere")
    camera = bpy.data.objects.new("elsewhere", data)
    bpy.data.scenes.new("other").collection.objects.link(camera)
    add_cube()
    renderer = btb.LabelRenderer(btb.Camera(camera, shape=SHAPE))
    with pytest.raises(SceneError, match=r"'elsewhere' is not evaluated in view layer .* of scene 'Scene'"):
        renderer.render()


def test_a_camera_that_was_deleted():
    camera = add_camera()
    add_cube()
    _, renderer = draw_labels()
    bpy.data.objects.remove(camera)
    with pytest.raises(SceneError, match="camera was deleted"):
        renderer.render()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outputs": ("ids", "albedo")}, r"outputs has 'albedo', expected some of 'ids', 'depth'.*FrameRenderer"),
        ({"outputs": ()}, "outputs is empty"),
        ({"outputs": "ids"}, r"expected a list of names: \['ids'\]"),
        ({"alpha_threshold": 1.5}, "alpha_threshold is 1.5, expected None or a number above 0, at most 1"),
    ],
)
def test_bad_arguments(options, message):
    add_camera()
    with pytest.raises(ConfigError, match=message):
        btb.LabelRenderer(**options)


def test_arguments_of_another_type():
    camera = add_camera()
    for renderer in (btb.LabelRenderer, btb.OffScreenRenderer, btb.FrameRenderer):
        with pytest.raises(TypeError, match=r"expected a btb\.Camera"):
            renderer(camera)
    for classes in (5, ["Collection"]):
        with pytest.raises(ConfigError, match="expected the name of a custom property, or a dict"):
            btb.LabelRenderer(classes=classes)


def test_an_image_that_the_gpu_cannot_draw():
    add_camera()
    add_cube()
    with pytest.raises(ConfigError, match="this GPU draws at most"):
        btb.LabelRenderer(btb.Camera(shape=(4, 100_000))).render()


def test_annotating_before_rendering():
    add_camera()
    with pytest.raises(SceneError, match=r"call render\(\) first"):
        btb.LabelRenderer().annotate()


def settings(owner):
    """All simple properties of a piece of Blender's data."""
    names = [p.identifier for p in owner.bl_rna.properties if p.type not in {"POINTER", "COLLECTION"}]
    names = [name for name in names if name != "use_nodes"]  # Blender 5 warns about it
    return {name: str(getattr(owner, name)) for name in names}


def everything():
    scene, space = bpy.context.scene, viewport()
    owners = [scene, scene.render, scene.view_settings, space, space.shading, space.overlay, bpy.context.view_layer]
    owners += [bpy.context.preferences.system, *bpy.data.objects, *bpy.data.meshes]
    state = {f"{type(owner).__name__} {i}": settings(owner) for i, owner in enumerate(owners)}
    state["data"] = {
        name: str(len(getattr(bpy.data, name)))
        for name in ("objects", "meshes", "scenes", "images", "materials", "curves", "cameras")
    }
    state["gpu"] = {
        name: str(getattr(gpu.state, f"{name}_get")()) for name in ("depth_test", "depth_mask", "blend", "viewport")
    }
    return state


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_of_the_users_is_changed(fails, monkeypatch):
    add_camera()
    add_cube()
    add_sphere(segments=16)
    _, renderer = draw_labels("ids", "depth", "normals_world", "flow", "semantic")
    expected = renderer.render()
    gpu.state.depth_test_set("GREATER")
    gpu.state.blend_set("ADDITIVE")
    before = everything()
    if fails:
        from blendtorch.btb import label_pass

        def fail(*args):
            raise RuntimeError("amid drawing")

        monkeypatch.setattr(label_pass, "draw_groups", fail)
        with pytest.raises(RuntimeError, match="amid drawing"):
            renderer.render()
    else:
        drawn = renderer.render()
        renderer.annotate()
        for name in ("ids", "depth", "normals_world"):
            np.testing.assert_array_equal(drawn[name], expected[name])
    after = everything()
    gpu.state.depth_test_set("NONE")
    gpu.state.blend_set("NONE")
    assert after == before
