"""What LabelRenderer draws: all that the viewport shows, numbered and classed."""

import bpy
import numpy as np
import pytest
from label_scenes import (
    add,
    add_camera,
    add_cube,
    add_geometry_instances,
    add_plane,
    assert_same_as_picture,
    draw_labels,
    instance_of,
    mesh,
)
from mathutils import Matrix

from blendtorch import btb
from blendtorch.errors import SceneError


@pytest.fixture(autouse=True)
def scene():
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    return bpy.context.scene


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
    drawn, renderer = draw_labels()
    assert set(np.unique(drawn["ids"])) == {0, 1}
    assert renderer.instances.objects == (obj.name,)
    assert renderer.instances.instancers == ("",)
    assert_same_as_picture(drawn["ids"])


def test_two_metaballs_of_a_family_are_one_thing():
    add_camera()
    first = add_metaball()
    second = add("ball.001", first.data.copy())
    second.location.x = -2
    drawn, renderer = draw_labels()
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
    drawn, renderer = draw_labels("ids", "semantic")
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
    first, renderer = draw_labels()
    cubes[0].hide_set(True)
    hidden = renderer.render()["ids"]
    assert set(np.unique(hidden)) == {0, 2, 3}
    np.testing.assert_array_equal(hidden[first["ids"] > 1], first["ids"][first["ids"] > 1])
    np.testing.assert_array_equal(draw_labels()[0]["ids"], hidden)


def test_classes_from_a_property():
    add_camera()
    add_cube("a", location=(-3, 0, 0), half=0.5)["class_id"] = 7
    add_cube("none", location=(-1, 0, 0), half=0.5)
    shown, own = add_cube("b", half=0.5), add_cube("c", half=0.5, location=(2, 0, 0))
    own["class_id"] = 9
    instance_of(shown, own, location=(1, 0, 0))["class_id"] = 8
    drawn, renderer = draw_labels("ids", "semantic")
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
        _, renderer = draw_labels(classes=mapping)
        return dict(zip(renderer.instances.objects, renderer.instances.class_ids.tolist(), strict=True))

    assert classes({"wheels": 2, "cars": 1}) == {"car": 1, "wheel": 2, "other": 0}
    assert classes({"cars": 1, "wheels": 2}) == {"car": 1, "wheel": 1, "other": 0}
    with pytest.raises(SceneError, match=r"no collection 'trucks'.*cars, wheels"):
        classes({"trucks": 3})


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
    before, renderer = draw_labels("ids", "depth", "normals_world")
    for _ in range(2):
        again = renderer.render()
        assert all(again[name].tobytes() == before[name].tobytes() for name in before)
    change(cube)
    after, expected = renderer.render(), draw_labels("ids", "depth", "normals_world")[0]
    assert any(after[name].tobytes() != before[name].tobytes() for name in before)
    for name in before:
        np.testing.assert_array_equal(after[name], expected[name])


@pytest.mark.parametrize("modifier", [None, "SUBSURF"])
def test_what_is_being_edited_is_drawn_as_it_is(modifier):
    add_camera()
    cube = add_cube("a", half=0.5)
    if modifier:
        cube.modifiers.new("modifier", modifier)
    _, renderer = draw_labels("ids", "depth", "normals_world")
    bpy.context.view_layer.objects.active = cube
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    bpy.ops.transform.resize(value=(3, 2, 1))
    edited = renderer.render()
    bpy.ops.object.mode_set(mode="OBJECT")
    for name, expected in draw_labels("ids", "depth", "normals_world")[0].items():
        np.testing.assert_allclose(edited[name], expected, atol=1e-5)
    assert (edited["ids"] > 0).sum() > 100


def test_arrays_are_the_callers_own():
    add_camera()
    add_cube()
    drawn, renderer = draw_labels("ids", "depth")
    expected = drawn["ids"].copy()
    drawn["ids"][:] = 77
    drawn["depth"][:] = 0
    assert renderer.annotate()["instances"]["pixels"].tolist() == [(expected > 0).sum()]
    np.testing.assert_array_equal(renderer.render()["ids"], expected)
    assert all(array.flags.c_contiguous and array.flags.owndata for array in renderer.render().values())


def test_an_empty_scene_and_meshes_without_faces():
    add_camera()
    add("points", mesh([(0, 0, 0), (1, 0, 0)], []))
    drawn, renderer = draw_labels("ids", "depth", "normals_world", "semantic", "flow")
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


def test_a_matrix_that_is_flat_does_no_harm():
    add_camera()
    cube = add_cube()
    cube.matrix_world = Matrix.Diagonal((1, 1, 0, 1))
    drawn, renderer = draw_labels("ids", "normals_world")
    assert (drawn["ids"] > 0).sum() > 100
    seen = drawn["normals_world"][drawn["ids"] > 0]
    np.testing.assert_allclose(seen, np.tile((0, 0, 1), (len(seen), 1)), atol=1e-6)
    assert np.isfinite(renderer.annotate()["instances"]["pose"]).all()


def test_faces_that_only_begin_elsewhere_are_another_surface():
    """Blender uses addresses of meshes again, and these differ in nothing but where their faces begin."""
    add_camera()
    vertices = [(-3, -1, 0), (-1, -2, 0), (0, 1, 0), (1, -2, 0), (3, 0, 0), (2, 2, 0), (-2, 2.5, 0)]
    meshes = [mesh(vertices, [(0, 1, 2), (3, 4, 5, 6)]), mesh(vertices, [(0, 1, 2, 3), (4, 5, 6)])]
    obj = add("a", meshes[0])
    expected = []
    for data in meshes:
        obj.data = data
        expected.append(draw_labels()[0]["ids"])
    assert (expected[0] != expected[1]).sum() > 100
    _, renderer = draw_labels()
    for i in range(40):
        obj.data = meshes[i % 2]
        obj.update_tag()
        np.testing.assert_array_equal(renderer.render()["ids"], expected[i % 2])


def test_a_background_set_is_drawn_and_numbered(scene):
    add_camera()
    add_cube("own", location=(-2, 0, 0))
    other = bpy.data.scenes.new("set")
    cube = add_cube("of the set", location=(2, 0, 0))
    scene.collection.objects.unlink(cube)
    other.collection.objects.link(cube)
    scene.background_set = other
    drawn, renderer = draw_labels()
    assert renderer.instances.objects == ("own", "of the set")
    assert set(np.unique(drawn["ids"])) == {0, 1, 2}


def test_instances_are_numbered_by_name_whatever_the_order_they_come_in():
    """Of two scenes that were built the other way round."""
    tables = []
    for names in (("x", "y"), ("y", "x")):
        bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
        add_camera()
        parts = {name: add_cube(f"part {name}", half=0.4) for name in names}
        for name in names:
            instance_of(parts[name], location=(ord(name) - 120.5, 0, 0), name=f"shows {name}")
        drawn, renderer = draw_labels()
        tables.append((renderer.instances.objects, renderer.instances.ids.tolist(), drawn["ids"].tobytes()))
    assert tables[0] == tables[1]


def test_a_vertex_that_is_nowhere():
    add_camera()
    cube = add_cube()
    cube.data.vertices[0].co.x = float("nan")
    _, renderer = draw_labels("ids", "normals_world")
    renderer.render()
    table = renderer.annotate()["instances"]
    assert all(np.isfinite(table[name]).all() for name in ("bounds", "box3d_world", "box3d_pixel", "pose"))
