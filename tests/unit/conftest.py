"""What the tests without Blender share. They are the same at each run: hypothesis draws nothing new."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from blendtorch.wire.sockets import MessageSocket

settings.register_profile("unit", derandomize=True, deadline=None, database=None, max_examples=200)
settings.load_profile("unit")


@pytest.fixture(params=["ipc", "tcp"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A free address to bind; of a bound tcp socket ask `socket.addresses` for the port."""
    if request.param == "tcp":
        return "tcp://127.0.0.1:*"
    return f"ipc://{tmp_path}/s"


@pytest.fixture
def make_socket() -> Iterator[Callable[..., MessageSocket]]:
    """Makes message sockets that are closed at the end of the test."""
    made: list[MessageSocket] = []

    def make(*args: object, **options: object) -> MessageSocket:
        made.append(MessageSocket(*args, **options))
        return made[-1]

    yield make
    for socket in made:
        socket.close()
