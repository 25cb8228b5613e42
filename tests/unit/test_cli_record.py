"""`blendtorch record`: what does not go is told before any Blender starts."""

from pathlib import Path
from typing import Any

import pytest

from blendtorch.cli import main


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        ("none.py", [], "there is no"),
        ("script.py", ["--samples", "0"], "--samples is 0, expected at least 1"),
        ("script.py", ["--encode", "image"], "expected FIELD=FORMAT"),
        ("script.py", ["--encode", "image=gif"], "expected one of npy, png"),
        ("script.py", ["--classes", "1"], "for --classes"),
        ("script.py", ["--quality", "0"], "expected an integer from 1 to 100"),
        ("launch.json", [], "--script SCRIPT.py"),
    ],
)
def test_what_does_not_go_is_told(tmp_path: Path, capsys: Any, source: str, options: list[str], words: str) -> None:
    (tmp_path / "script.py").write_text("")
    (tmp_path / "launch.json").write_text('{"num_instances": 2}')
    assert main(["record", str(tmp_path / source), "--out", str(tmp_path / "r"), *options]) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_a_file_is_no_folder(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "script.py").write_text("")
    assert main(["record", str(tmp_path / "script.py"), "--out", str(tmp_path / "script.py")]) == 1
    assert "is a file, expected a folder" in capsys.readouterr().err
