"""What looks wrong with a recording, in words, from what was counted."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..labels.schema import INSTANCES, KEYPOINTS
from .inspection_fields import FieldReport
from .inspection_labels import LabelReport
from .inspection_pictures import PictureReport

if TYPE_CHECKING:
    from .inspection import Inspection

# Of columns of labels NaN means "unknown" where the schema says so.
_UNKNOWN = {
    f"labels.{table}.{name}"
    for table, columns in (("instances", INSTANCES), ("keypoints", KEYPOINTS))
    for name, column in columns.items()
    if column.unknown
}
_TOLD = 3  # of keys, problems, sets of copies


@dataclass(frozen=True)
class Finding:
    """Something that looks wrong.

    Attributes:
        kind: What it is about: "frozen", "duplicates", "empty labels", "nan", ... One kind may come several times.
        is_problem: Whether it is wrong in nearly every case; else it is a note, and depends on what is meant.
        text: What was seen, and what it may come from.
    """

    kind: str
    is_problem: bool
    text: str


def find(seen: "Inspection", allow_nan: Collection[str] = ()) -> list[Finding]:
    """What looks wrong: problems first, notes last.

    Args:
        seen: What was counted; its own findings are not looked at.
        allow_nan: Fields that may have NaN.
    """
    found = [*_of_files(seen)]
    if seen.pictures is not None:
        found += _of_pictures(seen.pictures, seen.labels)
    if seen.labels is not None:
        found += _of_labels(seen.labels)
    if seen.check is not None:
        found += [
            Finding("check", True, f"{kind} is wrong in {_samples(count)}, first {seen.check.examples[kind]}")
            for kind, count in seen.check.kinds.items()
        ]
    for field in seen.fields.values():
        found += _of_field(field, seen, allow_nan)
    return sorted(found, key=lambda finding: not finding.is_problem)


def _of_files(seen: "Inspection") -> Iterator[Finding]:
    if not seen.inspected:
        yield Finding("no samples", True, "there is no sample that can be read")
    if seen.unreadable:
        text = f"{_samples(seen.unreadable)} cannot be read, first {seen.first_unreadable}"
        yield Finding("unreadable", True, text)
    if seen.skipped or seen.problems:
        told = "; ".join(seen.problems[:_TOLD])
        more = f"; and {len(seen.problems) - _TOLD} more" if len(seen.problems) > _TOLD else ""
        yield Finding(
            "skipped",
            True,
            f"the recording passed over {_samples(seen.skipped) if seen.skipped else 'files'}: {told}{more}",
        )
    if seen.restarts:
        text = f"instances were restarted {_count(seen.restarts, 'time')}: look into their logs"
        yield Finding("restarts", False, text)


def _of_pictures(pictures: PictureReport, labels: LabelReport | None) -> Iterator[Finding]:
    name, several = pictures.field, pictures.pictures > 1
    if several and pictures.distinct == 1:
        yield Finding(
            "frozen", True, f"ALL {pictures.pictures:,} PICTURES ({name}) ARE THE SAME: nothing is randomized or moves"
        )
    elif several and pictures.distinct_hashes == 1 and labels is not None and labels.all_same:
        yield Finding(
            "frozen",
            True,
            f"ALL {pictures.pictures:,} PICTURES ({name}) LOOK THE SAME and so do their boxes: nothing but noise changes",
        )
    elif pictures.duplicates:
        sets = "; ".join(_and_more(copies.keys, copies.count, " = ") for copies in pictures.copies[:_TOLD])
        yield Finding(
            "duplicates",
            True,
            f"of {_count(pictures.pictures, 'picture')} ({name}) {pictures.duplicates:,} "
            f"{'equals' if pictures.duplicates == 1 else 'equal'} an earlier one: {sets}. Do seeds or indices repeat?",
        )
    if pictures.blank:
        where = _and_more(pictures.blank_keys, pictures.blank, ", ")
        yield Finding(
            "blank pictures", True, f"{_count(pictures.blank, 'picture')} ({name}) of one colour all over: {where}"
        )
    if pictures.alike and pictures.distinct > 1:
        text = (
            f"{_count(pictures.alike, 'picture')} ({name}) with the looks of an earlier one (same difference hash and"
        )
        yield Finding("alike", False, f"{text} mean colour). Frames of one episode may well have them")


def _of_labels(labels: LabelReport) -> Iterator[Finding]:
    if labels.malformed:
        text = f"the labels of {_samples(labels.malformed)} are not by the schema, first {labels.first_malformed}"
        yield Finding("labels", True, text)
    if labels.empty:
        where = _and_more(labels.empty_keys, labels.empty, ", ")
        yield Finding(
            "empty labels", True, f"{_samples(labels.empty)} with labels, but no instance that is seen: {where}"
        )
    if labels.bad_boxes:
        text = f"{_count(labels.bad_boxes, 'instance')} with pixels, but a box that is empty or not finite"
        yield Finding("boxes", True, text)
    if labels.all_same:
        yield Finding(
            "same labels", False, f"all {labels.samples:,} samples have the same boxes. Right if materials alone change"
        )
    if labels.unclassed:
        text = f"{_samples(labels.unclassed)} in which only instances without a class (class_id 0) are seen"
        yield Finding("without class", False, text)


def _of_field(field: FieldReport, seen: "Inspection", allow_nan: Collection[str]) -> Iterator[Finding]:
    is_label = field.name.startswith("labels.")
    top = field.name.partition(".")[0]
    if field.nan and not (
        field.name in _UNKNOWN or top in allow_nan or field.name in allow_nan or top.startswith("flow")
    ):
        yield Finding("nan", True, f"{field.name}: {share(field.nan_share)} of the numbers are NaN")
    # Infinity is the depth of the background, and of nothing else.
    infinite = field.neginf if top.startswith("depth") else field.neginf + field.posinf
    if infinite:
        text = f"{field.name}: {share(infinite / field.elements)} of the numbers are infinite"
        yield Finding("inf", True, text)
    # None is said of what there is none of, and 1 is an int where 1.5 is a float.
    if len({"float" if dtype == "int" else dtype for dtype in field.dtypes} - {"None"}) > 1:
        kinds = ", ".join(f"{dtype} ({count:,})" for dtype, count in field.dtypes.items())
        yield Finding("dtypes", True, f"{field.name} is of several kinds: {kinds}")
    if "." not in field.name and 0 < field.samples < seen.inspected:
        text = f"{field.name} is missing in {_samples(seen.inspected - field.samples)}"
        yield Finding("missing", False, f"{text}: batches of such do not stack")
    if is_label or not field.is_array:
        return
    if len(field.shapes) > 1 and "." not in field.name:
        yield Finding(
            "shapes",
            False,
            f"{field.name} has {len(field.shapes)} shapes ({field.shape}): batches of such do not stack",
        )
    is_picture = seen.pictures is not None and seen.pictures.field == field.name
    if field.elements and not field.range.count and not _is_complex(field):
        yield Finding("constant", True, f"{field.name} has no finite number in any sample")
    elif field.is_constant and field.elements > field.samples:
        # A mask may well be all false, and a vector be a setting.
        is_image = "bool" not in field.dtypes and all(shape.count("x") for shape in field.shapes)
        yield Finding("constant", is_image, f"{field.name} is {field.range.min:g} everywhere, in all samples")
    elif field.elements and field.is_same and not is_picture:
        yield Finding("same", False, f"{field.name} is the same in all samples")


def _is_complex(field: FieldReport) -> bool:
    return any(dtype.startswith("complex") for dtype in field.dtypes)


def _samples(count: int) -> str:
    return _count(count, "sample")


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _and_more(keys: Sequence[str], count: int, between: str) -> str:
    more = f"{between}... ({count:,} in all)" if count > _TOLD else ""
    return between.join(keys[:_TOLD]) + more


def share(part: float) -> str:
    """A share as per cent; what is there is never 0 %, and what is not all never 100 %."""
    if 0 < part < 0.001:
        return "<0.1 %"
    if 0.999 < part < 1:
        return ">99.9 %"
    return f"{part:.1%}".replace("%", " %")
