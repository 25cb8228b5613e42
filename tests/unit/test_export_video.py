"""Videos: what PyAV decodes is what was recorded."""

import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

av = pytest.importorskip("av", reason="needs PyAV: blendtorch[export]")

from export_samples import full_sample, keys, samples, write_recording  # noqa: E402

from blendtorch.errors import ConfigError, LabelError  # noqa: E402
from blendtorch.export.video import FILE, export_video  # noqa: E402
from blendtorch.recording import Recording, RecordingSettings, RecordingWriter  # noqa: E402

GREEN, RED, BLUE = (20, 200, 40), (210, 30, 40), (30, 40, 190)


def smooth(height: int, width: int, shift: float = 0.0) -> np.ndarray:
    """All colours, without edges."""
    y, x = np.mgrid[0:height, 0:width] / np.array([height, width]).reshape(2, 1, 1)
    return (255 * np.stack([x, y, (1 - x + shift) % 1 * 0.5 + 0.25], axis=-1)).astype(np.uint8)


def flat(color: tuple[int, ...], height: int = 32, width: int = 48) -> np.ndarray:
    return np.full((height, width, len(color)), color, np.uint8)


def record(folder: Path, pictures: list[np.ndarray], names: list[str] | None = None) -> Recording:
    return write_recording(folder / "recorded", [{"image": picture} for picture in pictures], names)


def decode(file: Path) -> tuple[Any, list[np.ndarray]]:
    """The stream's properties, and its pictures as RGB by the matrix and range that the file tells."""
    with av.open(str(file)) as container:
        (stream,) = container.streams.video
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        context = stream.codec_context
        told = {
            "codec": context.name,
            "format": context.pix_fmt,
            "rate": stream.average_rate,
            "size": (context.height, context.width),
            "range": context.color_range,
            "matrix": context.colorspace,
            "primaries": context.color_primaries,
            "transfer": context.color_trc,
        }
    return told, frames


@pytest.mark.parametrize("codec", [None, "h264", "mpeg4"])
def test_pictures_come_back(codec: Any, tmp_path: Path) -> None:
    pictures = [smooth(240, 320, shift) for shift in (0.0, 0.02, 0.04)]
    calls = []
    recording = record(tmp_path, pictures)
    summary = export_video(recording, tmp_path / "out", fps=29.97, codec=codec, progress=lambda *d: calls.append(d))
    assert summary.written == {"pictures": 3, "files": 1}
    assert calls == [(1, 3), (2, 3), (3, 3)]
    told, frames = decode(tmp_path / "out" / FILE)
    assert told == {
        "codec": codec or "h264",
        "format": "yuv420p",
        "rate": Fraction(2997, 100),
        "size": (240, 320),
        "range": 1,  # limited
        "matrix": 1,  # BT.709
        "primaries": 1,  # BT.709
        "transfer": 13,  # sRGB
    }
    assert len(frames) == 3
    for frame, picture in zip(frames, pictures, strict=True):
        assert np.abs(frame.astype(int) - picture).mean() < 3


@pytest.mark.parametrize("color", [GREEN, RED, BLUE])
def test_colours_are_those_of_bt709(color: tuple[int, ...], tmp_path: Path) -> None:
    """By the formula of BT.709 itself, not by what FFmpeg makes of its own."""
    export_video(record(tmp_path, [flat(color)]), tmp_path / "a.mp4")
    with av.open(str(tmp_path / "a.mp4")) as container:
        frame = next(container.decode(video=0)).to_ndarray().astype(float)
    luma, blue, red = frame[16, 24], frame[32 + 4].mean(), frame[32 + 12].mean()  # planes of 32, 8 and 8 rows of 48
    r, g, b = np.array(color) / 255
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    expected = (16 + 219 * y, 128 + 224 * (b - y) / 1.8556, 128 + 224 * (r - y) / 1.5748)
    np.testing.assert_allclose((luma, blue, red), expected, atol=1.5)


def test_odd_sizes_get_a_row_and_a_column_more(tmp_path: Path) -> None:
    picture = smooth(33, 47)
    export_video(record(tmp_path, [picture]), tmp_path / "a.mp4")
    told, (frame,) = decode(tmp_path / "a.mp4")
    assert told["size"] == frame.shape[:2] == (34, 48)
    assert np.abs(frame[:33, :47].astype(int) - picture).mean() < 6  # of few pixels, each with a fourth of its colour
    assert np.abs(frame[33].astype(int) - frame[32]).mean() < 6


def test_alpha_is_left_out_and_small_pictures_grow(tmp_path: Path) -> None:
    export_video(record(tmp_path, [flat((*GREEN, 0))]), tmp_path / "a.mp4", scale=3)
    _, (frame,) = decode(tmp_path / "a.mp4")
    assert frame.shape == (96, 144, 3)
    assert np.abs(frame.astype(int) - GREEN).max() < 6


def test_the_order_is_that_of_addresses(tmp_path: Path) -> None:
    names = ["000000001-0000", "000000000-0010", "000000001-0001", "000000000-0009"]
    colors = [RED, GREEN, BLUE, (120, 120, 120)]
    recording = record(tmp_path, [flat(color) for color in colors], names)
    export_video(recording, tmp_path / "all.mp4")
    assert nearest(decode(tmp_path / "all.mp4")[1], colors) == [3, 1, 0, 2]
    export_video(recording, tmp_path / "episodes", per_episode=True)
    assert sorted(file.name for file in (tmp_path / "episodes").iterdir()) == ["000000000.mp4", "000000001.mp4"]
    assert nearest(decode(tmp_path / "episodes" / "000000001.mp4")[1], colors) == [0, 2]


def nearest(frames: list[np.ndarray], colors: list[tuple[int, ...]]) -> list[int]:
    return [int(np.linalg.norm(frame.mean(axis=(0, 1)) - colors, axis=1).argmin()) for frame in frames]


def test_names_keep_the_order_of_the_recording(tmp_path: Path) -> None:
    recording = record(tmp_path, [flat(RED), flat(GREEN)], ["z", "a"])
    export_video(recording, tmp_path / "a.mp4")
    assert nearest(decode(tmp_path / "a.mp4")[1], [RED, GREEN]) == [0, 1]


def test_sizes_that_change(tmp_path: Path) -> None:
    recording = record(tmp_path, [flat(RED), flat(RED, 64, 64)], ["000000000-0000", "000000001-0000"])
    with pytest.raises(ConfigError, match="sample 000000001-0000 is 64 x 64, those before are 48 x 32"):
        export_video(recording, tmp_path / "a.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["recorded"]
    export_video(recording, tmp_path / "out", per_episode=True)
    assert decode(tmp_path / "out" / "000000001.mp4")[0]["size"] == (64, 64)


def test_labels_are_drawn_on(tmp_path: Path) -> None:
    made = samples()
    recording = write_recording(tmp_path / "recorded", made, keys())
    for name, annotated in (("plain.mp4", False), ("drawn.mp4", True)):
        export_video(recording, tmp_path / name, annotate=annotated, scale=2)
    plain, drawn = (decode(tmp_path / name)[1] for name in ("plain.mp4", "drawn.mp4"))
    for place, sample in enumerate(made):
        inside = (sample["ids"] > 0).repeat(2, 0).repeat(2, 1)
        change = np.abs(plain[place].astype(int) - drawn[place]).mean(axis=2)
        assert change[inside].mean() > 20 if inside.any() else change.max() < 12


def test_samples_without_the_picture(tmp_path: Path) -> None:
    recording = write_recording(tmp_path / "recorded", [{"image": flat(RED)}, {"reward": 1.0}])
    summary = export_video(recording, tmp_path / "a.mp4")
    assert summary.written == {"pictures": 1, "files": 1}
    assert summary.left_out == {"samples without image": 1}
    with pytest.raises(ConfigError, match="none of the 2 samples has the field 'photo'"):
        export_video(recording, tmp_path / "b.mp4", field="photo")
    with pytest.raises(LabelError, match="depth: expected a picture"):
        export_video(write_recording(tmp_path / "full", [full_sample()]), tmp_path / "b.mp4", field="depth")
    assert not (tmp_path / "b.mp4").exists()


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = record(tmp_path, [flat(RED)])
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"fps": 0}, "fps is 0"),
        ({"scale": 0}, "scale 0"),
        ({"codec": "vp9"}, "codec is 'vp9'"),
        ({"per_episode": True}, "Give a folder"),
    ]
    for options, message in wrong:
        with pytest.raises(ConfigError, match=message):
            export_video(recording, tmp_path / "a.mp4", **options)
    (tmp_path / "taken.mp4").write_bytes(b"mine")
    with pytest.raises(ConfigError, match="exists"):
        export_video(recording, tmp_path / "taken.mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ConfigError, match=r'pip install "blendtorch\[export\]"'):
        export_video(recording, tmp_path / "a.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recorded", "taken.mp4"]


def test_an_interrupted_export_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_video(record(tmp_path, [flat(RED)]), tmp_path / "out", progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["recorded"]


def test_streams_of_a_merged_recording_come_one_after_the_other_whole(tmp_path: Path) -> None:
    """Their episodes have the same numbers, and files of their own."""
    colors = [GREEN, RED, BLUE]
    parts = [
        write_recording(tmp_path / name, [{"image": flat(color)} for color in order], episodes)
        for name, order, episodes in [
            ("a", colors, ["000000000-0000", "000000001-0000", "000000000-0001"]),
            ("b", colors[::-1], ["000000000-0000", "000000000-0001", "000000001-0000"]),
        ]
    ]
    merged = parts[0] + parts[1]
    assert len(merged) == 6
    export_video(merged, tmp_path / "one")
    assert nearest(decode(tmp_path / "one" / FILE)[1], colors) == [0, 2, 1, 2, 1, 0]
    summary = export_video(merged, tmp_path / "each", per_episode=True)
    assert summary.written == {"pictures": 6, "files": 4}
    found = {file.stem: nearest(decode(file)[1], colors) for file in (tmp_path / "each").iterdir()}
    assert found == {"000000000": [0, 2], "000000001": [1], "r1-000000000": [2, 1], "r1-000000001": [0]}


def test_each_episodes_file_is_written_in_one_go(tmp_path: Path) -> None:
    """Also where other keys keep the order as it is."""
    names = ["000000000-0000", "000000001-0000", "000000000-0001", "mine"]
    recording = record(tmp_path, [flat(GREEN)] * 4, names)
    summary = export_video(recording, tmp_path / "each", per_episode=True)
    assert summary.written == {"pictures": 4, "files": 3}
    assert len(decode(tmp_path / "each" / "000000000.mp4")[1]) == 2


def test_a_damaged_picture_is_left_out(tmp_path: Path) -> None:
    with RecordingWriter(RecordingSettings(tmp_path / "r", encode={"image": "png"})) as writer:
        for _ in range(3):
            writer.write({"image": smooth(32, 48)})
    (shard,) = (tmp_path / "r").glob("*.tar")
    content = bytearray(shard.read_bytes())
    middle = content.index(b"IDAT", content.index(b"IDAT") + 4)
    content[middle + 4 : middle + 30] = bytes(26)
    shard.write_bytes(content)
    summary = export_video(Recording(tmp_path / "r"), tmp_path / "out")
    assert summary.written == {"pictures": 2, "files": 1}
    assert summary.left_out == {"samples that cannot be read": 1}
