"""The schema: what the documentation says is what the code knows, and what is said to be public is there."""

import re
from pathlib import Path

import numpy as np
import pytest

from blendtorch import labels
from blendtorch.labels.schema import AMODAL, CAMERA, INSTANCES, KEYPOINTS, TEXT, Column

DOC = (Path(__file__).parents[2] / "docs" / "labels.md").read_text(encoding="utf-8")


def documented(section: str, letter: str) -> dict[str, Column]:
    """Read the table below a heading of the documentation; NaN is allowed where the text says NaN."""
    rows = re.split(r"^#+ ", DOC.split(f"\n### {section}\n")[1], flags=re.MULTILINE)[0]
    found = {}
    for line in rows.splitlines():
        if not line.startswith("| `"):
            continue
        name, shape, dtype, *when, text = (cell.strip() for cell in line.strip("|").split("|"))
        lengths = [part.strip() for part in shape.strip("()").split(",") if part.strip()]
        if letter:
            assert lengths.pop(0) == letter
            assert when in (["always"], ["optional"])
        tail = tuple(int(length) for length in lengths)
        found[name.strip("`")] = Column(tail, dtype, required=when != ["optional"], unknown="NaN" in text)
    return found


@pytest.mark.parametrize(
    ("section", "letter", "schema"), [("instances", "K", INSTANCES), ("keypoints", "J", KEYPOINTS)]
)
def test_the_documented_tables_are_the_schema(section: str, letter: str, schema: dict[str, Column]) -> None:
    assert documented(section, letter) == schema
    assert list(documented(section, letter)) == list(schema)


def test_the_documented_camera_is_the_schema() -> None:
    found = documented("camera", "")
    assert found.pop("shape") == Column((2,), "tuple of int")
    assert found == CAMERA


@pytest.mark.parametrize("schema", [CAMERA, INSTANCES, KEYPOINTS])
def test_dtypes_are_numpys(schema: dict[str, Column]) -> None:
    for column in schema.values():
        assert column.dtype == TEXT or np.dtype(column.dtype).name == column.dtype
        empty = column.empty()
        assert len(empty) == 0
        assert isinstance(empty, list) or (empty.shape[1:], empty.dtype) == (column.tail, column.dtype)


def test_amodal_columns_are_optional() -> None:
    assert not any(INSTANCES[name].required for name in AMODAL)


def test_what_is_public_is_there() -> None:
    assert len(labels.__all__) == len(set(labels.__all__))
    assert all(hasattr(labels, name) for name in labels.__all__)
