"""Holes in surfaces where a material is transparent, for label passes beside Material and Rendered pictures.

What is looked at is the Alpha of the Principled BSDF that the material's output shows: a number, or an Image Texture
node (its Alpha, or its Color as grey) on a UV map. Below the threshold there is no surface. Other node trees cannot
be followed outside of Blender's engines: such a material counts as opaque, and a warning names it once.
"""

import logging
from dataclasses import dataclass

import bpy

from . import compat

_log = logging.getLogger(__name__)
_EXTENSIONS = {"REPEAT": 0, "EXTEND": 1, "CLIP": 2}


@dataclass(frozen=True)
class Hole:
    """How a material is transparent.

    Attributes:
        image: Name of the image whose alpha makes the holes; None if the material is transparent everywhere.
        uv_map: Name of the UV map, "" for the one that is active for renders.
        extension: What is beyond the image, as the shader numbers it.
        use_color: Whether alpha is the image's colour as grey instead of its alpha channel.
        is_closest: Whether texels are not interpolated.
    """

    image: str | None = None
    uv_map: str = ""
    extension: int = 0
    use_color: bool = False
    is_closest: bool = False


class HoleFinder:
    """Finds the holes of materials, once a frame.

    Args:
        threshold: Alpha below which there is no surface, 0 .. 1.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self._found: dict[str, Hole | None] = {}
        self._warned: set[str] = set()

    def begin_frame(self) -> None:
        """Forgets what was found: materials may have changed."""
        self._found.clear()

    def of_object(self, obj: bpy.types.Object) -> tuple[Hole | None, ...]:
        """For each material slot its holes; an empty tuple if no slot has any."""
        holes = tuple(self._of_material(slot.material) for slot in obj.material_slots)
        return holes if any(hole is not None for hole in holes) else ()

    def _of_material(self, material: bpy.types.Material | None) -> Hole | None:
        if material is None:
            return None
        name = material.name_full
        if name not in self._found:
            try:
                self._found[name] = self._look_at(material)
            except _CannotFollow as reason:
                self._found[name] = None
                if name not in self._warned:
                    self._warned.add(name)
                    _log.warning("material %r counts as opaque in labels: %s", name, reason)
        return self._found[name]

    def _look_at(self, material: bpy.types.Material) -> Hole | None:
        tree = material.node_tree
        output = tree.get_output_node("EEVEE") if tree is not None and compat.uses_nodes(material) else None
        if output is None or not output.inputs["Surface"].is_linked:
            return None
        shader = output.inputs["Surface"].links[0].from_node
        if shader.type != "BSDF_PRINCIPLED":
            if shader.type in {"MIX_SHADER", "ADD_SHADER", "BSDF_TRANSPARENT", "GROUP"}:
                raise _CannotFollow(f"its surface is a {shader.bl_label!r} node, expected a Principled BSDF")
            return None
        alpha = shader.inputs["Alpha"]
        if not alpha.is_linked:
            return Hole() if alpha.default_value < self.threshold else None
        link = alpha.links[0]
        if link.from_node.type != "TEX_IMAGE":
            raise _CannotFollow(f"its Alpha comes from a {link.from_node.bl_label!r} node, expected an Image Texture")
        return _image_hole(link.from_node, link.from_socket.name == "Color")


def _image_hole(node: bpy.types.ShaderNodeTexImage, use_color: bool) -> Hole | None:
    if node.image is None or node.image.size[0] == 0:
        raise _CannotFollow("its Image Texture has no image, or one that cannot be read")
    if node.projection != "FLAT" or node.extension not in _EXTENSIONS:
        raise _CannotFollow(f"its Image Texture has projection {node.projection}, extension {node.extension}")
    if node.image.source not in {"FILE", "GENERATED"}:
        raise _CannotFollow(f"its image is of source {node.image.source}, expected a single image")
    uv_map = ""
    if node.inputs["Vector"].is_linked:
        link = node.inputs["Vector"].links[0]
        if link.from_node.type == "UVMAP":
            uv_map = link.from_node.uv_map
        elif link.from_node.type != "TEX_COORD" or link.from_socket.name != "UV":
            raise _CannotFollow(f"its Image Texture is placed by a {link.from_node.bl_label!r} node, expected UVs")
    return Hole(
        image=node.image.name_full,
        uv_map=uv_map,
        extension=_EXTENSIONS[node.extension],
        use_color=use_color,
        is_closest=node.interpolation == "Closest",
    )


class _CannotFollow(Exception):
    pass
