"""Whether pixel counts, boxes, amodal boxes and shares of an instance go together, without an image."""

import numpy as np

from .geometry import beyond, is_empty
from .images import numbers
from .reasons import Reasons
from .tables import Table

_ROUNDING = 1e-5
"""Of shares, which are float32."""


def check_extent(table: Table, shape: tuple[int, int] | None, slack_px: float, reasons: Reasons) -> None:
    """Compare the columns that say how much of each instance there is.

    Args:
        table: Instances.
        shape: (H, W) of the image, None if unknown.
        slack_px: How far a visible box may reach out of its amodal box, pixels.
        reasons: Gets what is wrong.
    """
    if table.has("pixels"):
        pixels = table["pixels"]
        reasons.add_rows(
            "pixels", pixels < 0, lambda row: f"{table.name(row)}: pixels is {pixels[row]}, expected 0 or more"
        )
    if table.has("pixels", "box"):
        _check_box(table, shape, reasons)
    _check_shares(table, reasons)
    if table.has("box_amodal", "truncation") and shape is not None:
        _check_truncation(table, shape, slack_px, reasons)
    if table.has("box", "box_amodal"):
        boxes, amodal = table["box"], table["box_amodal"]
        reasons.add_rows(
            "box_amodal",
            ~is_empty(boxes) & beyond(boxes, amodal, slack_px),
            lambda row: (
                f"{table.name(row)}: box is {numbers(boxes[row])}, expected within box_amodal, "
                f"{numbers(amodal[row])}, and {slack_px:g} px"
            ),
        )


def _check_box(table: Table, shape: tuple[int, int] | None, reasons: Reasons) -> None:
    boxes, pixels = table["box"].astype(np.float64), table["pixels"]
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    wrong = np.where(pixels == 0, ~is_empty(boxes), (boxes[:, :2] >= boxes[:, 2:]).any(axis=1) | (area < pixels))
    reasons.add_rows(
        "box",
        wrong,
        lambda row: (
            f"{table.name(row)}: box is {numbers(boxes[row])}, expected "
            + ("zeros, for it has no pixel" if pixels[row] == 0 else f"one that holds its {pixels[row]} pixels")
        ),
    )
    if shape is not None:
        outside = (boxes[:, :2] < 0.0).any(axis=1) | (boxes[:, 2:] > (shape[1], shape[0])).any(axis=1)
        reasons.add_rows(
            "box",
            outside,
            lambda row: (
                f"{table.name(row)}: box is {numbers(boxes[row])}, expected within the image of "
                f"{shape[1]} x {shape[0]} pixels"
            ),
        )


def _check_truncation(table: Table, shape: tuple[int, int], slack_px: float, reasons: Reasons) -> None:
    amodal, truncation = table["box_amodal"], table["truncation"]
    frame = np.array([[0, 0, shape[1], shape[0]]], dtype=np.float32)
    reasons.add_rows(
        "truncation",
        ~is_empty(amodal) & beyond(amodal, frame, slack_px) & (truncation == 0.0),
        lambda row: f"{table.name(row)}: truncation is 0, expected more, for box_amodal is {numbers(amodal[row])}",
    )
    reasons.add_rows(
        "truncation",
        ~is_empty(amodal) & ~beyond(amodal, frame, 0.0) & (truncation > _ROUNDING),
        lambda row: (
            f"{table.name(row)}: truncation is {truncation[row]:.6g}, expected 0, for box_amodal, "
            f"{numbers(amodal[row])}, is within the frame"
        ),
    )


def _check_shares(table: Table, reasons: Reasons) -> None:
    for name in ("visible_fraction", "truncation"):
        if table.has(name):
            _check_range(table, name, reasons)
    if not table.has("pixels", "visible_fraction"):
        return
    pixels, visible = table["pixels"], table["visible_fraction"].astype(np.float64)
    reasons.add_rows(
        "visible_fraction",
        (pixels > 0) != (visible > 0.0),
        lambda row: (
            f"{table.name(row)}: visible_fraction is {visible[row]:.6g} with {pixels[row]} pixels, expected "
            "0 for none and above 0 otherwise"
        ),
    )
    if not table.has("box_amodal"):
        return
    sides = table["box_amodal"].astype(np.float64).reshape(-1, 2, 2)
    width, height = (sides[:, 1] - sides[:, 0]).T
    whole = pixels / np.where(visible > 0.0, visible, np.inf)  # pixels of the whole silhouette
    # An amodal box may be of another rasterization than the mask: it may be short of a pixel on each side.
    most = (width + 2.0) * (height + 2.0)
    reasons.add_rows(
        "visible_fraction",
        whole > most * (1.0 + _ROUNDING),
        lambda row: (
            f"{table.name(row)}: visible_fraction {visible[row]:.6g} with {pixels[row]} pixels makes a "
            f"silhouette of {whole[row]:.0f} pixels, expected one that box_amodal {numbers(sides[row])} holds"
        ),
    )
    if table.has("truncation"):
        hidden_and_seen = visible + table["truncation"]
        outline = 2.0 * (width + height) + 4.0  # a pixel more or less along the border of the box
        reasons.add_rows(
            "truncation",
            (hidden_and_seen - 1.0) * whole > outline,
            lambda row: (
                f"{table.name(row)}: visible_fraction and truncation are {hidden_and_seen[row]:.6g} together, "
                "expected at most 1, the whole silhouette"
            ),
        )


def _check_range(table: Table, name: str, reasons: Reasons) -> None:
    share = table[name]
    reasons.add_rows(
        name,
        (share < 0.0) | (share > 1.0 + _ROUNDING),
        lambda row: f"{table.name(row)}: {name} is {share[row]:.6g}, expected 0 to 1",
    )
