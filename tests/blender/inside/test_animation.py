"""The order of the signals, and what callbacks may do in between."""

import bpy
import pytest

from blendtorch import btb
from blendtorch.errors import ConfigError

SIGNALS = ["pre_play", "pre_animation", "pre_frame", "post_frame", "post_animation", "post_play"]


@pytest.fixture
def anim():
    return btb.AnimationController()


@pytest.fixture
def calls(anim):
    """What was invoked: names of signals, with the frame where there is one."""
    made = []

    def note(name):
        made.append((name, anim.frameid) if name.endswith("_frame") else name)

    for name in SIGNALS:
        getattr(anim, name).add(note, name)
    return made


def episode(*frames):
    return ["pre_animation", *((name, f) for f in frames for name in ("pre_frame", "post_frame")), "post_animation"]


def test_order_over_two_episodes(anim, calls):
    anim.play(frame_range=(1, 3), num_episodes=2)
    assert calls == ["pre_play", *episode(1, 2, 3), *episode(1, 2, 3), "post_play"]
    assert not anim.playing


def test_range_of_the_scene_is_the_default(anim, calls):
    bpy.context.scene.frame_start, bpy.context.scene.frame_end = 5, 6
    anim.play(num_episodes=1)
    assert calls == ["pre_play", *episode(5, 6), "post_play"]


def test_frame_is_evaluated_between_pre_frame_and_post_frame(anim):
    cube = bpy.data.objects["Cube"]
    cube.location.x = 0
    cube.keyframe_insert("location", index=0, frame=1)
    cube.location.x = 10
    cube.keyframe_insert("location", index=0, frame=11)
    seen = []
    anim.pre_frame.add(lambda: seen.append((anim.frameid, bpy.context.scene.frame_current)))
    anim.post_frame.add(lambda: seen.append((anim.frameid, round(cube.matrix_world.translation.x, 3))))
    anim.pre_frame.add(lambda: setattr(cube.location, "z", anim.frameid))
    anim.post_frame.add(lambda: seen.append(cube.matrix_world.translation.z))
    anim.play((10, 11), 1)
    x_at_10 = seen[1][1]
    assert 9 < x_at_10 < 10
    assert seen == [(10, 1), (10, x_at_10), 10.0, (11, 10), (11, 10.0), 11.0]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("pre_play", ["pre_play", "post_play"]),
        ("pre_animation", ["pre_play", "pre_animation", "post_animation", "post_play"]),
        ("pre_frame", ["pre_play", "pre_animation", ("pre_frame", 1), "post_animation", "post_play"]),
        ("post_frame", ["pre_play", *episode(1), "post_play"]),
        ("post_animation", ["pre_play", *episode(1, 2), "post_play"]),
        ("post_play", ["pre_play", *episode(1, 2), *episode(1, 2), "post_play"]),
    ],
)
def test_stop_from_any_callback(anim, calls, where, expected):
    getattr(anim, where).add(anim.stop)
    anim.play((1, 2), 2)
    assert calls == expected
    calls.clear()
    getattr(anim, where)._slots.pop()
    anim.play((1, 1), 1)  # it plays again
    assert calls == ["pre_play", *episode(1), "post_play"]


def test_rewind_begins_the_next_episode(anim, calls):
    anim.post_frame.add(lambda: anim.rewind() if (anim.episode, anim.frameid) == (0, 2) else None)
    anim.play((1, 3), 2)
    assert calls == ["pre_play", *episode(1, 2), *episode(1, 2, 3), "post_play"]


def test_rewind_while_not_playing_sets_the_first_frame(anim):
    anim.play((4, 6), 1)
    assert bpy.context.scene.frame_current == 6
    anim.rewind()
    assert bpy.context.scene.frame_current == 4


@pytest.mark.parametrize("where", SIGNALS)
def test_exception_ends_the_playing_and_passes_through(anim, calls, where):
    getattr(anim, where).add(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        anim.play((1, 2), 2)
    last = calls[-1][0] if isinstance(calls[-1], tuple) else calls[-1]
    assert last == where  # nothing was invoked after it
    assert not anim.playing


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frame_range": (3, 2)}, r"frame_range is \(3, 2\)"),
        ({"num_episodes": 0}, "num_episodes is 0, expected a positive number, or -1"),
        ({"num_episodes": -2}, "num_episodes is -2"),
    ],
)
def test_bad_arguments(anim, calls, options, message):
    with pytest.raises(ConfigError, match=message):
        anim.play(**options)
    assert calls == []


def test_playing_twice_at_once(anim):
    anim.post_frame.add(lambda: anim.play((1, 1), 1))
    with pytest.raises(ConfigError, match="playing already"):
        anim.play((1, 1), 1)


def test_signal_passes_bound_arguments_and_keeps_order():
    signal, calls = btb.Signal(), []
    first = signal.add(lambda *args, **kwargs: calls.append((args, kwargs)), 1, key=2)
    signal.add(calls.append)
    signal.invoke("x")
    assert calls == [(("x", 1), {"key": 2}), "x"]
    signal.remove(first)
    assert len(signal) == 1
    with pytest.raises(ValueError, match="removed already"):
        signal.remove(first)
    with pytest.raises(TypeError, match="got 3"):
        signal.add(3)


def test_callback_may_remove_itself_while_invoked():
    signal, calls = btb.Signal(), []
    handle = signal.add(lambda: signal.remove(handle))
    signal.add(lambda: calls.append("second"))
    signal.invoke()
    assert calls == ["second"]
    assert len(signal) == 1
