"""`annotate`: a picture of a sample with its labels drawn on."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..errors import ConfigError
from ..labels.pictures import ids_to_rgb

Names = Literal["auto", "class", "object", "none"]

_MASK_SHARE = 0.4  # of a mask's colour within it; at its rim there is nothing else
_PLAIN_COLOR = (255, 220, 0)  # of boxes that are not of labels, as in a montage
_DARK = (16, 16, 16)
_TEXT_HEIGHTS = (10, 20)  # pixels, least and most
_TEXT_SHARE = 1 / 24  # of the picture's height
_PAD = 2  # pixels around a text
_HIDDEN, _SEEN = 1, 2

Area = tuple[int, int, int, int]
"""Left, top, right and bottom of pixels, the last two beyond the last."""


def annotate(
    sample: Mapping[str, Any],
    *,
    boxes: bool = True,
    masks: bool = True,
    keypoints: bool = True,
    names: Names = "auto",
    classes: Mapping[int, str] | None = None,
    scale: int = 1,
) -> np.ndarray:
    """Draw a sample's labels on its picture. What the sample lacks is not drawn.

    Each instance has the colour that `ids_to_rgb` gives its id: a translucent mask, its 2D box, beside that what it is and,
    where a part of it is hidden, the share that is seen; its keypoints as discs, as rings where they are hidden. Names of
    small and crowded boxes are left out: they would cover what there is to see.

    Args:
        sample: With "image" (H, W, 3 or 4) uint8 sRGB. Drawn are "ids", (H, W) integers, and "labels" (docs/labels.md); of
            a sample without labels "boxes", (K, 4) XYXY pixels, in yellow.
        boxes: Whether to draw the boxes of instances that are seen.
        masks: Whether to draw ids.
        keypoints: Whether to draw keypoints.
        names: What stands beside a box: the "class", the "object", "none"; "auto" is the class if `classes` has a name for
            it, else the object.
        classes: Class ids to names.
        scale: Makes the picture so many times larger before it is drawn on, without smoothing, for small ones.

    Returns:
        (H * scale, W * scale, 3) uint8 sRGB; alpha is left out.

    Raises:
        ConfigError: (a ValueError) There is no picture, or a field is not of its kind.
    """
    if names not in get_args(Names):
        raise ConfigError(f"names is {names!r}, expected one of {', '.join(get_args(Names))}.")
    if scale < 1:
        raise ConfigError(f"scale is {scale}, expected 1 or more.")
    picture = _enlarged(_picture_of(sample), scale)
    labels = sample.get("labels") or {}
    instances = labels.get("instances")
    if masks and "ids" in sample:
        picture = _with_masks(picture, _enlarged(_ids_of(sample, picture, scale), scale))
    sheet = Image.fromarray(picture)
    draw = ImageDraw.Draw(sheet)
    if boxes:
        if instances is not None:
            _draw_instances(draw, sheet.size, instances, names, classes or {}, scale)
        elif not labels and "boxes" in sample:
            _draw_plain(draw, sheet.size, np.asarray(sample["boxes"]), scale)
    if keypoints and labels.get("keypoints") is not None:
        _draw_keypoints(draw, sheet.size, labels["keypoints"], instances, scale)
    return np.array(sheet)


def _picture_of(sample: Mapping[str, Any]) -> np.ndarray:
    if "image" not in sample:
        raise ConfigError(f"the sample has no image; it has {', '.join(sample)}.")
    image = np.asarray(sample["image"])
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (3, 4) or not image.size:
        raise ConfigError(f"image is {image.dtype} of shape {image.shape}, expected H x W x 3 or 4 of uint8.")
    return image[..., :3]


def _ids_of(sample: Mapping[str, Any], picture: np.ndarray, scale: int) -> np.ndarray:
    ids = np.asarray(sample["ids"])
    expected = (picture.shape[0] // scale, picture.shape[1] // scale)
    if ids.dtype.kind not in "iu" or ids.shape != expected:
        raise ConfigError(
            f"ids is {ids.dtype} of shape {ids.shape}, expected integers of the image's shape {expected}."
        )
    return ids


def _enlarged(image: np.ndarray, scale: int) -> np.ndarray:
    return np.repeat(np.repeat(image, scale, axis=0), scale, axis=1)


def _with_masks(picture: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Tints what has an id, and gives each id a rim, one pixel wide, inside of it."""
    color = ids_to_rgb(ids)
    tinted = (picture * (1 - _MASK_SHARE) + color * _MASK_SHARE).round().astype(np.uint8)
    rim = np.zeros(ids.shape, bool)
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differs = ids[one] != ids[other]
        rim[one] |= differs
        rim[other] |= differs
    there = ids > 0
    return np.where((rim & there)[..., None], color, np.where(there[..., None], tinted, picture))


def _draw_instances(
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    instances: Mapping[str, Any],
    names: Names,
    classes: Mapping[int, str],
    scale: int,
) -> None:
    rectangles = _rectangles(np.asarray(instances["box"]), size, scale)
    colors = ids_to_rgb(np.asarray(instances["id"]).astype(np.int64))
    texts = list(_texts(instances, names, classes))
    # The largest first: a small box in front of a large one stays whole.
    rows = sorted(rectangles, key=lambda row: -_extent(rectangles[row]))
    for row in rows:
        _draw_rectangle(draw, rectangles[row], tuple(colors[row].tolist()), size)
    if names == "none":
        return
    # Names of the largest first, too: those are what the picture is of, and they have the most room.
    taken: list[Area] = []
    for row in rows:
        _draw_text(draw, size, rectangles[row], texts[row], tuple(colors[row].tolist()), taken)


def _draw_plain(draw: ImageDraw.ImageDraw, size: tuple[int, int], boxes: np.ndarray, scale: int) -> None:
    if boxes.size and (boxes.ndim != 2 or boxes.shape[1] != 4):
        raise ConfigError(f"boxes is of shape {boxes.shape}, expected K x 4 (XYXY pixels).")
    for area in _rectangles(boxes.reshape(-1, 4), size, scale).values():
        _draw_rectangle(draw, area, _PLAIN_COLOR, size)


def _rectangles(boxes: np.ndarray, size: tuple[int, int], scale: int) -> dict[int, Area]:
    """For each row the pixels of its box that are in the picture; rows without any are not there."""
    found = {}
    for row, box in enumerate(boxes.astype(np.float64) * scale):
        if not (np.isfinite(box).all() and box[2] > box[0] and box[3] > box[1]):
            continue
        left, top = np.floor(box[:2] + 0.5).clip(0, size).astype(int).tolist()
        right, bottom = np.floor(box[2:] + 0.5).clip(0, size).astype(int).tolist()
        if right > left and bottom > top:
            found[row] = (left, top, right, bottom)
    return found


def _extent(area: Area) -> int:
    return (area[2] - area[0]) * (area[3] - area[1])


def _draw_rectangle(draw: ImageDraw.ImageDraw, area: Area, color: tuple[int, ...], size: tuple[int, int]) -> None:
    left, top, right, bottom = area
    width = max(1, round(min(size) / 320))
    # Pillow names the pixels to colour, an area is up to those beyond.
    draw.rectangle((left, top, right - 1, bottom - 1), outline=color, width=width)


def _texts(instances: Mapping[str, Any], names: Names, classes: Mapping[int, str]) -> Iterator[list[str]]:
    """For each row what may stand beside its box, the longest first."""
    fractions = instances.get("visible_fraction")
    seen = [None] * len(instances["object"]) if fractions is None else np.asarray(fractions).tolist()
    class_ids = np.asarray(instances["class_id"]).tolist()
    for class_id, name, fraction in zip(class_ids, instances["object"], seen, strict=True):
        if names == "class":
            name = classes.get(class_id, str(class_id))
        elif names == "auto":
            name = classes.get(class_id, name)
        percent = None if fraction is None or not np.isfinite(fraction) else round(100 * fraction)
        yield [name] if percent is None or percent >= 100 else [f"{name} {percent}%", name]


def _draw_text(
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    box: Area,
    texts: list[str],
    color: tuple[int, ...],
    taken: list[Area],
) -> None:
    """Writes the longest text that has a place by its box where nothing is written yet; else none."""
    font = _font(size[1])
    ascent, descent = font.getmetrics()
    height = ascent + descent
    for text in texts:
        width = int(np.ceil(font.getlength(text))) + 2 * _PAD
        # A name that is much wider than its box, or most of a small picture, would cover more than it tells.
        if width > max(2 * (box[2] - box[0]), size[0] // 4) or width > size[0] or height > size[1] // 8:
            continue
        left = min(box[0], size[0] - width)
        for top in (box[1] - height, box[3], box[1]):
            area = (left, top, left + width, top + height)
            if top < 0 or area[3] > size[1] or any(_overlap(area, other) for other in taken):
                continue
            draw.rectangle((area[0], area[1], area[2] - 1, area[3] - 1), fill=color)
            bright = np.dot(color, (0.2126, 0.7152, 0.0722)) > 110  # ITU-R BT.709
            draw.text((left + _PAD, top), text, fill=_DARK if bright else (255, 255, 255), font=font)
            taken.append(area)
            return


def _overlap(a: Area, b: Area) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _font(height: int) -> Any:
    least, most = _TEXT_HEIGHTS
    return ImageFont.load_default(min(max(round(height * _TEXT_SHARE), least), most))


def _draw_keypoints(
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    keypoints: Mapping[str, Any],
    instances: Mapping[str, Any] | None,
    scale: int,
) -> None:
    radius = max(2, round(min(size) / 100))
    color_of = {}
    if instances is not None:
        ids = np.asarray(instances["id"]).astype(np.int64)
        for name, instancer, color in zip(instances["object"], instances["instancer"], ids_to_rgb(ids), strict=True):
            if not instancer:
                color_of[name] = tuple(color.tolist())
    visibility = np.asarray(keypoints["visibility"])
    for (x, y), visible, name in zip(np.asarray(keypoints["xy"]) * scale, visibility, keypoints["object"], strict=True):
        if visible not in (_HIDDEN, _SEEN) or not np.isfinite((x, y)).all():
            continue
        color = color_of.get(name, _PLAIN_COLOR)
        # Pillow's coordinates are those of pixel centres.
        center = (float(x) - 0.5, float(y) - 0.5)
        if visible == _SEEN:
            draw.ellipse(_around(center, radius + 1), fill=(255, 255, 255))
            draw.ellipse(_around(center, radius), fill=color, outline=_DARK)
        else:
            draw.ellipse(_around(center, radius + 1), outline=_DARK, width=1)
            draw.ellipse(_around(center, radius), outline=color, width=max(1, radius // 2))


def _around(center: tuple[float, float], radius: float) -> tuple[float, float, float, float]:
    x, y = center
    return x - radius, y - radius, x + radius, y + radius
