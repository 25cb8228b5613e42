"""`write_plots`: an inspection as one picture of plots. Needs matplotlib, and no display."""

import os
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..errors import ConfigError
from ..export.missing import need
from .inspection import Inspection
from .inspection_labels import CENTRE_BINS, DEPTH_EDGES, FRACTION_EDGES, SIZE_EDGES, LabelReport
from .inspection_pictures import BRIGHTNESS_EDGES

_BLUE, _ORANGE, _GREY, _DARK = "#3b6fb6", "#e07b39", "#b9bec6", "#30343b"
_CHANNELS = {3: ("#c8453c", "#3a9150", _BLUE), 4: ("#c8453c", "#3a9150", _BLUE, _GREY), 1: (_DARK,)}
_COLOR_MAP = "viridis"
_MOST_CLASSES = 16
_COLUMNS, _PANEL_INCHES, _DPI = 4, (4.4, 3.5), 110
_MOST_BARS = 40
_NARROW = 5  # from the least to the greatest depth: below, an axis is linear, though its bins are a little unequal then
_LINE = 60  # characters of a line below a column of plots
_MOST_LINES = 7


class _Panel(NamedTuple):
    """One plot."""

    name: str
    lacks: Callable[[Inspection], str]
    """Tells what there is not that it needs; "" where all is there."""
    draw: Callable[[Any, Inspection], None]


def check_plots(file: str | os.PathLike) -> None:
    """Find out whether `write_plots` could write such a file, before what is to be drawn is computed.

    Raises:
        ConfigError: (a ValueError) matplotlib is not installed, or draws no files with that suffix.
    """
    supported = need("matplotlib.figure", extra="view").Figure().canvas.get_supported_filetypes()
    suffix = os.path.splitext(file)[1].removeprefix(".").lower()
    if suffix not in supported:
        raise ConfigError(f"{file}: expected a file whose suffix is one of {', '.join(sorted(supported))}")


def write_plots(inspection: Inspection, file: str | os.PathLike, *, title: str = "") -> list[str]:
    """Draw an inspection.

    Args:
        inspection: What `inspect` returned.
        file: The picture to write; its suffix says what it is, such as .png.
        title: What to call the recording.

    Returns:
        What is not in the picture, and why: "depth: no depth, pose or 3D boxes"; also written below the plots.

    Raises:
        ConfigError: (a ValueError) matplotlib is not installed.
    """
    # Its figures without its module pyplot, which looks for a display and keeps all figures.
    figure_class = need("matplotlib.figure", extra="view").Figure
    reasons = [(panel, panel.lacks(inspection)) for panel in _panels()]
    drawn = [panel for panel, reason in reasons if not reason]
    absent = [f"{panel.name}: {reason}" for panel, reason in reasons if reason]
    rows = max(1, -(-len(drawn) // _COLUMNS))
    columns = max(1, min(_COLUMNS, len(drawn)))
    width, height = columns * _PANEL_INCHES[0], rows * _PANEL_INCHES[1]
    figure = figure_class(figsize=(width, height + 1.2), layout="constrained", facecolor="white")
    figure.suptitle(_headline(inspection, title), fontsize=13, fontweight="bold", color=_DARK, x=0.01, ha="left")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.08)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(drawn) :]:
        axes.remove()
    for axes, panel in zip(grid.flat, drawn, strict=False):
        panel.draw(axes, inspection)
        _style(axes)
    figure.supxlabel(_footer(inspection, absent, _LINE * columns), fontsize=9, color=_DARK, x=0.01, ha="left")
    figure.savefig(file, dpi=_DPI)
    return absent


def _panels() -> list[_Panel]:
    return [
        _Panel("classes", _lacks("no labels", lambda labels: bool(labels.classes)), _classes),
        _Panel("box sizes", _lacks("no boxes", lambda labels: labels.width.count > 0), _box_sizes),
        _Panel("instances per picture", _lacks("no labels", lambda labels: labels.samples > 0), _per_picture),
        _Panel(
            "visible fraction",
            _lacks("no column visible_fraction", lambda labels: labels.visible_fraction.count > 0),
            _visible_fraction,
        ),
        _Panel(
            "box centres",
            _lacks("no boxes, or no size of the picture", lambda labels: bool(labels.centre_counts.any())),
            _centres,
        ),
        _Panel("depth", _lacks("no poses or 3D boxes", lambda labels: labels.depth_m.count > 0), _depth),
        _Panel("brightness", _lacks_brightness, _brightness),
        _Panel("pixel values", _lacks_values, _values),
    ]


def _lacks(reason: str, has: Callable[[LabelReport], bool]) -> Callable[[Inspection], str]:
    def lacks(inspection: Inspection) -> str:
        if inspection.labels is None:
            return "no labels"
        return "" if has(inspection.labels) else reason

    return lacks


def _lacks_brightness(inspection: Inspection) -> str:
    return "" if inspection.pictures and inspection.pictures.brightness.count else "no uint8 pictures"


def _lacks_values(inspection: Inspection) -> str:
    has_values = inspection.pictures is not None and inspection.pictures.value_counts is not None
    return "" if has_values else "no uint8 pictures of one number of channels"


def _headline(inspection: Inspection, title: str) -> str:
    text = f"{inspection.samples:,} sample{'' if inspection.samples == 1 else 's'}"
    if inspection.inspected < inspection.samples:
        text += f", {inspection.inspected:,} of them looked at"
    if inspection.labels is not None:
        text += f", {inspection.labels.seen:,} instances seen"
    return f"{title}: {text}" if title else text


def _footer(inspection: Inspection, absent: list[str], width: int) -> str:
    found = [f"{'!' if finding.is_problem else '-'} {finding.text}" for finding in inspection.findings]
    lines = [line for text in found or ["nothing looks wrong"] for line in textwrap.wrap(text, width)]
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES - 1 :] = ["..."]
    if absent:
        by_reason: dict[str, list[str]] = {}
        for name, _, reason in (text.partition(": ") for text in absent):
            by_reason.setdefault(reason, []).append(name)
        text = "; ".join(f"{', '.join(names)} ({reason})" for reason, names in by_reason.items())
        lines += textwrap.wrap(f"not shown: {text}", width)
    return "\n".join(lines)


def _style(axes: Any) -> None:
    axes.title.set(fontsize=11, color=_DARK)
    axes.tick_params(labelsize=8, colors=_DARK)
    axes.xaxis.label.set(fontsize=9, color=_DARK)
    axes.yaxis.label.set(fontsize=9, color=_DARK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _classes(axes: Any, inspection: Inspection) -> None:
    labels = inspection.labels
    assert labels is not None
    ordered = sorted(labels.classes.values(), key=lambda count: -count.seen)
    shown, rest = ordered[:_MOST_CLASSES], ordered[_MOST_CLASSES:]
    names = [count.name for count in shown]
    seen, hidden = [count.seen for count in shown], [count.hidden for count in shown]
    if rest:
        names.append(f"{len(rest)} more")
        seen.append(sum(count.seen for count in rest))
        hidden.append(sum(count.hidden for count in rest))
    y = np.arange(len(names))
    axes.barh(y, seen, color=_BLUE, label="seen")
    if any(hidden):
        axes.barh(y, hidden, left=seen, color=_GREY, label="no pixel")
        axes.legend(fontsize=8, frameon=False, loc="lower right")
    axes.set_yticks(y, [name if len(name) <= 18 else f"{name[:17]}…" for name in names])
    axes.set_ylim(max(len(names), 6) - 0.4, -0.6)  # the first on top; few are no thicker than six
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(title="Classes", xlabel="instances")


def _box_sizes(axes: Any, inspection: Inspection) -> None:
    labels = inspection.labels
    assert labels is not None
    low_x, high_x = _range(labels.size_counts.sum(axis=0))
    low_y, high_y = _range(labels.size_counts.sum(axis=1))
    low, high = min(low_x, low_y), max(high_x, high_y)
    counts = labels.size_counts[low:high, low:high]
    edges = SIZE_EDGES[low : high + 1]
    drawn = axes.pcolormesh(edges, edges, np.ma.masked_equal(counts, 0), vmin=0, cmap=_COLOR_MAP)
    _color_bar(axes, drawn)
    axes.set(xscale="log", yscale="log", xlim=edges[[0, -1]], ylim=edges[[0, -1]])
    for side in (32, 96):  # of the squares by which COCO tells small, medium and large
        if edges[0] ** 2 < side * side < edges[-1] ** 2:
            axes.plot(edges, side * side / edges, "--", color=_GREY, linewidth=1, zorder=3)
    ticks = [2**k for k in range(14) if edges[0] <= 2**k <= edges[-1]]
    ticks = ticks[:: 1 if len(ticks) <= 8 else 2]
    axes.set_xticks(ticks, map(str, ticks))
    axes.set_yticks(ticks, map(str, ticks))
    axes.minorticks_off()
    axes.set(title="Box sizes (dashed: areas of 32² and 96²)", xlabel="width, pixels", ylabel="height, pixels")


def _per_picture(axes: Any, inspection: Inspection) -> None:
    labels = inspection.labels
    assert labels is not None
    numbers, pictures = np.array(list(labels.seen_counts)), np.array(list(labels.seen_counts.values()))
    step = -(-(numbers.max() - numbers.min() + 1) // 60)  # at most 60 bars
    edges = np.arange(numbers.min(), numbers.max() + step + 1, step)
    counts, _ = np.histogram(numbers, edges, weights=pictures)
    colors = [_ORANGE if start == 0 and step == 1 else _BLUE for start in edges[:-1]]
    axes.bar(edges[:-1] + (step - 1) / 2, counts, width=0.9 * step, color=colors)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.yaxis.get_major_locator().set_params(integer=True)
    if len(counts) < 6:  # or else two bars fill the panel
        middle = (numbers.min() + numbers.max()) / 2
        axes.set_xlim(middle - 3.5, middle + 3.5)
    mean = labels.seen_per_picture.mean
    axes.set(title=f"Instances per picture (mean {mean:.3g})", xlabel="instances seen", ylabel="pictures")


def _visible_fraction(axes: Any, inspection: Inspection) -> None:
    labels = inspection.labels
    assert labels is not None
    _bars(axes, FRACTION_EDGES, labels.visible_fraction_counts)
    title = f"Visible fraction (mean {labels.visible_fraction.mean:.2f})"
    axes.set(title=title, xlabel="pixels seen / pixels of the whole", ylabel="instances", xlim=(0, 1))


def _centres(axes: Any, inspection: Inspection) -> None:
    labels = inspection.labels
    assert labels is not None
    assert labels.frame is not None
    height, width = labels.frame
    # So coarse that a bin has some four of them; 48 can be divided by all of these.
    bins = next((n for n in (6, 8, 12, 16, 24) if n * n * 4 >= labels.width.count), CENTRE_BINS)
    merged = labels.centre_counts.reshape(bins, CENTRE_BINS // bins, bins, -1).sum(axis=(1, 3))
    drawn = axes.imshow(merged, vmin=0, extent=(0, width, height, 0), cmap=_COLOR_MAP, interpolation="nearest")
    _color_bar(axes, drawn)
    axes.set(title="Box centres", xlabel="x, pixels", ylabel="y, pixels")


def _depth(axes: Any, inspection: Inspection) -> None:
    labels = inspection.labels
    assert labels is not None
    low, high = _range(labels.depth_counts)
    merged = -(-(high - low) // _MOST_BARS)
    starts = np.arange(low, high, merged)
    edges = DEPTH_EDGES[[*starts, high]]
    _bars(axes, edges, np.add.reduceat(labels.depth_counts, starts))
    axes.set(title="Depth of instances", xlabel=f"metres, {labels.depth_of}", ylabel="instances")
    if edges[-1] < _NARROW * edges[0]:
        return
    ticks = [float(f"{value}e{power}") for power in range(-2, 6) for value in (1, 2, 5)]
    ticks = [tick for tick in ticks if edges[0] <= tick <= edges[-1]]
    if len(ticks) > 7:
        ticks = [tick for tick in ticks if f"{tick:e}"[0] == "1"]
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])


def _brightness(axes: Any, inspection: Inspection) -> None:
    pictures = inspection.pictures
    assert pictures is not None
    _bars(axes, BRIGHTNESS_EDGES, pictures.brightness_counts)
    title = f"Brightness (mean {pictures.brightness.mean:.0f})"
    axes.set(title=title, xlabel="mean of a picture, sRGB value", ylabel="pictures", xlim=(0, 256))


def _values(axes: Any, inspection: Inspection) -> None:
    pictures = inspection.pictures
    assert pictures is not None
    assert pictures.value_counts is not None
    counts = pictures.value_counts
    for name, channel, color in zip("RGBA", counts, _CHANNELS[len(counts)], strict=False):
        # Alpha is 255 nearly everywhere, and would press the others to the ground.
        if name != "A":
            axes.step(np.arange(256), channel / channel.sum(), where="mid", color=color, linewidth=1, label=name)
    axes.legend(fontsize=8, frameon=False)
    axes.set(title="Pixel values", xlabel="sRGB value", ylabel="share of pixels", yscale="log", xlim=(-2, 257))
    axes.set_ylim(bottom=max(1e-6, axes.get_ylim()[0]))


def _color_bar(axes: Any, drawn: Any) -> None:
    bar = axes.figure.colorbar(drawn, ax=axes, shrink=0.8, pad=0.01)
    bar.ax.tick_params(labelsize=7)
    bar.ax.yaxis.get_major_locator().set_params(integer=True)


def _bars(axes: Any, edges: np.ndarray, counts: np.ndarray) -> None:
    axes.stairs(counts, edges, fill=True, color=_BLUE)
    axes.yaxis.get_major_locator().set_params(integer=True)


def _range(counts: np.ndarray) -> tuple[int, int]:
    """The first bin with something in it and the end of the last; one more on both sides, as far as there are any."""
    there = np.flatnonzero(counts)
    return max(0, int(there[0]) - 1), min(len(counts), int(there[-1]) + 2)
