"""How far an instance has come outlives it."""

import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from blendtorch.errors import ProtocolError
from blendtorch.wire.ledger import Ledger, Position

NOTE_FOR_EVER = """
import itertools, sys
from pathlib import Path
from blendtorch.wire.ledger import Ledger, Position
ledger = Ledger(Path(sys.argv[1]))
for i in itertools.count(1):
    ledger.note(Position(i, i, i), [], i)
    if i == 1000:
        print("running", flush=True)
"""


def test_what_was_noted_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    ledger = Ledger(path)
    assert (ledger.made, ledger.owed) == (Position(), Position())
    ledger.note(Position(7, 2**53, 3), [Position(6, 6, 2), Position(5, 6, 1)], 2)
    ledger.note(Position(8, 2**53, 4), [Position(5, 6, 1)], 3)
    ledger.close()
    ledger.close()
    again = Ledger(path)
    assert (again.made, again.owed, again.receivers) == (Position(8, 2**53, 4), Position(5, 6, 1), 3)
    assert again.had == {6, 7}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again.close()


def test_positions_are_ordered_by_their_number() -> None:
    assert Position(1, 9, 9) < Position(2, 0, 0)
    assert Position(3, 5, 7).after() == Position(4, 5, 8)


def test_the_record_of_a_killed_process_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    process = subprocess.Popen([sys.executable, "-c", NOTE_FOR_EVER, str(path)], stdout=subprocess.PIPE)
    assert process.stdout
    with process.stdout:
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    ledger = Ledger(path)
    made = ledger.made
    assert made.seq >= 1000
    assert made == ledger.owed == Position(made.seq, made.seq, made.seq)
    ledger.close()


@pytest.mark.parametrize("content", [b"BTLEDGR1", b"x" * 56, b"x" * 64, b"\0" * 64])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ledger"
    path.write_bytes(content)
    with pytest.raises(ProtocolError, match="is no ledger"):
        Ledger(path)
    assert path.read_bytes() == content


def test_more_unconfirmed_samples_than_fit_are_all_made_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    ledger.note(Position(2000, 1, 1), [Position(seq, 1, 1) for seq in range(1000, 2000)], 1)
    ledger.close()
    again = Ledger(tmp_path / "ledger")
    assert (again.owed.seq, again.had) == (1000, set())
    again.close()


def test_without_room_there_is_no_record_and_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger(Path("/dev/full"))
    ledger.note(Position(1, 1, 1), [], 1)
    ledger.note(Position(2, 1, 1), [], 1)
    ledger.close()
    assert len(caplog.records) == 1
    assert "No space left" in caplog.text
