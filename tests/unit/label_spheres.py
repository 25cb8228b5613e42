"""A scene whose labels are known: ellipsoids, ray cast at pixel centres."""

from typing import Any

import numpy as np

from blendtorch.labels import camera_labels, instance_labels
from blendtorch.labels.projection import is_perspective

SHAPE = (96, 128)
PERSPECTIVE = np.array([[2.0, 0, 0.1, 0], [0, 2.0 * 128 / 96, -0.05, 0], [0, 0, -1.002, -0.2002], [0, 0, -1, 0]])
ORTHOGRAPHIC = np.array([[0.25, 0, 0, 0], [0, 0.25 * 128 / 96, 0, 0], [0, 0, -0.02, -1.002], [0, 0, 0, 1]])
MARGIN = 200
"""Pixels beyond the image on each side, where the whole silhouettes are."""


def rotation(rng: np.random.Generator) -> np.ndarray:
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def camera(clip_from_camera: np.ndarray = PERSPECTIVE, seed: int = 0) -> dict[str, Any]:
    view = np.eye(4)
    view[:3, :3] = rotation(np.random.default_rng(seed))
    view[:3, 3] = (0.3, -0.2, -9.0)
    return camera_labels(SHAPE, view, clip_from_camera)


def matrices(count: int, seed: int = 0) -> np.ndarray:
    """World matrices with rotation, scale, every third mirrored; around the origin, some beyond the image."""
    rng = np.random.default_rng(seed)
    made = np.tile(np.eye(4), (count, 1, 1))
    for row in range(count):
        scale = rng.uniform(0.3, 1.2, 3) * (1, 1, -1 if row % 3 == 2 else 1)
        made[row, :3, :3] = rotation(rng) * scale
        made[row, :3, 3] = rng.uniform(-3, 3, 3)
    return made


def ray_cast(camera: dict[str, Any], world_from_object: np.ndarray) -> np.ndarray:
    """Depth of unit spheres so placed, (K, H + 2 MARGIN, W + 2 MARGIN) metres, inf where a ray misses."""
    height, width = SHAPE
    y, x = np.mgrid[-MARGIN : height + MARGIN, -MARGIN : width + MARGIN] + 0.5
    clip = camera["clip_from_camera"]
    ndc_x, ndc_y = 2 * x / width - 1, 1 - 2 * y / height
    if is_perspective(clip):  # in Blender's camera axes; depth is the parameter along the ray
        rays = np.stack([(ndc_x + clip[0, 2]) / clip[0, 0], (ndc_y + clip[1, 2]) / clip[1, 1], -np.ones_like(x)], -1)
        starts = np.zeros_like(rays)
    else:
        starts = np.stack([ndc_x / clip[0, 0], ndc_y / clip[1, 1], np.zeros_like(x)], -1)
        rays = np.broadcast_to([0.0, 0.0, -1.0], starts.shape)
    depths = np.full((len(world_from_object), *x.shape), np.inf)
    for depth, matrix in zip(depths, world_from_object, strict=True):
        inverse = np.linalg.inv(camera["camera_from_world"] @ matrix)
        start, ray = starts @ inverse[:3, :3].T + inverse[:3, 3], rays @ inverse[:3, :3].T
        a, b, c = (ray * ray).sum(-1), (start * ray).sum(-1), (start * start).sum(-1) - 1
        hit = b * b - a * c > 0
        depth[hit] = (-b[hit] - np.sqrt((b * b - a * c)[hit])) / a[hit]
    return depths


def sample(count: int = 8, clip_from_camera: np.ndarray = PERSPECTIVE, seed: int = 0) -> dict[str, Any]:
    """A sample whose labels are right: "ids", "depth", "labels"."""
    cam, placed = camera(clip_from_camera, seed), matrices(count, seed)
    instance_ids = np.arange(1, count + 1, dtype=np.uint32) * 7
    whole = ray_cast(cam, placed)
    image = np.s_[MARGIN:-MARGIN, MARGIN:-MARGIN]
    inside = whole[:, image[0], image[1]]
    depth = inside.min(axis=0).astype(np.float32)
    ids = np.where(np.isfinite(depth), instance_ids[inside.argmin(axis=0)], 0).astype(np.uint32)
    amodal: dict[str, Any] = {"box_amodal": [], "visible_fraction": [], "truncation": []}
    for one, instance_id in zip(np.isfinite(whole), instance_ids, strict=True):
        rows, columns = np.nonzero(one)
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        amodal["box_amodal"].append(np.array(box) - MARGIN)
        amodal["visible_fraction"].append((ids == instance_id).sum() / one.sum())
        amodal["truncation"].append(1 - one[image].sum() / one.sum())
    bounds = np.tile([[-1.0] * 3, [1.0] * 3], (count, 1, 1))
    before = placed.copy()
    before[:, :3, 3] -= 0.1
    names = [f"Ball.{row:03}" for row in range(count)]
    instances = instance_labels(
        ids,
        instance_ids,
        names,
        [""] * (count - 1) + ["Emitter"],
        np.ones(count, np.uint32),
        placed,
        bounds,
        cam,
        world_from_object_before=before,
        interval_s=0.5,
        amodal=amodal,
    )
    return {"ids": ids, "depth": depth, "labels": {"camera": cam, "instances": instances}}
