"""However the trainer ends, every Blender ends with it, and what Blender has started, and no file stays."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from blendtorch import btt

TRAINER = """
    import json, os, sys, time
    from blendtorch import btt
    from torch.utils.data import DataLoader

    script, blender, ended, num_workers = sys.argv[1:]
    launcher = btt.BlenderLauncher(script=script, blend_path=blender, num_instances=2, instance_args=[[ended]] * 2)
    with launcher:
        dataset = btt.RemoteIterableDataset(launcher.launch_info.addresses["DATA"])
        for i, _ in enumerate(DataLoader(dataset, batch_size=2, num_workers=int(num_workers))):
            if i == 3:
                print(json.dumps(launcher.launch_info.pids), flush=True)
"""


def family(pids: list[int]) -> list[psutil.Process]:
    return [p for pid in pids for p in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]]


def wait_until_gone(processes: list[psutil.Process], timeout_s: float) -> None:
    """Waits for their end; one that only waits for its parent to read its exit status has ended."""

    def alive() -> list[psutil.Process]:
        return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]

    deadline = time.monotonic() + timeout_s
    while alive() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive()


@pytest.fixture
def trainer(script, blender, tmp_path):
    """Starts a trainer process that streams; gives the process and the Blenders' ids."""

    def start(num_workers: int) -> tuple[subprocess.Popen, list[int]]:
        command = [sys.executable, "-c", textwrap.dedent(TRAINER), script("spawns_child"), blender]
        process = subprocess.Popen([*command, tmp_path / "ended", str(num_workers)], stdout=subprocess.PIPE, text=True)
        return process, json.loads(process.stdout.readline())

    return start


SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]


@pytest.mark.one_blender
@pytest.mark.parametrize("number", SIGNALS)
def test_a_trainer_is_ended_by_a_signal(trainer, number):
    end_trainer(*trainer(0), number)


@pytest.mark.one_blender
@pytest.mark.parametrize("number", SIGNALS)
def test_a_trainer_with_workers_is_ended_by_a_signal(trainer, number):
    end_trainer(*trainer(2), number)


def end_trainer(process: subprocess.Popen, pids: list[int], number: int) -> None:
    processes = family(pids)
    assert len(processes) == 4  # each Blender has started a child
    process.send_signal(number)
    process.wait(timeout=30)
    wait_until_gone(processes, 10)


@pytest.mark.one_blender
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("delay_s", [0.0, 0.2])
def test_trainer_is_ended_while_it_launches(script, blender, leaves_nothing, number, delay_s):
    """As soon as the first Blender is there, or a little later; `leaves_nothing` sees whether all are gone."""
    command = [sys.executable, "-c", textwrap.dedent(TRAINER), script("hangs_before_hello"), blender, "unused", "0"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not list(leaves_nothing.glob("blendtorch-*/instance-0.log")):
        assert process.poll() is None
        time.sleep(0.005)
    time.sleep(delay_s)
    process.send_signal(number)
    process.wait(timeout=30)


def test_close_lets_scripts_end_and_kills_what_they_started(script, blender, tmp_path):
    ended = tmp_path / "ended"
    with btt.BlenderLauncher(
        script=script("spawns_child"), blend_path=blender, instance_args=[[str(ended)]]
    ) as launcher:
        processes = family(launcher.launch_info.pids)
        next(iter(btt.RemoteIterableDataset(launcher.launch_info.addresses["DATA"])))
    wait_until_gone(processes, 0.1)
    assert ended.read_text() == "SystemExit"  # its `finally` ran


@pytest.mark.one_blender
def test_a_stopped_instance_is_killed(script, blender):
    with btt.BlenderLauncher(script=script("stream"), blend_path=blender) as launcher:
        (pid,) = launcher.launch_info.pids
        process = psutil.Process(pid)
        os.kill(pid, signal.SIGSTOP)
        started = time.monotonic()
    assert time.monotonic() - started < 10
    wait_until_gone([process], 0.1)


@pytest.mark.one_blender
def test_logs_stay_where_they_are_asked_for(script, blender, tmp_path):
    logs = tmp_path / "logs"
    with btt.BlenderLauncher(
        script=script("stream"), blend_path=blender, num_instances=2, log_dir=logs, instance_args=[["1"]] * 2
    ) as launcher:
        list(btt.RemoteIterableDataset(launcher.launch_info.addresses["DATA"], max_items=20))
        assert launcher.wait(timeout_s=60)
    assert sorted(path.name for path in logs.iterdir()) == ["instance-0.log", "instance-1.log"]
    assert "played to the end" in Path(logs / "instance-1.log").read_text()


@pytest.mark.one_blender
def test_a_script_by_hand_that_is_ended_and_started_again(script, blender):
    """As the panel's Stop and Start: the loader waits, and goes on with what comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    command = [blender, "-m", "blendtorch.btb", script("stream"), "--", "-btsockets", f"DATA={address}"]
    with btt.StreamLoader(address, 4, timeoutms=60_000) as loader:
        batches = iter(loader)
        for _ in range(2):
            process = subprocess.Popen(command)
            try:
                while next(batches)["btseq"][0] != 8:
                    pass
                process.terminate()
                process.wait(timeout=30)
            finally:
                process.kill()
        stats = loader.stats()
    assert (stats.lost, stats.duplicated, stats.refused) == (0, 0, 0)
