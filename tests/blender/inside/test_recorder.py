"""What `btb.Recorder` writes is what a receiver would have got, once, however often it is interrupted."""

import resource
import shutil
import signal
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import bpy
import numpy as np
import pytest

from blendtorch import btb
from blendtorch.btb import session as session_module
from blendtorch.errors import ConfigError, EncodeError, RecordingWriteError
from blendtorch.recording import Recording
from blendtorch.recording.origin import identity_of
from blendtorch.wire import LaunchArguments
from blendtorch.wire.sample_receiver import SampleReceiver
from tests.recordings import assert_same, content

SEED = 5
KINDS = ["indices", "episodes", "numbers"]
INDICES = 12


@pytest.fixture
def start() -> Iterator[Callable[..., session_module.Session]]:
    """Makes this process an instance, as if it had just begun."""

    def begin(**arguments) -> session_module.Session:
        end()
        return session_module.open_session(LaunchArguments(**{"seed": SEED, **arguments}), supervised=True)

    def end() -> None:
        if session_module._session is not None:
            session_module._session.close()
        session_module._session = None

    yield begin
    end()


@pytest.fixture
def records(start, tmp_path):
    """Runs a script that records as an instance; returns which indices it has made.

    Args of the function: which kind, a folder, and the session's arguments. `only` ends it before its so-manieth sample.
    """

    def run(kind: str, folder: Path, only: int = 1000, **arguments) -> list[int]:
        start(**arguments)
        recorder = btb.Recorder(folder)
        made = play(kind, recorder, only)
        if only == 1000:
            recorder.close()
        return made

    return run


def sample(index: int, part: int) -> dict:
    """A sample of its address alone, with fields of many kinds; the cube is seen by none, but takes part."""
    cube = bpy.data.objects["Cube"]
    cube.rotation_euler = btb.sample_rng(SEED, index, part).uniform(0, np.pi, size=3)
    bpy.context.view_layer.update()
    rng = btb.sample_rng(SEED, index, part, 1)
    return {
        "image": rng.integers(0, 255, (6, 8, 3), np.uint8),
        "depth": np.where(rng.random((6, 8)) < 0.5, np.inf, rng.random((6, 8))).astype(np.float32),
        "pose": np.array(cube.matrix_world),
        "part": part,
        "score": np.float32(rng.random()),
        "labels": {"instances": {"id": np.arange(index % 3, dtype=np.uint32), "name": ["a"] * (index % 3)}},
        "turn": tuple(cube.rotation_euler),
        "note": f"sample {index}" if index % 2 else None,
        "raw": bytes([index]),
    }


def play(kind: str, channel, only: int = 1000) -> list[int]:
    """Publishes two or three samples of each index; the third index of each five has none. Returns the indices made."""
    args = session_module.current_session().args
    made: list[int] = []
    count = 0

    def publish(index: int, part: int) -> None:
        nonlocal count
        if count >= only:
            raise Enough
        made.append(index)
        count += 1
        channel.publish(**sample(index, part))

    try:
        if kind == "indices":
            for index in btb.sample_indices(args.btid, args.num_instances, stop=INDICES):
                for part in range(0 if index % 5 == 2 else 2 + index % 2):
                    publish(index, part)
        elif kind == "episodes":
            anim = btb.AnimationController()
            anim.post_frame.add(lambda: publish(args.btid + anim.episode * args.num_instances, anim.frameid - 1))
            anim.play((1, 3), num_episodes=INDICES // args.num_instances)
        else:
            for number in range(INDICES // args.num_instances):
                publish(args.btid + number * args.num_instances, 0)
    except Enough:
        pass
    return sorted(set(made))


class Enough(Exception):
    pass


@contextmanager
def file_limit(nbytes: int) -> Iterator[None]:
    """No file can become larger than this: as a full disk, but of this process alone."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


# What is recorded


@pytest.mark.parametrize("kind", KINDS)
def test_records_what_a_receiver_gets(start, tmp_path, kind):
    address = f"ipc://{tmp_path}/s"
    arguments = {"btid": 1, "num_instances": 3, "epoch": 2}
    received, addresses = [], []

    def receive() -> None:
        receiver = SampleReceiver([address])
        while (group := receiver.receive(1, 20)) is not None:
            addresses.extend(zip(group.index.tolist(), group.done.tolist(), strict=True))
            received.extend(group.items())
            group.release()
        receiver.close()

    thread = threading.Thread(target=receive)
    thread.start()
    start(**arguments)
    channel = btb.BlenderOutputChannel(address, 1)
    play(kind, channel)
    channel.close()
    thread.join()
    start(**arguments)
    recorder = btb.Recorder(tmp_path / "r", 1)
    play(kind, recorder)
    recorder.close()
    found = content(tmp_path / "r")
    assert len(found) == len(received) == recorder.samples >= 4
    assert list(found) == [f"{index:09d}-{done:04d}" for index, done in addresses]
    for one, other in zip(found.values(), received, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("kind", KINDS)
def test_the_number_of_instances_does_not_matter(records, tmp_path, kind):
    for count in (1, 3):
        for btid in range(count):
            records(kind, tmp_path / str(count), btid=btid, num_instances=count)
    one, three = (content(tmp_path / name, "btid", "btseq") for name in ("1", "3"))
    assert len(one) >= INDICES
    assert_same(one, three)
    assert {path.name[:11] for path in (tmp_path / "3").glob("*.tar")} == {"samples-00-", "samples-01-", "samples-02-"}


def test_pictures_drawn_into_reserved_memory(start, tmp_path):
    start()
    recorder = btb.Recorder(tmp_path)
    renderer = btb.OffScreenRenderer(btb.Camera(shape=(24, 32)), mode="rgb", samples=1)
    drawn = []
    for x in (0, 1, 2):
        bpy.data.objects["Cube"].location.x = x
        image = recorder.reserve("image", renderer.shape)
        renderer.render(out=image)
        recorder.publish(image=image)
        drawn.append(image.copy())
    assert recorder.reserve("image", (2, 2), np.float32).dtype == np.float32
    recorder.close()
    for sample, image in zip(Recording(tmp_path), drawn, strict=True):
        np.testing.assert_array_equal(sample["image"], image)
    assert (drawn[0] != drawn[1]).any()


def test_png_needs_no_library_inside_blender(start, tmp_path):
    start()
    recorder = btb.Recorder(btb.RecordingSettings(tmp_path / "r", encode={"image": "png"}))
    pixels = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    recorder.publish(image=pixels)
    recorder.close()
    with tarfile.open(tmp_path / "r" / "samples-00-00000.tar") as shard:
        shard.extract("000000000-0000.image.png", tmp_path, filter="data")
    image = bpy.data.images.load(str(tmp_path / "000000000-0000.image.png"))
    image.colorspace_settings.name = "Non-Color"
    rgba = np.array(image.pixels).reshape(6, 8, 4)[::-1]  # Blender's first row is the bottom one
    np.testing.assert_array_equal(np.round(rgba[..., :3] * 255), pixels)


# Going on


@pytest.mark.parametrize("kind", ["indices", "episodes"])
def test_a_killed_recording_is_gone_on_with(records, tmp_path, kind):
    """Cut off anywhere, as by kill -9 or a loss of power, it becomes the same recording without an interruption."""
    arguments = {"btid": 1, "num_instances": 2}
    records(kind, tmp_path / "whole", btid=0, num_instances=2)
    shutil.copytree(tmp_path / "whole", tmp_path / "of-another")
    records(kind, tmp_path / "whole", **arguments)
    whole = content(tmp_path / "whole")
    records(kind, tmp_path / "killed", only=11, **arguments)
    # As long as it is open it is as a process leaves it that is killed.
    killed = (tmp_path / "killed" / "samples-01-00000.tar.partial").read_bytes()
    for i, cut in enumerate([*np.linspace(0, len(killed), 12).astype(int).tolist(), len(killed) - 1]):
        folder = tmp_path / str(i)
        shutil.copytree(tmp_path / "of-another", folder)
        (folder / "samples-01-00000.tar.partial").write_bytes(killed[:cut])
        last = max((sample["btindex"] for sample in Recording(folder) if sample["btid"] == 1), default=1)
        made = records(kind, folder, **arguments)
        assert made[0] == last + (2 if kind == "indices" and last % 5 == 2 else 0)
        assert_same(content(folder), whole)
        assert not list(folder.glob("*.partial"))


@pytest.mark.parametrize("kind", ["indices", "episodes"])
def test_run_twice_it_makes_the_last_index_again_and_changes_nothing(records, tmp_path, kind):
    records(kind, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.tar")}
    assert records(kind, tmp_path) == [INDICES - 1]
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.tar")} == before


@pytest.mark.parametrize("kind", ["indices", "episodes"])
def test_gone_on_with_by_more_or_fewer_instances(records, tmp_path, kind):
    records(kind, tmp_path / "whole")
    whole = content(tmp_path / "whole", "btid", "btseq")
    folder = tmp_path / "parts"
    records(kind, folder, only=14, btid=0, num_instances=2)  # far ahead of the other one
    records(kind, folder, only=4, btid=1, num_instances=2)
    assert records(kind, folder, only=8, btid=0, num_instances=1)[0] == 3
    for btid in range(3):
        records(kind, folder, btid=btid, num_instances=3)
    assert_same(content(folder, "btid", "btseq"), whole)


def test_samples_without_an_index_are_numbered_on(records, tmp_path):
    assert records("numbers", tmp_path, btid=1, num_instances=3) == [1, 4, 7, 10]
    records("numbers", tmp_path, btid=1, num_instances=3)
    records("numbers", tmp_path, btid=0, num_instances=2)  # whose share has 4 and 10, 16, 22 already
    found = content(tmp_path)
    numbers = [(1 + 3 * n, n) for n in range(8)] + [(2 * n, n) for n in (0, 1, 3, 4, 6, 7)]
    assert sorted((sample["btindex"], sample["btseq"]) for sample in found.values()) == sorted(numbers)


@pytest.mark.parametrize("other", [0, 4, 8])
def test_beside_a_channel_it_goes_on_where_either_owes(start, records, tmp_path, other):
    records("indices", tmp_path, only=10)  # up to index 4
    recorded = content(tmp_path)
    assert max(sample["btindex"] for sample in recorded.values()) == 4
    folder = tmp_path / "copy"
    folder.mkdir()
    shutil.copy(tmp_path / "samples-00-00000.tar.partial", folder)
    session = start()
    session.position.owed["another"] = other
    recorder = btb.Recorder(folder)
    made = play("indices", recorder)
    assert made[0] == min(other, 4)
    assert (recorder.samples, session.published) == (len(content(folder)) - len(recorded),) * 2
    records("indices", tmp_path / "whole")
    assert_same(content(folder), content(tmp_path / "whole"))


# Mistakes


@pytest.mark.parametrize("name", ["btid", "btepoch", "btseq", "btindex"])
def test_reserved_names_are_refused(start, tmp_path, name):
    start()
    with pytest.raises(ConfigError, match=f"{name}.* is taken"):
        btb.Recorder(tmp_path).publish(**{name: 1})


def test_what_cannot_be_recorded_takes_no_place(start, tmp_path):
    session = start()
    recorder = btb.Recorder(tmp_path)
    session.position.index = 3
    recorder.publish(number=0)
    with pytest.raises(EncodeError, match="thing"):
        recorder.publish(thing=object())
    recorder.publish(number=1)
    recorder.close()
    assert list(content(tmp_path)) == ["000000003-0000", "000000003-0001"]


def test_indices_that_come_again_are_told(start, tmp_path):
    start()
    recorder = btb.Recorder(tmp_path)
    anim = btb.AnimationController()
    anim.post_frame.add(lambda: recorder.publish(frame=anim.frameid))
    anim.play((1, 2), num_episodes=2)
    with pytest.raises(ConfigError, match="index 0 was published already, before one of index 1"):
        anim.play((1, 2), num_episodes=2)
    assert len(Recording(tmp_path)) == 4


def test_one_recorder_a_folder_and_one_after_the_other(start, tmp_path, monkeypatch):
    session = start()
    monkeypatch.chdir(tmp_path)
    recorder = btb.Recorder("r")
    with pytest.raises(ConfigError, match="/r already"):
        btb.Recorder(tmp_path / "r")
    recorder.publish(number=0)
    recorder.close()
    with pytest.raises(ConfigError, match="closed"):
        recorder.publish(number=1)
    assert session.position.owed == {}
    monkeypatch.chdir("/")
    second = btb.Recorder(tmp_path / "r")
    assert (second.ready(), second.address) == (True, str(tmp_path / "r"))
    second.publish(number=1)
    session.close()  # as at the end of the script
    assert [sample["number"] for sample in Recording(tmp_path / "r")] == [0, 1]
    assert not list((tmp_path / "r").glob("*.partial"))


def test_a_full_disk_keeps_what_was_recorded(start, records, tmp_path, capfd):
    records("indices", tmp_path / "whole")
    session = start()
    recorder = btb.Recorder(tmp_path / "full")
    with file_limit(30_000), pytest.raises(RecordingWriteError, match="Make room"):
        play("indices", recorder)
    assert len(Recording(tmp_path / "full")) == recorder.samples > 5
    session.close()
    assert capfd.readouterr().err == ""
    records("indices", tmp_path / "full")
    assert_same(content(tmp_path / "full"), content(tmp_path / "whole"))


def test_a_disk_that_is_full_at_the_very_end_is_a_failure(start, tmp_path, capfd):
    session = start()
    recorder = btb.Recorder(tmp_path)
    recorder.publish(number=0)
    (partial,) = tmp_path.glob("*.partial")
    with file_limit(partial.stat().st_size):
        session.close()
    assert "RecordingWriteError" in capfd.readouterr().err
    assert len(Recording(tmp_path)) == 1


def test_a_folder_that_cannot_be_made(start):
    session = start()
    with pytest.raises(RecordingWriteError, match="cannot record into /proc/none"):
        btb.Recorder("/proc/none")
    assert session.position.owed == {}


# Where it comes from


def test_metadata_tells_where_samples_come_from(start, tmp_path):
    scene = tmp_path / "s.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(scene))
    start(btid=1, num_instances=4)
    bpy.ops.mesh.primitive_cube_add()  # the script tells that
    recorder = btb.Recorder(
        btb.RecordingSettings(tmp_path / "r", metadata={"author": "me"}), metadata={"classes": {"1": "cube"}}
    )
    recorder.publish(number=1)
    recorder.close()
    metadata = Recording(tmp_path / "r").metadata
    expected = {"seed": SEED, "num_instances": 4, "blender": bpy.app.version_string, "scene": identity_of(scene)}
    assert expected.items() <= metadata.items()
    assert metadata["script"]["name"] == "__main__.py"  # pytest's
    assert (metadata["author"], metadata["classes"]) == ("me", {"1": "cube"})
    assert metadata.get("instance_args", []) == []  # of one instance, started by hand


def test_what_is_not_certain_of_the_scene_is_left_out(start, tmp_path):
    scene = tmp_path / "s.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(scene))
    start()
    bpy.data.objects["Cube"].location.x = 3
    bpy.ops.wm.save_mainfile()  # another file at each run
    btb.Recorder(tmp_path / "r").publish(number=1)
    assert "scene" not in Recording(tmp_path / "r").metadata
    scene.unlink()
    start(seed=6)
    btb.Recorder(tmp_path / "q").publish(number=1)
    assert "scene" not in Recording(tmp_path / "q").metadata
    bpy.ops.wm.read_factory_settings()
    start(seed=6)
    btb.Recorder(tmp_path / "p").publish(number=1)
    assert Recording(tmp_path / "p").metadata["scene"] is None


def test_a_recording_of_another_seed_or_scene_is_not_gone_on_with(start, tmp_path):
    start()
    btb.Recorder(tmp_path / "r").publish(number=1)
    start(seed=6)
    with pytest.raises(ConfigError, match="its seed is 5, this one's is 6"):
        btb.Recorder(tmp_path / "r")
    recorder = btb.Recorder(tmp_path / "r", metadata={"seed": 5})
    recorder.publish(number=2)
    recorder.close()
    for x in (1, 2):
        bpy.data.objects["Cube"].location.x = x
        bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "s.blend"))
        start()
        if x == 1:
            btb.Recorder(tmp_path / "q").publish(number=1)
    with pytest.raises(ConfigError, match=r"s\.blend was changed since"):
        btb.Recorder(tmp_path / "q")
