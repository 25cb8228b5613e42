"""The launcher without Blender: processes that speak only the wire are started in its place."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from blendtorch.errors import BlenderNotFoundError, InstanceError, PeerTimeout
from blendtorch.launch import Blender, BlenderLauncher
from blendtorch.launch import launcher as module
from tests.leftovers import leaves_nothing  # noqa: F401  (a fixture)

INSTANCE = """
import json, sys, time
from blendtorch.wire import Kind, LaunchArguments, Message
from blendtorch.wire.sockets import MessageSocket
args, _ = LaunchArguments.parse(sys.argv[2:])
control = MessageSocket("push", args.control, bind=False)
control.send(Message(Kind.HELLO, json.loads(sys.argv[1]), args.btid, args.epoch), 10)
time.sleep(100)
"""


@dataclass(frozen=True)
class FakeBlender(Blender):
    """Runs `INSTANCE`.

    Attributes:
        hello: What it reports.
        on_start: Called before each process is started.
    """

    hello: Any = None
    on_start: Callable[[], object] = lambda: None

    def command(self, *args: Any, **options: Any) -> list[str]:
        self.on_start()
        return [sys.executable, "-c", INSTANCE, json.dumps({"seed": 1} | (self.hello or {}))]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., BlenderLauncher]:
    """Makes launchers that find a fake Blender, in a way that the test may change."""
    monkeypatch.setattr(module, "find_blender", lambda *args, **options: FakeBlender("fake", "of a test"))
    (tmp_path / "script.py").touch()
    return lambda kind=BlenderLauncher, **options: kind(
        script=tmp_path / "script.py", log_dir=tmp_path / "logs", **options
    )


def find(monkeypatch: pytest.MonkeyPatch, found: Callable[[], Blender]) -> None:
    """Has launchers find something else."""
    monkeypatch.setattr(module, "find_blender", lambda *args, **options: found())


# Cancelled


def assert_cancelled_once(launcher: BlenderLauncher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entering raises; the next time it does not."""
    with pytest.raises(InstanceError, match="cancelled"), launcher:
        pytest.fail("it was entered")
    find(monkeypatch, lambda: FakeBlender("fake", "of a test"))
    with launcher:
        assert {one.state for one in launcher.instances} == {"running"}


def test_cancelled_before_it_is_entered(make, monkeypatch) -> None:
    launcher = make()
    launcher.cancel()
    assert_cancelled_once(launcher, monkeypatch)


def test_cancelled_while_a_blender_is_looked_for_nothing_is_started(make, monkeypatch, tmp_path) -> None:
    launcher = make()

    def found() -> Blender:
        launcher.cancel()
        return FakeBlender("fake", "of a test", on_start=lambda: pytest.fail("it is started"))

    find(monkeypatch, found)
    with pytest.raises(InstanceError, match="cancelled"), launcher:
        pytest.fail("it was entered")
    assert not (tmp_path / "logs").exists()


def test_cancelled_between_two_instances_no_more_are_started(make, monkeypatch, tmp_path) -> None:
    launcher = make(num_instances=3)
    find(monkeypatch, lambda: FakeBlender("fake", "of a test", on_start=launcher.cancel))
    with pytest.raises(InstanceError, match="cancelled"), launcher:
        pytest.fail("it was entered")
    assert [file.name for file in (tmp_path / "logs").iterdir()] == ["instance-0.log"]
    assert launcher.instances == []


def test_cancelled_it_can_be_entered_again(make, monkeypatch) -> None:
    launcher = make(num_instances=2)
    find(monkeypatch, lambda: FakeBlender("fake", "of a test", on_start=launcher.cancel))
    assert_cancelled_once(launcher, monkeypatch)
    launcher.cancel()  # while nothing is launched: the next one
    assert_cancelled_once(launcher, monkeypatch)


def test_cancelled_where_no_blender_is_found_it_can_be_entered_again(make, monkeypatch) -> None:
    launcher = make()

    def found() -> Blender:
        launcher.cancel()
        raise BlenderNotFoundError("there is none")

    find(monkeypatch, found)
    with pytest.raises(BlenderNotFoundError), launcher:
        pytest.fail("it was entered")
    find(monkeypatch, lambda: FakeBlender("fake", "of a test"))
    with launcher:
        pass


# What instances report


@pytest.mark.parametrize(
    ("reported", "classes"),
    [
        ({"1": "cube", "7": "n° 7"}, {"1": "cube", "7": "n° 7"}),
        ({}, None),
        (None, None),
        (["cube"], None),
        ({"1": 2}, None),
        ({"1": "cube", "2": None}, None),
    ],
)
def test_names_of_classes_that_an_instance_reports_are_in_the_origin(make, monkeypatch, reported, classes) -> None:
    find(monkeypatch, lambda: FakeBlender("fake", "of a test", hello={"classes": reported}))
    with make() as launcher:
        assert launcher.origin.get("classes") == classes
    assert launcher.origin.get("classes") == classes


def test_an_instance_need_not_report_names_of_classes(make) -> None:
    with make() as launcher:
        assert "classes" not in launcher.origin


# Closed by another thread


class ClosedMeanwhile(BlenderLauncher):
    """Is closed by another thread whenever this one has just looked at its monitor."""

    @property
    def _monitor(self) -> Any:
        monitor, self._seen = self._seen, None
        return monitor

    @_monitor.setter
    def _monitor(self, monitor: Any) -> None:
        self._seen = monitor


def test_closed_meanwhile_it_is_not_found_dead(make) -> None:
    launcher = make(ClosedMeanwhile)
    launcher._monitor = SimpleNamespace(failure=None, over=False)
    launcher.assert_alive()
    launcher._monitor = SimpleNamespace(failure=None, over=False)
    assert launcher.wait(timeout_s=10)


def test_closed_meanwhile_a_failure_is_told_all_the_same(make) -> None:
    launcher, failure = make(ClosedMeanwhile), InstanceError("it is gone")
    launcher._monitor = SimpleNamespace(failure=failure, over=True)
    with pytest.raises(InstanceError, match="it is gone"):
        launcher.assert_alive()
    launcher._monitor = SimpleNamespace(failure=failure, over=True)
    with pytest.raises(InstanceError, match="it is gone"):
        launcher.__exit__(PeerTimeout, PeerTimeout("no sample came"), None)
