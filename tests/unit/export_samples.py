"""Samples for the tests of exports: a small world of ellipsoids, ray cast, whose labels pass `check_labels`.

In `full_sample`, from the left: `Car.A`, with a hole that `Dot` makes in it and `Hidden` behind it; `Car.B`, which `Post`
cuts in two; `Cut`, half beyond the right edge; below, `Floor` without a class, and `Seed`, an instance of an instancer.
`Beyond` is out of the frame.
"""

import functools
from typing import Any

import numpy as np
from label_spheres import ORTHOGRAPHIC, PERSPECTIVE, SHAPE, rotation

from blendtorch.labels import camera_labels, instance_labels, keypoint_visibility
from blendtorch.labels.camera import project
from blendtorch.labels.projection import to_homogeneous

__all__ = ["CLASSES", "METADATA", "SHAPE", "empty_sample", "full_sample", "keys", "samples", "write_recording"]

MARGIN = 64
"""Pixels beyond the image on each side, where the whole silhouettes are. `label_spheres` has more, and takes longer."""

CLASSES = {1: "car", 2: "post", 3: "ball"}
METADATA = {"classes": {str(class_id): name for class_id, name in CLASSES.items()}}

# Name, instancer, class, centre in Blender's camera axes (metres), half axes (metres).
_OBJECTS = [
    ("Beyond", "", 1, (6.5, 0.0, -8.0), (1.0, 1.0, 1.0)),
    ("Car.A", "", 1, (-2.2, 0.3, -8.0), (1.3, 1.1, 0.9)),
    ("Car.B", "", 1, (0.9, 0.4, -8.0), (1.2, 0.8, 0.8)),
    ("Cut", "", 3, (4.2, 0.3, -8.0), (1.0, 1.0, 1.0)),
    ("Dot", "", 2, (-1.6, 0.2, -6.0), (0.25, 0.25, 0.25)),
    ("Floor", "", 0, (0.0, -2.4, -9.0), (5.0, 0.5, 1.0)),
    ("Hidden", "", 2, (-2.6, 0.3, -10.0), (0.3, 0.3, 0.3)),
    ("Post", "", 2, (0.7, 0.3, -6.0), (0.15, 1.6, 0.15)),
    ("Seed", "Emitter", 3, (-0.8, -1.2, -7.0), (0.3, 0.2, 0.2)),
]
# Name, object, place on the unit sphere that the object is.
_KEYPOINTS = [
    ("nose", "Car.A", (-1.0, 0.0, 0.0)),
    ("tail", "Car.A", (1.0, 0.0, 0.0)),
    ("lamp", "Car.B", (0.0, 0.6, 0.8)),
    ("nose", "Car.B", (-1.0, 0.0, 0.0)),
    ("tail", "Car.B", (1.0, 0.0, 0.0)),
    ("top", "Hidden", (0.0, 1.0, 0.0)),
    ("tip", "Beyond", (0.0, 1.0, 0.0)),
    ("pole", "Seed", (0.0, 1.0, 0.0)),  # of what exists as an instance alone: no row has that name without an instancer
]


def empty_sample(step: int = 0) -> dict[str, Any]:
    """A picture of nothing: no instances, no keypoints, depth inf."""
    return _sample(0, PERSPECTIVE, step)


def full_sample(step: int = 0, clip_from_camera: np.ndarray = PERSPECTIVE) -> dict[str, Any]:
    """A picture with all that labels can be; steps move the objects a little to the right, and turn them."""
    return _sample(len(_OBJECTS), clip_from_camera, step)


def samples() -> list[dict[str, Any]]:
    """Six of them: two episodes of two frames, the second one of an orthographic camera, and two more of one frame each.

    The fifth is empty. In the sixth some optional columns and all keypoints are missing.
    """
    made = [
        full_sample(0),
        full_sample(1),
        full_sample(2, ORTHOGRAPHIC),
        full_sample(3, ORTHOGRAPHIC),
        empty_sample(4),
        full_sample(5),
    ]
    del made[5]["labels"]["keypoints"], made[5]["normals_camera"]
    for column in ("box_amodal", "visible_fraction", "truncation", "pose", "velocity_world", "angular_velocity_world"):
        del made[5]["labels"]["instances"][column]
    return made


def keys() -> list[str]:
    """The keys of `samples`."""
    return [
        "000000000-0000",
        "000000000-0001",
        "000000001-0000",
        "000000001-0001",
        "000000002-0000",
        "000000003-0000",
    ]


def write_recording(folder: Any, made: list[dict[str, Any]] | None = None, names: list[str] | None = None) -> Any:
    """Record samples, `samples()` with `keys()` unless others are given, and return the `Recording`."""
    from blendtorch.recording import Recording, RecordingSettings, RecordingWriter

    if made is None:
        made, names = samples(), keys()
    with RecordingWriter(RecordingSettings(folder, metadata=METADATA)) as writer:
        for place, sample in enumerate(made):
            writer.write(sample, key=names[place] if names else None)
    return Recording(folder)


def _sample(count: int, clip_from_camera: np.ndarray, step: int) -> dict[str, Any]:
    return _copied(_made(count, clip_from_camera is ORTHOGRAPHIC, step))


def _copied(value: Any) -> Any:
    """A copy of all but the arrays' data is not enough: tests change that, too."""
    if isinstance(value, dict):
        return {name: _copied(one) for name, one in value.items()}
    return list(value) if isinstance(value, list) else value.copy() if isinstance(value, np.ndarray) else value


@functools.cache
def _made(count: int, orthographic: bool, step: int) -> dict[str, Any]:
    camera = camera_labels(SHAPE, _view(), ORTHOGRAPHIC if orthographic else PERSPECTIVE)
    objects = _OBJECTS[:count]
    now, before = _placed(objects, step), _placed(objects, step - 1)
    instance_ids = 3 + 2 * np.arange(count, dtype=np.uint32)  # with gaps, as ids of what is never shown leave them
    whole = _depths(camera, now)
    frame = np.s_[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
    nearest = whole[frame].argmin(axis=0) if count else np.zeros(SHAPE, int)
    depth = (whole[frame].min(axis=0) if count else np.full(SHAPE, np.inf)).astype(np.float32)
    ids = np.zeros(SHAPE, np.uint32)
    if count:
        ids[np.isfinite(depth)] = instance_ids[nearest[np.isfinite(depth)]]
    normals = _normals(camera, now, nearest, depth)
    instances = instance_labels(
        ids,
        instance_ids,
        [name for name, *_ in objects],
        [instancer for _, instancer, *_ in objects],
        np.array([class_id for _, _, class_id, *_ in objects], np.uint32),
        now,
        np.tile([[-1.0] * 3, [1.0] * 3], (count, 1, 1)),
        camera,
        world_from_object_before=before,
        interval_s=1 / 24,
        amodal=_amodal(np.isfinite(whole), ids, instance_ids),
    )
    made = {
        "image": _image(normals, ids),
        "ids": ids,
        "depth": depth,
        "normals_camera": normals,
        "labels": {"camera": camera, "instances": instances},
        "btid": 0,
        "btepoch": 0,
        "btseq": step,
        "btindex": step,
    }
    if count:
        made["labels"]["keypoints"] = _keypoints(camera, instances, ids, depth)
    return made


def _view() -> np.ndarray:
    view = np.eye(4)
    view[:3, :3] = rotation(np.random.default_rng(3))
    view[:3, 3] = (0.4, -1.0, 2.0)
    return view


def _placed(objects: list[Any], step: int) -> np.ndarray:
    """World matrices, (K, 4, 4)."""
    cosine, sine = np.cos(0.05 * step), np.sin(0.05 * step)
    turn = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    camera_from_object = np.zeros((len(objects), 4, 4))
    camera_from_object[:, 3, 3] = 1.0
    for matrix, (*_, centre, half_axes) in zip(camera_from_object, objects, strict=True):
        matrix[:3, :3] = turn * half_axes
        matrix[:3, 3] = np.add(centre, (0.03 * step, 0, 0))
    return np.linalg.inv(_view()) @ camera_from_object


def _rays(camera: dict[str, Any], margin: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts and directions of the rays through pixel centres, Blender's camera axes; the parameter is the depth."""
    y, x = np.mgrid[-margin : SHAPE[0] + margin, -margin : SHAPE[1] + margin] + 0.5
    ndc = np.stack([2 * x / SHAPE[1] - 1, 1 - 2 * y / SHAPE[0]], axis=-1)
    clip = camera["clip_from_camera"]
    scale, nothing = np.diag(clip)[:2], np.zeros_like(x)[..., None]
    if camera["intrinsics"] is None:
        starts = np.concatenate([(ndc - clip[:2, 3]) / scale, nothing], axis=-1)
        return starts, np.broadcast_to([0.0, 0.0, -1.0], starts.shape)
    rays = np.concatenate([(ndc + clip[:2, 2]) / scale, nothing - 1], axis=-1)
    return np.zeros_like(rays), rays


def _depths(camera: dict[str, Any], placed: np.ndarray) -> np.ndarray:
    """Depth of unit spheres so placed, (K, H + 2 MARGIN, W + 2 MARGIN) metres, inf where a ray misses."""
    starts, rays = _rays(camera, MARGIN)
    depths = np.full((len(placed), *starts.shape[:2]), np.inf)
    for depth, matrix in zip(depths, placed, strict=True):
        inverse = np.linalg.inv(camera["camera_from_world"] @ matrix)
        start, ray = starts @ inverse[:3, :3].T + inverse[:3, 3], rays @ inverse[:3, :3].T
        a, b, c = (ray * ray).sum(-1), (start * ray).sum(-1), (start * start).sum(-1) - 1
        hit = b * b > a * c
        depth[hit] = (-b[hit] - np.sqrt((b * b - a * c)[hit])) / a[hit]
    return depths


def _normals(camera: dict[str, Any], placed: np.ndarray, nearest: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Unit normals in Blender's camera axes: those of a unit sphere, by the inverse transpose of its matrix."""
    normals = np.zeros((*SHAPE, 3), np.float32)
    shown = np.isfinite(depth)
    starts, rays = _rays(camera, 0)
    points = starts[shown] + rays[shown] * depth[shown][:, None]
    inverse = np.linalg.inv(camera["camera_from_world"] @ placed)[nearest[shown]]
    on_sphere = np.einsum("kij,kj->ki", inverse, to_homogeneous(points))[:, :3]
    normal = np.einsum("kji,kj->ki", inverse[:, :3, :3], on_sphere)
    normals[shown] = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    return normals


def _image(normals: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """A lamp at the camera; each id has a colour of its own."""
    color = np.random.default_rng(1).uniform(0.3, 1.0, (64, 3))[ids % 64]
    shaded = color * (0.2 + 0.8 * normals[..., 2:].clip(0, 1))
    return np.where(ids[..., None] > 0, 255 * shaded, 40).astype(np.uint8)


def _amodal(whole: np.ndarray, ids: np.ndarray, instance_ids: np.ndarray) -> dict[str, Any]:
    boxes, fractions, truncations = [], [], []
    for one, instance_id in zip(whole, instance_ids, strict=True):
        y, x = np.nonzero(one)
        total = max(len(y), 1)
        boxes.append(np.array([x.min(), y.min(), x.max() + 1, y.max() + 1]) - MARGIN if len(y) else np.zeros(4))
        fractions.append((ids == instance_id).sum() / total)
        truncations.append(1 - one[MARGIN:-MARGIN, MARGIN:-MARGIN].sum() / total)
    return {
        "box_amodal": np.reshape(boxes, (-1, 4)),
        "visible_fraction": np.array(fractions),
        "truncation": np.array(truncations),
    }


def _keypoints(camera: dict[str, Any], instances: dict[str, Any], ids: np.ndarray, depth: np.ndarray) -> dict[str, Any]:
    row_of = {name: row for row, name in enumerate(instances["object"])}
    rows = [row_of[name] for _, name, _ in _KEYPOINTS]
    corners = to_homogeneous([place for *_, place in _KEYPOINTS])
    xyz = np.einsum("kij,kj->ki", instances["world_from_object"][rows], corners)[:, :3]
    xy, depth_m = project(xyz, camera)
    shows_itself = np.array([instances["instancer"][row] == "" for row in rows])
    owner_ids = np.where(shows_itself, instances["id"][rows], 0)
    return {
        "name": [name for name, *_ in _KEYPOINTS],
        "object": [name for _, name, _ in _KEYPOINTS],
        "owner": [name if own else "" for (_, name, _), own in zip(_KEYPOINTS, shows_itself, strict=True)],
        "xyz_world": xyz,
        "xy": xy,
        "depth_m": depth_m,
        "visibility": keypoint_visibility(xy, depth_m, depth, ids=ids, owner_ids=owner_ids),
    }
