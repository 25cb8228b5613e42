"""Which Blenders the tests run on."""

import os
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]

# The bpy module of each version, in the environments that `make test` makes.
BLENDERS = {
    "4.2": REPO / ".venv-blender-4.2" / "bin" / "python",
    "4.5": Path(sys.executable),
    "5.2": REPO / ".venv-blender-5.2" / "bin" / "python",
}


def missing(version: str) -> str:
    """Why a version cannot be tested here; empty when it can."""
    if BLENDERS[version].exists():
        return ""
    return f"Blender {version} is not installed: `make blenders` makes {BLENDERS[version].parents[1].name}"


def skip_is_failure() -> bool:
    """Whether a Blender that is missing fails its tests, as in CI, and does not skip them."""
    return bool(os.environ.get("CI"))
