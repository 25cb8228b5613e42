"""What LabelRenderer draws: all that the viewport shows, numbered and classed; and what it leaves as it was."""

import logging

import bpy
import gpu
import numpy as np
import pytest
from label_scenes import (
    add,
    add_camera,
    add_cube,
    add_geometry_instances,
    add_plane,
    flat_white,
    instance_of,
    mesh,
    viewport,
)
from mathutils import Matrix

from blendtorch import btb
from blendtorch.errors import ConfigError, SceneError

SHAPE = (96, 128)


@pytest.fixture(autouse=True)
def scene():
    bpy.ops.wm.read_factory_settings(use_empty=True)
    return bpy.context.scene


def draw(*outputs, **options):
    """Renders once; returns the arrays and the renderer."""
    renderer = btb.LabelRenderer(btb.Camera(shape=SHAPE), outputs or ("ids",), **options)
    return renderer.render(), renderer


def assert_same_as_picture(ids, style="SOLID"):
    """The picture, white where there is a surface, has it in the same pixels (but for a few at edges)."""
    flat_white()
    renderer = btb.OffScreenRenderer(btb.Camera(shape=SHAPE), mode="rgb", samples=1)
    renderer.set_render_style(style)
    white = renderer.render()[..., 0] > 127
    assert white.sum() > 100
    assert (white != (ids > 0)).mean() < 2e-3


def add_text():
    data = bpy.data.curves.new("text", "FONT")
    data.body, data.extrude, data.size = "Abc", 0.2, 3
    return add("text", data)


def add_curve():
    data = bpy.data.curves.new("curve", "CURVE")
    data.dimensions, data.bevel_depth = "3D", 0.4
    spline = data.splines.new("POLY")
    spline.points.add(2)
    for point, position in zip(spline.points, [(-2, 0, 0), (0, 2, 0), (2, -1, 0)], strict=True):
        point.co = (*position, 1)
    return add("curve", data)


def add_metaball():
    data = bpy.data.metaballs.new("ball")
    data.elements.new().radius = 2
    data.elements.new().co = (1.5, 0, 0)
    return add("ball", data)


def add_surface():
    bpy.ops.surface.primitive_nurbs_surface_sphere_add(radius=2)
    return bpy.context.object


def add_subdivided():
    cube = add_cube()
    cube.modifiers.new("subdivision", "SUBSURF").levels = 3
    cube.modifiers.new("array", "ARRAY").count = 2
    return cube


def add_bent():
    """A bar whose upper half is turned by a bone."""
    bar = add("bar", mesh([(-0.4, y, z) for y in (0, 1, 2) for z in (0, 1)], [(0, 1, 3, 2), (2, 3, 5, 4)]))
    bar.rotation_euler = (0, 1.57, 0)
    armature = add("armature", bpy.data.armatures.new("armature"))
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    bone = armature.data.edit_bones.new("bone")
    bone.head, bone.tail = (0, 1, 0), (0, 2, 0)
    bpy.ops.object.mode_set(mode="OBJECT")
    armature.pose.bones["bone"].rotation_mode = "XYZ"
    armature.pose.bones["bone"].rotation_euler = (0, 0, 0.6)
    bar.vertex_groups.new(name="bone").add([4, 5], 1.0, "REPLACE")
    bar.modifiers.new("armature", "ARMATURE").object = armature
    return bar


@pytest.mark.parametrize("make", [add_text, add_curve, add_metaball, add_surface, add_subdivided, add_bent])
def test_every_kind_of_surface_is_where_the_picture_has_it(make):
    add_camera()
    obj = make()
    drawn, renderer = draw()
    assert set(np.unique(drawn["ids"])) == {0, 1}
    assert renderer.instances.objects == (obj.name,)
    assert renderer.instances.instancers == ("",)
    assert_same_as_picture(drawn["ids"])


def test_two_metaballs_of_a_family_are_one_thing():
    add_camera()
    first = add_metaball()
    second = add("ball.001", first.data.copy())
    second.location.x = -2
    drawn, renderer = draw()
    assert len(renderer.instances.ids) == 1
    assert_same_as_picture(drawn["ids"])


def test_instances_have_ids_of_their_own():
    add_camera()
    add_cube("a", location=(-3, 2, 0), half=0.5)
    inside = [add_cube("b", half=0.3), add_cube("c", half=0.3, location=(1, 0, 0))]
    instance_of(*inside, location=(0, 2, 0), name="shows")
    leaf = add_cube("leaf", half=0.2)
    leaf.hide_set(True)
    add_geometry_instances(add_plane("tree", x=(-2, 2), y=(-2, -1)), leaf, keep_own=True)
    drawn, renderer = draw("ids", "semantic")
    table = renderer.instances
    leaves = [("leaf", "tree")] * 4
    assert list(zip(table.objects, table.instancers, strict=True)) == [
        ("a", ""),
        ("tree", ""),
        ("b", "shows"),
        ("c", "shows"),
        *leaves,
    ]
    # Objects of the view layer come first, shown or not: a, leaf, tree.
    assert table.ids.tolist() == [1, 3, 4, 5, 6, 7, 8, 9]
    assert set(np.unique(drawn["ids"])) == {0, *table.ids.tolist()}
    assert_same_as_picture(drawn["ids"])


def test_ids_do_not_depend_on_what_was_drawn_before():
    add_camera()
    cubes = [add_cube(name, location=(x, 0, 0), half=0.5) for name, x in (("a", -2), ("b", 0), ("c", 2))]
    first, renderer = draw()
    cubes[0].hide_set(True)
    hidden = renderer.render()["ids"]
    assert set(np.unique(hidden)) == {0, 2, 3}
    np.testing.assert_array_equal(hidden[first["ids"] > 1], first["ids"][first["ids"] > 1])
    np.testing.assert_array_equal(draw()[0]["ids"], hidden)


def test_classes_from_a_property():
    add_camera()
    add_cube("a", location=(-3, 0, 0), half=0.5)["class_id"] = 7
    add_cube("none", location=(-1, 0, 0), half=0.5)
    shown, own = add_cube("b", half=0.5), add_cube("c", half=0.5, location=(2, 0, 0))
    own["class_id"] = 9
    instance_of(shown, own, location=(1, 0, 0))["class_id"] = 8
    drawn, renderer = draw("ids", "semantic")
    classes = dict(zip(renderer.instances.objects, renderer.instances.class_ids.tolist(), strict=True))
    assert classes == {"a": 7, "none": 0, "b": 8, "c": 9}
    for object_name, class_id in classes.items():
        row = renderer.instances.objects.index(object_name)
        assert (drawn["semantic"][drawn["ids"] == renderer.instances.ids[row]] == class_id).all()
    assert (drawn["semantic"][drawn["ids"] == 0] == 0).all()


def test_classes_from_collections(scene):
    add_camera()
    cars, wheels = bpy.data.collections.new("cars"), bpy.data.collections.new("wheels")
    scene.collection.children.link(cars)
    cars.children.link(wheels)
    for name, collection in (("car", cars), ("wheel", wheels)):
        cube = add_cube(name, half=0.5, location=(0 if name == "car" else 2, 0, 0))
        scene.collection.objects.unlink(cube)
        collection.objects.link(cube)
    add_cube("other", half=0.5, location=(-2, 0, 0))

    def classes(mapping):
        _, renderer = draw(classes=mapping)
        return dict(zip(renderer.instances.objects, renderer.instances.class_ids.tolist(), strict=True))

    assert classes({"wheels": 2, "cars": 1}) == {"car": 1, "wheel": 2, "other": 0}
    assert classes({"cars": 1, "wheels": 2}) == {"car": 1, "wheel": 1, "other": 0}
    with pytest.raises(SceneError, match=r"no collection 'trucks'.*cars, wheels"):
        classes({"trucks": 3})


@pytest.mark.parametrize("value", [-1, 1.5, "three"])
def test_a_class_that_is_no_id(value):
    add_camera()
    add_cube("a")["class_id"] = value
    with pytest.raises(SceneError, match=r"'class_id' of object 'a'.*expected an integer, 0 or more"):
        draw()
    with pytest.raises(ConfigError, match="expected an integer, 0 or more"):
        draw(classes={"cars": value})


def hide_by_eye(obj):
    obj.hide_set(True)


def hide_in_viewports(obj):
    obj.hide_viewport = True


def hide_collection_by_eye(obj):
    collection = bpy.data.collections.new("hidden")
    bpy.context.scene.collection.children.link(collection)
    bpy.context.scene.collection.objects.unlink(obj)
    collection.objects.link(obj)
    bpy.context.view_layer.layer_collection.children["hidden"].hide_viewport = True


def show_as_wire(obj):
    obj.display_type = "WIRE"


def show_as_bounds(obj):
    obj.display_type = "BOUNDS"


def leave_out_of_local_view(obj):
    space = viewport()
    bpy.context.view_layer.objects.active = bpy.data.objects["seen"]
    for other in bpy.context.view_layer.objects:
        other.select_set(other.name == "seen")
    area = next(a for a in bpy.context.window_manager.windows[0].screen.areas if a.type == "VIEW_3D")
    region = next(r for r in area.regions if r.type == "WINDOW")
    with bpy.context.temp_override(area=area, region=region, space_data=space):
        bpy.ops.view3d.localview(frame_selected=False)
    assert space.local_view is not None


HIDING = [
    hide_by_eye,
    hide_in_viewports,
    hide_collection_by_eye,
    show_as_wire,
    show_as_bounds,
    leave_out_of_local_view,
]


@pytest.mark.parametrize("hide", HIDING)
def test_what_the_viewport_does_not_show_is_not_there(hide):
    add_camera()
    add_cube("seen", location=(-2, 0, 0))
    hide(add_cube("unseen", location=(2, 0, 0)))
    drawn, renderer = draw()
    assert renderer.instances.objects == ("seen",)
    assert (drawn["ids"] > 0).sum() > 100
    if hide not in (show_as_wire, show_as_bounds):  # which draw lines
        assert_same_as_picture(drawn["ids"])


@pytest.mark.parametrize("by", ["object", "collection"])
def test_what_is_hidden_from_renders_is_there_unless_told_otherwise(by, scene):
    add_camera()
    add_cube("seen", location=(-2, 0, 0))
    hidden = add_cube("hidden", location=(2, 0, 0))
    if by == "object":
        hidden.hide_render = True
    else:
        collection = bpy.data.collections.new("hidden")
        scene.collection.children.link(collection)
        scene.collection.objects.unlink(hidden)
        collection.objects.link(hidden)
        collection.hide_render = True
    drawn, renderer = draw()
    assert renderer.instances.objects == ("hidden", "seen")
    assert_same_as_picture(drawn["ids"])
    _, renderer = draw(hidden_in_renders=False)
    assert renderer.instances.objects == ("seen",)
    assert renderer.instances.ids.tolist() == [2]


def change_position(cube):
    cube.location.x = 1


def change_vertex(cube):
    cube.data.vertices[0].co.x -= 2
    cube.data.update()


def change_modifier(cube):
    cube.modifiers.new("subdivision", "SUBSURF").levels = 2


def change_mesh(cube):
    cube.data = mesh([(-2, -2, 0), (2, -2, 0), (0, 2, 0)], [(0, 1, 2)])


def change_sharpness(cube):
    cube.data.shade_smooth()


def delete(cube):
    bpy.data.objects.remove(cube)


def rename(cube):
    cube.name = "zzz"


@pytest.mark.parametrize(
    "change", [change_position, change_vertex, change_modifier, change_mesh, change_sharpness, delete, rename]
)
def test_every_change_is_seen_in_the_next_picture(change):
    """A renderer that has drawn before draws what a new one draws, without `view_layer.update()`."""
    add_camera()
    add_cube("other", location=(-3, 0, 0), half=0.5)
    cube = add_cube("a", rotation=(0.3, 0.4, 0.5))
    before, renderer = draw("ids", "depth", "normals_world")
    for _ in range(2):
        again = renderer.render()
        assert all(again[name].tobytes() == before[name].tobytes() for name in before)
    change(cube)
    after, expected = renderer.render(), draw("ids", "depth", "normals_world")[0]
    assert any(after[name].tobytes() != before[name].tobytes() for name in before)
    for name in before:
        np.testing.assert_array_equal(after[name], expected[name])


@pytest.mark.parametrize("modifier", [None, "SUBSURF"])
def test_what_is_being_edited_is_drawn_as_it_is(modifier):
    add_camera()
    cube = add_cube("a", half=0.5)
    if modifier:
        cube.modifiers.new("modifier", modifier)
    _, renderer = draw("ids", "depth", "normals_world")
    bpy.context.view_layer.objects.active = cube
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    bpy.ops.transform.resize(value=(3, 2, 1))
    edited = renderer.render()
    bpy.ops.object.mode_set(mode="OBJECT")
    for name, expected in draw("ids", "depth", "normals_world")[0].items():
        np.testing.assert_allclose(edited[name], expected, atol=1e-5)
    assert (edited["ids"] > 0).sum() > 100


def test_arrays_are_the_callers_own():
    add_camera()
    add_cube()
    drawn, renderer = draw("ids", "depth")
    expected = drawn["ids"].copy()
    drawn["ids"][:] = 77
    drawn["depth"][:] = 0
    assert renderer.annotate()["instances"]["pixels"].tolist() == [(expected > 0).sum()]
    np.testing.assert_array_equal(renderer.render()["ids"], expected)
    assert all(array.flags.c_contiguous and array.flags.owndata for array in renderer.render().values())


def material_with_alpha(image=None, alpha=None, **node_settings):
    material = bpy.data.materials.new("material")
    if material.node_tree is None:
        material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    shader = nodes["Principled BSDF"]
    if alpha is not None:
        shader.inputs["Alpha"].default_value = alpha
    if image is not None:
        node = nodes.new("ShaderNodeTexImage")
        node.image = image
        for name, value in node_settings.items():
            setattr(node, name, value)
        links.new(node.outputs["Alpha"], shader.inputs["Alpha"])
    emission = shader.inputs["Emission Color"]
    emission.default_value, shader.inputs["Emission Strength"].default_value = (1, 1, 1, 1), 1
    return material


def disc_image(size=64):
    """An image that is opaque within a disc, off its middle."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    alpha = ((x - 0.4) ** 2 + (y - 0.6) ** 2 < 0.3**2).astype(np.float32)
    image = bpy.data.images.new("disc", size, size, alpha=True)
    image.pixels.foreach_set(np.stack([alpha * 0 + 1] * 3 + [alpha], axis=-1).ravel())
    image.update()
    return image


def add_card(material):
    card = add_plane("card", x=(-3, 3), y=(-3, 3))
    uv = card.data.uv_layers.new(name="map")
    uv.uv.foreach_set("vector", np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float32).ravel())
    card.data.materials.append(material)
    return card


@pytest.mark.parametrize("interpolation", ["Linear", "Closest"])
def test_an_image_makes_holes_where_the_rendered_picture_has_them(interpolation):
    add_camera()
    add_card(material_with_alpha(disc_image(), interpolation=interpolation))
    assert (draw()[0]["ids"] > 0).mean() > 0.6, "in Solid there are no holes"
    drawn, renderer = draw("ids", "depth", "flow", alpha_threshold=0.5)
    seen = drawn["ids"] > 0
    assert 0.1 < seen.mean() < 0.3
    np.testing.assert_array_equal(np.isfinite(drawn["depth"]), seen)
    picture = btb.OffScreenRenderer(btb.Camera(shape=SHAPE), mode="rgb", samples=1)
    picture.set_render_style("RENDERED")
    bpy.context.scene.world = None
    # One sample of EEVEE lies somewhere in the pixel, not at its centre.
    assert ((picture.render()[..., 0] > 127) != seen).mean() < 0.015
    table = renderer.annotate()["instances"]
    np.testing.assert_array_equal(table["box"], table["box_amodal"])
    assert table["visible_fraction"].tolist() == [1]
    moved = renderer.render()
    np.testing.assert_array_equal(np.isfinite(moved["flow_backward"][..., 0]), seen)


def test_transparent_materials_are_not_there_and_slots_are_told_apart():
    add_camera()
    card = add("card", mesh([(x, y, 0) for x in (-3, 0, 3) for y in (-2, 2)], [(0, 2, 3, 1), (2, 4, 5, 3)]))
    card.data.materials.append(material_with_alpha(alpha=0.2))
    card.data.materials.append(material_with_alpha(alpha=0.8))
    card.data.polygons[1].material_index = 1
    solid = draw()[0]["ids"] > 0
    holes = draw(alpha_threshold=0.5)[0]["ids"] > 0
    middle = SHAPE[1] // 2
    assert holes[:, : middle - 1].sum() == 0
    np.testing.assert_array_equal(holes[:, middle + 1 :], solid[:, middle + 1 :])
    card.data.materials[0], card.data.materials[1] = card.data.materials[1], None
    np.testing.assert_array_equal(draw(alpha_threshold=0.5)[0]["ids"] > 0, solid)


def test_what_makes_a_material_transparent_and_cannot_be_followed_is_said_once(caplog):
    add_camera()
    material = material_with_alpha()
    nodes = material.node_tree.nodes
    noise = nodes.new("ShaderNodeTexNoise")
    material.node_tree.links.new(noise.outputs[0], nodes["Principled BSDF"].inputs["Alpha"])
    add_card(material)
    with caplog.at_level(logging.WARNING):
        drawn, renderer = draw(alpha_threshold=0.5)
        renderer.render()
    assert (drawn["ids"] > 0).mean() > 0.6
    assert [record.message for record in caplog.records] == [
        "material 'material' counts as opaque in labels: its Alpha comes from a 'Noise Texture' node, "
        "expected an Image Texture"
    ]


def test_an_empty_scene_and_meshes_without_faces():
    add_camera()
    add("points", mesh([(0, 0, 0), (1, 0, 0)], []))
    drawn, renderer = draw("ids", "depth", "normals_world", "semantic", "flow")
    assert (drawn["ids"] == 0).all()
    assert np.isinf(drawn["depth"]).all()
    labels = renderer.annotate()
    assert len(labels["instances"]["id"]) == 0
    renderer.render()


def test_the_size_may_change(scene):
    camera = add_camera()
    add_cube()
    scene.render.resolution_x, scene.render.resolution_y = 64, 48
    renderer = btb.LabelRenderer(btb.Camera(camera), ("ids", "flow"))
    assert renderer.render()["ids"].shape == (48, 64)
    scene.render.resolution_percentage = 50
    drawn = renderer.render()
    assert drawn["ids"].shape == (24, 32)
    assert np.isnan(drawn["flow_backward"]).all()
    assert btb.LabelRenderer(btb.Camera(camera, shape=(1, 1))).render()["ids"].shape == (1, 1)


def test_survives_loading_a_file(tmp_path):
    add_camera()
    add_cube()
    expected, _ = draw()
    file = str(tmp_path / "scene.blend")
    bpy.ops.wm.save_as_mainfile(filepath=file)
    for _ in range(3):
        bpy.ops.wm.open_mainfile(filepath=file)
        np.testing.assert_array_equal(draw()[0]["ids"], expected["ids"])


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
    _, renderer = draw()
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
    add_text()
    _, renderer = draw("ids", "depth", "normals_world", "flow", "semantic")
    gpu.state.depth_test_set("GREATER")
    gpu.state.blend_set("ADDITIVE")
    before = everything()
    if fails:
        from blendtorch.btb import label_pass

        def fail(*args):
            raise RuntimeError("amid drawing")

        monkeypatch.setattr(label_pass, "draw_group", fail)
        with pytest.raises(RuntimeError, match="amid drawing"):
            renderer.render()
    else:
        renderer.render()
        renderer.annotate()
    after = everything()
    gpu.state.depth_test_set("NONE")
    gpu.state.blend_set("NONE")
    assert after == before


def test_a_matrix_that_is_flat_does_no_harm():
    add_camera()
    cube = add_cube()
    cube.matrix_world = Matrix.Diagonal((1, 1, 0, 1))
    drawn, renderer = draw("ids", "normals_world")
    assert (drawn["ids"] > 0).sum() > 100
    seen = drawn["normals_world"][drawn["ids"] > 0]
    np.testing.assert_allclose(seen, np.tile((0, 0, 1), (len(seen), 1)), atol=1e-6)
    assert np.isfinite(renderer.annotate()["instances"]["pose"]).all()
