"""Randomizers of materials: the Principled BSDF of their nodes, and what the Solid view shows in its place."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ...errors import RandomizeError
from . import find
from .context import Context
from .distributions import Distribution
from .draws import check_color, check_number, color, number, within
from .nodes import cut, nodes_of, tree_of
from .randomizer import Randomizer, register
from .target import MATERIALS, Target


@register
@dataclass(frozen=True)
class MaterialColor(Randomizer):
    """The base colour; also the viewport's, of material and object, so that Solid pictures show it.

    Attributes:
        target: Of type MATERIAL, or OBJECT or COLLECTION: the materials in their slots, each once.
        distribution: Of three components. RGB is scene-linear; hue, saturation and value of HSV are of the linear colour.
        space: What the three mean.
    """

    target: Target
    distribution: Distribution
    space: Literal["RGB", "HSV"] = "RGB"

    TARGETS = MATERIALS

    def apply(self, ctx: Context) -> None:
        """Draws one colour of each material."""
        for material in find.materials(ctx, self.target):
            rgb = color(self.distribution, self.space, ctx.rng)
            set_inputs(ctx, material, "Base Color", (*rgb, 1.0))
            ctx.change(material, "diffuse_color", (*rgb, material.diffuse_color[3]))
        if self.target.type != "MATERIAL":
            for obj in find.objects(ctx, self.target):
                first = next((slot.material for slot in obj.material_slots if slot.material is not None), None)
                if first is not None:
                    ctx.change(obj, "color", (*first.diffuse_color[:3], obj.color[3]))

    def check(self, ctx: Context) -> None:
        """Looks for the materials, and whether the distribution gives colours."""
        check_materials(find.materials(ctx, self.target))
        check_color(self.distribution, self.space)


@dataclass(frozen=True)
class _PrincipledNumber(Randomizer):
    """A number from 0 to 1 that the Principled BSDF has as an input, and the material for Solid shading."""

    target: Target
    distribution: Distribution

    TARGETS = MATERIALS
    INPUT: ClassVar[str]  # of the node; the material's attribute is called the same in lower case

    def apply(self, ctx: Context) -> None:
        """Draws one number of each material."""
        for material in find.materials(ctx, self.target):
            value = within(number(self.distribution, ctx.rng), 0.0, 1.0)
            set_inputs(ctx, material, self.INPUT, value)
            ctx.change(material, self.INPUT.lower(), value)

    def check(self, ctx: Context) -> None:
        """Looks for the materials, and whether the distribution gives numbers from 0 to 1."""
        check_materials(find.materials(ctx, self.target))
        check_number(self.distribution, 0.0, 1.0)


@register
@dataclass(frozen=True)
class MaterialRoughness(_PrincipledNumber):
    """How rough the surface is: 0 is a mirror.

    Attributes:
        target: Of type MATERIAL, or OBJECT or COLLECTION: the materials in their slots, each once.
        distribution: From 0 to 1.
    """

    INPUT = "Roughness"


@register
@dataclass(frozen=True)
class MaterialMetallic(_PrincipledNumber):
    """Whether it is metal (1) or not (0).

    Attributes:
        target: Of type MATERIAL, or OBJECT or COLLECTION: the materials in their slots, each once.
        distribution: From 0 to 1; real things are one or the other: `Choice((0.0, 1.0))`.
    """

    INPUT = "Metallic"


def check_materials(materials: list[Any]) -> None:
    """Looks whether materials have what these randomizers set.

    Raises:
        RandomizeError: One is made by nodes, and has no Principled BSDF.
    """
    for material in materials:
        principled(material)


def principled(material: Any) -> list[Any]:
    """The Principled BSDF nodes of a material; none if it is made without nodes.

    Raises:
        RandomizeError: It is made by nodes, and has none.
    """
    found = nodes_of(material, "BSDF_PRINCIPLED")
    if not found and tree_of(material) is not None:
        raise RandomizeError(
            f'material "{material.name}" has no Principled BSDF among its nodes; add one, or vary an input of the nodes '
            "that it has as a property"
        )
    return found


def set_inputs(ctx: Context, material: Any, name: str, value: Any) -> None:
    """Sets an input of all Principled BSDF nodes, and takes away what is linked to it.

    Raises:
        RandomizeError: The material is made by nodes, and has none.
    """
    for node in principled(material):
        socket = node.inputs[name]
        cut(ctx, material, socket)
        ctx.change(socket, "default_value", value)
