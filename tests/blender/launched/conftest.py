"""These tests launch Blender from the training side, and look at what comes, and at what is left behind."""

from pathlib import Path

import pytest

from tests.blenders import BLENDERS, THIS, missing, skip
from tests.leftovers import leaves_nothing  # noqa: F401  (a fixture)

SCRIPTS = Path(__file__).parent / "scripts"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "blender" in metafunc.fixturenames:
        # What Blender has no part in is tested with the one of this Python alone.
        alone = metafunc.definition.get_closest_marker("one_blender") is not None
        metafunc.parametrize("blender", [THIS] if alone else list(BLENDERS), indirect=True)


@pytest.fixture
def blender(request) -> str:
    """The path of a Blender, one version after the other."""
    if reason := missing(request.param):
        skip(reason)
    return str(BLENDERS[request.param])


@pytest.fixture
def script():
    """The path of a script of these tests, by name."""
    return lambda name: SCRIPTS / f"{name}.py"
