"""The randomizer of a material's texture."""

from dataclasses import dataclass
from typing import Any

from ...errors import RandomizeError
from . import find
from .context import Context
from .images import draw_image, images_in, load
from .material import principled
from .nodes import add_node, join
from .randomizer import Randomizer, register
from .target import MATERIALS, Target


@register
@dataclass(frozen=True)
class MaterialTexture(Randomizer):
    """An image of a folder as base colour, laid on by the object's UV map.

    Attributes:
        target: Of type MATERIAL, or OBJECT or COLLECTION: the materials in their slots, each once.
        folder: Where the images lie, folders inside it left out; `//` is the folder of the .blend.
    """

    target: Target
    folder: str

    TARGETS = MATERIALS

    def apply(self, ctx: Context) -> None:
        """Draws one image of each material."""
        for material in find.materials(ctx, self.target):
            path = draw_image(self.folder, ctx.rng)
            shaders = _shaders(material)
            texture = add_node(ctx, material, "ShaderNodeTexImage")
            texture.image = load(ctx, path)
            for node in shaders:
                join(ctx, material, texture.outputs["Color"], node.inputs["Base Color"])
            # The Solid view shows the texture of the active node, where it shows textures.
            ctx.change(material.node_tree.nodes, "active", texture)

    def check(self, ctx: Context) -> None:
        """Looks for the materials and the images."""
        for material in find.materials(ctx, self.target):
            _shaders(material)
        images_in(self.folder)


def _shaders(material: Any) -> list[Any]:
    found = principled(material)
    if not found:
        raise RandomizeError(f'material "{material.name}" does not use nodes; turn on Use Nodes in Material Properties')
    return found
