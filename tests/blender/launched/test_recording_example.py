"""examples/datagen: records, goes on with the recording, and trains on it without Blender."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from blendtorch import btt
from tests.blenders import REPO

DATAGEN = REPO / "examples" / "datagen"


def run(name, *options, **env):
    done = subprocess.run(
        [sys.executable, DATAGEN / name, *map(str, options)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **env},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.one_blender
def test_a_detector_learns_from_a_recording(blender, tmp_path):
    folder, out = tmp_path / "cubes", tmp_path / "detector"
    options = ["--shape", 120, 160, "--instances", 1, "--blender", blender, "--out", folder]
    run("record.py", "--samples", 16, *options)
    told = run("record.py", "--samples", 48, *options)
    assert re.search(r"holds \d\d samples already", told)
    recording = btt.Recording(folder)
    # Throw after throw, twelve pictures each; the loader may have read ahead.
    assert recording.keys[:48] == [f"{i // 12:09d}-{i % 12:04d}" for i in range(48)]
    assert recording.metadata["classes"] == {"1": "cube"}
    assert recording.schema["image"].shape == (120, 160, 3)
    for sample in recording[:48:12]:
        assert btt.check_labels(sample["labels"], ids=sample["ids"], depth=sample["depth"]) == []

    options = ["--recording", folder, "--epochs", 12, "--batch-size", 12, "--out", out]
    told = run("train_detector.py", *options, BLENDTORCH_BLENDER="/there/is/none", PATH="")
    centers, sides = np.array(re.findall(r"centres ([\d.]+), of sides ([\d.]+)", told), float).T
    assert len(centers) == 12
    assert centers[-1] < 0.5 * centers[0]
    assert sides[-1] < 0.7 * sides[0]
    assert re.search(r"AP50 0\.\d+, AP 0\.\d+", told)
    picture = np.asarray(Image.open(out / "predictions.png"))
    assert picture.shape == (2 * 240 + 2, 3 * 320 + 4, 3)
    assert (picture == 255).all(axis=-1).sum() > 200  # the boxes that are there
    assert (out / "detector.pt").stat().st_size > 100_000
