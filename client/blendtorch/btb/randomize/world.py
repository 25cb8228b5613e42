"""Randomizers of what surrounds the scene."""

import math
from dataclasses import dataclass
from typing import Any

import bpy

from ...errors import RandomizeError
from . import find
from .context import Context
from .distributions import Constant, Distribution, Uniform
from .draws import check_number, number
from .images import draw_image, images_in, load
from .nodes import add_node, cut, join, nodes_of, output_of, tree_of
from .place import Place
from .randomizer import Randomizer, register
from .target import Target

WORLDS = ("WORLD",)

_AS_IT_IS = Constant(1.0)
_ALL_ROUND = Uniform(0.0, 2.0 * math.pi)


@register
@dataclass(frozen=True)
class WorldImage(Randomizer):
    """A panorama of a folder (HDRI, equirectangular) as background and light.

    Attributes:
        target: Of type WORLD; the name "" is the scene's world, and makes one for a scene that has none.
        folder: Where the images lie, folders inside it left out; `//` is the folder of the .blend.
        strength: Factor of its light.
        rotation: Radians about the world's Z.
    """

    target: Target
    folder: str
    strength: Distribution = _AS_IT_IS
    rotation: Distribution = _ALL_ROUND

    TARGETS = WORLDS

    def apply(self, ctx: Context) -> None:
        """Draws the image, its strength and its rotation."""
        path = draw_image(self.folder, ctx.rng)
        strength, rotation = number(self.strength, ctx.rng), number(self.rotation, ctx.rng)
        for world in self._worlds(ctx):
            if tree_of(world) is None:
                ctx.change(world, "use_nodes", True)
            background = add_node(ctx, world, "ShaderNodeBackground")
            background.inputs["Strength"].default_value = strength
            texture = add_node(ctx, world, "ShaderNodeTexEnvironment")
            texture.image = load(ctx, path)
            mapping = add_node(ctx, world, "ShaderNodeMapping")
            mapping.inputs["Rotation"].default_value = (0.0, 0.0, rotation)
            coordinates = add_node(ctx, world, "ShaderNodeTexCoord")
            output = output_of(world.node_tree) or add_node(ctx, world, "ShaderNodeOutputWorld")
            links = world.node_tree.links  # of nodes that go, and the links with them
            links.new(coordinates.outputs["Generated"], mapping.inputs["Vector"])
            links.new(mapping.outputs["Vector"], texture.inputs["Vector"])
            links.new(texture.outputs["Color"], background.inputs["Color"])
            join(ctx, world, background.outputs["Background"], output.inputs["Surface"])

    def check(self, ctx: Context) -> None:
        """Looks for the world and the images, and whether the distributions give numbers."""
        if self.target.name:
            find.blocks(ctx, self.target)
        images_in(self.folder)
        check_number(self.strength, -math.inf, math.inf)
        check_number(self.rotation, -math.inf, math.inf)
        ctx.announced.add(_background_of(ctx, self.target))

    def _worlds(self, ctx: Context) -> list[Any]:
        if not self.target.name and ctx.scene.world is None:
            _add_world(ctx)
        return find.blocks(ctx, self.target)


@register
@dataclass(frozen=True)
class WorldStrength(Randomizer):
    """How bright the surroundings are.

    Attributes:
        target: Of type WORLD; the name "" is the scene's.
        distribution: Factor, of all backgrounds among the world's nodes.
    """

    target: Target
    distribution: Distribution

    TARGETS = WORLDS

    def apply(self, ctx: Context) -> None:
        """Draws one number."""
        strength = number(self.distribution, ctx.rng)
        for world in find.blocks(ctx, self.target):
            for node in _backgrounds(world):
                socket = node.inputs["Strength"]
                cut(ctx, world, socket)
                ctx.change(socket, "default_value", strength)

    def check(self, ctx: Context) -> None:
        """Looks for the world, and whether the distribution gives numbers."""
        if _background_of(ctx, self.target) not in ctx.announced:
            for world in find.blocks(ctx, self.target):
                _backgrounds(world)
        check_number(self.distribution, -math.inf, math.inf)


def _backgrounds(world: Any) -> list[Any]:
    found = nodes_of(world, "BACKGROUND")
    if not found:
        raise RandomizeError(f'world "{world.name}" has no Background node, which has the strength; add one')
    return found


def _background_of(ctx: Context, target: Target) -> tuple[str, str]:
    """What a check announces: that a world, or the one that a scene without one is given, has a Background node."""
    in_use = ctx.scene.world.name if ctx.scene.world is not None else ""
    return "Background", target.name or in_use


def _add_world(ctx: Context) -> None:
    """A world for a scene without one, until the sample is done."""
    world = bpy.data.worlds.new("BlendTorch")
    place = Place.of(world)

    def remove() -> None:
        made = place.find()
        if made is not None:
            bpy.data.worlds.remove(made)

    ctx.on_restore(remove)
    ctx.change(ctx.scene, "world", world)
