"""The launch info: what is saved comes back, and nobody else can read it."""

from pathlib import Path

import pytest

from blendtorch.btt import LaunchInfo
from blendtorch.errors import ConfigError, MissingFileError

INFO = LaunchInfo(
    {"DATA": ["ipc:///tmp/x/DATA-0", "tcp://10.0.0.1:11000"], "CTRL": []}, [["blender", "--background", "ü"]], [42]
)


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    INFO.save_json(tmp_path / "info.json")
    assert LaunchInfo.load_json(tmp_path / "info.json") == INFO


def test_addresses_alone_are_enough(tmp_path: Path) -> None:
    file = tmp_path / "info.json"
    file.write_text('{"addresses": {"DATA": ["tcp://127.0.0.1:1"]}}')
    assert LaunchInfo.load_json(str(file)) == LaunchInfo({"DATA": ["tcp://127.0.0.1:1"]})


@pytest.mark.parametrize("mode_before", [None, 0o644, 0o600])
def test_only_this_user_can_read_it(tmp_path: Path, mode_before: int | None) -> None:
    file = tmp_path / "info.json"
    if mode_before is not None:
        file.write_text("x" * 10_000)
        file.chmod(mode_before)
    INFO.save_json(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert LaunchInfo.load_json(file) == INFO


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"no launch info .*missing\.json"):
        LaunchInfo.load_json(tmp_path / "missing.json")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b"{}", b'{"addresses": ["a"]}', b"\xff\xfe\x00"])
def test_garbage_is_not_a_launch_info(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "info.json"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"info\.json is not a launch info"):
        LaunchInfo.load_json(file)


@pytest.mark.parametrize(
    "content",
    [
        '{"addresses": {"DATA": "tcp://127.0.0.1:1"}}',
        '{"addresses": {}, "pids": ["1"]}',
        '{"addresses": {}, "other": 1}',
    ],
)
def test_of_another_form(tmp_path: Path, content: str) -> None:
    file = tmp_path / "info.json"
    file.write_text(content)
    with pytest.raises(ConfigError, match="not a launch info"):
        LaunchInfo.load_json(file)
