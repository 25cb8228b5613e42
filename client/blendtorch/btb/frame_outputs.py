"""The outputs of `FrameRenderer`: which passes they need, which engines give them, and how passes become arrays."""

from collections.abc import Iterable, Iterator, Sequence

import bpy
import numpy as np

from ..errors import ConfigError, SceneError
from . import compat
from .camera import Camera
from .cryptomatte import dominant_bits
from .exr import Exr

AOV = "aov:"
# Outputs and the passes they need, by the view layer's names (`use_pass_...`). Depth tells where flow is not known.
_PASSES: dict[str, tuple[str, ...]] = {
    "image": (),
    "image_linear": (),
    "depth": ("z",),
    "position": ("z",),
    "normals_world": ("normal",),
    "normals_camera": ("normal",),
    "flow_backward": ("vector", "z"),
    "flow_forward": ("vector", "z"),
    "object_ids": ("cryptomatte_object",),
    "material_ids": ("cryptomatte_material",),
}
# Engines other than EEVEE and Cycles give only these, Workbench all of them.
_OF_ANY_ENGINE = {"image", "image_linear", "depth", "position"}
# Depth from here on is Blender's way to say that there is nothing.
_NOTHING_M = 1e9


def check_outputs(outputs: Sequence[str]) -> tuple[str, ...]:
    """Checks the names of outputs.

    Raises:
        ConfigError: One is unknown, or there is none.
    """
    if isinstance(outputs, str):
        raise ConfigError(f"outputs is the text {outputs!r}, expected a list of names: [{outputs!r}].")
    if not outputs:
        raise ConfigError(f"outputs is empty, expected some of {_listed()}.")
    for output in outputs:
        if output not in _PASSES and not (output.startswith(AOV) and output != AOV):
            raise ConfigError(f"output {output!r} is unknown, expected one of {_listed()}.")
    return tuple(dict.fromkeys(outputs))


def check_given_by(engine: str, outputs: Iterable[str]) -> None:
    """Checks that the engine gives the outputs.

    Raises:
        ConfigError: It does not.
    """
    missing = [output for output in outputs if output not in _OF_ANY_ENGINE]
    if missing and engine not in {"EEVEE", "CYCLES"}:
        raise ConfigError(
            f"engine {engine!r} does not give {', '.join(missing)}: render with engine='EEVEE' or engine='CYCLES'."
        )


def check_scene(scene: bpy.types.Scene, view_layer: bpy.types.ViewLayer, outputs: Iterable[str], blurs: bool) -> None:
    """Checks that the scene is one that gives the outputs.

    Args:
        scene: What will be rendered.
        view_layer: Its view layer that will be.
        outputs: What is wanted.
        blurs: Whether motion blur, if on, stays so.

    Raises:
        ConfigError: Flow is wanted with motion blur, or an AOV that is not declared or that nothing writes.
    """
    for output in outputs:
        if output.startswith("flow") and blurs and scene.render.use_motion_blur:
            raise ConfigError(
                f"{output} is wanted and motion blur is on, with which Blender's vector pass is zero: set "
                "scene.render.use_motion_blur = False, or noise_free=True."
            )
        if not output.startswith(AOV):
            continue
        name = output.removeprefix(AOV)
        if name not in view_layer.aovs:
            raise ConfigError(
                f"{output}: view layer {view_layer.name!r} declares no AOV {name!r}, it has "
                f"{', '.join(sorted(aov.name for aov in view_layer.aovs)) or 'none'}: add it with view_layer.aovs.add(), "
                "give that its name and type, and write it in a material with an AOV Output node."
            )
        if not any(node.bl_idname == "ShaderNodeOutputAOV" and node.aov_name == name for node in _shader_nodes()):
            raise ConfigError(
                f"{output}: no material or world has an AOV Output node of that name, so it would be 0 everywhere. "
                "Add one (ShaderNodeOutputAOV) and set its aov_name."
            )


def passes_for(outputs: Iterable[str], engine: str) -> set[str]:
    """The passes that the outputs need, as the view layer's `use_pass_...` name them."""
    passes = {name for output in outputs for name in _PASSES.get(output, ())}
    if "z" in passes and _background_is_clip_end(engine):
        passes.add("normal")
    return passes


class Passes:
    """The passes of a render, as arrays of our conventions: the contents of the outputs."""

    def __init__(self, exr: Exr, view_layer: bpy.types.ViewLayer, engine: str, camera: Camera) -> None:
        if exr.shape != camera.shape:
            raise SceneError(f"Blender rendered {exr.shape} pixels, expected the camera's {camera.shape}.")
        self._exr = exr
        self._view_layer = view_layer
        self._engine = engine
        self._camera = camera
        self._depth: np.ndarray | None = None

    def image_linear(self) -> np.ndarray:
        """H x W x 4 float32, scene-linear, multiplied by alpha."""
        return self._stacked("Combined", "RGBA")

    def depth(self) -> np.ndarray:
        """H x W float32, background inf."""
        if self._depth is None:
            self._depth = self._read_depth()
        return self._depth.copy()

    def position(self) -> np.ndarray:
        """H x W x 3 float32 world, from depth, for EEVEE's own pass has half precision; background NaN."""
        height, width = self._exr.shape
        clip, world_from_camera = self._camera.proj_matrix, np.linalg.inv(self._camera.view_matrix)
        right, up, backward, origin = world_from_camera[:3, :].T
        x = (np.arange(width) + 0.5) * 2.0 / width - 1.0
        y = 1.0 - (np.arange(height) + 0.5) * 2.0 / height
        perspective = clip[3, 2] == -1.0
        # Beside the axis by so much, times depth if perspective, else always.
        shift = clip[:2, 2] if perspective else -clip[:2, 3]
        columns = ((x + shift[0]) / clip[0, 0])[:, None] * right - (backward if perspective else -origin)
        rows = ((y + shift[1]) / clip[1, 1])[:, None] * up
        beside = columns.astype(np.float32)[None, :, :] + rows.astype(np.float32)[:, None, :]
        depth = (self.depth() + self._unknown())[..., None]
        if perspective:
            beside *= depth
            beside += origin.astype(np.float32)
        else:
            beside -= depth * backward.astype(np.float32)
        return beside

    def normals_world(self) -> np.ndarray:
        """H x W x 3 float32, world axes, background 0."""
        return self._stacked("Normal", "XYZ")

    def normals_camera(self) -> np.ndarray:
        """H x W x 3 float32, Blender camera axes, background 0."""
        return self.normals_world() @ self._camera.view_matrix[:3, :3].T.astype(np.float32)

    def flow(self, direction: str) -> np.ndarray:
        """H x W x 2 float32 pixels (dx, dy), y down, background NaN.

        Blender's vector pass has y up, and holds "previous - this" in X, Y but "this - next" in Z, W.
        """
        channels = {"backward": {"X": 1.0, "Y": -1.0}, "forward": {"Z": -1.0, "W": 1.0}}[direction]
        flow = np.empty((*self._exr.shape, 2), np.float32)
        for index, (channel, sign) in enumerate(channels.items()):
            flow[..., index] = self._channel("Vector", channel) * np.float32(sign) + self._unknown()
        return flow

    def matte(self, kind: str) -> np.ndarray:
        """H x W uint32, the bits of what covers most of a pixel; `kind` is "Object" or "Material"."""
        ranks: list[tuple[np.ndarray, np.ndarray]] = []
        while self._channel_name(name := f"Crypto{kind}{len(ranks) // 2:02d}", "r") in self._exr.channels:
            ranks += [(self._channel(name, "r"), self._channel(name, "g"))]
            ranks += [(self._channel(name, "b"), self._channel(name, "a"))]
        if not ranks:
            self._channel(f"Crypto{kind}00", "r")  # which raises
        return dominant_bits(ranks)

    def aov(self, name: str) -> np.ndarray:
        """H x W float32 of an AOV of type VALUE, H x W x 4 of one of type COLOR."""
        if self._view_layer.aovs[name].type == "VALUE":
            return np.array(self._channel(name, "X"))
        return self._stacked(name, "RGBA")

    def _unknown(self) -> np.ndarray:
        """H x W float32 to add to what background does not have: NaN there, elsewhere 0."""
        return np.where(np.isinf(self.depth()), np.float32(np.nan), np.float32(0.0))

    def _read_depth(self) -> np.ndarray:
        depth = np.array(self._channel("Depth", "Z"))
        nothing = depth >= _NOTHING_M
        if _background_is_clip_end(self._engine):
            # The value is that of the depth buffer's end, some percent off where the clip range is extreme. A surface near
            # it has a normal, background has none.
            _, clip_end = self._camera.clip_range
            flat = (depth >= 0.9 * clip_end) & ~self.normals_world().any(axis=-1)
            if flat.any():
                nothing |= depth >= depth[flat].min()
        depth[nothing] = np.inf
        return depth

    def _stacked(self, name: str, channels: str) -> np.ndarray:
        stacked = np.empty((*self._exr.shape, len(channels)), np.float32)
        for index, channel in enumerate(channels):
            stacked[..., index] = self._channel(name, channel)
        return stacked

    def _channel(self, name: str, channel: str) -> np.ndarray:
        full = self._channel_name(name, channel)
        if full not in self._exr.channels:
            raise SceneError(
                f"Blender rendered no channel {full!r}; there are {', '.join(self._exr.channels)}. Up to Blender 4.5 names "
                "are cut after 63 letters: shorten those of view layer and AOV."
            )
        return self._exr.channels[full]

    def _channel_name(self, name: str, channel: str) -> str:
        return f"{self._view_layer.name}.{name}.{channel}"


def _background_is_clip_end(engine: str) -> bool:
    return engine == "EEVEE" and compat.eevee_background_depth_is_clip_end()


def _shader_nodes() -> Iterator[bpy.types.Node]:
    owners = [*bpy.data.materials, *bpy.data.worlds, *bpy.data.lights]
    trees = [owner.node_tree for owner in owners if owner.node_tree is not None]
    groups = [group for group in bpy.data.node_groups if group.bl_idname == "ShaderNodeTree"]
    for tree in [*trees, *groups]:
        yield from tree.nodes


def _listed() -> str:
    return f"{', '.join(map(repr, _PASSES))}, and 'aov:NAME' for the AOV of that name"
