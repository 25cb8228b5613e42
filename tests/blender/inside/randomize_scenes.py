"""Scenes to randomize, an example of each type of randomizer, and all of a scene's values to the bit."""

import bpy
import numpy as np
import pytest

from blendtorch.btb import randomize
from blendtorch.btb.randomize import Choice, Constant, LogUniform, Normal, Target, Uniform

CUBE, PARTS = Target("OBJECT", "Cube"), Target("COLLECTION", "Parts")
HOOK = """
import bpy

def pre_frame(ctx):
    ctx.change(bpy.data.objects["Cube"], "location", ctx.rng.random(3))
    ctx.change(bpy.data.objects["Cube"], '["fresh"]', 3)
    ctx.change(bpy.data.objects["Cube"], '["speed"]', 7)

def post_frame(ctx):
    ctx.sample["drawn"] = float(ctx.rng.random())
    ctx.sample["frame"] = ctx.frame
"""


def prepare(folder):
    """The default scene with more in it: parents, textures, shared materials, odd modes of rotation, images in a folder."""
    scene = bpy.context.scene
    cube = bpy.data.objects["Cube"]
    cube["speed"], cube["many"] = 0.1, [0.1, 0.2, 0.3]
    cube.location = (0.1, -0.0, 0.3)
    parent = bpy.data.objects.new("Parent", None)
    parent.location, parent.rotation_euler, parent.scale = (1, 2, 3), (0.3, 0.2, 0.1), (2, 2, 2)
    scene.collection.objects.link(parent)
    parts, inner = bpy.data.collections.new("Parts"), bpy.data.collections.new("Inner")
    scene.collection.children.link(parts)
    parts.children.link(inner)
    for i, mode in enumerate(("XYZ", "QUATERNION", "AXIS_ANGLE", "ZXY")):
        part = bpy.data.objects.new(f"Part {i}", cube.data)
        part.rotation_mode = mode
        part.rotation_euler = (0.1, 0.2, 0.3)
        (inner if i % 2 else parts).objects.link(part)
        if i % 2:
            part.parent = parent
            part.matrix_parent_inverse = parent.matrix_basis.inverted()
            part.delta_location, part.delta_rotation_euler = (0.1, 0, 0), (0, 0.2, 0)
    floor = bpy.data.meshes.new("Floor")
    floor.from_pydata([(-3, -3, 0), (3, -3, 0), (3, 3, 1), (-3, 3, 0)], [], [(0, 1, 2, 3)])
    scene.collection.objects.link(bpy.data.objects.new("Floor", floor))
    material = bpy.data.materials["Material"]
    texture = material.node_tree.nodes.new("ShaderNodeTexChecker")
    shader = material.node_tree.nodes["Principled BSDF"]
    material.node_tree.links.new(texture.outputs["Color"], shader.inputs["Base Color"])
    material.node_tree.links.new(texture.outputs["Fac"], shader.inputs["Roughness"])
    for i in range(3):
        write_image(folder / f"{i}.png", i / 3)
    bpy.data.texts.new("hook.py").write(HOOK)
    bpy.context.view_layer.update()


def write_image(path, value):
    image = bpy.data.images.new("written", 4, 2)
    image.pixels.foreach_set(np.full(32, value, np.float32))
    image.filepath_raw, image.file_format = str(path), "PNG"
    image.save()
    bpy.data.images.remove(image)


def examples(folder):
    """At least one randomizer of each type, whatever types there are."""
    folder = str(folder)
    made = [
        randomize.LocationInBox(CUBE, (-1, -2, 0), (1, 2, 3), label="place"),
        randomize.LocationInBox(PARTS, (-1, -2, 0), (1, 2, 3)),
        randomize.LocationInBox(Target("CAMERA"), (5, 5, 5), (6, 6, 6)),
        randomize.LocationInSphere(PARTS, (0, 0, 1), 2.0),
        randomize.LocationInSphere(Target("LIGHT", "Light"), (0, 0, 1), 2.0, surface_only=True),
        randomize.LocationOnSurface(PARTS, "Floor", offset=0.1, align=True),
        randomize.Rotation(PARTS),
        randomize.Rotation(PARTS, (0, 0, -1), (0, 0.5, 1), seed=3),
        randomize.Scale(PARTS, LogUniform(0.5, 2)),
        randomize.Scale(CUBE, Normal(1, 0.1, 0.5, 1.5), uniform=False),
        randomize.LookAt(Target("CAMERA"), CUBE, Uniform(-0.1, 0.1), Normal(0, 0.1)),
        randomize.LookAt(PARTS, (0, 0, 5)),
        randomize.MaterialColor(PARTS, Uniform(0, 1)),
        randomize.MaterialColor(Target("MATERIAL", "Material"), Choice([(0.1, 0.5, 0.6), (0.9, 0.5, 0.6)]), "HSV"),
        randomize.MaterialRoughness(CUBE, Uniform(0, 1)),
        randomize.MaterialMetallic(CUBE, Choice((0.0, 1.0), weights=(3, 1))),
        randomize.MaterialTexture(CUBE, folder),
        randomize.LightEnergy(Target("LIGHT", "Light"), LogUniform(10, 1000)),
        randomize.LightColor(Target("OBJECT", "Light"), Uniform((0, 0.1, 1), (1, 0.4, 1)), "HSV"),
        randomize.WorldImage(Target("WORLD"), folder),
        randomize.WorldStrength(Target("WORLD", "World"), Constant(0.3)),
        randomize.Property(CUBE, "location", Uniform(0, 1), index=2),
        randomize.Property(CUBE, "rotation_mode", Choice(("ZXY", "QUATERNION"))),
        randomize.Property(CUBE, '["speed"]', Uniform(0, 1)),
        randomize.Property(CUBE, '["many"]', Uniform(0, 1)),
        randomize.Property(Target("CAMERA"), "angle", Uniform(0.3, 1)),
        randomize.Property(Target("SCENE"), "frame_start", Choice((300, 301))),
        randomize.Visibility(PARTS, 0.5),
        randomize.Hook("hook.py"),
    ]
    assert {type(one).__name__ for one in made} == set(randomize.TYPES)
    return made


_BLOCKS = ("objects", "materials", "worlds", "lights", "cameras", "images", "scenes", "collections", "meshes")
_CONTAINERS = ("nodes", "inputs", "outputs")


def everything():
    """All simple values of the data blocks that randomizers can reach, their nodes and links: {path: value to the bit}."""
    found = {}
    for name in _BLOCKS:
        for block in getattr(bpy.data, name):
            where = f"{name}/{block.name}"
            _simple(found, where, block)
            found[f"{where}/custom"] = repr(
                [(key, type(value), getattr(value, "to_list", lambda v=value: v)()) for key, value in block.items()]
            )
            tree = getattr(block, "node_tree", None)
            if tree is None:
                continue
            found[f"{where}/active"] = tree.nodes.active.name if tree.nodes.active else None
            found[f"{where}/links"] = sorted(
                (a.from_node.name, a.from_socket.identifier, a.to_node.name, a.to_socket.identifier, a.is_muted)
                for a in tree.links
            )
            for node in tree.nodes:
                _simple(found, f"{where}/{node.name}", node)
                for i, socket in enumerate(node.inputs):
                    _simple(found, f"{where}/{node.name}/{i}", socket)
    layer = bpy.context.view_layer
    found["eyes"] = {obj.name: obj.hide_get() for obj in layer.objects}
    found["world"] = {scene.name: scene.world and scene.world.name for scene in bpy.data.scenes}
    return found


def _simple(found, where, struct):
    # Asking an image for its size loads it.
    for prop in struct.bl_rna.properties:
        if prop.type in {"POINTER", "COLLECTION"} or prop.identifier in {"use_nodes", "tag", "has_data"}:
            continue
        value = getattr(struct, prop.identifier)
        found[f"{where}.{prop.identifier}"] = bits(value)


def bits(value):
    if isinstance(value, float):
        return value.hex()
    if hasattr(value, "__len__") and not isinstance(value, str | bytes | set):
        return tuple(bits(item) for item in value)
    return value


def apply(randomizers, index=0, **more):
    return randomize.apply(randomizers, seed=5, address=(index,), index=index, **more)


@pytest.fixture(name="cube")
def default_cube():
    return bpy.data.objects["Cube"]


def place(entries, seed=5, address=(0,), **more):
    with randomize.apply(entries, seed=seed, address=address, **more):
        return tuple(bpy.data.objects["Cube"].location)


def text(source, name="mine.py"):
    block = bpy.data.texts.get(name) or bpy.data.texts.new(name)
    block.clear()
    block.write(source)
    return randomize.Hook(name)
