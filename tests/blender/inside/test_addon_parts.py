"""Parts of the add-on that need no scene: the pace of its turns, shares of indices, and the preview's pictures."""

import errno
import struct
import zlib

import numpy as np
import pytest

from addon_blendtorch.client_snippet import snippet
from addon_blendtorch.pace import Pace, turn_s
from addon_blendtorch.panels.recording import progress_of
from addon_blendtorch.preview_picture import grid, png, with_boxes
from addon_blendtorch.producer import Share
from addon_blendtorch.stream_address import endpoint_of, in_words
from blendtorch.btb.setup import StreamSettings
from blendtorch.errors import AddressError
from blendtorch.hub import HubStats
from blendtorch.labels.pictures import ids_to_rgb


@pytest.mark.parametrize("drawing_s", [0.0, 0.02, 0.05, 0.075])
def test_ten_redraws_a_second_where_drawing_leaves_time(drawing_s):
    assert drawing_s + turn_s(drawing_s) < 0.1


@pytest.mark.parametrize("drawing_s", [0.09, 0.15, 0.5, 5.0])
def test_turns_stay_short_where_drawing_is_slow(drawing_s):
    assert 0.01 < turn_s(drawing_s) <= 0.1


def test_pace_slows_down_when_nobody_wants_samples():
    pace = Pace()
    pace.begin()
    assert pace.end(is_busy=True) == 0.0
    pace.begin()
    assert 0 < pace.end(is_busy=False) <= 0.02
    pace._busy_at -= 10
    assert 0.02 < pace.end(is_busy=False) <= 0.1


def test_shares_are_all_indices_once():
    shares = [Share(number, 3, first=4) for number in range(3)]
    made = []
    for share in shares:
        index = 0
        for _ in range(3):
            made.append(share.index_from(index))
            index = made[-1] + 1
    assert sorted(made) == list(range(4, 13))


@pytest.mark.parametrize("share", [(0, 0, 0), (2, 2, 0), (-1, 2, 0), (0, 1, -1)])
def test_no_share(share):
    with pytest.raises(ValueError, match="no share"):
        Share(*share)


def labels(*boxes):
    ids = np.arange(1, len(boxes) + 1, dtype=np.uint32)
    return {"instances": {"id": ids, "box": np.array(boxes, np.float32)}}


def test_boxes_are_drawn_on_their_outermost_pixels():
    image = np.zeros((20, 30, 4), np.uint8)
    picture = with_boxes(image, labels((5, 4, 15, 12)))
    color = ids_to_rgb(np.array([1]))[0]
    expected = np.zeros((20, 30, 3), np.uint8)
    expected[4:12, 5:15] = color
    expected[5:11, 6:14] = 0
    np.testing.assert_array_equal(picture, expected)
    assert not image.any()


def test_boxes_without_area_and_beyond_the_border():
    image = np.zeros((20, 30, 3), np.uint8)
    picture = with_boxes(image, labels((0, 0, 0, 0), (-5, -5, 40, 40), (40, 40, 50, 50)), width_px=2)
    color = ids_to_rgb(np.array([2]))[0]
    assert (picture[[0, 1, -1, -2]] == color).all()
    assert not picture[2:-2, 2:-2].any()
    np.testing.assert_array_equal(with_boxes(image, None), image)


def test_names_stand_above_their_boxes_or_inside():
    image = np.zeros((20, 30, 3), np.uint8)
    mask = np.zeros((5, 8), np.uint8)
    mask[2, 2:6] = 255
    color = ids_to_rgb(np.array([1]))[0]
    picture = with_boxes(image, labels((4, 10, 20, 18)), names=[mask])
    assert (picture[5, 4:12] == color).all()
    assert not (picture[7, 6:10] == color).all(axis=-1).any()
    picture = with_boxes(image, labels((25, 1, 30, 18)), names=[mask])
    assert (picture[1, 22:30] == color).all()
    np.testing.assert_array_equal(
        with_boxes(image, labels((4, 10, 20, 18)), names=[np.empty((0, 0), np.uint8)]),
        with_boxes(image, labels((4, 10, 20, 18))),
    )


def test_grid_and_png():
    pictures = [np.full((4, 6, 3), 10 * number, np.uint8) for number in range(5)]
    sheet = grid(pictures)
    assert sheet.shape == (3 * 4 + 2 * 4, 3 * 6 + 2 * 4, 3)
    for number in range(5):
        assert (sheet[number // 3 * 8, number % 3 * 10] == 10 * number).all()
    data = png(sheet)
    assert struct.unpack(">II", data[16:24]) == (26, 20)
    length = struct.unpack(">I", data[33:37])[0]
    rows = np.frombuffer(zlib.decompress(data[41 : 41 + length]), np.uint8).reshape(20, 1 + 3 * 26)
    np.testing.assert_array_equal(rows[:, 1:].reshape(sheet.shape), sheet)


@pytest.mark.parametrize(
    ("settings", "address", "shm", "keys"),
    [
        (StreamSettings(), "tcp://127.0.0.1:*", True, False),
        (StreamSettings(port=5000, transport="tcp"), "tcp://127.0.0.1:5000", False, False),
        (StreamSettings(bind_addr="localhost"), "tcp://localhost:*", True, False),
        (StreamSettings(bind_addr="*", port=1), "tcp://0.0.0.0:1", True, True),
        (StreamSettings(bind_addr="192.0.2.1"), "tcp://192.0.2.1:*", True, True),
        (StreamSettings(bind_addr="::1"), "tcp://[::1]:*", True, False),
    ],
)
def test_endpoints(settings, address, shm, keys):
    endpoint = endpoint_of(settings)
    assert (endpoint.address, endpoint.shm, endpoint.curve is not None) == (address, shm, keys)


def test_words_for_ports_that_need_rights():
    words = in_words(AddressError(errno.EACCES, "Permission denied"), StreamSettings(port=80))
    assert "1024" in words


def test_client_code_is_python():
    code = snippet("tcp://127.0.0.1:5000")
    compile(code, "code", "exec")
    assert "StreamLoader('tcp://127.0.0.1:5000', batch_size=8)" in code


def test_progress_is_towards_the_goal_that_the_recording_was_started_with():
    assert progress_of(HubStats(recording=True, num_samples=8, recorded=2)) == (0.25, "2 of 8 samples")
    assert progress_of(HubStats(recording=True, num_samples=8, recorded=9)) == (1.0, "9 of 8 samples")
    assert progress_of(HubStats(recording=True, recorded=2)) is None
