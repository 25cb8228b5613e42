"""Nodes and links that are added and cut for a while."""

from typing import Any

import bpy

from .. import compat
from .context import Context
from .place import Place


def tree_of(block: Any) -> Any:
    """The node tree that makes a material or world what it is; None if it has none, or does not use it."""
    return block.node_tree if compat.uses_nodes(block) else None


def nodes_of(block: Any, kind: str) -> list[Any]:
    """The nodes of a type, such as "BSDF_PRINCIPLED", in the order of the tree; none where nodes are not used."""
    tree = tree_of(block)
    return [] if tree is None else [node for node in tree.nodes if node.type == kind]


def add_node(ctx: Context, block: Any, kind: str) -> Any:
    """Adds a node such as "ShaderNodeTexImage" until the sample is done."""
    node = block.node_tree.nodes.new(kind)
    place, name = Place.of(block), node.name

    def remove() -> None:
        owner = place.find()
        if owner is not None and name in owner.node_tree.nodes:
            owner.node_tree.nodes.remove(owner.node_tree.nodes[name])

    ctx.on_restore(remove)
    return node


def cut(ctx: Context, block: Any, socket: Any) -> None:
    """Removes the link that ends at an input, so that its own value counts, until the sample is done."""
    for link in list(socket.links):
        ends = _end(link.from_socket), _end(link.to_socket)
        muted = link.is_muted
        block.node_tree.links.remove(link)
        place = Place.of(block)

        def join(place: Place = place, ends: tuple[_End, _End] = ends, muted: bool = muted) -> None:
            owner = place.find()
            if owner is None or any(name not in owner.node_tree.nodes for name, _ in ends):
                return
            (from_node, output), (to_node, given) = ends
            nodes = owner.node_tree.nodes
            made = owner.node_tree.links.new(nodes[from_node].outputs[output], nodes[to_node].inputs[given])
            if muted:
                made.is_muted = True

        ctx.on_restore(join)


def join(ctx: Context, block: Any, output: Any, given: Any) -> None:
    """Links an output to an input, in place of what was linked there, until the sample is done."""
    cut(ctx, block, given)
    block.node_tree.links.new(output, given)
    place, end = Place.of(block), _end(given)

    def part() -> None:
        owner = place.find()
        if owner is None or end[0] not in owner.node_tree.nodes:
            return
        for link in list(owner.node_tree.nodes[end[0]].inputs[end[1]].links):
            owner.node_tree.links.remove(link)

    ctx.on_restore(part)


_End = tuple[str, int]
"""A socket: the name of its node, and which of the inputs or outputs it is."""


def _end(socket: Any) -> _End:
    siblings = socket.node.outputs if socket.is_output else socket.node.inputs
    return socket.node.name, next(i for i, other in enumerate(siblings) if other == socket)


def output_of(tree: bpy.types.NodeTree) -> Any:
    """The output node that counts for all renderers; None if there is none."""
    return tree.get_output_node("ALL") or tree.get_output_node("EEVEE") or tree.get_output_node("CYCLES")
