"""`blendtorch view`: pictures and files of samples, and a viewer that is fed until it is closed."""

import argparse
import itertools
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from export_samples import CLASSES, SHAPE, full_sample, samples, write_recording
from instances import FakeInstance
from PIL import Image

from blendtorch.btt import LaunchInfo
from blendtorch.cli import view
from blendtorch.errors import ConfigError, MissingFileError, RecordingError
from blendtorch.export.annotate import annotate
from blendtorch.labels import ids_to_rgb

Start = Callable[..., FakeInstance]
TITLE, GAP, SCALE = 20, 2, 2  # of a montage; so many times larger are pictures of 96 rows


def call(*arguments: str | Path) -> int:
    """As `blendtorch view` does."""
    parser = argparse.ArgumentParser()
    view.add_parser(parser.add_subparsers())
    args = parser.parse_args(["view", *map(str, arguments)])
    return args.run(args)


def tiles(file: Path, columns: int, shape: tuple[int, int] = (SHAPE[0] * SCALE, SHAPE[1] * SCALE)) -> list[list]:
    """The pictures of a montage, a list for each row."""
    sheet = np.array(Image.open(file))
    height, width = shape
    rows = (len(sheet) - TITLE + GAP) / (height + GAP)
    assert rows == int(rows)
    assert sheet.shape[1] == columns * (width + GAP) - GAP
    starts = [TITLE + row * (height + GAP) for row in range(int(rows))]
    return [[sheet[y : y + height, x : x + width] for x in range(0, sheet.shape[1], width + GAP)] for y in starts]


def test_a_picture_of_a_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)  # is not needed for this
    made = samples()
    write_recording(tmp_path / "rec", made)
    assert call(tmp_path / "rec", "--png", tmp_path / "a.png") == 0
    assert "6 samples, each a row with image, depth, ids, normals_camera" in capsys.readouterr().out
    rows = tiles(tmp_path / "a.png", 4)
    assert len(rows) == 6
    for (image, _, ids, normals), sample in zip(rows, made, strict=True):
        np.testing.assert_array_equal(image, annotate(sample, classes=CLASSES, scale=SCALE))
        np.testing.assert_array_equal(ids[::SCALE, ::SCALE], ids_to_rgb(sample["ids"]))
        assert normals.any() == ("normals_camera" in sample and bool(sample["ids"].any()))


def test_samples_are_spread_over_a_recording(tmp_path: Path) -> None:
    made = [{"image": np.full((200, 10, 3), 10 * place, np.uint8)} for place in range(21)]
    write_recording(tmp_path / "rec", made)
    for options, expected in (([], 12), (["--samples", "3"], [0, 10, 20]), (["--samples", "99"], 21)):
        call(tmp_path / "rec", "--png", tmp_path / "a.png", *options)
        found = [row[0][0, 0, 0] // 10 for row in tiles(tmp_path / "a.png", 1, (200, 10))]
        assert found == expected if isinstance(expected, list) else len(set(found)) == expected
        assert (found[0], found[-1]) == (0, 20)


def test_pictures_of_several_sizes_and_names_of_classes(tmp_path: Path) -> None:
    made = [full_sample(), {"image": np.full((250, 300, 3), 99, np.uint8)}]
    write_recording(tmp_path / "rec", made)
    call(tmp_path / "rec", "--png", tmp_path / "a.png", "--classes", "1=truck")
    (small, *_), (large, *missing) = tiles(tmp_path / "a.png", 4, (250, 300))
    drawn = annotate(made[0], classes={1: "truck"}, scale=SCALE)
    np.testing.assert_array_equal(small[: drawn.shape[0], : drawn.shape[1]], drawn)
    assert not small[drawn.shape[0] :].any()
    assert (large == 99).all()
    assert not np.any(missing)


def test_a_picture_of_a_stream(instance: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    endless = ((place, published(place)) for place in itertools.count())
    info = LaunchInfo({"DATA": [instance(endless).address]})
    info.save_json(tmp_path / "info.json")
    for place, source in enumerate((tmp_path / "info.json", info.addresses["DATA"][0])):
        assert call(source, "--png", tmp_path / f"{place}.png", "--samples", "2") == 0
        assert len(tiles(tmp_path / f"{place}.png", 4)) == 2
    assert "what is shown here is missing in a training" in capsys.readouterr().out


def published(place: int) -> dict[str, Any]:
    return {name: value for name, value in full_sample(place % 3).items() if not name.startswith("bt")}


def test_wrong_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_recording(tmp_path / "rec", [{"reward": 1.0}])
    png = tmp_path / "a.png"
    wrong: list[tuple[list[Any], type[Exception], str]] = [
        ([tmp_path / "rec", "--png", png], ConfigError, "expected samples with image or depth .* got fields reward"),
        ([tmp_path / "rec", "--png", tmp_path / "no" / "a.png"], MissingFileError, "no folder"),
        ([tmp_path / "rec", "--save", tmp_path / "a.txt"], ConfigError, "ends with .rrd"),
        ([tmp_path / "rec", "--png", png, "--samples", "0"], ConfigError, "--samples is 0"),
        ([tmp_path / "rec", "--png", png, "--rate", "0"], ConfigError, "--rate is 0"),
        ([tmp_path / "none", "--png", png], MissingFileError, "no recording"),
        ([tmp_path / "none.json", "--png", png], MissingFileError, "no launch info"),
    ]
    (tmp_path / "text.tar").write_text("no recording")
    wrong.append(([tmp_path / "text.tar", "--png", png], RecordingError, "text.tar"))
    monkeypatch.setitem(sys.modules, "rerun", None)
    without = [[tmp_path / "rec"], [tmp_path / "rec", "--web"], [tmp_path / "rec", "--save", tmp_path / "a.rrd"]]
    wrong += [(arguments, ConfigError, r'pip install "blendtorch\[view\]"') for arguments in without]
    for arguments, error, text in wrong:
        with pytest.raises(error, match=text):
            call(*arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rec", "text.tar"]


@pytest.fixture
def rerun_cli() -> Any:
    return pytest.importorskip("rerun_cli", reason="needs rerun-sdk: blendtorch[view]")


def test_a_file_for_the_viewer(rerun_cli: Any, instance: Start, tmp_path: Path) -> None:
    chunk = pytest.importorskip("rerun.chunk", exc_type=ImportError)
    write_recording(tmp_path / "rec")
    stream = instance((place, published(place)) for place in itertools.count())
    for source, name, options, count in (
        (tmp_path / "rec", "a.rrd", [], 6),
        (tmp_path / "rec", "b.rrd", ["--samples", "2"], 2),
        (stream.address, "c.rrd", ["--samples", "3"], 3),
    ):
        assert call(source, "--save", tmp_path / name, *options) == 0
        assert count_of(chunk.RrdReader(tmp_path / name)) == count
    with pytest.raises(ConfigError, match="exists"):
        call(tmp_path / "rec", "--save", tmp_path / "a.rrd")


def count_of(reader: Any) -> int:
    """How many samples are in a recording of Rerun's."""
    (store,) = reader.recordings()
    pictures = [part for part in reader.stream(store=store) if part.entity_path == "/world/camera/image"]
    # A set: a row that clears what was there before has the same place.
    places = {place for part in pictures for place in part.to_record_batch().column("sample").to_pylist()}
    assert sorted(places) == list(range(len(places)))
    return len(places)


class Watcher:
    """Waits in a thread until the viewer has come up, then does something to it."""

    def __init__(self, then: Callable[["Watcher"], None]) -> None:
        self.viewer: psutil.Process | None = None
        self.ports: list[int] = []
        self.error: BaseException | None = None
        self._then = then
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        until = time.monotonic() + 30
        while time.monotonic() < until and len(self.ports) < 2:
            for child in psutil.Process().children():
                try:
                    listening = [c.laddr for c in child.net_connections("inet") if c.status == psutil.CONN_LISTEN]
                    if child.name() == "rerun" and len(listening) == 2:
                        self.viewer = child
                        assert {address.ip for address in listening} == {"127.0.0.1"}
                        self.ports = [address.port for address in listening]
                except (psutil.Error, AssertionError) as error:
                    self.error = error
            time.sleep(0.05)
        self._then(self)

    def check(self) -> None:
        """Fails where the viewer was not there, or still is."""
        self._thread.join(30)
        assert self.error is None or isinstance(self.error, psutil.Error)
        assert len(self.ports) == 2
        assert self.viewer is not None
        assert not self.viewer.is_running() or self.viewer.status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A command changes them, for its process is its own; and Rerun counts its sessions in its user's home."""
    monkeypatch.setenv("RUST_LOG", "off")
    home = str(tmp_path_factory.mktemp("home"))
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, home)
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.filterwarnings("ignore:RRD file has no footer")  # of a stream that was cut off
def test_a_viewer_shows_what_comes_until_it_is_closed(
    rerun_cli: Any, signals: None, instance: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The instance has made three samples and is silent then, so that the command waits for it when the viewer ends."""
    chunk = pytest.importorskip("rerun.chunk", exc_type=ImportError)
    stream = instance([(place, published(place)) for place in range(3)], then="stay")
    received = tmp_path / "received.rrd"

    def look_and_close(watcher: Watcher) -> None:
        pages = []
        for port in watcher.ports:
            try:
                pages.append(urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read())
            except OSError:
                data_port = port
        assert b"Rerun SDK-bundled web viewer" in pages[0]
        url = f"rerun+http://127.0.0.1:{data_port}/proxy"
        program = Path(rerun_cli.__file__).with_name("rerun")
        client = subprocess.Popen([program, url, "--save", received, "--port", "auto", "--bind", "127.0.0.1"])
        until = time.monotonic() + 15
        while time.monotonic() < until and not (received.exists() and received.stat().st_size > 3 * 96 * 128 * 3):
            time.sleep(0.1)
        time.sleep(0.5)
        client.send_signal(signal.SIGINT)
        client.wait(10)
        watcher.viewer.kill()  # type: ignore[union-attr]

    watcher = Watcher(look_and_close)
    assert call(stream.address, "--web", "--rate", "100", "--timeout", "20") == 0
    watcher.check()
    assert count_of(chunk.RrdReader(received)) == 3
    assert "http://localhost:" in capsys.readouterr().out


def test_ctrl_c_ends_the_viewer(rerun_cli: Any, signals: None, tmp_path: Path) -> None:
    write_recording(tmp_path / "rec", [full_sample()])

    def press(watcher: Watcher) -> None:
        time.sleep(0.5)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    watcher = Watcher(press)
    with pytest.raises(KeyboardInterrupt):
        call(tmp_path / "rec", "--web")
    watcher.check()


def test_a_viewer_that_cannot_start_says_why(
    rerun_cli: Any, signals: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_recording(tmp_path / "rec", [full_sample()])
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=r"Without a screen use --web, --save or --png(.|\n)*DISPLAY"):
        call(tmp_path / "rec")
    assert not [child for child in psutil.Process().children() if child.name() == "rerun"]
