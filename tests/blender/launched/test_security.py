"""What other machines can reach is for those alone who have the launch info."""

import os
import subprocess
import sys

import numpy as np
import pytest

from blendtorch import btt
from blendtorch.wire.curve import ENVIRONMENT_VARIABLE


@pytest.fixture
def channels():
    """Makes duplex channels that are closed at the end of the test."""
    made = []

    def make(address: str, **options) -> btt.DuplexChannel:
        made.append(btt.DuplexChannel(address, btid=0, timeoutms=20_000, **options))
        return made[-1]

    yield make
    for channel in made:
        channel.close()


@pytest.mark.one_blender
def test_only_who_has_the_launch_info_gets_in(script, blender, channels, tmp_path, monkeypatch):
    # Keys of another launch do not reach the instances.
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, btt.CurveKeys.generate().to_text())
    with btt.BlenderLauncher(
        script=script("echo"), blend_path=blender, named_sockets=["CTRL"], bind_addr="0.0.0.0"
    ) as launcher:
        info = launcher.launch_info
        address = f"tcp://127.0.0.1:{info.addresses['CTRL'][0].rpartition(':')[2]}"
        command = " ".join(info.commands[0])
        for keys in (None, btt.CurveKeys.generate()):
            stranger = channels(address, curve=keys)
            stranger.send(stop=True)
            with pytest.raises(btt.AuthenticationError, match="curve="):
                stranger.recv()
        assert info.curve.client_secret not in command
        assert info.curve.server_secret is None
        info.save_json(tmp_path / "info.json")
        channel = channels(address, curve=btt.LaunchInfo.load_json(tmp_path / "info.json").curve)
        number = channel.send(value=np.arange(3))
        answer = channel.recv()
        np.testing.assert_array_equal(answer["doubled"], [0, 2, 4])
        assert answer["of"] == number
        channel.send(stop=True)
        assert launcher.wait(timeout_s=20)
        log = launcher.log_files[0].read_text()
        assert log.count("refused a peer") == 1
        assert info.curve.client_secret not in log


@pytest.mark.one_blender
def test_a_failure_is_told_to_those_with_keys_alone(script, blender, channels):
    with btt.BlenderLauncher(
        script=script("echo"), blend_path=blender, named_sockets=["CTRL"], bind_addr="0.0.0.0"
    ) as launcher:
        address = f"tcp://127.0.0.1:{launcher.launch_info.addresses['CTRL'][0].rpartition(':')[2]}"
        channel = channels(address, curve=launcher.launch_info.curve)
        channel.send(no_value=1)
        with pytest.raises(btt.ScriptError, match="KeyError: 'value'"):
            channel.recv()
        with pytest.raises(btt.AuthenticationError):
            while True:  # the instance may end just now, and then the launcher stands in for it
                channels(address).recv()


@pytest.mark.one_blender
def test_this_machine_alone_needs_no_keys(script, blender):
    with btt.BlenderLauncher(
        script=script("echo"), blend_path=blender, named_sockets=["CTRL"], proto="tcp"
    ) as launcher:
        assert launcher.launch_info.curve is None


BY_HAND = """
import os, subprocess, sys
from blendtorch import btb
btargs, _ = btb.parse_blendtorch_args()
look = "import os; print('BLENDTORCH_CURVE' in os.environ)"
inherited = subprocess.run([sys.executable, "-c", look], stdout=subprocess.PIPE, text=True)
print("inherited:", inherited.stdout.strip(), flush=True)
btb.DuplexChannel(btargs.btsockets["CTRL"])
print("bound", flush=True)
"""


@pytest.mark.parametrize("keys", ["", "nonsense", btt.CurveKeys.generate().to_text()], ids=["none", "bad", "good"])
def test_by_hand_the_keys_come_from_the_environment(keys, tmp_path):
    file = tmp_path / "by_hand.py"
    file.write_text(BY_HAND)
    end = subprocess.run(
        [sys.executable, "-m", "blendtorch.btb", file, "--", "-btsockets", "CTRL=tcp://0.0.0.0:0"],
        env={**os.environ, ENVIRONMENT_VARIABLE: keys},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if len(keys) > 80:
        assert (end.returncode, end.stdout) == (0, "inherited: False\nbound\n"), end.stderr
    else:
        assert end.returncode == (2 if keys else 1)
        assert "bound" not in end.stdout
        assert ENVIRONMENT_VARIABLE in end.stderr


@pytest.mark.one_blender
@pytest.mark.parametrize("shm_bytes", [0, 1 << 26], ids=["by message", "by shared memory"])
def test_samples_are_for_those_with_keys_alone(script, blender, shm_bytes):
    with btt.BlenderLauncher(
        script=script("stream"), blend_path=blender, bind_addr="0.0.0.0", shm_bytes=shm_bytes
    ) as launcher:
        info = launcher.launch_info
        address = f"tcp://127.0.0.1:{info.addresses['DATA'][0].rpartition(':')[2]}"
        strangers = (btt.RemoteIterableDataset(address), btt.StreamLoader(address, curve=btt.CurveKeys.generate()))
        for stranger in strangers:
            with pytest.raises(btt.AuthenticationError, match="curve="):
                next(iter(stranger))
        items = list(btt.RemoteIterableDataset(address, max_items=5, curve=info.curve))
        assert [item["btseq"] for item in items] == [0, 1, 2, 3, 4]
        with btt.StreamLoader(address, 4, curve=info.curve) as loader:
            assert next(iter(loader))["btseq"].tolist() == [5, 6, 7, 8]
