"""examples/control: balances by gains, learns, shows what it has learned, and goes on in real time."""

import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.blenders import REPO

CONTROL = REPO / "examples" / "control"


def run(name, blender, *options):
    done = subprocess.run(
        [sys.executable, CONTROL / name, "--blender", blender, *map(str, options)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.one_blender
def test_four_gains_balance_to_the_end(blender):
    told = run("p_controller.py", blender, "--episodes", 3)
    assert re.findall(r"seed (\d): return (\d+);", told) == [("0", "500"), ("1", "500"), ("2", "500")]


@pytest.mark.one_blender
def test_ppo_learns_and_its_policy_is_shown(blender, tmp_path):
    told = run("train_ppo.py", blender, "--steps", 8192, "--envs", 16, "--instances", 2, "--out", tmp_path)
    assert float(re.search(r"mean return ([\d.]+), lowest", told)[1]) > 60  # at first about 22
    curve = np.asarray(Image.open(tmp_path / "curve.png").convert("RGB"))
    assert curve.shape == (320, 900, 3)
    assert ((curve == (31, 119, 180)).all(axis=-1)).sum() > 100  # the line

    file = tmp_path / "policy.gif"
    run("play.py", blender, "--policy", tmp_path / "policy.zip", "--steps", 30, "--out", file)
    with Image.open(file) as animation:
        assert animation.size == (320, 160)
        assert animation.info["duration"] == 60
        pictures = []
        for i in range(animation.n_frames):
            animation.seek(i)
            pictures.append(np.asarray(animation.convert("RGB")).astype(int))
    assert len(pictures) > 4
    for picture in pictures:
        red, _, blue = np.moveaxis(picture, -1, 0)
        assert (blue > red + 60).sum() > 200  # the cart
        assert (red > blue + 60).sum() > 100  # the pole
    assert (pictures[0] != pictures[-1]).any()


@pytest.mark.one_blender
def test_pixels_are_pictures_of_the_pole(blender, tmp_path):
    told = run("pixels.py", blender, "--steps", 50, "--out", tmp_path)
    assert "uint8 (1, 84, 84, 3)" in told
    picture = np.asarray(Image.open(tmp_path / "pixels.png"))
    assert picture.shape == (2 * 168 + 2, 6 * 168 + 10, 3)
    for row in range(2):
        for column in range(6):
            tile = picture[170 * row : 170 * row + 168, 170 * column : 170 * column + 168].astype(int)
            assert (tile[..., 0] > tile[..., 2] + 30).sum() > 50  # the pole


@pytest.mark.one_blender
def test_real_time_balances_unless_one_thinks_for_too_long(blender):
    options = ["--headless", "--episodes", 1, "--seed", 1, "--seconds", 2]
    quick = run("real_time.py", blender, *options)
    assert "balanced" in quick
    assert int(re.search(r"lag_steps (\d+)", quick)[1]) <= 2
    slow = run("real_time.py", blender, *options, "--think-ms", 500)
    assert "fallen" in slow
    assert int(re.search(r"lag_steps (\d+)", slow)[1]) >= 20


@pytest.mark.one_blender
def test_substeps_come_closer_to_what_is_computed(blender):
    told = run("substeps.py", blender, "--steps", 100)
    rows = re.findall(r"^ +(1|10) +(10|50) +([\d.]+) +([\d.]+)$", told, re.MULTILINE)
    assert [row[:2] for row in rows] == [("1", "10"), ("1", "50"), ("10", "10"), ("10", "50")]
    mean = [float(row[2]) for row in rows]
    assert 0.05 < mean[0] == mean[1] < 0.4
    assert mean[2] == mean[3] < 0.05
