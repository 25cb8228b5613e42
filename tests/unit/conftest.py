"""What the tests without Blender share. They are the same at each run: hypothesis draws nothing new."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from instances import FakeInstance, Sample
from loader_samples import Start, fields
from reuse_streams import MakeTap, Tap

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


@pytest.fixture
def make_tap(instance: Start) -> Iterator[MakeTap]:
    """Starts an instance whose samples a tap holds, and gives both; taps are closed before their instances."""
    made: list[Tap] = []

    def make(sample: Callable[[int], dict[str, Any]] = fields, **options: Any) -> tuple[Tap, str]:
        made.append(Tap(sample))
        return made[-1], instance(made[-1], **options).address

    yield make
    for one in made:
        one.close()
