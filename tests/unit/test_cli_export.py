"""`blendtorch export` and `btt.export`: each format by its name, and what does not go."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from export_samples import full_sample, keys, samples, write_recording

from blendtorch import btt
from blendtorch.cli import main
from blendtorch.export import FORMATS
from blendtorch.export import formats as formats_module


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    write_recording(tmp_path / "rec", samples(), keys())
    return tmp_path / "rec"


@pytest.fixture
def perspective(tmp_path: Path) -> Path:
    """BOP has no other cameras."""
    write_recording(tmp_path / "rec", [full_sample(8 * i) for i in range(3)])
    return tmp_path / "rec"


FILES = {
    "coco": "annotations/instances_train.json",
    "yolo": "data.yaml",
    "hdf5": "train.h5",
    "bop": "models/models_info.json",
    "rerun": "recording.rrd",
    "video": "video.mp4",
}


@pytest.mark.parametrize("to", FORMATS)
def test_each_format_is_written_and_told(perspective: Path, tmp_path: Path, capsys: Any, to: str) -> None:
    assert main(["export", str(perspective), "--to", to, str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / FILES[to]).is_file()
    printed = capsys.readouterr().out
    assert str(tmp_path / "out") in printed
    assert "samples" in printed
    assert main(["export", str(perspective), "--to", to, str(tmp_path / "out")]) == 1  # nothing is overwritten
    assert "overwritten" in capsys.readouterr().err


def test_options_splits_and_classes_are_those_given(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--splits", "all=1", "--classes", "1=vehicle,2=pole", "--min-pixels", "30", "--image-format", "jpg"]
    assert main(["export", str(recording), "--to", "coco", str(out), *options]) == 0
    assert [path.name for path in (out / "annotations").iterdir()] == ["instances_all.json"]
    found = json.loads((out / "annotations" / "instances_all.json").read_text())
    assert {category["name"] for category in found["categories"]} == {"vehicle", "pole", "class_3"}
    assert all(image["file_name"].endswith(".jpg") for image in found["images"])
    assert min(annotation["area"] for annotation in found["annotations"]) >= 30


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--to", "coco", "--fps", "3"], "coco has no option fps. It has splits"),
        (["--to", "coco", "--splits", "train"], "expected NAME=SHARE"),
        (["--to", "coco", "--splits", "train=a"], "expected NAME=SHARE"),
        (["--to", "video", "--splits", "train=1"], "video has no option splits"),
        (["--to", "coco", "--classes", "none.json"], "there is no none.json"),
    ],
)
def test_what_does_not_go_is_told(recording: Path, tmp_path: Path, capsys: Any, options: list[str], words: str) -> None:
    assert main(["export", str(recording), str(tmp_path / "out"), *options]) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_function_for_all_formats(recording: Path, tmp_path: Path) -> None:
    summary = btt.export(recording, "coco", tmp_path / "out", splits={"train": 1.0})
    assert summary.written["images in train"] == len(samples())
    with pytest.raises(btt.ConfigError, match="no format 'voc', expected one of coco, yolo"):
        btt.export(recording, "voc", tmp_path / "other")
    with pytest.raises(btt.MissingFileError, match="no recording"):
        btt.export(tmp_path / "none", "coco", tmp_path / "other")


def test_a_missing_library_is_named_with_how_to_get_it(
    recording: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("h5py", "av", "rerun", "contourpy"):
        monkeypatch.setitem(sys.modules, module, None)
    for to, extra in [("hdf5", "export"), ("video", "export"), ("rerun", "view")]:
        assert main(["export", str(recording), "--to", to, str(tmp_path / to)]) == 1
        assert f'pip install "blendtorch[{extra}]"' in capsys.readouterr().err
    assert main(["export", str(recording), "--to", "yolo", "--task", "segment", str(tmp_path / "yolo")]) == 1
    assert 'pip install "blendtorch[export]"' in capsys.readouterr().err


def test_formats_are_those_that_there_are() -> None:
    folder = Path(formats_module.__file__).parent
    assert all((folder / f"{name}.py").is_file() for name in FORMATS)
