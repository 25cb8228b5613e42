"""An instance that dies, hangs or grows too big is started again while the others go on; what that cannot cure is told."""

import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from blendtorch import btt
from blendtorch.wire import Kind, Message
from blendtorch.wire.sockets import MessageSocket
from tests.blender.launched.test_end import wait_until_gone

WAIT_S = 40


def wait_for(condition: Callable[[], object], timeout_s: float = WAIT_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def wait_for_hello(launcher: btt.BlenderLauncher, epoch: int) -> None:
    """Waits until the only instance has reported in this epoch."""
    wait_for(lambda: len(launcher.restarts) == epoch and not launcher.restarting)


@pytest.fixture
def launch(script, blender, tmp_path):
    """Launches instances of `counts_up` that are given a mishap each."""

    def make(*mishaps: str, **options) -> btt.BlenderLauncher:
        args = [[str(tmp_path), mishap] for mishap in mishaps]
        return btt.BlenderLauncher(
            script=script("counts_up"),
            blend_path=blender,
            num_instances=len(mishaps),
            instance_args=args,
            **{"heartbeat_timeout_s": 3, **options},
        )

    return make


TRAINER = """
    import sys
    from blendtorch import btt

    script, blender, *args = sys.argv[1:]
    with btt.BlenderLauncher(
        script=script, blend_path=blender, instance_args=[args], heartbeat_timeout_s=3
    ) as launcher:
        guardian = launcher._guardian._process
        print(guardian.pid, *launcher.launch_info.pids, *(owned.path for owned in launcher._folders), flush=True)
        launcher.wait()
"""


@pytest.fixture
def start_trainer(script, blender, tmp_path):
    """Launches an instance of `counts_up` from another process; gives that and [guardian, instance, *folders]."""
    started = []

    def start(mishap: str = "") -> tuple[subprocess.Popen, list]:
        command = [sys.executable, "-c", textwrap.dedent(TRAINER), script("counts_up"), blender, str(tmp_path), mishap]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        guardian, pid, *folders = started[-1].stdout.readline().split()
        return started[-1], [int(guardian), int(pid), *map(Path, folders)]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def count(tmp_path):
    """Tells how far an instance is in an epoch; 0 before it runs."""

    def read(btid: int, epoch: int) -> int:
        file = tmp_path / f"{btid}-{epoch}"
        return int(file.read_text().split()[1]) if file.exists() else 0

    return read


def test_a_killed_instance_is_restarted_while_the_other_goes_on(launch, count, caplog):
    with launch("", "") as launcher:
        before = list(launcher.launch_info.pids)
        wait_for(lambda: count(0, 0) and count(1, 0))
        os.kill(before[1], signal.SIGKILL)
        killed_at = count(0, 0)
        wait_for(lambda: count(1, 1) > 3)
        assert launcher.restarts == [btt.Restart(1, 1, "was killed by SIGKILL")]
        assert count(0, 0) > killed_at + 3
        after = launcher.launch_info.pids
        assert after[0] == before[0]
        assert psutil.Process(after[1]).is_running()
        assert "-btepoch 1" in " ".join(launcher.launch_info.commands[1])
        log = launcher.log_files[1].read_text()
        assert "epoch 0 counts" in log
        assert "instance 1 is restarted (epoch 1): it was killed by SIGKILL" in log
        assert "epoch 1 counts" in log
        launcher.assert_alive()
        assert not launcher.wait(timeout_s=0)
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == ["instance 1 is restarted (epoch 1): it was killed by SIGKILL"]
    assert not psutil.pid_exists(after[1])


@pytest.mark.one_blender
def test_a_restart_is_told_while_it_takes_its_time(launch, count):
    """Then a loader of `btt.stream` does not take the silence for a failure."""
    with launch("") as launcher:
        assert not launcher.restarting
        os.kill(launcher.launch_info.pids[0], signal.SIGKILL)
        wait_for(lambda: launcher.restarting)
        wait_for(lambda: count(0, 1))
        wait_for(lambda: not launcher.restarting)
    assert not launcher.restarting


def test_a_child_of_a_killed_instance_goes_with_it(script, blender, tmp_path):
    with btt.BlenderLauncher(
        script=script("spawns_child"), blend_path=blender, instance_args=[[str(tmp_path / "ended")]]
    ) as launcher:
        process = psutil.Process(launcher.launch_info.pids[0])
        wait_for(process.children)
        (child,) = process.children()
        process.kill()
        wait_for(lambda: launcher.restarts)
        wait_until_gone([child], 0.1)


@pytest.mark.one_blender
def test_a_stopped_instance_is_restarted(launch, count):
    with launch("", "") as launcher:
        wait_for(lambda: count(0, 0) and count(1, 0))
        os.kill(launcher.launch_info.pids[0], signal.SIGSTOP)
        stopped_at = time.monotonic()
        wait_for(lambda: count(0, 1))
        assert time.monotonic() - stopped_at >= 3
        assert launcher.restarts == [btt.Restart(0, 1, "has sent no heartbeat and used no CPU time for 3 s: it hangs")]


@pytest.mark.one_blender
@pytest.mark.parametrize("mishap", ["waits", "hogs"])
def test_an_instance_that_only_waits_or_only_works_does_not_hang(launch, count, mishap):
    """Neither one that uses no CPU time, but beats, nor one that cannot beat, but works."""
    with launch(mishap) as launcher:
        time.sleep(6)
        assert launcher.restarts == []
        launcher.assert_alive()


@pytest.mark.one_blender
def test_an_instance_whose_samples_nobody_takes_does_not_hang(script, blender):
    with btt.BlenderLauncher(
        script=script("counts"), blend_path=blender, instance_args=[["100000", "300000"]]
    ) as launcher:
        time.sleep(13)
        assert launcher.restarts == []
        launcher.assert_alive()


@pytest.mark.one_blender
def test_a_launcher_that_stood_still_does_not_blame_its_instances(start_trainer, tmp_path):
    """What came from them meanwhile may be read after it looks whether they live."""
    trainer, (_, pid, *_) = start_trainer("waits")
    for stopped in (trainer.pid, pid):
        os.kill(stopped, signal.SIGSTOP)
    time.sleep(4)  # longer than the heartbeat may take
    os.kill(trainer.pid, signal.SIGCONT)
    time.sleep(1.5)
    os.kill(pid, signal.SIGCONT)
    time.sleep(3)
    assert [path.name for path in tmp_path.glob("0-?")] == ["0-0"]


@pytest.mark.one_blender
def test_an_instance_that_grows_is_recycled(launch, count, tmp_path):
    with launch("grows", memory_budget_mb=900) as launcher:
        wait_for(lambda: count(0, 1))
        (restart,) = launcher.restarts
        assert restart.reason.startswith("uses ")
        assert restart.reason.endswith(" MB of memory (memory_budget_mb is 900)")
        assert "SystemExit" in (tmp_path / "0-0.end").read_text()  # its `finally` ran


@pytest.mark.one_blender
def test_a_memory_budget_that_is_too_small_is_told(launch):
    with launch("grows at once", memory_budget_mb=900) as launcher:
        with pytest.raises(
            btt.InstanceError, match=r"(?s)before it has published a sample.*memory_budget_mb is 900, too"
        ):
            launcher.wait(timeout_s=WAIT_S)
        wait_for(lambda: launcher._monitor.over)
        assert launcher.restarts == []


@pytest.mark.one_blender
def test_frames_are_budgeted_without_end(launch, count):
    """Being recycled is no failure: it happens more often than `max_restarts`, and with "raise", too."""
    with launch("", frame_budget=20, max_restarts=1, on_failure="raise") as launcher:
        wait_for(lambda: count(0, 3))
        assert [restart.epoch for restart in launcher.restarts] == [1, 2, 3]
        assert all("(frame_budget is 20)" in restart.reason for restart in launcher.restarts)
        launcher.assert_alive()


@pytest.mark.one_blender
def test_restarts_end_when_they_bring_nothing(launch, tmp_path):
    with launch("dies early", max_restarts=2) as launcher:
        for epoch in range(3):
            wait_for_hello(launcher, epoch)
            (tmp_path / f"go-{epoch}").touch()
        with pytest.raises(btt.InstanceError) as caught:
            launcher.wait(timeout_s=WAIT_S)
        text = str(caught.value)
        assert text.startswith(
            "Blender instance 0 was killed by SIGKILL, and is given up on: 2 restarts in a row have brought no sample "
            "(max_restarts is 2)."
        )
        assert "epoch 2 counts" in text.partition("end of its log")[2]
        assert [restart.epoch for restart in launcher.restarts] == [1, 2]


@pytest.mark.one_blender
def test_a_restart_that_does_not_come_up_is_a_failure(launch, count, tmp_path):
    """Also one that hangs, if it was killed before it published."""
    with launch("hangs early", max_restarts=1) as launcher:
        wait_for(lambda: count(0, 0))
        os.kill(launcher.launch_info.pids[0], signal.SIGKILL)
        wait_for_hello(launcher, 1)
        (tmp_path / "go-1").touch()
        with pytest.raises(btt.InstanceError, match="it hangs, and is given up on: 1 restarts in a row"):
            launcher.wait(timeout_s=WAIT_S)


@pytest.mark.one_blender
def test_a_failure_is_raised_where_that_is_asked_for(launch):
    with launch("dies once", on_failure="raise") as launcher:
        with pytest.raises(btt.InstanceError, match=r"(?s)instance 0 was killed by SIGKILL\.\n.*epoch 0 counts"):
            launcher.wait(timeout_s=WAIT_S)
        assert launcher.restarts == []


@pytest.mark.one_blender
def test_what_each_instance_does_is_told(launch, count, tmp_path):
    launcher = launch("dies once", "ends", "raises")
    assert launcher.instances == []
    with launcher:
        wait_for(lambda: count(0, 1))
        wait_for(lambda: [one.state for one in launcher.instances] == ["running"] * 3)
        first, second, _ = launcher.instances
        assert (first.btid, first.epoch, first.detail) == (0, 1, "was killed by SIGKILL")
        assert (second.btid, second.epoch, second.detail) == (1, 0, "")
        wait_for(lambda: all(one.published for one in launcher.instances))
        (tmp_path / "go").touch()
        wait_for(lambda: [one.state for one in launcher.instances] == ["running", "ended", "died"])
        assert "ValueError: a mistake in the script" in launcher.instances[2].detail
    assert launcher.instances == []


@pytest.mark.one_blender
def test_a_launch_is_cancelled_by_another_thread(script, blender):
    launcher = btt.BlenderLauncher(script=script("hangs_before_hello"), blend_path=blender, start_timeout_s=None)
    pids = []

    def cancel() -> None:
        wait_for(lambda: launcher.instances)
        assert [one.state for one in launcher.instances] == ["starting"]
        pids.extend(launcher.launch_info.pids)
        launcher.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(btt.InstanceError, match="cancelled"), launcher:
        pass
    thread.join()
    assert len(pids) == 1
    assert not psutil.pid_exists(pids[0])
    assert launcher.instances == []


def test_a_mistake_in_a_script_is_not_restarted(launch, tmp_path):
    (tmp_path / "go").touch()
    with launch("raises") as launcher:
        with pytest.raises(btt.ScriptError, match="ValueError: a mistake in the script"):
            launcher.wait(timeout_s=WAIT_S)
        time.sleep(1)
        assert launcher.restarts == []


def ask(address: str) -> Message:
    """What a receiver that comes to an address is answered."""
    socket = MessageSocket("dealer", address, bind=False)
    try:
        socket.send(Message(Kind.READY, {}), WAIT_S)
        return socket.recv(WAIT_S)
    finally:
        socket.close()


@pytest.mark.one_blender
@pytest.mark.parametrize("proto", ["auto", "tcp"])
def test_clients_that_come_late_are_told_of_the_end(launch, proto, tmp_path):
    with launch("ends", "raises", proto=proto) as launcher:
        addresses = launcher.launch_info.addresses["DATA"]
        assert addresses[0].startswith("ipc://" if proto == "auto" else "tcp://")
        (tmp_path / "go").touch()
        wait_for(lambda: launcher._monitor.over)
        for _ in range(2):
            assert ask(addresses[0]) == Message(Kind.END, {"made": None}, 0)
            failed = ask(addresses[1])
            assert (failed.kind, failed.btid) == (Kind.ERROR, 1)
            assert "a mistake in the script" in failed.body["error"]


@pytest.mark.one_blender
def test_what_all_killed_processes_leave_is_removed_by_the_next_launch(launch, start_trainer):
    trainer, (guardian, pid, *folders) = start_trainer()
    assert str(folders[1]).startswith("/dev/shm/blendtorch-")
    for killed in (guardian, trainer.pid, pid):
        os.kill(killed, signal.SIGKILL)
    trainer.wait()
    assert [folder.exists() for folder in folders] == [True, True]
    with launch(""):
        assert [folder.exists() for folder in folders] == [False, False]


@pytest.mark.one_blender
def test_folders_are_removed_when_the_launcher_is_killed(start_trainer, tmp_path):
    """By the guardian, with the processes of later epochs."""
    trainer, (_, pid, *folders) = start_trainer()
    os.kill(pid, signal.SIGKILL)
    wait_for((tmp_path / "0-1").exists)
    restarted = psutil.Process(int((tmp_path / "0-1").read_text().split()[0]))
    trainer.kill()
    trainer.wait()
    wait_for(lambda: not any(folder.exists() for folder in folders))
    wait_until_gone([restarted], WAIT_S)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_failure": "ignore"}, "on_failure is 'ignore', expected 'restart' or 'raise'"),
        ({"max_restarts": -1}, "max_restarts is -1"),
        ({"frame_budget": 0}, "frame_budget is 0"),
        ({"memory_budget_mb": 0}, "memory_budget_mb is 0"),
        ({"heartbeat_timeout_s": 0.5}, "heartbeat_timeout_s is 0.5, expected at least 2 s"),
        ({"shm_bytes": -1}, "shm_bytes is -1"),
    ],
)
def test_settings_out_of_range(script, options, message):
    with pytest.raises(btt.ConfigError, match=message):
        btt.BlenderLauncher(script=script("counts_up"), **options)
