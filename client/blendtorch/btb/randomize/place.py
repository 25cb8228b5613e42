"""Where something of Blender's is, in names: stays right when undo moves what Python holds, or people rename it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import bpy

from .. import compat

COLLECTIONS = {
    "ACTION": "actions",
    "ARMATURE": "armatures",
    "BRUSH": "brushes",
    "CACHEFILE": "cache_files",
    "CAMERA": "cameras",
    "COLLECTION": "collections",
    "CURVE": "curves",
    "CURVES": "hair_curves",
    "FONT": "fonts",
    **compat.grease_pencil_collections(),
    "IMAGE": "images",
    "KEY": "shape_keys",
    "LATTICE": "lattices",
    "LIBRARY": "libraries",
    "LIGHT": "lights",
    "LIGHT_PROBE": "lightprobes",
    "LINESTYLE": "linestyles",
    "MASK": "masks",
    "MATERIAL": "materials",
    "MESH": "meshes",
    "META": "metaballs",
    "MOVIECLIP": "movieclips",
    "NODETREE": "node_groups",
    "OBJECT": "objects",
    "PALETTE": "palettes",
    "PARTICLE": "particles",
    "POINTCLOUD": "pointclouds",
    "SCENE": "scenes",
    "SCREEN": "screens",
    "SOUND": "sounds",
    "SPEAKER": "speakers",
    "TEXT": "texts",
    "TEXTURE": "textures",
    "VOLUME": "volumes",
    "WINDOWMANAGER": "window_managers",
    "WORKSPACE": "workspaces",
    "WORLD": "worlds",
}
"""The attribute of `bpy.data` for each `bpy.types.ID.id_type`."""

_WITH_TREES = ("materials", "worlds", "lights", "scenes", "linestyles", "textures")


@dataclass(frozen=True)
class Place:
    """A data block, or a struct inside it.

    Attributes:
        kind: Its `id_type`.
        name: Of the data block when it was looked at.
        uid: Its `session_uid`, which no other one of this session has; undo and renaming leave it alone.
        embedded: Attribute of the data block that holds one of its own, a node tree; or "".
        path: From there to the struct; or "".
        held: What cannot be named, such as preferences: itself.
    """

    kind: str
    name: str
    uid: int
    embedded: str = ""
    path: str = ""
    held: Any = None

    @classmethod
    def of(cls, struct: Any) -> Place:
        """Where a data block or a struct is now."""
        block = struct if isinstance(struct, bpy.types.ID) else getattr(struct, "id_data", None)
        if block is None:
            return cls("", "", 0, held=struct)
        path = ""
        if block is not struct:
            try:
                path = struct.path_from_id()
            except ValueError:  # there are structs that have none
                return cls("", "", 0, held=struct)
        if not block.is_embedded_data:
            return cls(block.id_type, block.name, block.session_uid, path=path)
        found = _owner(block)
        if found is None:
            return cls("", "", 0, held=struct)
        owner, attribute = found
        return cls(owner.id_type, owner.name, owner.session_uid, attribute, path)

    @property
    def block(self) -> Place:
        """Of the data block, or embedded one, that the path begins at."""
        return replace(self, path="")

    def find(self) -> Any:
        """What is there; None if it was removed, or another file was loaded."""
        if self.held is not None:
            return self.held
        blocks = getattr(bpy.data, COLLECTIONS[self.kind])
        block = blocks.get(self.name)
        if block is None or block.session_uid != self.uid:
            block = next((other for other in blocks if other.session_uid == self.uid), None)
        if block is not None and self.embedded:
            block = getattr(block, self.embedded)
        if block is None or not self.path:
            return block
        try:
            return block.path_resolve(self.path)
        except ValueError:
            return None


_owners: dict[int, Place] = {}


def _owner(embedded: bpy.types.ID) -> tuple[bpy.types.ID, str] | None:
    """The data block that holds an embedded one, which itself does not tell."""
    known = _owners.get(embedded.session_uid)
    owner = known.find() if known else None
    if owner is not None and owner.node_tree == embedded:
        return owner, "node_tree"
    for scene in bpy.data.scenes:
        if scene.collection == embedded:
            return scene, "collection"
    for name in _WITH_TREES:
        for block in getattr(bpy.data, name):
            if getattr(block, "node_tree", None) == embedded:
                _owners[embedded.session_uid] = Place(block.id_type, block.name, block.session_uid)
                return block, "node_tree"
    return None
