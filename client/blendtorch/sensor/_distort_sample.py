"""A sample's pictures and labels, distorted together; `BrownConrady.distort_sample` says what becomes of each."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ConfigError
from ..labels.boxes import boxes_from_ids
from ._resample import Interpolation, SamplingMap

FieldRule = tuple[Interpolation, float | bool]

_BY_NAME: dict[str, FieldRule] = {
    "image": ("linear", 0),
    "ids": ("nearest", 0),
    "semantic": ("nearest", 0),
    "depth": ("nearest", np.inf),
}
_BY_PREFIX: dict[str, FieldRule] = {
    "image_": ("linear", 0),
    "normals_": ("nearest", 0),
    "flow_": ("nearest", np.nan),
    "occluded_": ("nearest", True),
}
_DROPPED = ("visible_fraction", "truncation")
_POINTS_PER_EDGE = 64


class Lens(Protocol):
    """What is asked of a lens here."""

    @property
    def intrinsics(self) -> np.ndarray: ...

    @property
    def coefficients(self) -> np.ndarray: ...

    @property
    def fold_radius(self) -> float: ...

    def distort_points(self, xy: ArrayLike) -> np.ndarray: ...

    def sampling_map(self, shape: tuple[int, int]) -> SamplingMap: ...


def distort_sample(lens: Lens, sample: Mapping[str, Any], fields: Mapping[str, FieldRule]) -> dict[str, Any]:
    """Does what `BrownConrady.distort_sample` says."""
    if not isinstance(sample.get("labels", {}), Mapping):
        raise ConfigError(
            f"labels are a {type(sample['labels']).__name__}, expected the dict of one sample: distort samples before "
            "they are batched (item_transform)."
        )
    rules = {name: rule for name in sample if (rule := _rule_for(name, fields)) is not None}
    shape = _picture_shape(sample, rules)
    result = dict(sample)
    for name, value in sample.items():
        if name in rules:
            picture = np.asarray(value)
            if picture.ndim not in (2, 3) or picture.shape[:2] != shape:
                raise ConfigError(
                    f"{name!r} must be a picture of (H, W) = {shape} like the others, got {picture.shape}"
                )
            interpolation, fill = rules[name]
            distorted = lens.sampling_map(shape).sample(picture, interpolation, fill)
            result[name] = (
                _flow(lens, distorted, name) if name.startswith("flow_") and name not in fields else distorted
            )
        elif np.ndim(value) in (2, 3) and shape is not None and np.shape(value)[:2] == shape:
            raise ConfigError(
                f'{name!r} has the size of a picture {shape}, but no rule says how to distort it: pass fields={{"{name}": '
                '("linear" or "nearest", fill)}'
            )
    for name in [name for name in result if name.startswith("flow_")]:
        occluded = f"occluded_{name.removeprefix('flow_')}"
        if occluded in result and name in rules:
            result[occluded] = result[occluded] | _leads_out(result[name])
    if "labels" in sample:
        result["labels"] = _labels(lens, sample["labels"], result.get("ids"), shape)
    return result


def _rule_for(name: str, fields: Mapping[str, FieldRule]) -> FieldRule | None:
    if name in fields:
        return fields[name]
    prefix = next((prefix for prefix in _BY_PREFIX if name.startswith(prefix)), None)
    return _BY_NAME.get(name) if prefix is None else _BY_PREFIX[prefix]


def _picture_shape(sample: Mapping[str, Any], rules: Mapping[str, FieldRule]) -> tuple[int, int] | None:
    """(H, W) by the labels, else by the first picture; None without either."""
    shape = sample.get("labels", {}).get("camera", {}).get("shape")
    if shape is None:
        shape = next((np.shape(sample[name]) for name in rules), None)
    return None if shape is None else (int(shape[0]), int(shape[1]))


def _flow(lens: Lens, flow: np.ndarray, name: str) -> np.ndarray:
    """Turns the flow of undistorted pixels, looked up already, into that of distorted ones: D(u + f(u)) - D(u)."""
    if flow.ndim != 3 or flow.shape[2] != 2:
        raise ConfigError(f"{name!r} must be optical flow of shape (H, W, 2) in pixels, got {flow.shape}")
    height, width = flow.shape[:2]
    here = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), axis=-1)
    ends = lens.sampling_map((height, width)).positions + flow
    return (lens.distort_points(ends) - here).astype(flow.dtype)


def _leads_out(flow: np.ndarray) -> np.ndarray:
    """Where flow leads out of the picture, or is not known; (H, W) bool."""
    height, width = flow.shape[:2]
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    end_x, end_y = x + flow[..., 0], y + flow[..., 1]
    return ~((end_x >= 0) & (end_x < width) & (end_y >= 0) & (end_y < height))


def _labels(
    lens: Lens, labels: Mapping[str, Any], ids: np.ndarray | None, shape: tuple[int, int] | None
) -> dict[str, Any]:
    result = dict(labels)
    if "camera" in labels:
        result["camera"] = _camera(lens, labels["camera"])
    if shape is None:
        raise ConfigError(
            'the sample has labels, but neither labels["camera"]["shape"] nor a picture: which size is it?'
        )
    if "instances" in labels:
        result["instances"] = _instances(lens, labels["instances"], ids, shape)
    if "keypoints" in labels:
        result["keypoints"] = _keypoints(lens, labels["keypoints"], shape)
    return result


def _camera(lens: Lens, camera: Mapping[str, Any]) -> dict[str, Any]:
    if "distortion" in camera:
        raise ConfigError("the sample is distorted already: its labels have camera.distortion")
    matrix = camera.get("intrinsics")
    if matrix is not None and not np.allclose(matrix, lens.intrinsics, rtol=1e-5, atol=1e-3):
        raise ConfigError(
            f"the lens was made for the intrinsics {lens.intrinsics.tolist()}, but the sample's are "
            f'{np.asarray(matrix).tolist()}: make a lens from labels["camera"]["intrinsics"]'
        )
    return dict(camera) | {"distortion": lens.coefficients}


def _instances(
    lens: Lens, instances: Mapping[str, Any], ids: np.ndarray | None, shape: tuple[int, int]
) -> dict[str, Any]:
    result = {name: column for name, column in instances.items() if name not in _DROPPED}
    if ids is not None and "id" in instances:
        boxes, pixels = boxes_from_ids(ids, instances["id"])
        result |= {name: column for name, column in (("box", boxes), ("pixels", pixels)) if name in instances}
    elif "box" in instances:
        old = np.asarray(instances["box"])
        boxes = np.clip(_outline_boxes(lens, old), 0.0, [shape[1], shape[0]] * 2)
        empty = ~((boxes[:, 2:] > boxes[:, :2]) & (old[:, 2:] > old[:, :2])).all(axis=1)  # also for NaN
        boxes[empty] = 0.0  # as `boxes_from_ids` has it
        result["box"] = boxes.astype(old.dtype)
        result.pop("pixels", None)
    if "box_amodal" in instances:
        old = np.asarray(instances["box_amodal"])
        none = ~(old[:, 2:] > old[:, :2]).all(axis=1, keepdims=True)  # without a silhouette: zeros stay zeros
        result["box_amodal"] = np.where(none, old, _outline_boxes(lens, old)).astype(old.dtype)
    if "box3d_pixel" in instances:
        old = np.asarray(instances["box3d_pixel"])
        result["box3d_pixel"] = lens.distort_points(old).astype(old.dtype)
    return result


def _outline_boxes(lens: Lens, boxes: np.ndarray) -> np.ndarray:
    """(K, 4) XYXY boxes around the distorted outlines of (K, 4) boxes, float64; NaN for those wholly beyond the fold.

    The lens maps what is within an outline into the distorted outline, so the new box holds all that the old one held, to
    within what bends between two of 64 points an edge. An outline that reaches beyond the fold is pulled in towards the
    principal point, to just before it: there is no picture of what lies beyond.
    """
    along = np.linspace(0.0, 1.0, _POINTS_PER_EDGE)
    zero, one = np.zeros_like(along), np.ones_like(along)
    around = np.concatenate([np.stack(edge, -1) for edge in ((along, zero), (one, along), (along, one), (zero, along))])
    corners = np.asarray(boxes, dtype=np.float64).reshape(-1, 2, 2)
    xy = corners[:, None, 0] + around * (corners[:, None, 1] - corners[:, None, 0])
    center = lens.intrinsics[:2, 2]
    rays = (xy - center) @ np.linalg.inv(lens.intrinsics[:2, :2]).T
    pulled = np.minimum(
        1.0, 0.999 * lens.fold_radius / np.maximum(np.linalg.norm(rays, axis=-1, keepdims=True), 1e-300)
    )
    beyond = (pulled < 1.0).all(axis=(1, 2)) & ~((corners[:, 0] <= center) & (corners[:, 1] >= center)).all(axis=1)
    xy = lens.distort_points(np.where(pulled < 1.0, center + pulled * (xy - center), xy))
    lost = np.isnan(xy)
    lowest = np.where(lost, np.inf, xy).min(axis=1)
    highest = np.where(lost, -np.inf, xy).max(axis=1)
    found = np.concatenate([lowest, highest], axis=-1)
    found[beyond | ~np.isfinite(found).all(axis=-1)] = np.nan
    return found


def _keypoints(lens: Lens, keypoints: Mapping[str, Any], shape: tuple[int, int]) -> dict[str, Any]:
    result = dict(keypoints)
    if "xy" in keypoints:
        old = np.asarray(keypoints["xy"])
        xy = lens.distort_points(old)
        result["xy"] = xy.astype(old.dtype)
        if "visibility" in keypoints:
            seen = np.asarray(keypoints["visibility"])
            inside = ((xy >= 0) & (xy < (shape[1], shape[0]))).all(axis=-1)
            result["visibility"] = np.where(inside, seen, 0).astype(seen.dtype)
    return result
