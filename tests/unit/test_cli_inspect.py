"""`blendtorch inspect`: the tables, the files, the exit status."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export_samples import full_sample, samples, write_recording

from blendtorch.cli import inspect as command
from blendtorch.errors import ConfigError, MissingFileError


def run(*argv: object) -> int:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    args = parser.parse_args(["inspect", *map(str, argv)])
    status: int = args.run(args)
    return status


def clean_samples() -> list[dict[str, Any]]:
    return [{**full_sample(8 * i), "btid": i % 2, "btindex": i // 2, "btseq": i} for i in range(6)]


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    write_recording(tmp_path / "rec", clean_samples())
    return tmp_path / "rec"


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    made = samples()
    made[1]["image"] = made[0]["image"]
    write_recording(tmp_path / "rec", made, [f"s{i}" for i in range(6)])
    return tmp_path / "rec"


def test_a_clean_recording(clean: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(clean, "--strict", "--check") == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].startswith(f"{clean}: 6 samples in 1 shard, ")
    assert "made by 2 instances (0: 3, 1: 3)" in out
    assert "3 episodes of 2 samples" in out
    assert "Checked 6 samples: 0 with labels that contradict" in out
    assert out.splitlines()[-1] == "nothing looks wrong"


def row(out: str, section: str, name: str) -> list[str]:
    """The cells of a line of a table, or the words of a line."""
    after = out[out.index(f"\n{section}\n") :]
    return next(line.split() for line in after.splitlines() if line.split()[:1] == [name])


def test_the_tables_have_the_numbers(clean: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(clean)
    out = capsys.readouterr().out
    made = clean_samples()
    image = np.stack([sample["image"] for sample in made])
    assert row(out, "Fields", "image") == ["image", "uint8", "96x128x3", "npy", f"{image.nbytes / 1000:.1f}", "KB", "6"]
    numbers = [str(image.min()), str(image.max()), f"{image.mean():.4g}", f"{image.std():.4g}"]
    assert row(out, "Ranges", "image") == ["image", *numbers]
    depth = np.stack([sample["depth"] for sample in made])
    assert row(out, "Ranges", "depth")[-2:] == [f"{np.isinf(depth).mean():.1%}"[:-1], "%"]
    table = [sample["labels"]["instances"] for sample in made]
    classes = np.concatenate([one["class_id"] for one in table])
    pixels = np.concatenate([one["pixels"] for one in table])
    posts, seen = classes == 2, pixels > 0
    found = row(out, "Classes", "2")
    assert found[:3] == ["2", "post", str((posts & seen).sum())]
    assert found[-3:-1] == [str((posts & ~seen).sum()), f"{pixels[posts].sum():,}"]
    assert (
        row(out, "Labels", "instances")
        == f"instances {len(pixels)}: {seen.sum()} seen, {(~seen).sum()} of no pixel".split()
    )
    assert row(out, "Keypoints", "lamp")[0] == "lamp"


def test_tables_fit_a_terminal_of_80_columns(clean: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(clean)
    out = capsys.readouterr().out
    assert max(len(line.rstrip()) for line in out.splitlines() if str(clean) not in line) <= 80
    assert "\x1b" not in out  # what is no terminal gets no colours


def test_a_terminal_that_knows_ascii_alone(
    clean: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import Console

    monkeypatch.setattr(Console, "encoding", property(lambda _: "ascii"))
    run(clean)
    assert capsys.readouterr().out.isascii()


def test_faults_are_told_and_strict_fails(faulty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(faulty) == 0
    out = capsys.readouterr().out
    assert "problem  of 6 pictures (image) 1 equals an earlier one: s0 = s1." in out
    assert "problem  1 sample with labels, but no instance that is seen: s4" in out
    assert "note     normals_camera is missing in 1 sample" in out
    assert run(faulty, "--strict") == 1


def test_notes_are_no_reason_to_fail(clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = clean_samples()
    del made[0]["normals_camera"]
    write_recording(tmp_path / "notes", made)
    assert run(tmp_path / "notes", "--strict") == 0
    assert "note     normals_camera is missing" in capsys.readouterr().out


def refuse(token: str) -> None:
    raise AssertionError(f"JSON has no {token}")


def test_json_has_all_numbers(faulty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(faulty, "--json", tmp_path / "a.json") == 0
    told = json.loads((tmp_path / "a.json").read_text(), parse_constant=refuse)
    assert told["samples"] == 6
    assert told["pictures"]["copies"] == [{"count": 2, "keys": ["s0", "s1"]}]
    assert {finding["kind"] for finding in told["findings"]} >= {"duplicates", "empty labels"}
    assert f"wrote {tmp_path / 'a.json'}" in capsys.readouterr().out


def test_png_is_written(clean: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert run(clean, "--png", tmp_path / "a.png") == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_some_samples_alone(clean: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(clean, "--every", 4)
    assert "looked at 2 of them: all below is about these alone" in capsys.readouterr().out
    run(clean, "--samples", 3)
    assert "looked at 3 of them" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run(clean, "--samples", 3, "--every", 2)


def test_shards_are_merged(clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_recording(tmp_path / "more", clean_samples()[4:], ["a", "b"])
    assert run(clean, *(tmp_path / "more").glob("*.tar")) == 0
    assert "8 samples in 2 shards" in capsys.readouterr().out


def test_names_with_brackets_are_no_markup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_recording(tmp_path / "[bold]rec", [{"text": "[red]", "image": np.zeros((4, 4, 3), np.uint8)}])
    run(tmp_path / "[bold]rec", "--classes", "1=[red]")
    assert "[bold]rec: 1 sample in" in capsys.readouterr().out


def test_class_names_are_given(faulty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(faulty, "--classes", "1=lorry, 3=[b]ball[/b]")
    out = capsys.readouterr().out
    assert row(out, "Classes", "1")[1] == "lorry"
    assert row(out, "Classes", "2")[1] == "class_2"
    assert row(out, "Classes", "3")[1] == "[b]ball[/b]"
    (tmp_path / "names.json").write_text('{"0": "floor"}')
    run(faulty, "--classes", tmp_path / "names.json")
    assert row(capsys.readouterr().out, "Classes", "0")[1] == "floor"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("nowhere.json", MissingFileError),
        ("a=car", ConfigError),
        ("1=", ConfigError),
        ("1=car,2", ConfigError),
        ("-1=car", ConfigError),
        ("{folder}", ConfigError),
        ("{folder}/list.json", ConfigError),
        ("{folder}/no.json", ConfigError),
    ],
)
def test_class_names_that_are_none(text: str, error: type[Exception], tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "no.json").write_text("car")
    with pytest.raises(error, match="--classes"):
        command.parse_classes(text.format(folder=tmp_path))


@pytest.mark.parametrize("option", ["--png", "--json"])
def test_a_folder_that_is_not_there_is_told_at_once(option: str, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="Make it first"):
        run(tmp_path / "no recording", option, tmp_path / "no" / "a.png")


def test_no_recording(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="there is no recording"):
        run(tmp_path / "no")


def test_nan_that_is_meant(clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = clean_samples()
    made[0]["depth"][0, 0] = np.nan
    write_recording(tmp_path / "nan", made)
    assert run(tmp_path / "nan", "--strict") == 1
    assert "depth: <0.1 % of the numbers are NaN" in capsys.readouterr().out
    assert run(tmp_path / "nan", "--strict", "--allow-nan", "depth") == 0
