"""What channels promise to scripts in a Blender that is launched, also where it is killed."""

import os
import re
import signal
import threading

import pytest

from blendtorch import btt

WAIT_S = 40
STOP = 40


@pytest.mark.parametrize("shm_bytes", [0, 1 << 26], ids=["messages", "shared memory"])
def test_two_channels_both_get_all_that_they_are_owed(script, blender, shm_bytes):
    """One is further behind than the other when the instance is killed; and the stream ends where it should."""
    with btt.BlenderLauncher(
        script=script("two_channels"),
        blend_path=blender,
        named_sockets=["SLOW", "FAST"],
        instance_args=[[str(STOP)]],
        shm_bytes=shm_bytes,
    ) as launcher:
        addresses = launcher.launch_info.addresses
        fast, slow = (iter(btt.RemoteIterableDataset(addresses[name])) for name in ("FAST", "SLOW"))
        # What the slow one has not confirmed is owed to it.
        slow_items, fast_items = [], []
        thread = threading.Thread(target=lambda: slow_items.append(next(slow)))
        thread.start()
        fast_items += [next(fast) for _ in range(9)]
        thread.join(WAIT_S)
        os.kill(launcher.launch_info.pids[0], signal.SIGKILL)
        thread = threading.Thread(target=lambda: slow_items.extend(slow))
        thread.start()
        fast_items += fast
        thread.join(WAIT_S)
        assert not thread.is_alive()
        assert launcher.wait(timeout_s=WAIT_S)
        assert len(launcher.restarts) == 1
    for items, factor in [(fast_items, 1), (slow_items, 10)]:
        assert [item["btindex"] for item in items] == list(range(STOP))
        assert [item["number"] for item in items] == list(range(0, STOP * factor, factor))
        assert [item["btseq"] for item in items] == list(range(STOP))


def test_reserved_memory_that_has_no_place_is_warned_of_once(script, blender):
    with btt.BlenderLauncher(script=script("reserves_another"), blend_path=blender) as launcher:
        items = list(btt.RemoteIterableDataset(launcher.launch_info.addresses["DATA"]))
        assert launcher.wait(timeout_s=WAIT_S)
        log = launcher.log_files[0].read_text()
    assert [item["image"].shape for item in items] == [(2, 3), (2, 3), (2, 4), (2, 3)]
    (warning,) = re.findall("reserve.*", log)
    assert warning.startswith("reserve('image') asks for uint8 (2, 4), but")
    assert "is uint8 (2, 3)" in warning
