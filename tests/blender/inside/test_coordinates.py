"""World coordinates of evaluated objects: modifiers, deformation, animation, every way of instancing."""

import itertools
import time

import bpy
import numpy as np
import pytest
from mathutils import Euler, Matrix, Vector

from blendtorch.btb.coordinates import bbox_coordinates, evaluated_pieces, object_coordinates, object_origins
from blendtorch.errors import SceneError

CORNERS = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))
FACES = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
POSE = Matrix.LocRotScale((1.0, -2.0, 0.5), Euler((0.3, 0.4, 0.5)), (1.0, 2.0, 0.5))


@pytest.fixture(autouse=True)
def scene():
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    return bpy.context.scene


def add(name, data, matrix=None):
    obj = bpy.data.objects.new(name, data)
    bpy.context.scene.collection.objects.link(obj)
    if matrix is not None:
        obj.matrix_world = matrix
    return obj


def add_mesh(vertices, faces=(), matrix=None, name="mesh"):
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(vertices, [], faces)
    return add(name, mesh, matrix)


def add_cube(matrix=None, name="cube"):
    return add_mesh(CORNERS.tolist(), FACES, matrix, name)


def transformed(matrix, points):
    return np.array([matrix @ Vector(point) for point in points])


def assert_same_points(actual, expected, atol=1e-5):
    """The same points in any order, each as often as in the other."""
    assert actual.shape == np.shape(expected)
    order = [np.lexsort(np.round(points, 3).T) for points in (actual, np.asarray(expected))]
    np.testing.assert_allclose(actual[order[0]], np.asarray(expected)[order[1]], atol=atol)


def add_nodes(obj, *chain):
    """Send the geometry of an object through geometry nodes: `chain` holds pairs of node type and input name."""
    tree = bpy.data.node_groups.new("nodes", "GeometryNodeTree")
    tree.interface.new_socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    tree.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    socket = tree.nodes.new("NodeGroupInput").outputs[0]
    nodes = []
    for kind, name in chain:
        nodes.append(tree.nodes.new(kind))
        tree.links.new(socket, nodes[-1].inputs[name])
        socket = nodes[-1].outputs[0]
    tree.links.new(socket, tree.nodes.new("NodeGroupOutput").inputs[0])
    obj.modifiers.new("nodes", "NODES").node_group = tree
    return tree, nodes


def add_instances(obj, source=None, realize=False, keep_own=False):
    """Show `source`, or a 0.2 m cube made by the nodes, at each vertex of `obj`."""
    chain = [("GeometryNodeInstanceOnPoints", "Points")]
    chain += [("GeometryNodeRealizeInstances", 0)] if realize else []
    chain += [("GeometryNodeJoinGeometry", 0)] if keep_own else []
    tree, nodes = add_nodes(obj, *chain)
    if source is None:
        node = tree.nodes.new("GeometryNodeMeshCube")
        node.inputs["Size"].default_value = (0.2, 0.2, 0.2)
    else:
        node = tree.nodes.new("GeometryNodeObjectInfo")
        node.inputs["Object"].default_value = source
        node.inputs["As Instance"].default_value = True
    tree.links.new(next(out for out in node.outputs if out.type == "GEOMETRY"), nodes[0].inputs["Instance"])
    if keep_own:
        group_input = next(node for node in tree.nodes if node.type == "GROUP_INPUT")
        tree.links.new(group_input.outputs[0], nodes[-1].inputs[0])


def new_collection(*objs):
    collection = bpy.data.collections.new("collection")
    for obj in objs:
        collection.objects.link(obj)
        bpy.context.scene.collection.objects.unlink(obj)
    return collection


def test_vertices_in_order_and_transformed_without_update():
    cube = add_cube(POSE)
    xyz = object_coordinates(cube)
    assert xyz.shape == (8, 3)
    assert xyz.dtype == np.float64
    np.testing.assert_allclose(xyz, transformed(POSE, CORNERS), atol=1e-6)
    cube.location.x += 3.0
    np.testing.assert_allclose(object_coordinates(cube), np.add(transformed(POSE, CORNERS), (3, 0, 0)), atol=1e-6)


def test_objects_are_concatenated_in_the_order_given():
    near, far = add_cube(), add_mesh([(5.0, 6.0, 7.0)])
    np.testing.assert_allclose(object_coordinates(far, near), [(5, 6, 7), *CORNERS])
    np.testing.assert_allclose(object_coordinates(near, far, near), [*CORNERS, (5, 6, 7), *CORNERS])
    assert object_coordinates().shape == (0, 3)
    assert bbox_coordinates().shape == (0, 3)
    assert object_origins().shape == (0, 3)


def test_parents_and_modifiers_count():
    cube = add_cube()
    cube.parent = add("parent", None, Matrix.Translation((0.0, 0.0, 9.0)))
    modifier = cube.modifiers.new("array", "ARRAY")
    modifier.use_relative_offset, modifier.use_constant_offset = False, True
    modifier.constant_offset_displace, modifier.count = (10.0, 0.0, 0.0), 3
    expected = np.concatenate([np.add(CORNERS, (x, 0, 9)) for x in (0, 10, 20)])
    assert_same_points(object_coordinates(cube), expected)
    box = bbox_coordinates(cube)
    np.testing.assert_allclose([box.min(axis=0), box.max(axis=0)], [(-1, -1, 8), (21, 1, 10)], atol=1e-5)


def test_animation_and_shape_keys(scene):
    cube = add_cube()
    cube.shape_key_add(name="Basis")
    key = cube.shape_key_add(name="up")
    key.data[7].co.z = 5.0
    for frame, value in ((1, 0.0), (11, 1.0)):
        key.value = value
        cube.location.x = 2.0 * value
        key.keyframe_insert("value", frame=frame)
        cube.keyframe_insert("location", frame=frame)
    for frame, z, x in ((1, 1.0, 0.0), (11, 5.0, 2.0)):
        scene.frame_set(frame)
        np.testing.assert_allclose(object_coordinates(cube)[7], (1.0 + x, 1.0, z), atol=1e-5)


def test_armature_deformation():
    armature = add("armature", bpy.data.armatures.new("armature"))
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    bone = armature.data.edit_bones.new("bone")
    bone.head, bone.tail = (0, 0, 0), (0, 0, 1)
    bpy.ops.object.mode_set(mode="OBJECT")
    cube = add_cube()
    cube.vertex_groups.new(name="bone").add(list(range(8)), 1.0, "REPLACE")
    cube.modifiers.new("armature", "ARMATURE").object = armature
    armature.pose.bones["bone"].location = (0.0, 4.0, 0.0)  # a bone's Y points along it
    np.testing.assert_allclose(object_coordinates(cube), np.add(CORNERS, (0, 0, 4)), atol=1e-5)
    np.testing.assert_allclose(object_coordinates(armature), [(0, 0, 0)], atol=1e-6)


@pytest.mark.parametrize("matrix", [Matrix.Identity(4), POSE])
def test_box_is_blenders_bound_box_in_its_order(matrix):
    obj = add_mesh([(0.0, 0.0, 0.0), (1.0, 2.0, 0.0), (0.5, 1.0, 3.0)], [(0, 1, 2)], matrix)
    obj.modifiers.new("array", "ARRAY").count = 3
    obj_eval = obj.evaluated_get(bpy.context.evaluated_depsgraph_get())
    box = bbox_coordinates(obj)
    assert box.shape == (8, 3)
    np.testing.assert_allclose(box, transformed(obj_eval.matrix_world, obj_eval.bound_box), atol=1e-5)


def test_box_of_a_subdivided_object_is_that_of_its_vertices():
    """Blender's bound_box is that of the mesh before a subdivision surface that comes last."""
    cube = add_cube(POSE)
    cube.modifiers.new("subdivide", "SUBSURF").levels = 2
    local = transformed(POSE.inverted(), object_coordinates(cube))
    assert len(local) == 98
    assert np.abs(local).max() < 0.9
    np.testing.assert_allclose(transformed(POSE.inverted(), bbox_coordinates(cube))[6], local.max(axis=0), atol=1e-5)


def test_box_of_an_object_scaled_flat():
    cube = add_cube(Matrix.Diagonal((2.0, 3.0, 0.0, 1.0)))
    box = bbox_coordinates(cube)
    np.testing.assert_allclose([box.min(axis=0), box.max(axis=0)], [(-2, -3, 0), (2, 3, 0)], atol=1e-6)


def text_of(body):
    curve = bpy.data.curves.new("text", "FONT")
    curve.body = body
    return curve


def metaball():
    data = bpy.data.metaballs.new("ball")
    data.elements.new()
    return data


def bevelled_curve():
    curve = bpy.data.curves.new("curve", "CURVE")
    curve.dimensions, curve.bevel_depth = "3D", 0.1
    curve.splines.new("POLY").points.add(1)
    curve.splines[0].points[1].co = (2.0, 0.0, 0.0, 1.0)
    return curve


def test_curves_as_meshes():
    local = transformed(POSE.inverted(), object_coordinates(add("curve", bevelled_curve(), POSE)))
    np.testing.assert_allclose([local.min(axis=0), local.max(axis=0)], [(0, -0.1, -0.1), (2, 0.1, 0.1)], atol=1e-5)


@pytest.mark.parametrize("data", [lambda: text_of("TEXT"), metaball], ids=["text", "metaball"])
def test_text_and_metaballs_as_meshes(data):
    obj = add("object", data(), POSE)
    dimensions = Vector(obj.evaluated_get(bpy.context.evaluated_depsgraph_get()).dimensions)
    assert max(dimensions) > 0.5
    local = transformed(POSE.inverted(), object_coordinates(obj))
    size = np.ptp(local, axis=0) * np.array(POSE.to_scale())
    np.testing.assert_allclose(size, dimensions, atol=2e-2)
    assert len(bbox_coordinates(obj)) == 8


def test_object_with_nothing_left_gives_no_rows_and_no_box():
    obj = add("text", text_of(""))
    assert object_coordinates(obj).shape == (0, 3)
    with pytest.raises(SceneError, match="'text' has no vertices"):
        bbox_coordinates(obj)


@pytest.mark.parametrize("kind", ["empty", "light", "camera"])
def test_objects_without_geometry_are_their_origin(kind):
    data = {"empty": None, "light": bpy.data.lights.new("l", "POINT"), "camera": bpy.data.cameras.new("c")}[kind]
    obj = add(kind, data, POSE)
    np.testing.assert_allclose(object_coordinates(obj), [POSE.translation], atol=1e-6)
    np.testing.assert_allclose(bbox_coordinates(obj), [POSE.translation] * 8, atol=1e-6)


def test_origins():
    parent, cube = add("parent", None, POSE), add_cube(Matrix.Translation((0.0, 0.0, 2.0)))
    cube.parent = parent
    origins = object_origins(cube, parent)
    assert origins.dtype == np.float64
    np.testing.assert_allclose(origins, [POSE @ Vector((0, 0, 2)), POSE.translation], atol=1e-5)


@pytest.mark.parametrize("realize", [False, True])
@pytest.mark.parametrize("from_object", [False, True])
def test_geometry_node_instances(realize, from_object):
    points = [(0.0, 0.0, 0.0), (4.0, 0.0, 0.0), (0.0, 6.0, 1.0)]
    obj = add_mesh(points, (), POSE, "points")
    source = add_cube(Matrix.Translation((50.0, 0.0, 0.0)), "source") if from_object else None
    add_instances(obj, source, realize)
    half = 1.0 if from_object else 0.1
    local = np.concatenate([CORNERS * half + point for point in points])
    assert_same_points(object_coordinates(obj), transformed(POSE, local), atol=1e-4)
    box = transformed(POSE.inverted(), bbox_coordinates(obj))
    np.testing.assert_allclose(box[[0, 6]], [(-half,) * 3, (4 + half, 6 + half, 1 + half)], atol=1e-4)
    if from_object:
        np.testing.assert_allclose(object_coordinates(source), np.add(CORNERS, (50, 0, 0)), atol=1e-5)


def test_own_geometry_and_instances_together():
    obj = add_cube(POSE, "both")
    add_instances(obj, keep_own=True)
    expected = np.concatenate([CORNERS, *(CORNERS * 0.1 + corner for corner in CORNERS)])
    assert_same_points(object_coordinates(obj), transformed(POSE, expected), atol=1e-4)
    np.testing.assert_allclose(object_coordinates(obj)[:8], transformed(POSE, CORNERS), atol=1e-4)


def test_point_cloud_made_by_nodes():
    obj = add_cube(POSE)
    add_nodes(obj, ("GeometryNodeMeshToPoints", 0))
    assert_same_points(object_coordinates(obj), transformed(POSE, CORNERS))


def test_collection_instances_nested():
    inner = add("inner", None, Matrix.Translation((0.0, 0.0, 3.0)))
    cube, light = add_cube(POSE), add("light", bpy.data.lights.new("light", "POINT"))
    inner.instance_type, inner.instance_collection = "COLLECTION", new_collection(cube, light)
    outer = add("outer", None, Matrix.Translation((10.0, 0.0, 0.0)))
    outer.instance_type, outer.instance_collection = "COLLECTION", new_collection(inner)
    bystander = add("bystander", None)
    bystander.instance_type, bystander.instance_collection = "COLLECTION", inner.instance_collection
    expected = transformed(POSE, CORNERS)
    moved = np.add(expected, (10, 0, 3))
    np.testing.assert_allclose(object_coordinates(outer), moved, atol=1e-5)
    np.testing.assert_allclose(object_coordinates(bystander, outer), [*expected, *moved], atol=1e-5)
    box = bbox_coordinates(outer)
    np.testing.assert_allclose([box.min(axis=0), box.max(axis=0)], [moved.min(axis=0), moved.max(axis=0)], atol=1e-5)


def test_instances_of_different_meshes_are_told_apart():
    """Objects of a collection, and meshes made by nodes, which all go by the name of the instancer."""
    empty = add("empty", None)
    plate = add_mesh([(7.0, 0.0, 0.0), (8.0, 0.0, 0.0), (8.0, 1.0, 0.0)], [(0, 1, 2)], name="plate")
    plate_xyz = object_coordinates(plate)
    empty.instance_type, empty.instance_collection = "COLLECTION", new_collection(add_cube(), plate)
    assert_same_points(object_coordinates(empty), np.concatenate([CORNERS, plate_xyz]))

    point = add_mesh([(0.0, 0.0, 0.0)], name="point")
    tree, (instancing, join) = add_nodes(
        point, ("GeometryNodeInstanceOnPoints", "Points"), ("GeometryNodeJoinGeometry", 0)
    )
    second = tree.nodes.new("GeometryNodeInstanceOnPoints")
    tree.links.new(next(node for node in tree.nodes if node.type == "GROUP_INPUT").outputs[0], second.inputs["Points"])
    tree.links.new(second.outputs[0], join.inputs[0])
    for node, size in ((instancing, 2.0), (second, 6.0)):
        cube = tree.nodes.new("GeometryNodeMeshCube")
        cube.inputs["Size"].default_value = (size, size, size)
        tree.links.new(cube.outputs["Mesh"], node.inputs["Instance"])
    assert_same_points(object_coordinates(point), np.concatenate([CORNERS, 3 * CORNERS]))


def test_collection_instance_of_a_light_alone_is_its_origin():
    empty = add("empty", None, POSE)
    collection = new_collection(add("light", bpy.data.lights.new("light", "POINT")))
    empty.instance_type, empty.instance_collection = "COLLECTION", collection
    np.testing.assert_allclose(object_coordinates(empty), [POSE.translation], atol=1e-6)


@pytest.mark.parametrize("show", [True, False])
def test_instancer_that_is_not_shown_does_not_count(show):
    plane = add_mesh([(0.0, 0.0, 0.0), (9.0, 0.0, 0.0), (0.0, 9.0, 0.0)], [(0, 1, 2)])
    child = add_cube()
    child.parent = plane
    plane.instance_type, plane.show_instancer_for_viewport = "VERTS", show
    xyz = object_coordinates(plane)
    assert len(xyz) == (3 if show else 0) + 3 * 8
    np.testing.assert_allclose([xyz.min(axis=0), xyz.max(axis=0)], [(-1, -1, -1), (10, 10, 1)], atol=1e-5)


def test_hidden_objects_keep_coordinates_that_are_current():
    cube = add_cube()
    cube.hide_set(True)
    cube.hide_render = True
    cube.location.x = 3.0
    cube.modifiers.new("triangulate", "SUBSURF").levels = 1
    assert len(object_coordinates(cube)) == 26
    np.testing.assert_allclose(object_coordinates(cube).mean(axis=0), (3, 0, 0), atol=1e-5)


@pytest.mark.parametrize("how", ["unlinked", "hide_viewport", "excluded"])
@pytest.mark.parametrize("function", [object_coordinates, bbox_coordinates, object_origins])
def test_what_is_not_evaluated_is_an_error(how, function, scene):
    cube = add_cube()
    if how == "unlinked":
        scene.collection.objects.unlink(cube)
    elif how == "hide_viewport":
        cube.hide_viewport = True
    else:
        scene.collection.children.link(new_collection(cube))
        bpy.context.view_layer.layer_collection.children["collection"].exclude = True
    with pytest.raises(SceneError, match=r"'cube' is not evaluated in view layer .*link it"):
        function(cube)


def test_wrong_arguments():
    cube = add_cube()
    with pytest.raises(TypeError, match="separate arguments"):
        object_coordinates([cube])
    with pytest.raises(SceneError, match=r"VOLUME.*convert"):
        object_coordinates(add("volume", bpy.data.volumes.new("volume")))


def test_given_depsgraph_and_evaluated_objects_are_accepted():
    cube = add_cube(POSE)
    depsgraph = bpy.context.evaluated_depsgraph_get()
    xyz = object_coordinates(cube.evaluated_get(depsgraph), depsgraph=depsgraph)
    np.testing.assert_allclose(xyz, object_coordinates(cube))


def test_triangles_cover_the_surface():
    ((piece,),) = evaluated_pieces(add_cube(POSE), triangles=True)
    a, b, c = np.moveaxis(piece.vertices[piece.triangles], 1, 0)
    assert np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2 == pytest.approx(24.0)
    ((piece,),) = evaluated_pieces(add_cube(POSE))
    assert piece.triangles.shape == (0, 3)


def test_reading_is_not_a_loop_over_vertices():
    grid = add_mesh([(0.0, 0.0, 0.0)] * 200_000)

    def seconds(function):
        start = time.thread_time()  # not the time that other processes take on a busy machine
        function()
        return time.thread_time() - start

    reading = min(seconds(lambda: object_coordinates(grid)) for _ in range(5))
    looping = min(seconds(lambda: [vertex.co[:] for vertex in grid.data.vertices]) for _ in range(3))
    assert object_coordinates(grid).shape == (200_000, 3)
    assert reading < looping / 3
