"""The table of instances, from a scene whose labels are known."""

import numpy as np
import pytest
from label_spheres import MARGIN, ORTHOGRAPHIC, PERSPECTIVE, SHAPE, camera, matrices, ray_cast, sample

from blendtorch.errors import ConfigError
from blendtorch.labels import camera_labels, instance_labels
from blendtorch.labels.projection import intrinsics, to_homogeneous
from blendtorch.labels.schema import CAMERA, INSTANCES, TEXT

NAMES = ["a", "b", "c"]


def table(ids: np.ndarray | None = None, instance_ids: object = (5, 2, 9), **changes: object) -> dict:
    arguments: dict = {
        "ids": np.zeros(SHAPE, np.uint32) if ids is None else ids,
        "instance_ids": instance_ids,
        "names": NAMES,
        "instancers": ["", "x", ""],
        "class_ids": [10, 20, 30],
        "world_from_object": matrices(3),
        "bounds": np.tile([[-1.0] * 3, [1.0] * 3], (3, 1, 1)) * np.array([1, 2, 3])[:, None, None],
        "camera": camera(),
    }
    return instance_labels(**{**arguments, **changes})


def test_the_table_has_the_columns_of_the_schema() -> None:
    found = sample()["labels"]["instances"]
    assert list(found) == list(INSTANCES)
    for name, column in INSTANCES.items():
        if column.dtype == TEXT:
            assert len(found[name]) == 8
            assert all(type(text) is str for text in found[name])
        else:
            assert found[name].dtype == column.dtype
            assert found[name].shape == (8, *column.tail)


def test_what_is_optional_comes_when_it_is_asked_for() -> None:
    found = table()
    assert "velocity_world" not in found
    assert "box_amodal" not in found


def test_rows_are_ordered_by_id_whatever_the_order_of_the_arguments() -> None:
    ids = np.zeros(SHAPE, np.uint32)
    ids[0, :3] = 5, 5, 9
    before = matrices(3)
    before[:, :3, 3] -= [[1, 0, 0], [2, 0, 0], [3, 0, 0]]
    amodal = {"truncation": [0.5, 0.2, 0.9]}
    found = table(ids, world_from_object_before=before, interval_s=0.5, amodal=amodal)
    order = [1, 0, 2]
    assert found["id"].tolist() == [2, 5, 9]
    assert found["object"] == ["b", "a", "c"]
    assert found["instancer"] == ["x", "", ""]
    assert found["class_id"].tolist() == [20, 10, 30]
    assert found["pixels"].tolist() == [0, 2, 1]
    assert found["box"].tolist() == [[0, 0, 0, 0], [0, 0, 2, 1], [2, 0, 3, 1]]
    assert found["bounds"][:, 1, 0].tolist() == [2, 1, 3]
    np.testing.assert_array_equal(found["world_from_object"], matrices(3)[order])
    np.testing.assert_allclose(found["velocity_world"], [[4, 0, 0], [2, 0, 0], [6, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(found["angular_velocity_world"], 0, atol=1e-12)
    np.testing.assert_allclose(found["truncation"], [0.2, 0.5, 0.9])


@pytest.mark.parametrize("clip_from_camera", [PERSPECTIVE, ORTHOGRAPHIC], ids=["perspective", "orthographic"])
def test_3d_boxes_and_poses_agree_with_the_matrices_they_come_from(clip_from_camera: np.ndarray) -> None:
    cam = camera(clip_from_camera)
    found = table(camera=cam)
    for row in range(3):
        matrix = found["world_from_object"][row]
        corner = np.array([*found["bounds"][row, 1], 1.0])  # the highest of all three: number 6
        world = matrix @ corner
        in_camera = cam["camera_from_world"] @ world
        np.testing.assert_allclose(found["box3d_world"][row, 6], world[:3])
        np.testing.assert_allclose(found["box3d_camera"][row, 6], in_camera[:3] * (1, -1, -1))
        ndc = clip_from_camera @ in_camera
        x, y = ndc[:2] / ndc[3]
        expected = (x + 1) / 2 * SHAPE[1], (1 - y) / 2 * SHAPE[0]
        np.testing.assert_allclose(found["box3d_pixel"][row, 6], expected)
        from_pose = found["pose"][row] @ np.diag([*found["scale"][row], 1]) @ corner
        np.testing.assert_allclose(from_pose[:3], found["box3d_camera"][row, 6])
    assert (np.sign(found["scale"][:, 0]) == np.sign(np.linalg.det(found["world_from_object"]))).all()


def test_corners_behind_the_camera_have_no_picture() -> None:
    cam = camera()
    placed = np.tile(np.linalg.inv(cam["camera_from_world"]), (3, 1, 1))  # at the camera itself
    found = table(camera=cam, world_from_object=placed)
    behind = found["box3d_camera"][..., 2] <= 0
    assert behind.any()
    np.testing.assert_array_equal(np.isnan(found["box3d_pixel"]).all(axis=-1), behind)


def test_boxes_are_those_of_the_ray_cast_masks() -> None:
    made = sample(count=6)
    found = made["labels"]["instances"]
    for row, instance_id in enumerate(found["id"]):
        y, x = np.nonzero(made["ids"] == instance_id)
        assert found["pixels"][row] == len(x)
        if len(x):
            assert found["box"][row].tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]
    assert (found["pixels"] > 0).sum() > 3


def test_there_may_be_no_instances() -> None:
    found = instance_labels(np.zeros(SHAPE, np.uint32), [], [], [], [], [], [], camera())
    assert all(len(column) == 0 for column in found.values())
    for name, column in found.items():
        assert isinstance(column, list) or (column.shape, column.dtype) == (
            (0, *INSTANCES[name].tail),
            INSTANCES[name].dtype,
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": np.zeros((2, 2), np.uint32)}, r"camera's shape \(96, 128\), got \(2, 2\)"),
        ({"instance_ids": (0, 1, 2)}, "got 0"),
        ({"instance_ids": (1, 1, 2)}, "id 1 is there 2 times"),
        ({"names": ["a", "b"]}, "names: expected 3 texts, .* got 2"),
        ({"instancers": "abc"}, "instancers: expected 3 texts"),
        ({"class_ids": [1, 2]}, r"class_ids: .* \(2,\)"),
        ({"class_ids": [1, 2, -3]}, "class_ids: .* -3"),
        ({"world_from_object": np.zeros((2, 4, 4))}, r"world_from_object: expected shape \(3, 4, 4\), got \(2, 4, 4\)"),
        ({"bounds": np.zeros((3, 8, 3))}, "bounds"),
        ({"interval_s": 1.0}, "go together"),
        ({"world_from_object_before": matrices(3)}, "go together"),
        ({"amodal": {"box": np.zeros((3, 4))}}, "got 'box'"),
        ({"amodal": {"truncation": [1.0]}}, "truncation"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        table(**changes)


def test_the_camera_has_the_entries_of_the_schema() -> None:
    found = camera()
    assert set(found) == {"shape", *CAMERA}
    assert found["shape"] == SHAPE
    for name, column in CAMERA.items():
        assert (found[name].shape, found[name].dtype) == (column.tail, column.dtype)
    np.testing.assert_array_equal(found["intrinsics"], intrinsics(PERSPECTIVE, SHAPE))


def test_intrinsics_project_what_the_opencv_matrix_has_moved() -> None:
    cam = camera()
    points = np.random.default_rng(0).uniform(-1, 1, (10, 3))
    x = (to_homogeneous(points) @ cam["camera_from_world_opencv"].T)[:, :3] @ cam["intrinsics"].T
    found = table(camera=cam, world_from_object=np.tile(np.eye(4), (3, 1, 1)), bounds=np.tile(points[:1], (3, 2, 1)))
    np.testing.assert_allclose(found["box3d_pixel"][0, 0], x[0, :2] / x[0, 2], rtol=1e-6)


def test_an_orthographic_camera_has_no_intrinsics() -> None:
    assert camera(ORTHOGRAPHIC)["intrinsics"] is None


@pytest.mark.parametrize("shape", [(0, 4), (4,), (4.5, 4), "ab", None])
def test_a_camera_has_an_image_shape(shape: object) -> None:
    with pytest.raises(ConfigError, match="shape"):
        camera_labels(shape, np.eye(4), PERSPECTIVE)  # type: ignore[arg-type]


def test_the_ray_caster_is_right_about_a_sphere_straight_ahead() -> None:
    """The scene that judges others: a unit sphere 9 m ahead is nearest at 8 m."""
    view = np.eye(4)
    view[2, 3] = -9.0
    symmetric = PERSPECTIVE * (np.abs(PERSPECTIVE) != 0.1) * (np.abs(PERSPECTIVE) != 0.05)
    depth = ray_cast(camera_labels(SHAPE, view, symmetric), np.eye(4)[None])[0, MARGIN:-MARGIN, MARGIN:-MARGIN]
    assert depth.min() == pytest.approx(8.0, abs=0.01)
    radius_px = 2.0 / np.sqrt(9.0**2 - 1) * SHAPE[1] / 2
    assert np.isfinite(depth).sum() == pytest.approx(np.pi * radius_px**2, rel=0.02)
