"""Who may import what: `wire` <- `btb`, `wire` <- `btt`; torch stays out of Blender, bpy out of training."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "client" / "blendtorch"
STDLIB = set(sys.stdlib_module_names)


def imports(source: str, module: str, is_package: bool = False) -> set[str]:
    """Absolute names of all that a module imports, also inside functions; `from a import b` counts as a and a.b."""
    found = set()
    parent = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = parent[: len(parent) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


def imports_from_the_package_by_its_name(source: str) -> set[str]:
    """Modules of BlendTorch that are imported absolutely."""
    nodes = list(ast.walk(ast.parse(source)))
    found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and not node.level:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if is_within(name, "blendtorch")}


def asks_a_type_checker_alone(source: str, package: str) -> bool:
    """Whether a package is imported under `if TYPE_CHECKING` and nowhere else."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and dotted(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    return not any(is_within(name, package) for name in imports(ast.unparse(tree), "blendtorch"))


def is_within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def violations(source: str, module: str, is_package: bool = False) -> list[str]:
    """What a module does that the rules forbid; `module` is its name, such as "blendtorch.wire.codec"."""
    names = imports(source, module, is_package)
    outside = {name for name in names if name.split(".")[0] not in STDLIB}
    mentioned = {dotted(node) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}
    found = []

    def forbid(bad: set[str], rule: str) -> None:
        found.extend(f"{module}: {name}: {rule}" for name in sorted(bad))

    if module == "blendtorch":
        forbid(names, "blendtorch/__init__ imports nothing")
    if module == "blendtorch.srgb":
        forbid(outside, "srgb has the standard library alone")
    if is_within(module, "blendtorch.wire"):
        allowed = ["numpy", "blendtorch.errors", "blendtorch.wire"]
        allowed += (
            ["zmq"]
            if is_within(module, *(f"blendtorch.wire.{name}" for name in ("sockets", "curve", "handshake")))
            else []
        )
        # "from .." imports the package itself, which is nothing but its version.
        forbid({n for n in outside if not is_within(n, *allowed) and n != "blendtorch"}, "wire: stdlib, numpy, errors")
    if is_within(module, "blendtorch.labels", "blendtorch.sensor"):
        allowed = ["numpy", "blendtorch.errors", "blendtorch.labels"]
        allowed += ["blendtorch.sensor", "blendtorch.srgb"] if is_within(module, "blendtorch.sensor") else []
        forbid({n for n in outside if not is_within(n, *allowed) and n != "blendtorch"}, "numpy, errors, labels")
    if is_within(module, "blendtorch.recording"):
        # Each image library where its format is asked for, and in one module.
        allowed = ["numpy", "blendtorch.__version__", "blendtorch.errors", "blendtorch.recording"]
        allowed += ["blendtorch.wire.body"]
        allowed += ["PIL", "OpenEXR"] if module == "blendtorch.recording.images" else []
        forbid({n for n in outside if not is_within(n, *allowed) and n != "blendtorch"}, "numpy, errors, wire.body")
    if is_within(module, "blendtorch.export"):
        forbid(
            {n for n in names if is_within(n, "bpy", "torch", "blendtorch.btb", "blendtorch.btt")}, "export: no side"
        )
    if is_within(module, "blendtorch.btb"):
        forbid(
            {n for n in names if is_within(n, "torch", "gymnasium", "PIL", "blendtorch.btt", "blendtorch.export")},
            "btb never imports this",
        )
    if is_within(module, "blendtorch.btt"):
        forbid({n for n in names if is_within(n, "bpy", "blendtorch.btb")}, "btt never imports this")
    else:
        forbid({n for n in names if is_within(n, "gymnasium")}, "only btt imports Gymnasium")
    if module != "blendtorch.btt.env.sb3_vec_env" and not asks_a_type_checker_alone(source, "stable_baselines3"):
        forbid({n for n in names if is_within(n, "stable_baselines3")}, "only btt/env/sb3_vec_env.py imports this")
    if not is_within(module, "blendtorch.btb.envs", "blendtorch.btb.gpu_probe"):
        # Those are scripts, which Blender runs by their path.
        absolute = imports_from_the_package_by_its_name(source)
        forbid(absolute - {"blendtorch"}, "the package itself is imported relatively")
    if is_within(module, "blendtorch.launch"):
        # It runs inside Blender's own Python, too, which has neither torch nor psutil.
        allowed = ["blendtorch.__version__", "blendtorch.errors", "blendtorch.launch", "blendtorch.wire"]
        allowed += ["blendtorch.recording.origin"]
        allowed += ["psutil"] if module == "blendtorch.launch.usage" else []
        forbid({n for n in outside if not is_within(n, *allowed) and n != "blendtorch"}, "launch: stdlib, wire, origin")
    if is_within(module, "blendtorch.hub"):
        allowed = ["numpy", "blendtorch.errors", "blendtorch.hub", "blendtorch.wire", "blendtorch.recording"]
        forbid({n for n in outside if not is_within(n, *allowed) and n != "blendtorch"}, "hub: numpy, wire, recording")
    if module == "blendtorch.launch.guardian":
        forbid(outside, "the guardian has the standard library alone")
    if module != "blendtorch.btb.compat":
        versions = {n for n in mentioned | names if n.startswith("bpy.app.version")}
        forbid(versions, "only btb/compat.py reads Blender's version")
    if module != "blendtorch.btb.run":
        edits = {n for n in mentioned | names if is_within(n, "sys.path", "site.addsitedir")}
        forbid(edits, "only btb/run.py touches sys.path")
    return found


def name_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(PACKAGE)) for file in FILES])
def test_a_module_keeps_the_rules(file: Path) -> None:
    assert not violations(file.read_text(encoding="utf-8"), name_of(file), file.name == "__init__.py")


def test_all_layers_were_looked_at() -> None:
    names = {name_of(file) for file in FILES}
    assert names >= {"blendtorch", "blendtorch.wire", "blendtorch.btb.compat", "blendtorch.btb.run"}
    assert names >= {"blendtorch.wire.sockets", "blendtorch.launch.guardian", "blendtorch.btt", "blendtorch.btb"}
    assert names >= {"blendtorch.launch", "blendtorch.hub"}


BAD = [
    ("import os", "blendtorch"),
    ("from . import errors", "blendtorch"),
    ("import zmq", "blendtorch.wire.codec"),
    ("import zmq.auth", "blendtorch.wire.duplex"),
    ("import torch", "blendtorch.wire.sockets"),
    ("def f():\n    import torch.nn", "blendtorch.wire.codec"),
    ("from ..launch import launcher", "blendtorch.wire.duplex"),
    ("from .. import btb", "blendtorch.wire.duplex"),
    ("import torch", "blendtorch.srgb"),
    ("import bpy", "blendtorch.labels.boxes"),
    ("import scipy", "blendtorch.labels.boxes"),
    ("from ..btb import Camera", "blendtorch.labels.boxes"),
    ("from ..sensor import BrownConrady", "blendtorch.labels.boxes"),
    ("import torch", "blendtorch.sensor.noise"),
    ("import torch", "blendtorch.recording.writer"),
    ("from PIL import Image", "blendtorch.recording.writer"),
    ("from ..wire.sockets import MessageSocket", "blendtorch.recording.writer"),
    ("import torch", "blendtorch.export.coco"),
    ("from ..btt import Recording", "blendtorch.export.coco"),
    ("import torch", "blendtorch.btb.camera"),
    ("from ..export import export", "blendtorch.btb.recorder"),
    ("from torch import nn", "blendtorch.btb.camera"),
    ("from gymnasium.spaces import Box", "blendtorch.btb.env.base"),
    ("from ..btt.colors import srgb_to_linear", "blendtorch.btb.camera"),
    ("from .. import btt", "blendtorch.btb.camera"),
    ("from ... import btt", "blendtorch.btb.env.base"),
    ("import bpy", "blendtorch.btt.env"),
    ("def f():\n    from bpy.types import Object", "blendtorch.btt.env"),
    ("from blendtorch import btb", "blendtorch.btt.env"),
    ("from ..btb import camera", "blendtorch.btt.env"),
    ("import gymnasium", "blendtorch.wire.spaces"),
    ("import gymnasium", "blendtorch.cli.demo"),
    ("def f():\n    import stable_baselines3", "blendtorch.btt.env.sb3"),
    ("from stable_baselines3.common.vec_env import VecEnv", "blendtorch.btt.env.blender_vector_env"),
    ("if TYPE_CHECKING:\n    import stable_baselines3\nimport stable_baselines3", "blendtorch.btt.env.sb3"),
    ("from blendtorch import btb", "blendtorch.btb.env.run"),
    ("from blendtorch.wire import spaces", "blendtorch.btb.env.run"),
    ("import blendtorch.wire.spaces", "blendtorch.btt.env.infos"),
    ("import torch\nfrom blendtorch import btb", "blendtorch.btb.envs.cartpole"),
    ("import bpy", "blendtorch.launch.launcher"),
    ("import torch", "blendtorch.launch.launcher"),
    ("import psutil", "blendtorch.launch.vitals"),
    ("from ..btt.colors import srgb_to_linear", "blendtorch.launch.launcher"),
    ("from ..btb import compat", "blendtorch.launch.launcher"),
    ("import bpy", "blendtorch.hub.hub"),
    ("import torch", "blendtorch.hub.hub"),
    ("from PIL import Image", "blendtorch.hub.hub"),
    ("from ..launch import LaunchInfo", "blendtorch.hub.hub"),
    ("from ..btt.batch import Batch", "blendtorch.hub.hub"),
    ("from ..btb import recorder", "blendtorch.hub.hub"),
    ("import numpy", "blendtorch.launch.guardian"),
    ("from .instance import Instance", "blendtorch.launch.guardian"),
    ("from ..errors import ConfigError", "blendtorch.launch.guardian"),
    ("import bpy\nif bpy.app.version >= (5, 0, 0): pass", "blendtorch.btb.camera"),
    ("import bpy\nprint(bpy.app.version_string)", "blendtorch.btb.camera"),
    ("from bpy.app import version", "blendtorch.btb.camera"),
    ("import sys\nsys.path.insert(0, 'x')", "blendtorch.launch.finder"),
    ("import sys\nsys.path += ['x']", "blendtorch.btb.session"),
    ("from sys import path", "blendtorch.cli.main"),
    ("import site\nsite.addsitedir('x')", "blendtorch.cli.main"),
]
GOOD = [
    (
        "import json, numpy as np\nfrom ..errors import ProtocolError\nfrom .message import Kind",
        "blendtorch.wire.codec",
    ),
    (
        "import numpy as np\nfrom ..errors import ConfigError\nfrom .projection import as_points",
        "blendtorch.labels.boxes",
    ),
    ("from ..labels.boxes import boxes_from_ids", "blendtorch.sensor.distortion"),
    ("import zmq", "blendtorch.wire.sockets"),
    ("def f():\n    from PIL import Image", "blendtorch.recording.images"),
    ("from ..wire.body import DTYPES", "blendtorch.recording.shard_files"),
    ("import h5py\nfrom ..labels.boxes import boxes_from_ids", "blendtorch.export.hdf5"),
    ("import zmq\nfrom zmq.utils import z85", "blendtorch.wire.handshake"),
    ("from .. import __version__\nimport bpy, gpu, numpy\nfrom ..wire import Kind", "blendtorch.btb.session"),
    ("import torch, gymnasium\nfrom ..wire.sockets import MessageSocket", "blendtorch.btt.dataset"),
    ("import bpy\nfrom blendtorch import btb\nimport blendtorch.btb.env", "blendtorch.btb.envs.cartpole"),
    ("from stable_baselines3.common.vec_env import VecEnv\nimport gymnasium", "blendtorch.btt.env.sb3_vec_env"),
    ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import stable_baselines3", "blendtorch.btt.env.sb3"),
    ("import blendtorch", "blendtorch.btt.env.registration"),
    ("import bpy\nbpy.app.version", "blendtorch.btb.compat"),
    ("import bpy\nbpy.app.background", "blendtorch.btb.camera"),
    ("import sys\nsys.path.insert(0, 'x')", "blendtorch.btb.run"),
    ("import os, signal, subprocess", "blendtorch.launch.guardian"),
    ("import psutil", "blendtorch.launch.usage"),
    ("from .. import __version__\nfrom ..recording.origin import identity_of", "blendtorch.launch.launcher"),
    ("import numpy\nfrom ..recording import RecordingWriter\nfrom ..wire import Kind", "blendtorch.hub.hub"),
]


@pytest.mark.parametrize(("source", "module"), BAD)
def test_the_rules_can_be_broken(source: str, module: str) -> None:
    assert violations(source, module)


@pytest.mark.parametrize(("source", "module"), GOOD)
def test_what_is_allowed_passes(source: str, module: str) -> None:
    assert not violations(source, module)


def test_an_init_module_resolves_relative_imports_from_itself() -> None:
    assert imports("from .camera import Camera", "blendtorch.btb", is_package=True) >= {"blendtorch.btb.camera"}
    assert imports("from ..errors import X", "blendtorch.btb", is_package=True) >= {"blendtorch.errors"}
