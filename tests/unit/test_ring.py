"""The ring in shared memory: each sample to exactly one reader, whoever dies, and no foreign file is taken for one."""

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ring_files import open_files

from blendtorch.errors import SharedMemoryError
from blendtorch.wire.layout import Layout
from blendtorch.wire.ring import RingReader, RingWriter
from blendtorch.wire.ring_memory import TAIL_WORD, fence

SAMPLE = {"image": np.zeros((4, 5), np.uint8), "number": 0}
LAYOUT = Layout.of(SAMPLE, 64)
SLOTS = 4


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.ring"


@pytest.fixture
def writer(path: Path) -> Iterator[RingWriter]:
    writer = RingWriter.create(path, LAYOUT, SLOTS)
    yield writer
    writer.close()


def put(writer: RingWriter, number: int, rest: bytes = b"") -> None:
    present, left = writer.write({"image": np.full((4, 5), number % 256, np.uint8), "number": number})
    assert not left
    writer.commit(number, 10 * number, 0, 1, 2, present, rest)


def take(reader: RingReader, most: int = 100) -> list[int]:
    """The numbers of the samples that were claimed, which are released."""
    _, slot, count = reader.claim(most)
    words = reader.words(slot, count)
    numbers = reader.fields["number"][slot : slot + count].tolist()
    assert words[:, 0].tolist() == numbers
    for number, image in zip(numbers, reader.fields["image"][slot : slot + count], strict=True):
        assert (image == number % 256).all()
    reader.release(slot, count)
    return numbers


def child(code: str, *args: object) -> subprocess.Popen:
    """A Python that warns of everything, after it has said that it is ready."""
    command = [sys.executable, "-W", "error", "-c", code, *map(str, args)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n", process.communicate()[1]
    return process


def kill(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_samples_come_in_order_around_the_ring(writer: RingWriter, path: Path) -> None:
    reader = RingReader(path, writer.token)
    assert take(reader) == []
    for number in range(3 * SLOTS + 1):
        put(writer, number)
        assert take(reader) == [number]
    assert (writer.head, writer.tail, reader.end) == (13, 13, 13)
    for number in range(100, 100 + SLOTS):
        put(writer, number)
    assert not writer.has_room()
    assert reader.waiting == SLOTS
    assert take(reader) == [100, 101, 102]  # as far as the end of the memory
    assert take(reader) == [103]
    reader.close()


def test_a_claimed_slot_is_not_written_to_before_it_is_released(writer: RingWriter, path: Path) -> None:
    reader = RingReader(path, writer.token)
    for number in range(SLOTS):
        put(writer, number)
    _, slot, count = reader.claim(2)
    assert (slot, count) == (0, 2)
    assert not writer.has_room()
    reader.release(1, 1)  # not the one whose turn it is
    assert not writer.has_room()
    reader.release(0, 1)
    assert writer.has_room()
    reader.close()


def test_what_has_no_place_comes_as_rest(writer: RingWriter, path: Path) -> None:
    reader = RingReader(path, writer.token)
    present, left = writer.write({"number": 1.5, "image": SAMPLE["image"], "more": "x"})
    assert left == {"number": 1.5, "more": "x"}
    writer.commit(0, 0, 0, 0, 0, present, b"rest of it")
    _, slot, _ = reader.claim(1)
    assert reader.rest_of(slot) == b"rest of it"
    assert list(reader.kinds(int(reader.words(slot, 1)[0, 5]))) == ["image"]
    reader.release(slot, 1)
    reader.close()


def test_only_samples_with_the_same_fields_are_claimed_together(writer: RingWriter, path: Path) -> None:
    """Otherwise a reader that leaves would take along what it has not delivered."""
    reader = RingReader(path, writer.token)
    for number, names in enumerate([["number", "image"], ["number", "image"], ["image"]]):
        present, _ = writer.write({name: SAMPLE[name] for name in names})
        writer.commit(number, 0, 0, 0, 0, present)
    assert [reader.claim(10)[2] for _ in range(3)] == [2, 1, 0]
    reader.close()


def test_a_place_can_be_drawn_into(writer: RingWriter, path: Path) -> None:
    image = writer.places()["image"]
    image[...] = 7
    present, _ = writer.write({"image": image, "number": 7})
    writer.commit(7, 0, 0, 0, 0, present)
    reader = RingReader(path, writer.token)
    assert take(reader) == [7]
    reader.close()


def test_the_file_is_this_users_alone(writer: RingWriter, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_blocks * 512 >= path.stat().st_size  # all of it is there: writing cannot fail later


READ = """
import sys
from pathlib import Path
from blendtorch.wire.ring import RingReader
reader = RingReader(Path(sys.argv[1]), int(sys.argv[2]))
print("ready", flush=True)
"""
READ_ALL = (
    READ
    + """
while not (reader.closed and not reader.waiting):
    _, slot, count = reader.claim(3)
    if count:
        print(*reader.words(slot, count)[:, 0].tolist())
    reader.release(slot, count)
"""
)


def test_two_processes_share_without_loss_or_duplicates_or_warnings(writer: RingWriter, path: Path) -> None:
    readers = [child(READ_ALL, path, writer.token) for _ in range(2)]
    for number in range(1500):
        while not writer.has_room():
            os.sched_yield()
        put(writer, number)
    writer.retire()
    shares = []
    for reader in readers:
        out, warnings = reader.communicate(timeout=20)
        assert (reader.returncode, warnings) == (0, "")
        shares.append([int(number) for number in out.split()])
    assert sorted(shares[0] + shares[1]) == list(range(1500))
    assert all(share == sorted(share) and share for share in shares)
    assert path.exists()  # no resource tracker has removed it


def test_three_readers_in_one_process_share(writer: RingWriter, path: Path) -> None:
    """The counts that one reads while others move them are those of one moment."""
    shares: list[list[int]] = [[], [], []]
    errors: list[Exception] = []

    def read(share: list[int]) -> None:
        reader = RingReader(path, writer.token)
        try:
            while not (reader.closed and not reader.waiting):
                share += take(reader, 2)
        except Exception as error:
            errors.append(error)
        reader.close()

    threads = [threading.Thread(target=read, args=(share,)) for share in shares]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        number = 0
        while number < 1500 and not errors:
            if writer.has_room():
                put(writer, number)
                number += 1
        writer.retire()
        for thread in threads:
            thread.join(20)
    finally:
        sys.setswitchinterval(interval)
    assert not errors
    assert sorted(number for share in shares for number in share) == list(range(1500))


def test_counts_that_others_move_while_one_reads_them_are_no_nonsense(writer: RingWriter, path: Path) -> None:
    """Tail and head are two words: between them another reader may claim, and the writer go on."""
    reader, other = (RingReader(path, writer.token) for _ in range(2))
    for number in range(SLOTS):
        put(writer, number)

    class Words:
        def __init__(self) -> None:
            self.disturbances = 2

        def __getitem__(self, word: int) -> int:
            value = writer._words[word]
            if word == TAIL_WORD and self.disturbances:
                self.disturbances -= 1
                take(other)
                for number in range(SLOTS):
                    put(writer, number)
            return value

    reader._words = Words()
    assert reader.waiting == SLOTS
    for end in (reader, other):
        end.close()


CLAIM = READ + "reader.claim(2)\nimport time; time.sleep(100)"


def test_what_a_killed_reader_had_claimed_is_freed_and_counted(writer: RingWriter, path: Path) -> None:
    for number in range(SLOTS):
        put(writer, number)
    dead = child(CLAIM, path, writer.token)
    while writer.tail == 0:
        os.sched_yield()
    assert writer.reclaim() == 0  # it lives
    assert not writer.has_room()
    kill(dead)
    # Whoever comes next must not be taken for the dead one, nor keep its slots from being freed.
    reader = RingReader(path, writer.token)
    _, slot, count = reader.claim(1)
    assert writer.reclaim() == 2
    assert writer.reclaim() == 0
    reader.release(slot, count)
    assert writer.has_room()
    assert take(reader) == [3]
    reader.close()


def test_a_reader_killed_while_claiming_has_lost_nothing(writer: RingWriter, path: Path) -> None:
    """It has put its id into the slots, and not moved the tail."""
    put(writer, 0)
    writer.slots["busy"][0] = 900
    assert writer.reclaim() == 0
    assert not writer.slots["busy"].any()
    reader = RingReader(path, writer.token)
    assert take(reader) == [0]
    reader.close()


def test_a_reader_that_was_closed_lives_as_long_as_what_it_has_claimed_is_in_use(
    writer: RingWriter, path: Path
) -> None:
    reader = RingReader(path, writer.token)
    put(writer, 0)
    _, slot, _ = reader.claim(1)
    image = reader.fields["image"][slot]
    reader.close()
    assert writer.reclaim() == 0
    del reader
    assert writer.reclaim() == 0
    assert (image == 0).all()
    del image
    assert writer.reclaim() == 1


def test_a_reader_that_is_dropped_with_claims_leaves_no_open_file(writer: RingWriter, path: Path) -> None:
    files = open_files()
    reader = RingReader(path, writer.token)
    put(writer, 0)
    reader.claim(1)
    reader.close()
    del reader
    assert open_files() == files


WRITE_HALF = """
import sys
import numpy as np
from pathlib import Path
from blendtorch.wire.layout import Layout
from blendtorch.wire.ring import RingWriter
sample = {"image": np.zeros((4, 5), np.uint8), "number": 0}
writer = RingWriter.create(Path(sys.argv[1]), Layout.of(sample, 64), 4)
for number in (0, 1, 2):
    sample = {"image": np.full((4, 5), number, np.uint8), "number": number}
    present, _ = writer.write(sample)
    if number < 2:
        writer.commit(number, 0, 0, 0, 0, present)
print("ready", flush=True)
import time; time.sleep(100)
"""


def test_what_a_killed_writer_has_committed_stays_and_half_a_sample_is_not_seen(path: Path) -> None:
    kill(child(WRITE_HALF, path))
    writer = RingWriter.adopt(path)
    reader = RingReader(path, writer.token)
    last = writer.last()
    assert last is not None
    assert last["seq"] == 1
    assert take(reader) == [0, 1]
    put(writer, 5)
    assert take(reader) == [5]
    for end in (reader, writer):
        end.close()


def test_too_little_shared_memory_is_said_clearly() -> None:
    folder = Path("/dev/shm")
    path = folder / f"bt-test-{os.getpid()}.ring"
    free = os.statvfs(folder).f_blocks * os.statvfs(folder).f_frsize
    layout = Layout.of({"image": np.lib.stride_tricks.as_strided(np.zeros(1), (free // 8 + 1,), (0,))}, 0)
    with pytest.raises(SharedMemoryError, match=r"/dev/shm has no room for .* --shm-size.*shm_bytes"):
        RingWriter.create(path, layout, 2)
    assert not path.exists()


def test_a_ring_that_cannot_be_made_is_no_oserror_of_pythons(path: Path, tmp_path: Path) -> None:
    path.touch()
    with pytest.raises(SharedMemoryError, match="File exists"):
        RingWriter.create(path, LAYOUT, SLOTS)
    with pytest.raises(SharedMemoryError, match="No such file"):
        RingWriter.create(tmp_path / "none" / "x", LAYOUT, SLOTS)


def test_there_is_an_end_to_how_many_readers_fit(
    writer: RingWriter, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blendtorch.wire.ring._MAX_RECEIVERS", 3)
    readers = [RingReader(path, writer.token) for _ in range(2)]
    with pytest.raises(SharedMemoryError, match="2 receivers already"):
        RingReader(path, writer.token)
    readers.pop().close()
    readers.append(RingReader(path, writer.token))
    for reader in readers:
        reader.close()


def test_a_finalizer_may_give_slots_back_amid_a_fence() -> None:
    """Garbage collection runs it at any point, and it makes a fence itself."""
    amid: list[None] = []

    def profile(frame: object, event: str, what: object) -> None:
        if event == "c_call" and "__exit__" in str(what):  # while the lock is held
            amid.append(fence())  # type: ignore[func-returns-value]

    def run() -> None:
        sys.setprofile(profile)
        fence()
        sys.setprofile(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert amid


class GivenBackMeanwhile(np.ndarray):
    """Words that a reader sets to 0 after they were compared with something, and before what follows from that."""

    def __array_ufunc__(self, function: np.ufunc, method: str, *inputs: object, **options: object) -> object:
        found = getattr(function, method)(*[np.asarray(one) for one in inputs], **options)
        if method == "__call__":
            np.asarray(self)[:] = 0
        return found


def test_what_is_given_back_while_the_writer_looks_is_not_taken_for_a_dead_ones(writer: RingWriter, path: Path) -> None:
    reader = RingReader(path, writer.token)
    for number in range(SLOTS):
        put(writer, number)
    reader.claim(SLOTS)
    writer._busy = writer._busy.view(GivenBackMeanwhile)
    assert writer.reclaim() == 0
    assert reader.reclaimed == 0
    reader.close()
