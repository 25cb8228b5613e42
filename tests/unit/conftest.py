"""What the tests without Blender share. They are the same at each run: hypothesis draws nothing new."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from instances import FakeInstance, Sample

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


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Callable[..., FakeInstance]]:
    """Starts instances without Blender: `instance(samples, transport="shm", btid=7, ...)`, see `FakeInstance`."""
    made: list[FakeInstance] = []

    def start(samples: Iterable[Sample], transport: str = "shm", **options: Any) -> FakeInstance:
        made.append(FakeInstance(samples, tmp_path, transport, **options))
        return made[-1]

    yield start
    for one in made:
        one.close()
