"""The randomizer of a material's texture."""

from dataclasses import dataclass
from typing import Any

from ...errors import RandomizeError
from . import find
from .context import Context
from .images import draw_image, images_in, load
from .material import principled
from .nodes import add_node, join
from .place import Place
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
            _keep_shown(ctx, material)
            ctx.change(material.node_tree.nodes, "active", texture)

    def check(self, ctx: Context) -> None:
        """Looks for the materials and the images."""
        for material in find.materials(ctx, self.target):
            _shaders(material)
        images_in(self.folder)


def _keep_shown(ctx: Context, material: Any) -> None:
    """Has the same textures shown again after the sample: Blender shows that of the node that is made active alone."""
    shown = {node.name: node.show_texture for node in material.node_tree.nodes}
    place = Place.of(material)

    def put_back() -> None:
        owner = place.find()
        for node in owner.node_tree.nodes if owner is not None else ():
            if node.show_texture != shown.get(node.name, node.show_texture):
                node.show_texture = shown[node.name]

    ctx.on_restore(put_back)


def _shaders(material: Any) -> list[Any]:
    found = principled(material)
    if not found:
        raise RandomizeError(f'material "{material.name}" does not use nodes; turn on Use Nodes in Material Properties')
    return found
