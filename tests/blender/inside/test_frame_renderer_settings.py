"""A final render leaves nothing behind: every setting is what it was, after an error too, and there is no file."""

import os
from pathlib import Path

import bpy
import numpy as np
import pytest

from blendtorch.btb import compat, frame_files
from blendtorch.btb.camera import Camera
from blendtorch.btb.frame_renderer import FrameRenderer
from blendtorch.btb.temporary_settings import TemporarySettings

ALL = ("image", "image_linear", "depth", "position", "normals_world", "normals_camera", "flow_backward", "flow_forward")
ALL += ("object_ids", "material_ids", "aov:tint")


def values(struct):
    """All values of a struct, and the names of what it points at."""
    found = {}
    for prop in struct.bl_rna.properties:
        if prop.type == "COLLECTION" or prop.identifier in {"rna_type", "use_nodes"}:  # use_nodes: deprecated in 5.x
            continue
        value = getattr(struct, prop.identifier)
        if prop.type == "POINTER":
            value = getattr(value, "name", None)
        found[prop.identifier] = tuple(value) if getattr(prop, "is_array", False) else value
    return found


def snapshot():
    """What a render could change, and how many data-blocks there are."""
    scene, camera = bpy.context.scene, bpy.context.scene.camera
    structs = [scene, scene.render, scene.render.image_settings, scene.eevee, scene.cycles, scene.display]
    structs += [
        scene.display.shading,
        scene.view_settings,
        scene.display_settings,
        camera,
        camera.data,
        camera.data.dof,
    ]
    structs += [*scene.view_layers, *(layer.cycles for layer in scene.view_layers), *scene.timeline_markers]
    structs += [aov for layer in scene.view_layers for aov in layer.aovs]
    structs += [*bpy.data.objects, *bpy.data.materials]
    found = {f"{i} {struct!r}": values(struct) for i, struct in enumerate(structs)}
    found["counts"] = {
        prop.identifier: len(getattr(bpy.data, prop.identifier))
        for prop in bpy.data.bl_rna.properties
        if prop.type == "COLLECTION" and prop.identifier != "images"
    }
    found["images"] = sorted(image.name for image in bpy.data.images if image.name != "Render Result")
    found["context"] = (bpy.context.mode, bpy.context.view_layer.name, bpy.context.view_layer.objects.active.name)
    found["selected"] = sorted(obj.name for obj in bpy.context.selected_objects)
    return found


def untidy_scene():
    """A scene in which everything that the renderer sets has another value."""
    scene, view_layer = bpy.context.scene, bpy.context.view_layer
    render, cycles = scene.render, scene.cycles
    render.use_border = render.use_crop_to_border = render.use_stamp = render.use_multiview = True
    render.border_max_x, render.resolution_percentage, render.filter_size = 0.5, 37, 2.5
    render.use_motion_blur, render.film_transparent, render.filepath = True, True, "//out/picture"
    render.image_settings.file_format = "PNG"
    render.image_settings.color_depth, render.image_settings.compression = "16", 77
    render.image_settings.color_mode = "BW"
    render.image_settings.color_management = "OVERRIDE"
    cycles.samples, cycles.time_limit, cycles.filter_width = 77, 5.0, 2.0
    scene.eevee.taa_render_samples, scene.display.render_aa = 3, "16"
    scene.camera.data.dof.use_dof = True
    view_layer.samples, view_layer.pass_cryptomatte_depth, view_layer.use_pass_mist = 9, 8, True
    view_layer.aovs.add().name = "tint"
    scene.view_layers.new("Second")
    other = bpy.data.objects.new("Other eye", scene.camera.data)
    scene.collection.objects.link(other)
    eye = scene.camera
    scene.timeline_markers.new("cut", frame=0).camera = other
    scene.camera = eye
    material = bpy.data.materials["Material"]
    if material.node_tree is None:
        material.use_nodes = True
    material.node_tree.nodes.new("ShaderNodeOutputAOV").aov_name = "tint"
    for number, obj in enumerate(bpy.data.objects):
        obj.pass_index = 10 + number
    bpy.ops.object.mode_set(mode="EDIT")
    return other


def listing():
    """Files where a render could leave some: Blender's own folder, that of the scene's output, and shared memory."""
    folders = [Path(compat.temporary_folder()), Path(bpy.path.abspath(bpy.context.scene.render.filepath)).parent]
    found = {str(folder): sorted(folder.iterdir()) for folder in folders if folder.is_dir()}
    return found | {"/dev/shm": sorted(Path("/dev/shm").glob("blendtorch-frame-*"))}  # where others have files, too


@pytest.mark.parametrize(
    ("engine", "noise_free"), [("EEVEE", True), ("CYCLES", True), ("CYCLES", False), ("WORKBENCH", True)]
)
def test_all_settings_are_put_back(engine, noise_free, tmp_path):
    other = untidy_scene()
    scene = bpy.context.scene
    scene.render.filepath = str(tmp_path / "picture")
    scene.render.use_motion_blur = noise_free
    outputs = ALL if engine != "WORKBENCH" else ("image", "depth")
    before, files, frame = snapshot(), listing(), scene.frame_current
    camera = Camera(other, shape=(8, 12))
    renderer = FrameRenderer(camera, outputs, engine=engine, noise_free=noise_free, samples=None if noise_free else 1)
    got = renderer.render()
    assert snapshot() == before
    assert scene.frame_current == frame
    assert listing() == files
    assert tuple(got) == outputs
    assert got["depth"].shape == (8, 12)
    np.testing.assert_allclose(got["depth"], 1, rtol=1e-5)  # that camera looks down, from within the cube


@pytest.mark.parametrize("output", ["image", "depth"])
def test_all_settings_are_put_back_when_the_render_fails(output):
    class Failing(bpy.types.RenderEngine):
        bl_idname = "BLENDTORCH_FAILING"
        bl_label = "Failing"

        def render(self, depsgraph):
            self.report({"ERROR"}, "no luck")

    untidy_scene()
    bpy.utils.register_class(Failing)
    try:
        bpy.context.scene.render.engine = Failing.bl_idname
        before, files = snapshot(), listing()
        renderer = FrameRenderer(Camera(shape=(8, 8)), (output,), noise_free=True)
        with pytest.raises(RuntimeError, match="no luck"):
            renderer.render()
        assert snapshot() == before
        assert listing() == files
        bpy.context.scene.render.engine = compat.eevee_engine()
    finally:
        bpy.utils.unregister_class(Failing)


def test_an_engine_that_renders_nothing():
    class Empty(bpy.types.RenderEngine):
        bl_idname = "BLENDTORCH_EMPTY"
        bl_label = "Empty"

        def render(self, depsgraph):
            pass

    bpy.utils.register_class(Empty)
    try:
        bpy.context.scene.render.engine = Empty.bl_idname
        bpy.context.scene.render.image_settings.linear_colorspace_settings.name = "sRGB"  # which is unset at first
        before = snapshot()
        with pytest.raises(RuntimeError, match="could not be saved"):
            FrameRenderer(Camera(shape=(8, 8))).render()
        assert snapshot() == before
        bpy.context.scene.render.engine = compat.eevee_engine()
    finally:
        bpy.utils.unregister_class(Empty)


def formats():
    """All file formats with a colour mode, depth and codec, as a user can have them set."""
    settings = bpy.context.scene.render.image_settings
    for media in ("IMAGE", "MULTI_LAYER_IMAGE", "VIDEO") if hasattr(settings, "media_type") else (None,):
        if media is not None:
            settings.media_type = media
        for item in settings.bl_rna.properties["file_format"].enum_items:
            for mode in ("BW", "RGB", "RGBA"):
                for depth in ("8", "10", "12", "16", "32"):
                    try:
                        settings.file_format = item.identifier
                        settings.color_mode, settings.color_depth = mode, depth
                    except TypeError:
                        continue
                    yield item.identifier, mode, depth


def test_every_file_format_is_put_back():
    settings = bpy.context.scene.render.image_settings
    settings.quality, settings.compression, settings.exr_codec, settings.tiff_codec = 31, 7, "PIZ", "LZW"
    settings.color_management = "OVERRIDE"
    settings.view_settings.view_transform = "Raw"
    bpy.context.scene.render.ffmpeg.format = "MKV"
    renderer = FrameRenderer(Camera(shape=(4, 4)), ("image", "depth"), engine="WORKBENCH", samples=1)
    seen = set()
    structs = [settings, settings.view_settings, settings.display_settings, settings.stereo_3d_format]
    structs += [settings.linear_colorspace_settings, bpy.context.scene.render.ffmpeg]
    for combination in formats():
        settings.linear_colorspace_settings.name = "Non-Color"
        before = [values(struct) for struct in structs]
        assert before[4]["name"] == "Non-Color"
        renderer.render()
        assert [values(struct) for struct in structs] == before, combination
        seen.add(combination[0])
    assert {"PNG", "JPEG", "TIFF", "OPEN_EXR", "OPEN_EXR_MULTILAYER", "FFMPEG", "HDR", "BMP"} <= seen


def test_a_marker_with_a_camera_does_not_win():
    scene = bpy.context.scene
    far = bpy.data.objects.new("Far", scene.camera.data)
    far.location = (0, 0, 1000)
    scene.collection.objects.link(far)
    camera = scene.camera
    scene.timeline_markers.new("cut", frame=1).camera = far
    assert scene.camera == far  # Blender's doing
    renderer = FrameRenderer(Camera(camera, shape=(16, 16)), ("depth",), engine="WORKBENCH")
    for active in (far, camera):
        scene.camera = active
        assert np.isfinite(renderer.render()["depth"]).any()
        assert scene.camera == active
        assert scene.timeline_markers["cut"].camera == far


def test_handlers_and_what_is_open_afterwards():
    handlers, calls = bpy.app.handlers, []
    names = ("render_write", "render_pre", "render_complete", "frame_change_post")
    added = {name: (lambda *_, name=name: calls.append(name)) for name in names}
    for name, handler in added.items():
        getattr(handlers, name).append(handler)
    try:
        renderer = FrameRenderer(Camera(shape=(8, 8)), ("image", "depth"), engine="WORKBENCH", samples=1)
        renderer.render()
        assert calls == ["render_pre", "frame_change_post", "render_complete", "frame_change_post"]
        open_files = len(os.listdir("/proc/self/fd"))
        kept = [renderer.render() for _ in range(20)]
        assert len(os.listdir("/proc/self/fd")) == open_files
        assert all(np.array_equal(frame["depth"], kept[0]["depth"]) for frame in kept)
    finally:
        for name, handler in added.items():
            getattr(handlers, name).remove(handler)


def test_without_memory_files(monkeypatch):
    renderer = FrameRenderer(Camera(shape=(8, 8)), ("image", "depth"), engine="WORKBENCH", samples=1)
    expected = renderer.render()
    monkeypatch.delattr(os, "memfd_create")
    files = listing()
    got = renderer.render()
    assert listing() == files
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array)
    monkeypatch.setattr(frame_files.os, "access", lambda *_: False)  # no /dev/shm either
    np.testing.assert_array_equal(renderer.render()["image"], expected["image"])
    assert listing() == files


def test_the_scenes_size_and_engine_are_followed():
    render = bpy.context.scene.render
    render.engine = "BLENDER_WORKBENCH"
    render.resolution_x, render.resolution_y, render.resolution_percentage = 33, 21, 50
    renderer = FrameRenderer(outputs=("image", "depth"), mode="rgba")
    got = renderer.render()
    assert got["image"].shape == (10, 16, 4)
    assert got["depth"].shape == (10, 16)
    render.resolution_percentage = 100
    assert renderer.render()["image"].shape == (21, 33, 4)


def test_temporary_settings():
    scene = bpy.context.scene
    render = scene.render
    before = (render.resolution_x, render.fps, tuple(scene.cursor.location))
    marker = scene.timeline_markers.new("gone", frame=3)
    order = []
    with pytest.raises(ValueError, match="the script's"):
        with TemporarySettings() as change:
            change.on_exit(lambda: order.append(render.resolution_x))
            change(render, "resolution_x", 100)
            change(render, "resolution_x", 200)
            change(scene.cursor, "location", (1, 2, 3))
            change.on_exit(lambda: order.append(render.resolution_x))
            assert (render.resolution_x, tuple(scene.cursor.location)) == (200, (1, 2, 3))
            raise ValueError("the script's")
    assert order == [200, before[0]]
    assert (render.resolution_x, render.fps, tuple(scene.cursor.location)) == before
    with pytest.raises(TypeError):
        with TemporarySettings() as change:
            change(render, "resolution_x", 100)
            change(render, "engine", "NONE SUCH")
    assert render.resolution_x == before[0]
    # What cannot be put back does not keep the rest from it, and is not silent.
    with pytest.raises(RuntimeError, match="undone"):
        with TemporarySettings() as change:
            change(render, "resolution_x", 100)
            change.on_exit(lambda: (_ for _ in ()).throw(RuntimeError("cannot be undone")))
            change(marker, "frame", 5)
    assert (render.resolution_x, marker.frame) == (before[0], 3)
