"""What the tests without Blender share. They are the same at each run: hypothesis draws nothing new."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_env import WAIT_S, FakeEnv
from hubs import Client, Window, hub_threads
from hypothesis import settings
from instances import FakeInstance, Sample
from loader_samples import Start, fields
from reuse_streams import MakeTap, Tap

from blendtorch.btt.env.connection import EnvConnection
from blendtorch.hub import SampleHub
from blendtorch.wire.sockets import MessageSocket
from tests.leftovers import owners

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
def fake_env(tmp_path: Path) -> Iterator[Callable[..., FakeEnv]]:
    """Serves environments without Blender: `fake_env(num_agents=2, mailbox=False, ...)`, see `FakeEnv`."""
    made: list[FakeEnv] = []

    def start(**options: Any) -> FakeEnv:
        made.append(FakeEnv(tmp_path, btid=len(made), **options))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def connect(fake_env: Callable[..., FakeEnv]) -> Iterator[Callable[..., EnvConnection]]:
    """Connects to an environment, and opens it: `connect(fake, "SameStep")`."""
    made: list[EnvConnection] = []

    def start(fake: FakeEnv, autoreset: str = "Disabled", check: Callable[[], None] = lambda: None) -> EnvConnection:
        made.append(EnvConnection(fake.address, 3, None, check))
        made[-1].open(autoreset, None, WAIT_S)
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


@pytest.fixture
def hub() -> Iterator[SampleHub]:
    """A hub that leaves nothing when it is closed."""
    before = owners()
    hub = SampleHub(btid=3)
    yield hub
    shared = [folder for folder, owner in owners().items() if owner == os.getpid() and folder not in before]
    hub.close()
    assert not hub_threads()
    assert not [folder for folder in shared if folder.exists()]


@pytest.fixture
def window(hub: SampleHub) -> Iterator[Callable[..., Window]]:
    """Starts a window of the hub: `window(count=3, ...)`, see `Window`."""
    made: list[Window] = []

    def start(**options: Any) -> Window:
        made.append(Window(hub, **options))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def client() -> Iterator[Callable[..., Client]]:
    """Starts clients: `client(address, ...)`, see `Client`; they leave before the hub does."""
    made: list[Client] = []

    def start(address: str, **options: Any) -> Client:
        made.append(Client(address, **options))
        return made[-1]

    yield start
    for one in made:
        one.close()
