"""These tests launch Blender from the training side, and look at what comes, and at what is left behind."""

from pathlib import Path

import pytest

from tests.blenders import BLENDERS, missing, skip_is_failure
from tests.leftovers import leaves_nothing  # noqa: F401  (a fixture)

SCRIPTS = Path(__file__).parent / "scripts"


@pytest.fixture(params=list(BLENDERS))
def blender(request) -> str:
    """The path of a Blender, one version after the other."""
    if reason := missing(request.param):
        (pytest.fail if skip_is_failure() else pytest.skip)(reason)
    return str(BLENDERS[request.param])


@pytest.fixture
def script():
    """The path of a script of these tests, by name."""
    return lambda name: SCRIPTS / f"{name}.py"
