"""Distributions are what they are called: Kolmogorov-Smirnov tests with fixed seeds, and the same numbers everywhere."""

import math

import bpy
import numpy as np
import pytest
from randomize_scenes import CUBE

from blendtorch.btb import randomize
from blendtorch.btb.randomize import Choice, Constant, LogUniform, Normal, Uniform
from blendtorch.errors import ConfigError

COUNT = 20_000
# Limit of the statistic at a significance of 0.1 per cent: sqrt(-ln(0.001 / 2) / 2) / sqrt(n).
CRITICAL = 1.95


def ks_statistic(values, cdf):
    """sqrt(n) times the largest distance of the empirical distribution from a cumulative one."""
    values = np.sort(np.asarray(values, dtype=np.float64).ravel())
    n = len(values)
    expected = np.array([cdf(value) for value in values])
    above, below = np.arange(1, n + 1) / n - expected, expected - np.arange(n) / n
    return math.sqrt(n) * max(above.max(), below.max())


def is_distributed(values, cdf):
    statistic = ks_statistic(values, cdf)
    assert statistic < CRITICAL, statistic


def phi(x):
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


def uniform_cdf(low, high):
    return lambda x: min(max((x - low) / (high - low), 0.0), 1.0)


CASES = {
    "uniform": (Uniform(-2, 3), uniform_cdf(-2, 3)),
    "log-uniform": (LogUniform(0.1, 1000), lambda x: math.log(x / 0.1) / math.log(10_000)),
    "normal": (Normal(1, 2), lambda x: phi((x - 1) / 2)),
    "truncated": (Normal(0, 1, -0.5, 2), lambda x: (phi(x) - phi(-0.5)) / (phi(2) - phi(-0.5))),
    "truncated on one side": (Normal(0, 1, low=1), lambda x: (phi(x) - phi(1)) / (1 - phi(1))),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_follows_its_cumulative_distribution(name, seed):
    distribution, cdf = CASES[name]
    is_distributed(distribution.sample(np.random.default_rng(seed), COUNT), cdf)
    one_by_one = [distribution.sample(rng) for rng in [np.random.default_rng(seed + 9)] for _ in range(2000)]
    is_distributed(one_by_one, cdf)


@pytest.mark.parametrize(
    ("name", "other"), [("uniform", "normal"), ("truncated", "normal"), ("log-uniform", "uniform")]
)
def test_the_test_can_tell_them_apart(name, other):
    values = CASES[name][0].sample(np.random.default_rng(0), COUNT)
    assert ks_statistic(values, CASES[other][1]) > 5 * CRITICAL


def test_choice_follows_its_weights():
    rng = np.random.default_rng(3)
    weights = (1.0, 0.0, 2.0, 5.0)
    chosen = Choice(("a", "b", "c", "d"), weights).sample(rng, COUNT)
    counts = np.array([chosen.count(letter) for letter in "abcd"])
    assert counts[1] == 0
    expected = np.array(weights) / 8 * COUNT
    chi2 = ((counts - expected)[[0, 2, 3]] ** 2 / expected[[0, 2, 3]]).sum()
    assert chi2 < 13.8  # two degrees of freedom, 0.1 per cent
    even = np.bincount(Choice(tuple(range(6))).sample(rng, COUNT).astype(int), minlength=6)
    assert ((even - COUNT / 6) ** 2 / (COUNT / 6)).sum() < 20.5  # five degrees


@pytest.mark.parametrize(
    ("distribution", "size", "expected"),
    [
        (Uniform(0, 1), None, [0.7701409510034741, 0.1119272443176843]),
        (LogUniform(1, 100), None, [34.69619915688319, 1.6743817765691087]),
        (Normal(0, 1), None, [0.34736176866043106, -2.3378561559560835]),
        (
            Uniform((0, 10), (1, 20)),
            2,
            [[0.7701409510034741, 11.119272443176843], [0.18909773329712753, 11.599552615590502]],
        ),
        (Choice((1, 2, 3, 4)), None, [4, 1]),
        (Constant("word"), None, ["word", "word"]),
    ],
)
def test_the_same_numbers_in_every_blender(distribution, size, expected):
    rng = np.random.default_rng([7, 1])
    drawn = [distribution.sample(rng, size) for _ in range(2)]
    if isinstance(expected[0], str):
        assert drawn == expected
    else:
        np.testing.assert_array_equal(drawn, expected)


def test_components():
    rng = np.random.default_rng(0)
    assert isinstance(Uniform(0, 1).sample(rng), float)
    assert Uniform(0, 1).sample(rng, 3).shape == (3,)
    assert len(set(Uniform(0, 1).sample(rng, 3))) == 3
    assert Uniform((0, 5), 9).sample(rng).shape == (2,)
    vector = Choice([(1, 2, 3), (4, 5, 6)]).sample(rng, 3)
    assert tuple(vector) in {(1, 2, 3), (4, 5, 6)}
    assert set(Choice((1, 2)).sample(rng, 50)) == {1, 2}
    assert Constant((1, 2, 3)).sample(rng, 3).tolist() == [1, 2, 3]
    assert Constant(2).sample(rng, 3).tolist() == [2, 2, 2]
    assert Constant(True).sample(rng) is True
    assert Choice((None,)).sample(rng) is None
    with pytest.raises(ConfigError, match="2 components, but there are 3"):
        Uniform((0, 0), (1, 1)).sample(rng, 3)
    with pytest.raises(ConfigError, match="of 3 components, but there are 2"):
        Constant((1, 2, 3)).sample(rng, 2)


def test_limits_are_kept():
    rng = np.random.default_rng(0)
    assert Uniform(0.1, 0.1).sample(rng) == 0.1
    assert LogUniform(0.1, 0.1).sample(rng) == 0.1
    assert Normal(5, 0).sample(rng) == 5
    drawn = Normal((0, 10), (1, 2), low=(0.5, 9)).sample(rng, 2)
    assert (drawn >= (0.5, 9)).all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Uniform(1, 0), "low is above high"),
        (lambda: Uniform("a", 1), "low is 'a'; expected a finite number"),
        (lambda: Uniform(math.nan, 1), "finite"),
        (lambda: Uniform(True, 1), "finite number"),
        (lambda: Uniform((0, 1), (1, 2, 3)), "different numbers of components"),
        (lambda: Uniform((), ()), "no component"),
        (lambda: LogUniform(0, 1), "above 0"),
        (lambda: Normal(0, -1), "std is below 0"),
        (lambda: Normal(0, 1, 8, 9), "lies within its limits"),
        (lambda: Normal(0, 0, 1, 2), "lies within its limits"),
        (lambda: Choice(()), "nothing to choose"),
        (lambda: Choice((1, 2), (1,)), "1 weights for 2 values"),
        (lambda: Choice((1, 2), (0, 0)), "not all 0"),
        (lambda: Choice(({},)), "values"),
        (lambda: Constant(object()), "value"),
    ],
)
def test_nonsense_is_refused(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


# ---- of places and orientations, drawn through Blender


def places(randomizer, count=4000):
    cube, rng = bpy.data.objects["Cube"], np.random.default_rng(11)
    found = np.empty((count, 3))
    for row in found:
        seed = int(rng.integers(2**32))
        with randomize.apply([randomizer], seed=seed, address=(0,)):
            row[:] = cube.matrix_world.translation
    return found


def test_in_a_box():
    found = places(randomize.LocationInBox(CUBE, (-1, 0, 2), (1, 0.5, 5)))
    for axis, limits in enumerate(((-1, 1), (0, 0.5), (2, 5))):
        is_distributed(found[:, axis], uniform_cdf(*limits))
    assert np.abs(np.corrcoef(found.T) - np.eye(3)).max() < 0.06


def test_in_a_ball_by_volume():
    found = places(randomize.LocationInSphere(CUBE, (1, 2, 3), 2.0)) - (1, 2, 3)
    distances = np.linalg.norm(found, axis=1)
    is_distributed(distances, lambda r: min(r / 2, 1) ** 3)
    for axis in range(3):  # by Archimedes, coordinates of directions are uniform
        is_distributed(found[:, axis] / distances, uniform_cdf(-1, 1))
    is_distributed(np.arctan2(found[:, 1], found[:, 0]), uniform_cdf(-math.pi, math.pi))


def test_on_a_sphere():
    found = places(randomize.LocationInSphere(CUBE, (0, 0, 0), 2.0, surface_only=True))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 2, rtol=1e-6)
    for axis in range(3):
        is_distributed(found[:, axis], uniform_cdf(-2, 2))
    is_distributed(np.arctan2(found[:, 1], found[:, 0]), uniform_cdf(-math.pi, math.pi))


def test_on_a_surface_by_area():
    # Two rectangles: one of 1 x 1 at z = 0, and one of 3 x 1 at z = 1, of a triangle and a quad, moved, turned and scaled.
    corners = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (3, 0, 1), (3, 1, 1), (0, 1, 1)]
    mesh = bpy.data.meshes.new("Two")
    mesh.from_pydata(corners, [], [(0, 1, 2, 3), (4, 5, 6), (4, 6, 7)])
    surface = bpy.data.objects.new("Two", mesh)
    surface.scale, surface.location = (2, 2, 2), (10, 0, 0)
    bpy.context.scene.collection.objects.link(surface)
    bpy.context.view_layer.update()
    found = (places(randomize.LocationOnSurface(CUBE, "Two")) - (10, 0, 0)) / 2
    upper = found[:, 2] > 0.5
    np.testing.assert_allclose(found[:, 2], upper, atol=1e-5)
    share = 3 / 4
    assert abs(upper.mean() - share) < 3.3 * math.sqrt(share * (1 - share) / len(found))
    is_distributed(found[upper][:, 0], uniform_cdf(0, 3))
    is_distributed(found[upper][:, 1], uniform_cdf(0, 1))
    is_distributed(found[~upper][:, 0], uniform_cdf(0, 1))
    is_distributed(found[~upper][:, 1], uniform_cdf(0, 1))


def test_any_orientation_is_as_likely_as_another():
    cube, rng, axes, angles = bpy.data.objects["Cube"], np.random.default_rng(4), [], []
    cube.rotation_mode = "QUATERNION"
    for _ in range(4000):
        with randomize.apply([randomize.Rotation(CUBE)], seed=int(rng.integers(2**32)), address=(0,)):
            turned = np.array(cube.matrix_world)[:3, :3]
            angles.append(math.acos(min(1.0, max(-1.0, (np.trace(turned) - 1) / 2))))
            axes.append(turned.ravel())
    # Of uniform rotations the angle has density (1 - cos a) / pi, and each entry is a coordinate of a uniform direction.
    is_distributed(angles, lambda a: (a - math.sin(a)) / math.pi)
    for entry in np.array(axes).T:
        is_distributed(entry, uniform_cdf(-1, 1))
