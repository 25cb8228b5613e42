"""`btb.Recorder` records the same with and without a training process, once, however its instances end."""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from blendtorch import btt
from tests.blender.launched.conftest import SCRIPTS
from tests.blenders import BLENDERS
from tests.recordings import assert_same, content

SEED = 3
COUNT = 6


@pytest.fixture
def launch(script, blender) -> Callable[..., btt.BlenderLauncher]:
    """Launches instances of `records`."""

    def make(num_instances: int, *args: object, **options) -> btt.BlenderLauncher:
        return btt.BlenderLauncher(
            script=script("records"),
            blend_path=blender,
            num_instances=num_instances,
            seed=SEED,
            instance_args=[list(map(str, args))] * num_instances,
            **options,
        )

    return make


@pytest.fixture
def by_hand(script, blender) -> Callable[..., subprocess.Popen]:
    """Starts `records` with nobody launching it or receiving from it."""

    def start(*args: object, scene: Path | None = None) -> subprocess.Popen:
        files = [str(scene)] * (scene is not None) + [str(script("records"))]
        command = [blender, "-m", "blendtorch.btb", *files, "--", *map(str, args), "-btseed", str(SEED)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


def made(output: str) -> list[tuple[int, int]]:
    """Index and part of each sample that a script has made."""
    words = (line.split() for line in output.splitlines() if line.startswith("made "))
    return [(int(index), int(part)) for _, index, part in words]


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    """A .blend of the oldest Blender, which the others can open."""
    file = tmp_path_factory.mktemp("scene") / "s.blend"
    oldest = next(path for path in BLENDERS.values() if path.exists())
    subprocess.run([oldest, SCRIPTS / "save_scene.py", "--", file], check=True, timeout=60, stdout=subprocess.DEVNULL)
    return file


def test_recorded_by_hand_and_beside_a_channel(launch, by_hand, scene, tmp_path):
    with launch(2, "episodes", COUNT, tmp_path / "beside", scene=scene) as launcher:
        received = list(btt.RemoteIterableDataset(launcher.launch_info.addresses["DATA"]))
        assert launcher.wait(timeout_s=30)
        origin = launcher.origin
    output, errors = by_hand("episodes", COUNT, tmp_path / "alone", scene=scene).communicate(timeout=60)
    assert made(output) == [(index, part) for index in range(COUNT) for part in range(3)], errors
    beside = content(tmp_path / "beside")
    assert len(received) == len(beside) == 3 * COUNT
    assert {path.name for path in tmp_path.glob("beside/*.tar")} == {f"samples-0{k}-00000.tar" for k in range(2)}
    for sample in received:
        assert_same(sample, beside[f"{sample['btindex']:09d}-{sample['part']:04d}"])
    # One instance without a launcher makes the same, but for who made it.
    assert_same(content(tmp_path / "beside", "btid", "btseq"), content(tmp_path / "alone", "btid", "btseq"))
    del origin["instance_args"]  # of all instances, which one does not know
    assert origin.items() <= btt.Recording(tmp_path / "beside").metadata.items()
    assert (origin | {"num_instances": 1}).items() <= btt.Recording(tmp_path / "alone").metadata.items()


@pytest.mark.one_blender
def test_killed_and_restarted_and_run_again(launch, by_hand, tmp_path):
    folder = tmp_path / "killed"
    for expected_restarts in (1, 0):
        options = {"named_sockets": [], "log_dir": tmp_path / f"logs-{expected_restarts}"}
        with launch(2, "indices", COUNT, folder, "killed" if expected_restarts else "", **options) as launcher:
            assert launcher.wait(timeout_s=60)
            assert len(launcher.restarts) == expected_restarts
    log = (tmp_path / "logs-1" / "instance-1.log").read_text()
    before, after = log.split("--- blendtorch: instance 1 is restarted")
    assert made(before) == [(1, 0), (1, 1), (1, 2), (3, 0), (3, 1), (3, 2), (5, 0)]
    assert made(after) == [(5, 0), (5, 1), (5, 2)]
    again = [(tmp_path / "logs-0" / f"instance-{btid}.log").read_text() for btid in range(2)]
    assert [made(log) for log in again] == [[(4, 0), (4, 1)], [(5, 0), (5, 1), (5, 2)]]
    output, errors = by_hand("indices", COUNT, tmp_path / "whole").communicate(timeout=60)
    assert len(made(output)) == 15, errors
    without = ("btid", "btseq", "btepoch")
    assert_same(content(folder, *without), content(tmp_path / "whole", *without))


@pytest.mark.one_blender
def test_sigterm_ends_the_shard(by_hand, tmp_path):
    process = by_hand("indices", COUNT, tmp_path, "waits")
    try:
        assert next(line for line in process.stdout if line == "waits\n")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM
    assert [path.name for path in tmp_path.glob("*.tar*")] == ["samples-00-00000.tar"]
    assert len(content(tmp_path)) == 2 + 3 + 2


@pytest.mark.one_blender
def test_a_full_disk_is_told_by_the_launcher_and_keeps_what_was_recorded(launch, tmp_path):
    with pytest.raises(btt.ScriptError, match=r"(?s)RecordingWriteError.*Make room"):
        with launch(1, "indices", 1000, tmp_path, 100_000, named_sockets=[]) as launcher:
            launcher.wait(timeout_s=60)
    assert 5 < len(content(tmp_path)) < 20


@pytest.mark.one_blender
def test_a_disk_that_is_full_at_the_very_end_is_a_failure(by_hand, tmp_path):
    process = by_hand("indices", COUNT, tmp_path, "full")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "RecordingWriteError" in errors
    assert len(content(tmp_path)) == 15
