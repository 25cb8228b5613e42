"""The picture of plots: there is a panel for what there is, and a word for what there is not."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export_samples import samples
from PIL import Image

from blendtorch.btt.inspection import inspect
from blendtorch.btt.inspection_plots import check_plots, write_plots
from blendtorch.errors import ConfigError

pytest.importorskip("matplotlib")

LABELLED = ["classes", "box sizes", "instances per picture", "visible fraction", "box centres", "depth"]


def size_of(file: Path) -> tuple[int, int]:
    with Image.open(file) as image:
        assert image.format == "PNG"
        return image.size


def colors_in(file: Path) -> int:
    with Image.open(file) as image:
        return len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0))


def test_all_panels_are_drawn(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    assert write_plots(inspect(samples()), file, title="six samples") == []
    width, height = size_of(file)
    assert width > 1500
    assert height > 700
    assert colors_in(file) > 200


def test_without_labels_there_are_two_panels(tmp_path: Path) -> None:
    made = [{"image": sample["image"]} for sample in samples()]
    absent = write_plots(inspect(made), tmp_path / "a.png")
    assert absent == [f"{name}: no labels" for name in LABELLED]
    assert size_of(tmp_path / "a.png")[0] < 1200


def test_what_columns_lack_is_told(tmp_path: Path) -> None:
    made: list[dict[str, Any]] = samples()
    for sample in made:
        instances = sample["labels"]["instances"]
        for column in ("visible_fraction", "truncation", "pose", "box3d_camera"):
            instances.pop(column, None)
        del sample["labels"]["camera"], sample["ids"], sample["depth"], sample["image"]
    assert write_plots(inspect(made), tmp_path / "a.png") == [
        "visible fraction: no column visible_fraction",
        "box centres: no boxes, or no size of the picture",
        "depth: no poses or 3D boxes",
        "brightness: no uint8 pictures",
        "pixel values: no uint8 pictures of one number of channels",
    ]


def odd(name: str) -> list[dict[str, Any]]:
    made = samples()
    instances = made[0]["labels"]["instances"]
    if name == "nothing":
        return []
    if name == "one sample":
        return made[:1]
    if name == "nothing seen":
        return made[4:5]
    if name == "many classes":
        count = 300
        rows = {key: np.repeat(instances[key][:1], count, axis=0) for key in ("class_id", "pixels", "box")}
        rows["pixels"][:] = 10
        rows["class_id"] = np.arange(count, dtype=np.uint32) * 10**7
        rows["box"] = np.float32([[0, 0, 9000, 0.25]] * count)
        return [{"labels": {"camera": {"shape": (96, 128)}, "instances": {"id": np.arange(count), **rows}}}]
    if name == "depth everywhere":
        instances["box3d_camera"][:] = np.geomspace(1e-4, 1e7, len(instances["id"]))[:, None, None]
        return made[:1]
    if name == "black":
        return [{"image": np.zeros((4, 4, 4), np.uint8)}] * 3
    if name == "channels differ":
        return [{"image": np.zeros((4, 4, 3 + i), np.uint8)} for i in range(2)]
    if name == "linear":
        return [{"image": np.full((4, 4, 3), i, np.float32)} for i in range(2)]
    raise AssertionError(name)


@pytest.mark.parametrize(
    "name",
    [
        "nothing",
        "one sample",
        "nothing seen",
        "many classes",
        "depth everywhere",
        "black",
        "channels differ",
        "linear",
    ],
)
@pytest.mark.filterwarnings("error")
def test_odd_recordings_are_drawn(name: str, tmp_path: Path) -> None:
    write_plots(inspect(odd(name)), tmp_path / "a.png", title=name)
    assert size_of(tmp_path / "a.png")[0] > 300


def test_files_that_cannot_be_drawn_are_refused_at_once() -> None:
    check_plots("a.png")
    check_plots("a.PDF")
    for name in ("a", "a.txt"):
        with pytest.raises(ConfigError, match="expected a file whose suffix is one of"):
            check_plots(name)


def test_without_matplotlib_it_is_told_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_NoMatplotlib(), *sys.meta_path])
    with pytest.raises(ConfigError, match=r'pip install "blendtorch\[view\]"'):
        check_plots("a.png")


class _NoMatplotlib:
    """Finds modules as a Python does that has no matplotlib."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name == "matplotlib":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_pyplot_is_left_alone() -> None:
    """It would look for a display, and keep figures that belong to the user."""
    script = (
        "import sys; from blendtorch.btt.inspection import inspect; from blendtorch.btt import inspection_plots as p\n"
        "assert 'matplotlib' not in sys.modules; p.write_plots(inspect([{'x': 1}]), sys.argv[1])\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, "/dev/null"], check=True, timeout=120)
