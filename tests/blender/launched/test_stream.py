"""Samples from real Blenders, on every version."""

import time
from collections import defaultdict

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from blendtorch import btt
from tests.blenders import REPO

FALLING_CUBES = REPO / "examples" / "datagen" / "falling_cubes.blend.py"


@pytest.mark.parametrize(("proto", "options"), [("ipc", {}), ("ipc", {"shm_bytes": 0}), ("tcp", {"shm_bytes": 0})])
def test_one_instance_streams_in_order(script, blender, proto, options):
    with btt.BlenderLauncher(script=script("stream"), blend_path=blender, seed=3, proto=proto, **options) as launcher:
        (address,) = launcher.launch_info.addresses["DATA"]
        assert address.startswith(f"{proto}://")
        items = list(btt.RemoteIterableDataset(address, max_items=25))
    assert [item["frameid"] for item in items] == [*range(1, 11), *range(1, 11), *range(1, 6)]
    assert [item["btseq"] for item in items] == list(range(25))
    assert [item["btindex"] for item in items] == [0] * 10 + [1] * 10 + [2] * 5
    for item in items:
        made_by = {"btid", "btepoch", "btseq", "btindex"}
        assert set(item) == {"image", "xy", "frameid", "blender", "arguments", *made_by}
        assert (item["btid"], item["btepoch"]) == (0, 0)
        assert item["image"].shape == (48, 64, 3)
        assert item["image"].dtype == np.uint8
        assert item["image"].flags.writeable
        assert item["image"].flags.c_contiguous
        assert item["xy"].shape == (8, 2)
        assert item["arguments"] == []
    # The same address of the seed gives the same picture; another one another.
    np.testing.assert_array_equal(items[0]["image"], items[10]["image"])
    assert (items[0]["image"] != items[1]["image"]).any()
    # The cube is where its corners say: the picture's corner shows the background, the corners' middle does not.
    for item in items:
        x, y = item["xy"].mean(axis=0).astype(int)
        assert (item["image"][y, x].astype(int) - item["image"][0, 0]).max() > 20


@pytest.mark.one_blender
@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_two_instances_into_a_data_loader(script, blender, num_workers):
    with btt.BlenderLauncher(script=script("stream"), blend_path=blender, num_instances=2) as launcher:
        dataset = btt.RemoteIterableDataset(
            launcher.launch_info.addresses["DATA"], item_transform=lambda item: {**item, "seen": True}
        )
        received = set()
        # One of them may draw first pictures, compiling shaders, while the other streams.
        for batch in DataLoader(dataset, batch_size=6, num_workers=num_workers):
            assert batch["image"].shape == (6, 48, 64, 3)
            assert batch["image"].dtype == torch.uint8
            assert batch["seen"].all()
            received |= set(batch["btid"].tolist())
            if received == {0, 1}:
                break


def test_scene_is_opened(script, blender, tmp_path):
    scene = tmp_path / "red background.blend"
    with btt.BlenderLauncher(script=script("save_scene"), blend_path=blender, instance_args=[[str(scene)]]) as launcher:
        assert launcher.wait(timeout_s=60)
    with btt.BlenderLauncher(scene=scene, script=script("stream"), blend_path=blender) as launcher:
        (item,) = btt.RemoteIterableDataset(launcher.launch_info.addresses["DATA"], max_items=1)
    np.testing.assert_array_equal(item["image"][0, 0], [255, 0, 0])


@pytest.mark.one_blender
@pytest.mark.parametrize("size", [10, 10_000, 300_000])
def test_a_slow_reader_gets_what_is_queued_when_the_script_ends(script, blender, size):
    args = ["20", str(size)]
    with btt.BlenderLauncher(script=script("counts"), blend_path=blender, instance_args=[args]) as launcher:
        seen = []
        for item in btt.RemoteIterableDataset(launcher.launch_info.addresses["DATA"], max_items=20, queue_size=1):
            seen.append(item["number"])
            time.sleep(0.05)  # slower than Blender, which ends meanwhile
    assert seen == list(range(20))


@pytest.mark.one_blender
def test_what_is_queued_at_the_end_of_the_script_still_arrives(script, blender):
    with btt.BlenderLauncher(script=script("stream"), blend_path=blender, instance_args=[["2"]]) as launcher:
        items = list(btt.RemoteIterableDataset(launcher.launch_info.addresses["DATA"], max_items=20))
        assert launcher.wait(timeout_s=60)
        assert "played to the end" in launcher.log_files[0].read_text()
    assert len(items) == 20


@pytest.mark.one_blender
def test_the_number_of_instances_does_not_change_the_samples(blender):
    """A sample's picture and boxes depend on (seed, episode, frame) alone, to the byte."""

    def samples(num_instances: int, max_items: int) -> dict[tuple[int, int], bytes]:
        with btt.BlenderLauncher(
            script=FALLING_CUBES, num_instances=num_instances, seed=7, blend_path=blender
        ) as launcher:
            dataset = btt.RemoteIterableDataset(launcher.launch_info.addresses["DATA"], max_items=max_items)
            return {
                (item["episode"], item["frameid"]): item["image"].tobytes() + item["boxes"].tobytes()
                for item in dataset
            }

    alone = samples(1, 65)  # episode 0, and the first frames of episode 1
    together = samples(2, 70)
    shared = alone.keys() & together.keys()
    episodes = defaultdict(int)
    for episode, _ in shared:
        episodes[episode] += 1
    assert episodes[0] >= 10
    assert episodes[1] >= 3
    assert [address for address in shared if alone[address] != together[address]] == []


def test_duplex_client_learns_of_a_failure(script, blender):
    with btt.BlenderLauncher(script=script("echo"), blend_path=blender, named_sockets=["CTRL"]) as launcher:
        channel = btt.DuplexChannel(launcher.launch_info.addresses["CTRL"][0], btid=0)
        channel.send(no_value=1)
        with pytest.raises(btt.ScriptError, match=r"(?s)KeyError: 'value'.*echo\.py"):
            channel.recv(timeoutms=20_000)
        channel.close()


def test_duplex(script, blender):
    with btt.BlenderLauncher(script=script("echo"), blend_path=blender, named_sockets=["CTRL"]) as launcher:
        channel = btt.DuplexChannel(launcher.launch_info.addresses["CTRL"][0], btid=0)
        assert channel.recv(timeoutms=0) is None
        numbers = [channel.send(value=np.arange(3) * i) for i in range(3)]
        for i, number in enumerate(numbers):
            answer = channel.recv(timeoutms=20_000)
            np.testing.assert_array_equal(answer["doubled"], 2 * i * np.arange(3))
            assert answer["of"] == number
            assert answer["btid"] == 0
        channel.send(stop=True)
        assert launcher.wait(timeout_s=20)
        channel.close()


@pytest.mark.parametrize(("shm_bytes", "copies"), [(1 << 26, 1), (0, 0)], ids=["shared memory", "messages"])
def test_pictures_drawn_where_they_are_sent_from(script, blender, shm_bytes, copies):
    """In shared memory only the first one is copied, which decides what the memory looks like."""
    with btt.BlenderLauncher(script=script("reserves"), blend_path=blender, shm_bytes=shm_bytes) as launcher:
        items = list(btt.RemoteIterableDataset(launcher.launch_info.addresses["DATA"]))
        assert launcher.wait(timeout_s=30)
        assert f"copied {copies} images" in launcher.log_files[0].read_text()
    assert [item["number"] for item in items] == list(range(20))
    for item in items:
        assert item["image"].mean() == pytest.approx(item["mean"])
        assert item["image"].std() > 1
