"""One sample for Rerun: what it shows under which name. The conventions are told in rerun.py."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..labels import box_corners, ids_to_rgb, normals_to_rgb
from .classes import class_name

if TYPE_CHECKING:
    import rerun as rr


WORLD = "world"
CAMERA = f"{WORLD}/camera"
IMAGE = f"{CAMERA}/image"
DEPTH = f"{CAMERA}/depth"
BOXES = f"{IMAGE}/boxes"
KEYPOINTS = f"{IMAGE}/keypoints"
OBJECTS = f"{WORLD}/objects"
PLOTS = "plots"

IMAGES = ("image", "ids", "depth", "normals")
_FRAMES = ("frame", "frameid")
_NO_DATA = str | bytes | dict | list | tuple | None
_OPENCV_SHIFT = 0.5  # pixels, from the corner of the first one to its middle
_MAX_CLASS_ID = 2**16 - 1
_LEAST_LUMA = 130
_MAX_SERIES = 16  # numbers of one field that are plotted
_SEEN_COLOR, _HIDDEN_COLOR = (120, 255, 120), (255, 120, 60)
_KEYPOINT_RADIUS = 4  # of the screen's pixels
# Once around a box whose corners are in the order of labels: each of the 12 edges, three of them twice.
_AROUND_A_BOX = [0, 1, 2, 3, 0, 4, 5, 1, 5, 6, 2, 6, 7, 3, 7, 4]


def log_sample(
    stream: "rr.RecordingStream",
    sample: Mapping[str, Any],
    *,
    place: int,
    shown: set[str],
    classes: Mapping[int, str] | None = None,
    jpeg_quality: int | None = None,
) -> list[str]:
    """Log a sample in the place of the one before: pictures, ids, depth, boxes, keypoints, camera, numbers to plot.

    Args:
        stream: Where to.
        sample: Fields as a recording or a stream has them; each may be absent.
        place: Its number on the timeline "sample". Timelines "episode" and "frame" are there if the sample has these
            ("frameid" is a frame, too).
        shown: What the sample before has shown, an empty set before the first. Is changed to what this one shows.
        classes: Class ids to names.
        jpeg_quality: As in `export_rerun`.

    Returns:
        The names of arrays that Rerun cannot show.

    Raises:
        ValueError, TypeError: Rerun does not take a field.
    """
    import rerun as rr
    from rerun.error_utils import catch_and_log_exceptions

    labels = sample.get("labels") or {}
    instances, names = labels.get("instances"), classes or {}
    entities = dict(_camera_entities(camera_of(sample)))
    left_out = []
    # Otherwise rerun warns of what it does not take, and logs something empty.
    with catch_and_log_exceptions("blendtorch", strict=True):
        for field, value in sample.items():
            kind = kind_of(field, value)
            if kind == "number":
                entities[f"{PLOTS}/{field}"] = [rr.Scalars(np.atleast_1d(np.asarray(value, np.float64)))]
            elif kind in IMAGES:
                entities.setdefault(entity_of(field), []).extend(_image(kind, field, sample, names, jpeg_quality))
            elif kind == "":
                left_out.append(field)
        if instances is not None:
            entities[f"{PLOTS}/visible_instances"] = [rr.Scalars(int((np.asarray(instances["pixels"]) > 0).sum()))]
            texts, colors = _names_of(instances, names), _box_colors(np.asarray(instances["id"]))
            entities[BOXES] = _boxes(np.asarray(instances["box"]), texts, colors)
            entities |= _objects(labels, texts, colors)
        elif "boxes" in sample:
            entities[BOXES] = _boxes(np.asarray(sample["boxes"]).reshape(-1, 4), None, None)
        if labels.get("keypoints") is not None:
            entities |= _keypoints(labels["keypoints"])
        _set_time(stream, sample, place)
        # A camera that is cleared and logged at one time is none to the viewer: so only what is not shown again.
        no_camera = set() if intrinsics_of(sample) is not None else shown & {IMAGE, DEPTH}
        for entity in sorted(shown - entities.keys() | no_camera):
            stream.log(entity, rr.Clear(recursive=False))
        for entity, archetypes in entities.items():
            stream.log(entity, *archetypes)
    shown.clear()
    shown.update(entity for entity in entities if not entity.startswith(PLOTS))
    return left_out


def kind_of(field: str, value: Any) -> str:
    """How a field is shown: as one of `IMAGES` or a "number"; "other" is shown elsewhere or no data, "" not at all."""
    if field.startswith("bt") or field in ("labels", "boxes", "episode", *_FRAMES) or isinstance(value, _NO_DATA):
        return "other"
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        return "other"
    if array.ndim == 0 or (array.ndim == 1 and 0 < len(array) <= _MAX_SERIES):
        return "number"
    if array.dtype == np.uint8 and (
        (array.ndim == 3 and array.shape[2] in (3, 4)) or (array.ndim == 2 and field == "image")
    ):
        return "image"
    if array.ndim == 3 and array.shape[2] == 3 and array.dtype.kind == "f" and field.startswith("normals"):
        return "normals"
    if array.ndim == 2 and array.dtype.kind == "f" and field.startswith("depth"):
        return "depth"
    return "ids" if array.ndim == 2 and array.dtype.kind in "biu" else ""


def entity_of(field: str) -> str:
    """Where an image is logged: at its camera, or below the picture if it lies on that, or apart."""
    if field in ("image", "depth"):
        return IMAGE if field == "image" else DEPTH
    return f"{IMAGE}/{field}" if field in ("ids", "semantic") else f"images/{field}"


def camera_of(sample: Mapping[str, Any]) -> Mapping[str, Any]:
    return (sample.get("labels") or {}).get("camera") or {}


def intrinsics_of(sample: Mapping[str, Any]) -> np.ndarray | None:
    return camera_of(sample).get("intrinsics")


def _names_of(instances: Mapping[str, Any], classes: Mapping[int, str]) -> list[str]:
    class_ids = np.asarray(instances["class_id"]).tolist()
    return [classes.get(class_id, name) for class_id, name in zip(class_ids, instances["object"], strict=True)]


def _box_colors(ids: np.ndarray) -> np.ndarray:
    """(K, 3) uint8: those of ids, lighter where they are dark, for the viewer writes in the colour of a box on black."""
    colors = ids_to_rgb(ids.astype(np.int64))
    luma = colors @ np.array([0.2126, 0.7152, 0.0722])  # ITU-R BT.709
    white = ((_LEAST_LUMA - luma) / (255 - luma)).clip(0, 1)[:, None]
    return (colors + (255 - colors.astype(np.float64)) * white).round().astype(np.uint8)


def _set_time(stream: "rr.RecordingStream", sample: Mapping[str, Any], place: int) -> None:
    frames = [sample[field] for field in _FRAMES if field in sample]
    times = {"sample": place, "episode": sample.get("episode"), "frame": frames[0] if frames else None}
    for timeline, time in times.items():
        if time is not None and np.ndim(time) == 0 and np.asarray(time).dtype.kind in "iu":
            stream.set_time(timeline, sequence=int(time))
        else:
            stream.disable_timeline(timeline)


def _camera_entities(camera: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    import rerun as rr

    if camera:
        world_from_camera = np.linalg.inv(camera["camera_from_world_opencv"])
        yield CAMERA, [rr.Transform3D(translation=world_from_camera[:3, 3], mat3x3=world_from_camera[:3, :3])]
        if camera["intrinsics"] is not None:
            yield IMAGE, [_pinhole(camera, 0.0)]


def _pinhole(camera: Mapping[str, Any], shift: float) -> "rr.Pinhole":
    """The camera in pixel coordinates that are less than those of labels by a shift."""
    import rerun as rr

    matrix = np.array(camera["intrinsics"], np.float64)
    matrix[:2, 2] -= shift
    height, width = camera["shape"]
    return rr.Pinhole(image_from_camera=matrix, resolution=[width, height], camera_xyz=rr.ViewCoordinates.RDF)


def _image(
    kind: str, field: str, sample: Mapping[str, Any], classes: Mapping[int, str], jpeg_quality: int | None
) -> list[Any]:
    import rerun as rr

    array = np.asarray(sample[field])
    if kind == "image":
        picture = rr.Image(array if array.ndim == 2 else array[..., :3])
        return [picture if jpeg_quality is None else picture.compress(jpeg_quality)]
    if kind == "normals":
        return [rr.Image(normals_to_rgb(array))]
    if kind == "ids":
        numbers, context = _segments(field, array, sample, classes)
        return [rr.AnnotationContext(context), rr.SegmentationImage(numbers, opacity=1.0)]
    there = np.isfinite(array) & (array > 0)
    seen = array[there]
    # Without a range the viewer takes 0 to 255 for the colours where all is between 1 and 255.
    reach = (float(seen.min()), float(seen.max())) if len(seen) else None
    depth = rr.DepthImage(np.where(there, array, 0).astype(np.float32), meter=1.0, depth_range=reach)
    in_space = field == "depth" and intrinsics_of(sample) is not None
    return [_pinhole(camera_of(sample), _OPENCV_SHIFT), depth] if in_space else [depth]


def _segments(
    field: str, image: np.ndarray, sample: Mapping[str, Any], classes: Mapping[int, str]
) -> tuple[np.ndarray, list[tuple[int, str, tuple[int, ...]]]]:
    """Ids of at most 16 bits, and of each that is there the name and colour."""
    present = np.union1d(image.astype(np.int64), [0])
    numbers = present if present[0] >= 0 and present[-1] <= _MAX_CLASS_ID else np.arange(len(present))
    names: dict[int, str] = {}
    instances = (sample.get("labels") or {}).get("instances")
    if field == "ids" and instances is not None:
        names = dict(zip(np.asarray(instances["id"]).tolist(), instances["object"], strict=True))
    elif field == "semantic":
        names = {class_id: class_name(class_id, classes) for class_id in present.tolist()}
    context = [
        (number, names.get(one, str(one)) if one else "", tuple(color))
        for number, one, color in zip(numbers.tolist(), present.tolist(), ids_to_rgb(present).tolist(), strict=True)
    ]
    return numbers[np.searchsorted(present, image)].astype(np.uint16), context


def _boxes(boxes: np.ndarray, texts: list[str] | None, colors: np.ndarray | None) -> list[Any]:
    import rerun as rr

    rows = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1))
    labels = None if texts is None else [texts[row] for row in rows]
    sizes = boxes[rows, 2:] - boxes[rows, :2]
    return [
        rr.Boxes2D(mins=boxes[rows, :2], sizes=sizes, labels=labels, colors=None if colors is None else colors[rows])
    ]


def _objects(labels: Mapping[str, Any], texts: list[str], colors: np.ndarray) -> dict[str, list[Any]]:
    """The edges of 3D boxes, as lines: `rerun.Boxes3D` has no shear, which boxes here may have."""
    import rerun as rr

    corners = _corners(labels)
    if corners is None:
        return {}
    return {OBJECTS: [rr.LineStrips3D(corners[:, _AROUND_A_BOX], labels=texts, colors=colors)]}


def _corners(labels: Mapping[str, Any]) -> np.ndarray | None:
    """(K, 8, 3) in the world, by what the labels have; None if that is not enough."""
    instances = labels["instances"]
    if "box3d_world" in instances:
        return np.asarray(instances["box3d_world"], np.float64)
    if "bounds" not in instances:
        return None
    if "world_from_object" in instances:
        return box_corners(instances["world_from_object"], instances["bounds"])
    if not {"pose", "scale"} <= instances.keys() or not labels.get("camera"):
        return None
    scaled = np.array(instances["pose"], np.float64)
    scaled[:, :3, :3] *= np.asarray(instances["scale"])[:, None]
    return box_corners(np.linalg.inv(labels["camera"]["camera_from_world_opencv"]) @ scaled, instances["bounds"])


def _keypoints(keypoints: Mapping[str, Any]) -> dict[str, list[Any]]:
    import rerun as rr

    visibility, xy = np.asarray(keypoints["visibility"]), np.asarray(keypoints["xy"])
    colors = np.array([_HIDDEN_COLOR, _SEEN_COLOR])[(visibility == 2).astype(int)]
    radius = rr.Radius.ui_points(_KEYPOINT_RADIUS)
    rows = np.flatnonzero((visibility > 0) & np.isfinite(xy).all(axis=1))
    flat = rr.Points2D(xy[rows], labels=[keypoints["name"][row] for row in rows], colors=colors[rows], radii=radius)
    space = rr.Points3D(keypoints["xyz_world"], labels=keypoints["name"], colors=colors, radii=radius)
    return {KEYPOINTS: [flat], f"{WORLD}/keypoints": [space]}
