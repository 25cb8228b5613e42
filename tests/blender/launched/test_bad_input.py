"""What can go wrong ends in an exception that names the cause and the remedy, within seconds, and leaves nothing."""

import os
import signal
import socket
import time

import pytest
from torch.utils.data import DataLoader

from blendtorch import btt


def launch(script, blender, **options):
    return btt.BlenderLauncher(script=script, blend_path=blender, **options)


def all_items(launcher, **options):
    return list(btt.RemoteIterableDataset(launcher.launch_info.addresses["DATA"], **options))


def test_missing_scene(script):
    with pytest.raises(btt.MissingFileError, match=r"no scene .*nowhere\.blend.*Check the path"):
        btt.BlenderLauncher(scene="nowhere.blend", script=script("stream"))


def test_missing_script():
    with pytest.raises(btt.MissingFileError, match=r"no script .*nowhere\.py"):
        btt.BlenderLauncher(script="nowhere.py")


def test_no_instances(script):
    with pytest.raises(btt.ConfigError, match="num_instances is 0, expected at least 1"):
        btt.BlenderLauncher(script=script("stream"), num_instances=0)


def test_instance_args_of_another_number(script):
    with pytest.raises(btt.ConfigError, match="instance_args has 1 lists, expected one for each of the 2"):
        btt.BlenderLauncher(script=script("stream"), num_instances=2, instance_args=[["x"]])


@pytest.mark.parametrize("content", [b"this is not a blend file", b"BLENDER-v405" + bytes(100)])
def test_unloadable_scene(script, blender, tmp_path, content):
    scene = tmp_path / "broken.blend"
    scene.write_bytes(content)
    with pytest.raises(btt.ScriptError, match=r"(?s)cannot load .*broken\.blend.*Expected a \.blend file") as caught:
        launch(script("stream"), blender, scene=scene).__enter__()
    assert "--- end of its log ---" in str(caught.value)


def test_script_with_a_syntax_error(script, blender):
    with pytest.raises(btt.ScriptError, match=r"(?s)SyntaxError.*syntax_error\.py.*line 3"):
        launch(script("syntax_error"), blender).__enter__()


@pytest.mark.one_blender
@pytest.mark.parametrize("num_workers", [0, 2])
def test_script_that_raises_at_frame_7(script, blender, num_workers):
    with launch(script("raises_at_frame_7"), blender) as launcher:
        dataset = btt.RemoteIterableDataset(launcher.launch_info.addresses["DATA"], max_items=100)
        frames = []
        started = time.monotonic()
        with pytest.raises(
            btt.ScriptError, match=r"(?s)ZeroDivisionError: a mistake at frame 7.*raises_at_frame_7\.py"
        ):
            for item in DataLoader(dataset, batch_size=None, num_workers=num_workers):
                frames.append(int(item["frameid"]))
        assert time.monotonic() - started < 15
        # Workers hand on a batch each in turn, so with several of them what the others had is not seen.
        assert frames == [1, 2, 3, 4, 5, 6] or num_workers
        with pytest.raises(btt.ScriptError, match=r"(?s)mistake at frame 7.*end of its log.*Traceback"):
            launcher.wait(timeout_s=10)


def test_script_that_raises_before_it_has_a_channel(script, blender):
    """The exception comes from the launcher or from the dataset, whoever hears of it first; from the latter in time."""
    started = time.monotonic()
    with pytest.raises(btt.ScriptError, match="KeyError: 'no such object'"):
        with launch(script("raises_after_hello"), blender) as launcher:
            all_items(launcher, timeoutms=60_000)
    assert time.monotonic() - started < 40


def test_instance_that_exits_at_once(script, blender):
    with pytest.raises(
        btt.InstanceError, match=r"(?s)exit status 3 before it reported that its script called.*I do not want to run"
    ):
        launch(script("exits_at_once"), blender).__enter__()


def test_instance_that_dies(script, blender):
    with launch(script("dies_after_hello"), blender, on_failure="raise") as launcher:
        with pytest.raises(btt.ScriptError, match=r"(?s)was killed by SIGKILL\..*about to die"):
            all_items(launcher, timeoutms=30_000)
        with pytest.raises(btt.InstanceError, match="SIGKILL"):
            launcher.assert_alive()


@pytest.mark.one_blender
def test_instance_that_hangs_before_hello(script, blender):
    with pytest.raises(btt.InstanceStartTimeout, match=r"(?s)within 3 s, but still runs.*in wait_for_a_friend"):
        launch(script("hangs_before_hello"), blender, start_timeout_s=3).__enter__()


@pytest.mark.one_blender
def test_instance_of_another_protocol_version(script, blender):
    with pytest.raises(btt.InstanceError, match=r"speaks version 2 .* speaks 1\. Install the same version"):
        launch(script("protocol_2"), blender).__enter__()


@pytest.mark.one_blender
def test_port_in_use(script, blender):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(btt.AddressError, match=rf"127\.0\.0\.1:{port}.*in use.*Choose another start_port"):
            launch(script("stream"), blender, start_port=port).__enter__()


@pytest.mark.one_blender
def test_port_of_another_launcher(script, blender):
    """Also in the seconds before its Blender has bound it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with launch(script("stream"), blender, start_port=port):
        with pytest.raises(btt.AddressError, match=rf"127\.0\.0\.1:{port}.*Choose another start_port"):
            launch(script("stream"), blender, start_port=port).__enter__()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"instance_args": ["ab"]}, r"instance_args has \['ab'\], expected a list for each"),
        ({"named_sockets": ["a=b"]}, r"named_sockets has \['a=b'\]"),
        ({"named_sockets": "DATA"}, "named_sockets is 'DATA', expected a list"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_bad_settings(script, options, message):
    with pytest.raises(btt.ConfigError, match=message):
        btt.BlenderLauncher(script=script("stream"), **options)


@pytest.mark.one_blender
def test_silence_is_explained_by_the_instance_that_died(script, blender):
    """The dataset runs into its timeout; what leaves the launcher's `with` names the cause."""
    with pytest.raises(btt.InstanceError, match="was killed by SIGKILL") as caught:
        with launch(script("stream"), blender, on_failure="raise") as launcher:
            os.kill(launcher.launch_info.pids[0], signal.SIGKILL)
            launcher.launch_info.addresses["DATA"][0] = "tcp://127.0.0.1:9"  # where nobody tells
            all_items(launcher, timeoutms=2000)
    assert isinstance(caught.value.__cause__, btt.PeerTimeout)


def test_no_blender(monkeypatch, script, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("BLENDTORCH_BLENDER", str(tmp_path / "blender"))
    with pytest.raises(
        btt.BlenderNotFoundError, match=r"(?s)named by BLENDTORCH_BLENDER\): there is no exec.*pip install"
    ):
        btt.BlenderLauncher(script=script("stream")).__enter__()


def test_blender_without_the_package(script, blender, tmp_path):
    """The same Python, but in an isolated mode in which `blendtorch` is not found."""
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exec {blender} --version\nexec {blender} -S -I "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(btt.BlenderNotFoundError, match=r"(?s)No module named 'bpy'|No module named 'blendtorch'"):
        btt.BlenderLauncher(script=script("stream"), blend_path=bare).__enter__()


@pytest.mark.one_blender
def test_window_needs_an_executable(script, blender):
    with pytest.raises(btt.BlenderNotFoundError, match="bpy module cannot open a window"):
        launch(script("stream"), blender, background=False).__enter__()
