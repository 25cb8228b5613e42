"""What goes wrong in a week: no sample is lost or comes twice, and no process, shared memory or socket file is left.

Most is between processes and the same for each Blender: where one version is enough, it is the one of these tests' Python.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import torch

from blendtorch import btt
from tests.blender.launched.test_end import family, wait_until_gone
from tests.blenders import BLENDERS

ONE_BLENDER = sys.executable if Path(sys.executable) in BLENDERS.values() else str(BLENDERS["4.5"])
TRANSPORTS = {"shm": {}, "ipc": {"proto": "ipc", "shm_bytes": 0}, "tcp": {"proto": "tcp", "shm_bytes": 0}}
SIZE = 10_000


@pytest.fixture
def launch(script):
    """Launches instances of `addressed`, each of which has `count` samples to make."""

    def make(
        count: int, num_instances: int = 1, delay_s: float = 0, args: tuple = (), size: int = SIZE, **options
    ) -> btt.BlenderLauncher:
        return btt.BlenderLauncher(
            script=script("addressed"),
            num_instances=num_instances,
            instance_args=[[str(count), str(size), str(delay_s), *args]] * num_instances,
            **{"blend_path": ONE_BLENDER, **options},
        )

    return make


def load(launcher: btt.BlenderLauncher, **options) -> btt.StreamLoader:
    return btt.StreamLoader(launcher.launch_info.addresses["DATA"], 4, **options)


def check(loader: btt.StreamLoader, batches: list[dict], count: int, num_instances: int, restarts: int = 0) -> None:
    """Each sample of each instance came once, in order and as it was made, and the account says so."""
    for btid in range(num_instances):
        mine = [(batch, i) for batch in batches for i, by in enumerate(batch["btid"].tolist()) if by == btid]
        assert [int(batch["btseq"][i]) for batch, i in mine] == list(range(count))
        assert [int(batch["index"][i]) for batch, i in mine] == list(range(btid, count * num_instances, num_instances))
    for batch in batches:
        assert torch.equal(batch["btindex"], batch["index"])
        assert (batch["data"] == (batch["index"] % 256)[:, None]).all()
    stats = loader.stats()
    assert (stats.received, stats.lost, stats.duplicated, stats.refused) == (count * num_instances, 0, 0, 0)
    assert [one.received for one in stats.instances] == [count] * num_instances
    assert stats.restarts == restarts


def disturbed(batches: Iterator[dict], at: dict[int, Callable[[], object]]) -> Iterator[dict]:
    """The batches; does something when so many have come."""
    for i, batch in enumerate(batches):
        if i in at:
            at[i]()
        yield batch


@pytest.mark.one_blender
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_instances_that_are_killed_lose_nothing(launch, blender, transport):
    def kill(launcher: btt.BlenderLauncher, btid: int) -> None:
        os.kill(launcher.launch_info.pids[btid], signal.SIGKILL)

    with launch(300, 2, blend_path=blender, **TRANSPORTS[transport]) as launcher, load(launcher) as loader:
        at = {10: lambda: kill(launcher, 0), 40: lambda: kill(launcher, 1), 90: lambda: kill(launcher, 0)}
        batches = list(disturbed(iter(loader), at))
        assert len(launcher.restarts) == 3
        check(loader, batches, 300, 2, restarts=3)


@pytest.mark.one_blender
@pytest.mark.parametrize("keep_every", [2, 7])
def test_batches_that_are_kept_where_they_were_written_outlive_who_wrote_them(launch, keep_every):
    with launch(400, size=120_000) as launcher, load(launcher) as loader:

        def kill() -> None:
            os.kill(launcher.launch_info.pids[0], signal.SIGKILL)

        kept, clones = [], []
        for i, batch in enumerate(disturbed(iter(loader), {20: kill, 60: kill})):
            clones.append({name: values.clone() for name, values in batch.items()})
            if i % keep_every == 0:
                kept.append(batch)
        assert len(launcher.restarts) == 2
        check(loader, clones, 400, 1, restarts=2)
    for i, batch in enumerate(kept):
        assert torch.equal(batch["data"], clones[i * keep_every]["data"])


@pytest.mark.one_blender
@pytest.mark.parametrize("transport", ["shm", "tcp"])
@pytest.mark.parametrize(("stopped_s", "restarts"), [(1.0, 0), (60.0, 1)])
def test_an_instance_that_stands_still(launch, transport, stopped_s, restarts):
    """For a while, or until it is taken for hung and started again; the other one goes on meanwhile."""

    def stop(pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        if not restarts:
            subprocess.Popen(["sh", "-c", f"sleep {stopped_s}; kill -CONT {pid}"])

    with launch(200, 2, heartbeat_timeout_s=2, **TRANSPORTS[transport]) as launcher, load(launcher) as loader:
        batches = list(disturbed(iter(loader), {10: lambda: stop(launcher.launch_info.pids[1])}))
        assert [restart.btid for restart in launcher.restarts] == [1] * restarts
        check(loader, batches, 200, 2, restarts)


@pytest.mark.one_blender
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_trainer_ten_times_slower_than_blender(launch, transport):
    with launch(200, delay_s=0.001, **TRANSPORTS[transport]) as launcher, load(launcher) as loader:
        batches = []
        for batch in loader:
            batches.append(batch)
            time.sleep(0.04)  # for four samples
        stats = loader.stats()
        check(loader, batches, 200, 1)
    assert stats.blender_waited_s > 0.5
    assert stats.trainer_waited_s < stats.blender_waited_s


@pytest.mark.one_blender
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_blender_ten_times_slower_than_the_trainer(launch, transport):
    with launch(100, 2, delay_s=0.02, **TRANSPORTS[transport]) as launcher, load(launcher) as loader:
        batches = list(loader)
        check(loader, batches, 100, 2)
        assert loader.stats().trainer_waited_s > 0.5


@pytest.mark.one_blender
@pytest.mark.parametrize("why", ["budget", "system"])
def test_shared_memory_that_is_too_small(launch, why):
    """Samples come all the same, and one line in the log tells why they come more slowly."""
    options = {"shm_bytes": 100_000} if why == "budget" else {"args": ("1000000",)}
    with launch(50, size=300_000, **options) as launcher, load(launcher) as loader:
        batches = list(loader)
        check(loader, batches, 50, 1)
        log = launcher.log_files[0].read_text()
    told = [line for line in log.splitlines() if "samples go by message, which is slower" in line]
    assert len(told) == 1
    assert "Raise shm_bytes" in told[0] if why == "budget" else "has no room for" in told[0]


@pytest.mark.one_blender
def test_launches_in_a_row(launch, blender):
    """What one leaves is not in the way of the next."""
    for _ in range(20):
        with launch(20, blend_path=blender) as launcher, load(launcher) as loader:
            batches = list(loader)
            check(loader, batches, 20, 1)
            folders = [owned.path for owned in launcher._folders]
        assert not any(folder.exists() for folder in folders)


# The trainer is killed

TRAINER = """
    import json, sys
    from blendtorch import btt

    script, blender, *args = sys.argv[1:]
    with btt.BlenderLauncher(script=script, blend_path=blender, num_instances=2, instance_args=[args] * 2) as launcher:
        with btt.StreamLoader(launcher.launch_info.addresses["DATA"], 4, copy={copy}) as loader:
            for i, _ in enumerate(loader):
                if i == 10:
                    folders = [str(owned.path) for owned in launcher._folders]
                    print(json.dumps([launcher._guardian._process.pid, launcher.launch_info.pids, folders]), flush=True)
"""


@pytest.fixture
def start_trainer(script) -> Iterator[Callable]:
    """Starts a trainer that streams; gives its process, the guardian's id, the instances' ids, and the folders."""
    started = []

    def start(copy: bool = True) -> tuple[subprocess.Popen, int, list[int], list[Path]]:
        code = textwrap.dedent(TRAINER).format(copy=copy)
        command = [sys.executable, "-c", code, script("addressed"), ONE_BLENDER, "100000000", str(SIZE), "0.001"]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True))
        guardian, pids, folders = json.loads(started[-1].stdout.readline())
        return started[-1], guardian, pids, list(map(Path, folders))

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def wait_until_removed(folders: list[Path]) -> None:
    deadline = time.monotonic() + 10
    while any(folder.exists() for folder in folders):
        assert time.monotonic() < deadline, f"{folders} are left"
        time.sleep(0.05)


@pytest.mark.one_blender
@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("with_instances", [False, True])
def test_a_trainer_that_is_killed_leaves_nothing(start_trainer, copy, with_instances):
    """Also when its instances are killed at the same time."""
    trainer, guardian, pids, folders = start_trainer(copy)
    assert list(folders[1].glob("*.ring"))
    assert list(folders[0].glob("DATA-*"))
    processes = [*family(pids), psutil.Process(guardian)]
    for pid in [trainer.pid, *(pids if with_instances else [])]:
        os.kill(pid, signal.SIGKILL)
    trainer.wait()
    wait_until_gone(processes, 10)
    wait_until_removed(folders)


@pytest.mark.one_blender
def test_what_remains_when_all_are_killed_is_removed_by_the_next_launch(start_trainer, launch):
    trainer, guardian, pids, folders = start_trainer()
    processes = family(pids)
    for pid in (guardian, trainer.pid, *pids):
        os.kill(pid, signal.SIGKILL)
    trainer.wait()
    wait_until_gone(processes, 10)
    assert [folder.exists() for folder in folders] == [True, True]
    with launch(20) as launcher, load(launcher) as loader:
        assert [folder.exists() for folder in folders] == [False, False]
        batches = list(loader)
        check(loader, batches, 20, 1)


@pytest.mark.one_blender
def test_a_loader_that_is_killed_leaves_the_stream_to_others(launch, tmp_path):
    """A trainer of its own that only loads: what it had taken is lost, all the rest comes, and once."""
    code = """
        import sys
        from blendtorch import btt
        for i, batch in enumerate(btt.StreamLoader(sys.argv[1], 4)):
            if i == 5:
                print(int(batch["btseq"][-1]), flush=True)
                sys.stdin.readline()
    """
    with launch(200) as launcher:
        (address,) = launcher.launch_info.addresses["DATA"]
        first = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        last = int(first.stdout.readline())
        time.sleep(0.3)
        first.kill()
        first.communicate()
        with btt.StreamLoader(address, 4) as loader:
            got = list(itertools.chain(*(batch["btseq"].tolist() for batch in loader)))
    assert got == list(range(got[0], 200))
    assert last < got[0] <= last + 1 + 4 * 5  # those ahead of its trainer
