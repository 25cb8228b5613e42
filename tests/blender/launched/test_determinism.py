"""Sample (seed, index) is the same to the byte, however many instances make it, and whatever happens to them."""

import hashlib
import json
import os
import signal
import time
from collections.abc import Iterable

import pytest
import torch

from blendtorch import btt

SEED = 11
INDICES = 24  # of all instances together: a multiple of 1, 2 and 4
KINDS = ["indices", "episodes"]
# (index, number of the sample within it): hash
Stream = dict[tuple[int, int], str]


def samples_of(kind: str) -> int:
    return sum(2 + index % 2 for index in range(INDICES)) if kind == "indices" else 3 * INDICES


def digest(batch: dict, i: int) -> str:
    names = ("image", "part", "turn", "btindex")
    return hashlib.sha256(b"".join(batch[name][i].numpy().tobytes() for name in names)).hexdigest()[:16]


@pytest.fixture
def launch(script, blender):
    """Launches instances of `turns`, which make `INDICES` indices together."""

    def make(kind: str, num_instances: int, **options) -> btt.BlenderLauncher:
        args = [[kind, str(INDICES // num_instances)]] * num_instances
        return btt.BlenderLauncher(
            script=script("turns"),
            blend_path=blender,
            num_instances=num_instances,
            seed=SEED,
            instance_args=args,
            **options,
        )

    return make


def collect(batches: Iterable[dict]) -> Stream:
    """Hashes by address, each sample at most once."""
    found: Stream = {}
    for batch in batches:
        for i, (index, part) in enumerate(zip(batch["btindex"].tolist(), batch["part"].tolist(), strict=True)):
            assert (index, part) not in found
            found[index, part] = digest(batch, i)
    return found


def check_account(stats: btt.StreamStats, count: int) -> None:
    assert (stats.received, stats.lost, stats.duplicated, stats.refused) == (count, 0, 0, 0)


def kill_in_between(batches: Iterable[dict], launcher: btt.BlenderLauncher, at: dict[int, int]) -> Iterable[dict]:
    """Kills instances when so many batches have come."""
    killed: set[int] = set()
    for i, batch in enumerate(batches):
        if i in at:
            # Batches that were on their way come before the restart, and a process that is dead cannot be killed again.
            while (pid := launcher.launch_info.pids[at[i]]) in killed:
                time.sleep(0.01)
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        yield batch


@pytest.mark.parametrize("kind", KINDS)
def test_the_number_of_instances_and_restarts_do_not_change_the_samples(launch, kind):
    count = samples_of(kind)
    streams = {}
    for num_instances, at in [(1, {}), (4, {}), (1, {2: 0, 5: 0}), (2, {2: 1, 4: 0})]:
        with launch(kind, num_instances) as launcher:
            with btt.StreamLoader(launcher.launch_info.addresses["DATA"], 4) as loader:
                streams[num_instances, bool(at)] = collect(kill_in_between(loader, launcher, at))
                check_account(loader.stats(), count)
            assert len(launcher.restarts) == len(at)
    expected = streams[1, False]
    assert len(expected) == count
    assert len(set(expected.values())) == count
    for stream in streams.values():
        assert stream == expected


@pytest.mark.one_blender
@pytest.mark.parametrize("proto", ["shm", "tcp"])
def test_by_index_the_whole_stream_is_the_same(launch, proto):
    """Batch after batch to the byte; also with a restart, and resumed in another launch."""
    options = {"proto": "tcp", "shm_bytes": 0} if proto == "tcp" else {}

    def stream(num_instances: int, at: dict[int, int]) -> list[str]:
        with launch("indices", num_instances, **options) as launcher:
            with btt.StreamLoader(launcher.launch_info.addresses["DATA"], 5, order="index") as loader:
                batches = kill_in_between(loader, launcher, at)
                return [digest(batch, i) for batch in batches for i in range(len(batch["btid"]))]

    alone = stream(1, {})
    assert len(alone) == samples_of("indices")
    assert stream(2, {}) == alone
    assert stream(2, {3: 1}) == alone


@pytest.mark.one_blender
@pytest.mark.parametrize(("kind", "num_instances"), [("indices", 2), ("episodes", 1)])
def test_a_state_resumes_in_another_launch(launch, kind, num_instances):
    def part(state: dict | None, num_batches: int | None) -> tuple[list[str], dict]:
        with launch(kind, num_instances) as launcher:
            addresses = launcher.launch_info.addresses["DATA"]
            with btt.StreamLoader(addresses, 5, num_batches=num_batches, order="index") as loader:
                if state is not None:
                    loader.load_state_dict(state)
                rows = [
                    digest(batch, i) + str(torch.stack([batch["btid"], batch["btseq"]])[:, i].tolist())
                    for batch in loader
                    for i in range(len(batch["btid"]))
                ]
                return rows, json.loads(json.dumps(loader.state_dict()))

    whole, _ = part(None, None)
    first, state = part(None, 4)
    second, state = part(state, 3)
    third, _ = part(state, None)
    assert [len(first), len(second)] == [20, 15]
    assert first + second + third == whole
    assert len(whole) == samples_of(kind)
