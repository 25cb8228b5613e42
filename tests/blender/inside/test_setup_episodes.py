"""`SampleMaker`: episodes, of the timeline and physics; each is the same however it is asked for."""

import bpy
import numpy as np
import pytest
from sample_makers import (
    COLOR,
    CUBE,
    MOVE,
    digest,
    falling_cube,  # noqa: F401  (a fixture)
    heights,
    made,
    no_highlights,  # noqa: F401  (a fixture)
    state,
)

from blendtorch import btb
from blendtorch.btb import randomize, setup

EPISODE = {"animate": True, "frame_start": 3, "frame_end": 12, "labels": ("ids", "depth", "flow")}
START = randomize.LocationInBox(CUBE, (-1.0, -1.0, 2.0), (1.0, 1.0, 3.0), per="episode")
TURN_CAMERA = randomize.LookAt(randomize.Target("CAMERA", ""), (0.0, 0.0, 1.0))


def test_episodes_with_physics(falling):
    before = state()
    one = made(START, COLOR, **EPISODE)
    with setup.SampleMaker(one) as maker:
        episodes = {index: list(maker.samples(index)) for index in (0, 1, 2)}
        again = {index: list(maker.samples(index)) for index in (2, 0)}
    assert state() == before
    for index, samples in episodes.items():
        assert [sample["frameid"] for sample in samples] == list(range(3, 13))
        assert {sample["episode"] for sample in samples} == {index}
        z = heights(samples)
        assert 2 <= z[0] <= 3
        seconds = 9 / bpy.context.scene.render.fps
        assert z[0] - z[-1] == pytest.approx(9.81 * seconds**2 / 2, rel=0.15)
        # No picture before the first one, then the cube falls: what it shows was further up.
        assert np.isnan(samples[0]["flow_backward"]).all()
        seen = samples[5]["ids"] > 0
        assert np.nanmedian(samples[5]["flow_backward"][..., 1][seen]) < 0
    for index in again:
        assert list(map(digest, again[index])) == list(map(digest, episodes[index]))
    # Another maker begins in the middle.
    with setup.SampleMaker(one) as maker:
        assert list(map(digest, maker.samples(1))) == list(map(digest, episodes[1]))
    # The colour is drawn anew for each frame.
    assert len({digest(sample["image"]) for sample in episodes[0]}) == 10


def test_an_episode_that_is_interrupted_goes_on(falling):
    before = state()
    with setup.SampleMaker(made(START, TURN_CAMERA, **EPISODE)) as maker:
        expected = list(map(digest, maker.samples(4)))
        samples = maker.samples(4)
        got = [digest(next(samples)) for _ in range(4)]
        maker.put_back()
        assert state() == before
        got += [digest(next(samples)) for _ in range(2)]
        bpy.context.scene.frame_set(200)  # the user looks at another frame
        got += [digest(next(samples))]
        bpy.ops.ed.undo_push(message="in the middle")
        maker.put_back()
        maker.invalidate()
        got += list(map(digest, samples))
        assert got == expected
        # Two at once.
        images = [digest(sample["image"]) for sample in maker.samples(4)]
        a, b = maker.samples(4), maker.samples(5)
        both = [(next(a), next(b)) for _ in range(3)]
        assert [digest(first["image"]) for first, _ in both] == images[:3]
        assert np.isnan(both[1][0]["flow_backward"]).all()
        b.close()
        a.close()
    assert state() == before


@pytest.mark.parametrize("animate", [False, True])
def test_closing_the_generator_or_the_maker_puts_all_back(falling, animate):
    bpy.context.scene.frame_set(5)
    before = state()
    one = made(START, MOVE, animate=animate, frame_start=1, frame_end=4)
    for end in ("generator", "maker", "gone"):
        maker = setup.SampleMaker(one)
        samples = maker.samples(0)
        next(samples)
        if end == "generator":
            samples.close()
        elif end == "maker":
            maker.close()
        else:
            del samples
        now = state()
        # Where nobody sees it, the viewport stays set up for the next index.
        assert {**now, "view": None} == {**before, "view": None}, end
        maker.close()
        assert state() == before


POSE = """
import bpy

def post_frame(ctx):
    cube = bpy.data.objects["Cube"]
    ctx.sample |= {"scale": [*cube.scale], "location": [*cube.location]}
"""


@pytest.mark.parametrize("first", [-2, 0])
def test_no_frame_has_the_randomness_of_its_episode(first):
    bpy.data.texts.new("pose.py").write(POSE)
    one = randomize.Uniform(0.5, 1.5)
    entries = (
        randomize.Property(CUBE, "scale", one, per="episode"),
        randomize.Property(CUBE, "location", one),
        randomize.Hook("pose.py"),
    )
    with setup.SampleMaker(made(*entries, animate=True, frame_start=first, frame_end=first + 2)) as maker:
        samples = list(maker.samples(4))
    assert [sample["frameid"] for sample in samples] == [first, first + 1, first + 2]
    assert len({tuple(sample["scale"]) for sample in samples}) == 1
    drawn = [number for sample in samples for number in sample["location"]] + samples[0]["scale"]
    assert len(set(drawn)) == 12
    rng = btb.sample_rng(3, *setup.frame_address(maker.setup.output, 4, first))
    assert np.allclose(samples[0]["location"], one.sample(rng, 3))


def test_after_an_episode_physics_show_nothing_of_it(falling):
    scene = bpy.context.scene
    scene.frame_set(1)
    before = state()
    away = randomize.LocationInBox(CUBE, (3.0, 3.0, 3.0), (3.0, 3.0, 3.0), per="episode")
    with setup.SampleMaker(made(away, animate=True, frame_start=1, frame_end=3)) as maker:
        list(maker.samples(0))
    assert state() == before
    scene.frame_set(3)
    assert tuple(falling.matrix_world.translation)[:2] == (0.0, 0.0)
