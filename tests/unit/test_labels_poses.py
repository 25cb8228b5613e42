"""Rigid poses, rotation vectors and velocities, against matrices made of known parts."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blendtorch.errors import ConfigError
from blendtorch.labels import rigid_poses, rotation_vectors, velocities


def rotation_by(vector: np.ndarray) -> np.ndarray:
    """Rodrigues' formula: the matrix that turns about a vector by its length."""
    angle = np.linalg.norm(vector)
    if angle == 0:
        return np.eye(3)
    x, y, z = np.asarray(vector) / angle
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


def placed(rotation: np.ndarray, scale: tuple | np.ndarray = (1, 1, 1), location: tuple = (0, 0, 0)) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * np.asarray(scale, dtype=float)
    matrix[:3, 3] = location
    return matrix


def assert_rigid(poses: np.ndarray) -> None:
    r = poses[:, :3, :3]
    np.testing.assert_allclose(r.transpose(0, 2, 1) @ r, np.broadcast_to(np.eye(3), r.shape), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(r), 1.0)


ANGLE = st.floats(-3.0, 3.0)
SCALE = st.floats(1e-6, 1e6)


@given(st.tuples(ANGLE, ANGLE, ANGLE), st.tuples(SCALE, SCALE, SCALE))
def test_scale_is_taken_out(vector: tuple, scale: tuple) -> None:
    rotation = rotation_by(np.array(vector))
    poses, found = rigid_poses(placed(rotation, scale, (1, 2, 3))[None])
    np.testing.assert_allclose(poses[0], placed(rotation, location=(1, 2, 3)), atol=1e-12)
    np.testing.assert_allclose(found[0], scale, rtol=1e-12)


@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)))
def test_mirrored_objects_are_negative_along_all_axes_as_in_blender(signs: tuple) -> None:
    scale = np.array(signs) * (1.0, 2.0, 3.0)
    matrix = placed(rotation_by(np.array([0.3, -0.8, 0.5])), scale)
    poses, found = rigid_poses(matrix[None])
    assert_rigid(poses)
    np.testing.assert_allclose(found[0], np.prod(signs) * np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(poses[0] @ np.diag([*found[0], 1.0]), matrix, atol=1e-12)


def test_float32_matrices_become_rotations_in_full_precision() -> None:
    rng = np.random.default_rng(0)
    matrices = np.array(
        [placed(rotation_by(v), s) for v, s in zip(rng.normal(size=(50, 3)), rng.uniform(0.1, 9, (50, 3)), strict=True)]
    )
    poses, _ = rigid_poses(matrices.astype(np.float32))
    assert_rigid(poses)
    np.testing.assert_allclose(poses, rigid_poses(matrices)[0], atol=1e-6)


def test_a_sheared_matrix_has_the_rotation_nearest_to_its_axes() -> None:
    rng = np.random.default_rng(1)
    matrices = np.tile(np.eye(4), (20, 1, 1))
    matrices[:, :3, :3] = rng.normal(size=(20, 3, 3))
    poses, scale = rigid_poses(matrices)
    assert_rigid(poses)
    np.testing.assert_allclose(np.abs(scale), np.linalg.norm(matrices[:, :3, :3], axis=1))
    axes = matrices[:, :3, :3] / scale[:, None, :]
    distance = ((poses[:, :3, :3] - axes) ** 2).sum((1, 2))
    for step in rng.normal(size=(200, 3)) * rng.choice([1e-3, 0.1, 2.0], (200, 1)):
        assert (((rotation_by(step) @ poses[:, :3, :3] - axes) ** 2).sum((1, 2)) >= distance - 1e-12).all()


@pytest.mark.parametrize("excess", [2e-5, 9e-5, 1.1e-4, 1e-3])
def test_the_short_way_for_nearly_orthogonal_axes_ends_where_the_decomposition_does(excess: float) -> None:
    axes = rotation_by(np.array([1.0, 2.0, -0.5]))
    axes[:, 0] = axes[:, 0] + excess * axes[:, 1]
    poses, _ = rigid_poses(placed(axes)[None])
    u, _, v = np.linalg.svd(axes / np.linalg.norm(axes, axis=0))
    np.testing.assert_allclose(poses[0, :3, :3], u @ v, atol=1e-14)


@pytest.mark.parametrize("flat", range(3))
def test_of_a_flat_object_the_other_axes_decide(flat: int) -> None:
    rotation = rotation_by(np.array([0.4, 1.1, -0.7]))
    scale = np.array([2.0, 3.0, 4.0])
    scale[flat] = 0
    poses, found = rigid_poses(placed(rotation, scale)[None])
    np.testing.assert_allclose(poses[0, :3, :3], rotation, atol=1e-12)
    np.testing.assert_allclose(found[0], scale)


@pytest.mark.parametrize("scale", [(0, 0, 0), (2, 0, 0), (0, 0, 5)])
def test_a_line_or_a_point_has_some_rotation_that_fits(scale: tuple) -> None:
    rotation = rotation_by(np.array([0.4, 1.1, -0.7]))
    poses, found = rigid_poses(placed(rotation, scale)[None])
    assert_rigid(poses)
    np.testing.assert_allclose(poses[0, :3, :3] * found[0], rotation * scale, atol=1e-12)


def test_a_matrix_that_is_not_finite_has_no_pose_and_spoils_no_other() -> None:
    poses, scale = rigid_poses([np.eye(4), np.full((4, 4), np.nan), np.eye(4)])
    assert np.isnan(poses[1]).all()
    assert np.isnan(scale[1]).all()
    np.testing.assert_array_equal(poses[[0, 2]], [np.eye(4)] * 2)


def test_no_matrices_have_no_poses() -> None:
    poses, scale = rigid_poses([])
    assert (poses.shape, scale.shape) == ((0, 4, 4), (0, 3))


def test_a_single_matrix_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"expected shape \(K, 4, 4\), got \(4, 4\)"):
        rigid_poses(np.eye(4))


AXES = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda axis: np.linalg.norm(axis) > 0.01)


@given(AXES, st.one_of(st.floats(0, np.pi - 1e-6), st.floats(0, 1e-6), st.floats(0, 1e-12)))
def test_rotation_vectors_are_those_the_matrix_was_made_of(axis: tuple, angle: float) -> None:
    vector = np.array(axis) / np.linalg.norm(axis) * angle
    found = rotation_vectors(rotation_by(vector)[None])[0]
    np.testing.assert_allclose(found, vector, rtol=1e-7, atol=1e-15)


@given(AXES, st.floats(-1e-7, 1e-7))
def test_about_half_a_turn_the_rotation_is_the_same_whatever_the_sign(axis: tuple, beyond: float) -> None:
    rotation = rotation_by(np.array(axis) / np.linalg.norm(axis) * (np.pi + beyond))
    found = rotation_vectors(rotation[None])[0]
    assert np.linalg.norm(found) <= np.pi + 1e-12
    np.testing.assert_allclose(rotation_by(found), rotation, atol=1e-12)


def test_exact_half_turns() -> None:
    found = rotation_vectors([np.diag([1.0, -1, -1]), np.diag([-1.0, 1, -1]), np.diag([-1.0, -1, 1])])
    np.testing.assert_allclose(np.abs(found), np.pi * np.eye(3))


def test_velocities_of_a_steady_motion() -> None:
    angular, linear = np.array([0.5, -1.0, 2.0]), np.array([3.0, -4.0, 1.0])
    start = rotation_by(np.array([1.0, 0.2, 0.3]))
    before = placed(start, (1, 2, 3), (5, 5, 5))
    now = placed(rotation_by(angular * 0.25) @ start, (1, 2, 3), (5, 5, 5) + linear * 0.25)
    found_linear, found_angular = velocities(now[None], before[None], 0.25)
    np.testing.assert_allclose(found_linear[0], linear)
    np.testing.assert_allclose(found_angular[0], angular)


def test_a_mirrored_object_turns_like_any_other() -> None:
    start, turn = rotation_by(np.array([1.0, 0.2, 0.3])), np.array([0.1, 0.2, 0.3])
    before, now = placed(start, (1, -2, 3)), placed(rotation_by(turn) @ start, (1, -2, 3))
    np.testing.assert_allclose(velocities(now[None], before[None], 1.0)[1][0], turn, atol=1e-12)


def test_what_was_not_there_before_has_no_velocity() -> None:
    linear, angular = velocities([np.eye(4)] * 2, [np.full((4, 4), np.nan), np.eye(4)], 1.0)
    assert np.isnan(linear[0]).all()
    assert np.isnan(angular[0]).all()
    assert (linear[1] == 0).all()
    assert (angular[1] == 0).all()


@pytest.mark.parametrize("interval_s", [0.0, -1.0, np.nan, np.inf])
def test_an_interval_is_above_zero(interval_s: float) -> None:
    with pytest.raises(ConfigError, match="interval_s"):
        velocities([np.eye(4)], [np.eye(4)], interval_s)
