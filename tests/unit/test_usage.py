"""What a process uses: the same with psutil and from /proc."""

import os
import subprocess
import sys
import time

import pytest

from blendtorch.errors import ConfigError
from blendtorch.launch import usage
from blendtorch.launch.supervisor import Policy
from blendtorch.launch.vitals import Vitals

BUSY = "import time; a = bytearray(60_000_000); print('there', flush=True); t = time.process_time()\nwhile True: pass"


@pytest.fixture(params=["psutil", "proc"])
def source(request, monkeypatch) -> str:
    if request.param == "proc":
        monkeypatch.setattr(usage, "psutil", None)
        if not usage.can_measure():
            pytest.skip("this system has no /proc")
    return request.param


@pytest.fixture
def busy():
    """A process that uses 60 MB and all the time of a core."""
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        yield process
        process.kill()


def test_cpu_time_and_memory_are_measured(source, busy) -> None:
    meter = usage.meter_of(busy.pid, os.getpid())
    assert meter
    before = meter.read()
    assert before
    assert 60 < before.memory_mb < 400
    deadline = time.monotonic() + 20
    while (now := meter.read()) and now.cpu_s < before.cpu_s + 0.2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert now


def test_nothing_is_measured_of_who_has_ended(source, busy) -> None:
    meter = usage.meter_of(busy.pid, os.getpid())
    busy.kill()
    busy.wait()
    assert meter
    assert meter.read() is None
    assert usage.meter_of(busy.pid, busy.pid) is None


def test_a_process_that_is_no_descendant_is_not_measured_but_the_launched_one_is(source, busy) -> None:
    meter = usage.meter_of(1, busy.pid)  # as one in a container says of itself
    assert meter
    used = meter.read()
    assert used
    assert used.memory_mb > 60


def test_where_nothing_can_be_measured_a_memory_budget_is_refused_and_nothing_is_a_hang(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(usage, "psutil", None)
    monkeypatch.setattr(usage, "_PROC", tmp_path)
    assert usage.meter_of(os.getpid(), os.getpid()) is None
    with pytest.raises(ConfigError, match=r"memory_budget_mb is 4000, .*psutil"):
        Policy(memory_budget_mb=4000)
    Policy()
    vitals = Vitals(os.getpid(), os.getpid(), 0.0)
    for now in range(100):
        vitals.look(float(now))
    assert not vitals.is_hung(10, 100.0)
    assert vitals.memory_mb == 0
