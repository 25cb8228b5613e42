"""Which Blenders the tests run on."""

import os
import sys
from pathlib import Path
from typing import NoReturn

import pytest

REPO = Path(__file__).resolve().parents[1]

# The bpy module of each version, in the environments that `make test` makes.
BLENDERS = {version: REPO / f".venv-blender-{version}" / "bin" / "python" for version in ("4.2", "4.5", "5.2")}
# The one of the Python that runs the tests.
THIS = "4.5" if sys.version_info[:2] == (3, 11) else "5.2"
BLENDERS[THIS] = Path(sys.executable)


def missing(version: str) -> str:
    """Why a version cannot be tested here; empty when it can."""
    if BLENDERS[version].exists():
        return ""
    return f"Blender {version} is not installed: `make blenders` makes {BLENDERS[version].parents[1].name}"


def skip(reason: str) -> NoReturn:
    """Skips a test whose Blender is missing; in CI, where none is, fails it."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
