"""An inspection as tables for a terminal of 80 columns, or for a log."""

from collections.abc import Iterable, Sequence

import numpy as np
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..btt.inspection import Inspection
from ..btt.inspection_fields import FieldReport
from ..btt.inspection_findings import share
from ..btt.inspection_labels import ClassCount, LabelReport
from ..btt.inspection_moments import Summary
from ..btt.inspection_pictures import PictureReport

_MOST_ROWS = 30  # of classes and keypoints
_BAR = 20  # characters
_EIGHTHS = "▁▂▃▄▅▆▇█"
_NAME_WIDTH = 20


def print_inspection(inspection: Inspection, title: str, console: Console) -> None:
    """Prints all that there is to tell.

    Args:
        inspection: What `inspect` returned.
        title: What the recording is called.
        console: Where to.
    """
    _lines(console, [*_head(inspection, title), ""])
    if inspection.fields:
        fields = [field for field in inspection.fields.values() if not field.name.startswith("labels.")]
        _print(console, "Fields", _stored(fields, inspection))
        _print(console, "Ranges", _ranges(fields))
    if inspection.pictures is not None:
        _section(console, "Pictures", _pictures(inspection.pictures, console))
    if inspection.labels is not None:
        _section(console, "Labels", _labels(inspection.labels, console))
        if inspection.labels.classes:
            _print(console, "Classes", _classes(inspection.labels.classes, console))
        if inspection.labels.keypoints:
            _print(console, "Keypoints", _keypoints(inspection.labels.keypoints))
    if inspection.check is not None:
        check = inspection.check
        text = (
            f"Checked {check.checked:,} samples: {check.wrong:,} with labels that contradict each other or the schema"
        )
        _lines(console, [text, ""])
    _findings(inspection, console)


def _lines(console: Console, lines: Iterable[str]) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _head(inspection: Inspection, title: str) -> list[str]:
    stored = (
        f" in {_count(inspection.shards, 'shard')}, {_bytes(inspection.nbytes_on_disk)}" if inspection.shards else ""
    )
    lines = [f"{title}: {_count(inspection.samples, 'sample')}{stored}"]
    if inspection.inspected < inspection.samples:
        lines.append(f"  looked at {inspection.inspected:,} of them: all below is about these alone")
    if inspection.instances:
        each = [f"{btid}: {count:,}" for btid, count in list(inspection.instances.items())[:8]]
        more = ", ..." if len(inspection.instances) > 8 else ""
        lines.append(f"  made by {_count(len(inspection.instances), 'instance')} ({', '.join(each)}{more})")
    episodes = inspection.episodes
    if episodes.max > 1:
        each_has = f"{episodes.min:,}" if episodes.min == episodes.max else f"{episodes.min:,} to {episodes.max:,}"
        lines.append(f"  {_count(episodes.count, 'episode')} of {each_has} samples")
    known = [
        f"{name} {value}"
        for name, value in inspection.metadata.items()
        if isinstance(value, str | int | float) and not isinstance(value, bool)
    ]
    return [*lines, *([f"  {', '.join(known)}"] if known else [])]


def _print(console: Console, title: str, table: Table) -> None:
    console.print(Text(title, style="bold"))
    console.print(Padding(table, (0, 0, 1, 2), expand=False))


def _table(*columns: str, right: Sequence[int] = ()) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for i, name in enumerate(columns):
        # What is too long for the line breaks in its name: a number that is broken is misread.
        table.add_column(name, justify="right" if i in right else "left", overflow="fold", no_wrap=i > 0)
    table.columns[0].min_width = len(columns[0])
    return table


def _stored(fields: Sequence[FieldReport], inspection: Inspection) -> Table:
    table = _table("field", "dtype", "shape", "stored as", "size", "samples", right=(4, 5))
    for field in fields:
        dtype = " | ".join(field.dtypes)
        size = _bytes(field.nbytes) if field.nbytes else ""
        table.add_row(field.name, dtype, field.shape, field.encoding or "", size, f"{field.samples:,}")
    columns = [field for field in inspection.fields.values() if field.name.startswith("labels.")]
    if columns:
        count = max(field.samples for field in columns)
        size = _bytes(sum(field.nbytes for field in columns))
        table.add_row("labels", "dict", f"{len(columns)} entries", columns[0].encoding or "", size, f"{count:,}")
    return table


def _ranges(fields: Sequence[FieldReport]) -> Table:
    table = _table("field", "min", "max", "mean", "std", "NaN", "inf", "", right=(1, 2, 3, 4, 5, 6))
    for field in fields:
        if not field.elements and not field.distinct_texts:
            continue
        values = (field.range.min, field.range.max, field.range.mean, field.range.std)
        nan, inf = (share(part) if part else "" for part in (field.nan_share, field.inf_share))
        table.add_row(field.name, *map(_number, values), nan, inf, _remark(field))
    return table


def _remark(field: FieldReport) -> str:
    if field.distinct_texts:
        return _count(field.distinct_texts, "text")
    if field.is_zero:
        return "all zero"
    if field.is_constant:
        return "constant"
    if field.is_same:
        return "all same"
    return f"flat in {field.uniform:,}" if field.uniform else ""


def _section(console: Console, title: str, rows: Iterable[tuple[str, str]]) -> None:
    console.print(Text(title, style="bold"))
    for name, text in rows:
        console.print(Text(f"  {name.ljust(_NAME_WIDTH)} {text}"), soft_wrap=True)
    console.print()


def _pictures(pictures: PictureReport, console: Console) -> Iterable[tuple[str, str]]:
    yield "field", f"{pictures.field}: {pictures.pictures:,}, {pictures.distinct:,} of them different"
    yield "of one colour", f"{pictures.blank:,}"
    if pictures.brightness.count:
        counts = pictures.brightness_counts.reshape(-1, 4).sum(axis=1)
        yield "brightness", f"{_spread(pictures.brightness)}  {_spark(counts, console)}"


def _labels(labels: LabelReport, console: Console) -> Iterable[tuple[str, str]]:
    seen = max(labels.seen, 1)
    yield "samples", f"{labels.samples:,}, {labels.empty:,} of them without a visible instance"
    yield "instances", f"{labels.instances:,}: {labels.seen:,} seen, {labels.hidden:,} of no pixel"
    counts = np.zeros(max(labels.seen_counts, default=0) + 1, np.int64)
    counts[list(labels.seen_counts)] = list(labels.seen_counts.values())
    spark = _spark(counts, console) if len(counts) <= 2 * _BAR else ""
    yield "seen in a picture", f"{_spread(labels.seen_per_picture)}  {spark}"
    if not labels.seen:
        return
    yield "box width", f"{_spread(labels.width)} pixels"
    yield "box height", f"{_spread(labels.height)} pixels"
    yield "box area", f"{_spread(labels.area)} pixels"
    sizes = [f"{name} {share(part / seen)}" for name, part in _sizes(labels)]
    yield "COCO size (of mask)", ", ".join(sizes)
    if labels.at_edge is not None:
        yield "at the frame's edge", share(labels.at_edge / seen)
    if labels.visible_fraction.count:
        spark = _spark(labels.visible_fraction_counts, console)
        yield "visible fraction", f"{_spread(labels.visible_fraction)}  {spark}"
    if labels.truncation.count:
        yield "truncation", f"{_spread(labels.truncation)}; {share(labels.truncated / seen)} are truncated"
    if labels.depth_m.count:
        yield "depth", f"{_spread(labels.depth_m)} m, {labels.depth_of}"


def _sizes(labels: LabelReport) -> Iterable[tuple[str, int]]:
    return (("small", labels.small), ("medium", labels.medium), ("large", labels.large))


def _classes(classes: dict[int, ClassCount], console: Console) -> Table:
    table = _table("id", "name", "seen", "", "", "no pixel", "pixels", "pictures", right=(0, 2, 3, 5, 6, 7))
    total = max(1, sum(count.seen for count in classes.values()))
    most = max(1, *(count.seen for count in classes.values()))
    character = "█" if _is_unicode(console) else "#"
    ordered = sorted(classes.items(), key=lambda item: -item[1].seen)
    for class_id, count in ordered[:_MOST_ROWS]:
        table.add_row(
            str(class_id),
            Text(count.name),
            f"{count.seen:,}",
            share(count.seen / total),
            character * round(_BAR / 2 * count.seen / most),
            f"{count.hidden:,}",
            f"{count.pixels:,}",
            f"{count.pictures:,}",
        )
    if len(ordered) > _MOST_ROWS:
        rest = [count for _, count in ordered[_MOST_ROWS:]]
        sums = [f"{sum(values):,}" for values in zip(*((c.seen, c.hidden, c.pixels) for c in rest), strict=True)]
        table.add_row("", f"{len(rest)} more", sums[0], "", "", sums[1], sums[2], "")
    return table


def _keypoints(keypoints: dict[str, tuple[int, int, int]]) -> Table:
    table = _table("name", "seen", "hidden", "not in the image", right=(1, 2, 3))
    for name, (absent, hidden, seen) in list(keypoints.items())[:_MOST_ROWS]:
        total = max(1, absent + hidden + seen)
        counts = (f"{count:,} ({share(count / total)})" for count in (seen, hidden, absent))
        table.add_row(Text(name), *counts)
    if len(keypoints) > _MOST_ROWS:
        table.add_row(f"{len(keypoints) - _MOST_ROWS} more", "", "", "")
    return table


def _findings(inspection: Inspection, console: Console) -> None:
    if not inspection.findings:
        console.print(Text("nothing looks wrong", style="green"))
    for finding in inspection.findings:
        style = "bold red" if finding.is_problem else "yellow"
        text = Text("problem  " if finding.is_problem else "note     ", style=style)
        text.append(finding.text, style="bold red" if finding.kind == "frozen" else "default")
        # Wrapped by the terminal alone, so that a line of a log can be searched.
        console.print(text, soft_wrap=True)


def _spread(summary: Summary) -> str:
    return f"mean {_number(summary.mean)}, {_number(summary.min)} to {_number(summary.max)}"


def _number(value: float | int | None) -> str:
    if value is None:
        return ""
    if abs(value) < 10**7 and (isinstance(value, int) or abs(value) >= 10**4):
        return f"{value:,.0f}"
    return f"{value:.4g}" if value == 0 or 1e-3 <= abs(value) < 10**7 else f"{value:.3g}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _bytes(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def _spark(counts: np.ndarray, console: Console) -> str:
    """A histogram as one line of blocks; what is there is never nothing."""
    if not _is_unicode(console) or not counts.any():
        return ""
    heights = np.ceil(counts / counts.max() * len(_EIGHTHS)).astype(int)
    return "".join(" " if height == 0 else _EIGHTHS[height - 1] for height in heights)


def _is_unicode(console: Console) -> bool:
    return console.encoding.lower().startswith("utf")
