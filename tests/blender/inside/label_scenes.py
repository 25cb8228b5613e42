"""Scenes of simple things, for tests of labels."""

import bpy
import numpy as np
from mathutils import Matrix

from blendtorch import btb

SHAPE = (96, 128)
FACES = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
CORNERS = [(x, y, z) for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)]


def add(name, data, matrix=None):
    """A new object in the scene's own collection."""
    obj = bpy.data.objects.new(name, data)
    bpy.context.scene.collection.objects.link(obj)
    if matrix is not None:
        obj.matrix_world = matrix
    return obj


def mesh(vertices, faces, name="mesh"):
    data = bpy.data.meshes.new(name)
    data.from_pydata(np.asarray(vertices, float).tolist(), [], faces)
    return data


def add_cube(name="cube", location=(0, 0, 0), half=1.0, rotation=(0, 0, 0)):
    obj = add(name, mesh(np.array(CORNERS) * half, FACES))
    obj.location, obj.rotation_euler = location, rotation
    return obj


def add_plane(name="plane", x=(-1, 1), y=(-1, 1), z=0.0):
    """A rectangle that faces +Z."""
    return add(name, mesh([(x[0], y[0], z), (x[1], y[0], z), (x[1], y[1], z), (x[0], y[1], z)], [(0, 1, 2, 3)]))


def add_sphere(name="sphere", location=(0, 0, 0), radius=1.0, segments=512):
    """A smooth sphere, by default so fine that its facets are within 2e-5 of its radius."""
    rings = segments // 2
    polar, azimuth = np.meshgrid(
        np.linspace(0, np.pi, rings + 1), np.arange(segments) * 2 * np.pi / segments, indexing="ij"
    )
    points = np.stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)], axis=-1)
    corner = np.arange((rings + 1) * segments).reshape(rings + 1, segments)
    right = np.roll(corner, -1, axis=1)
    quads = np.stack([corner[:-1], corner[1:], right[1:], right[:-1]], axis=-1).reshape(-1, 4)
    data = bpy.data.meshes.new(name)
    data.vertices.add(points.size // 3)
    data.vertices.foreach_set("co", (radius * points).ravel())
    data.loops.add(quads.size)
    data.loops.foreach_set("vertex_index", quads.ravel())
    data.polygons.add(len(quads))
    data.polygons.foreach_set("loop_start", np.arange(0, quads.size, 4))
    data.update(calc_edges=True)
    data.shade_smooth()
    obj = add(name, data)
    obj.location = location
    return obj


def add_camera(location=(0, 0, 10), rotation=(0, 0, 0), kind="PERSP", **settings):
    """The scene's camera; by default it looks down from 10 m, x right, y up."""
    data = bpy.data.cameras.new("camera")
    data.type = kind
    for name, value in settings.items():
        setattr(data, name, value)
    camera = add("camera", data, Matrix.LocRotScale(location, None, None))
    camera.rotation_euler = rotation
    bpy.context.scene.camera = camera
    return camera


def instance_of(*objs, location=(0, 0, 0), name="instancer"):
    """An empty that shows objects as a collection instance; they themselves leave the scene."""
    collection = bpy.data.collections.new(name)
    for obj in objs:
        collection.objects.link(obj)
        bpy.context.scene.collection.objects.unlink(obj)
    empty = add(name, None)
    empty.location = location
    empty.instance_type, empty.instance_collection = "COLLECTION", collection
    return empty


def add_geometry_instances(obj, source, keep_own=False):
    """Geometry nodes that show `source` at every vertex of `obj`."""
    tree = bpy.data.node_groups.new("nodes", "GeometryNodeTree")
    tree.interface.new_socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    tree.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    nodes, links = tree.nodes, tree.links
    start, end = nodes.new("NodeGroupInput"), nodes.new("NodeGroupOutput")
    info, on_points = nodes.new("GeometryNodeObjectInfo"), nodes.new("GeometryNodeInstanceOnPoints")
    info.inputs["Object"].default_value = source
    info.inputs["As Instance"].default_value = True
    join = nodes.new("GeometryNodeJoinGeometry")
    links.new(start.outputs[0], on_points.inputs["Points"])
    links.new(info.outputs["Geometry"], on_points.inputs["Instance"])
    links.new(on_points.outputs[0], join.inputs[0])
    if keep_own:
        links.new(start.outputs[0], join.inputs[0])
    links.new(join.outputs[0], end.inputs[0])
    obj.modifiers.new("nodes", "NODES").node_group = tree


def viewport():
    screen = bpy.context.window_manager.windows[0].screen
    return next(area.spaces.active for area in screen.areas if area.type == "VIEW_3D")


def flat_white():
    """Solid pictures from now on: white where there is any surface, black where there is none."""
    shading = viewport().shading
    shading.light, shading.color_type, shading.single_color = "FLAT", "SINGLE", (1, 1, 1)
    shading.show_object_outline = shading.show_cavity = shading.show_shadows = False
    shading.background_type, shading.background_color = "VIEWPORT", (0, 0, 0)


def draw_labels(*outputs, **options):
    """Renders labels once, by default ids; returns the arrays and the renderer."""
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


def label_renderer(*outputs, shape=SHAPE, **options):
    """A renderer through the scene's camera, by default of ids and depth."""
    return btb.LabelRenderer(btb.Camera(shape=shape), outputs or ("ids", "depth"), **options)
