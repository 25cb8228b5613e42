"""Whether labels have the columns, shapes and dtypes of the schema, and no NaN or infinity where there should be none."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..schema import TEXT, Column
from .reasons import Reasons


@dataclass(frozen=True)
class Table:
    """The well-formed columns of a table; what is malformed has been reported and is not here."""

    columns: dict[str, Any]
    row: str
    """What a row is called: "instance"."""
    named_by: tuple[str, ...]
    """The columns that name a row."""

    def has(self, *names: str) -> bool:
        """Tell whether all these columns are there."""
        return all(name in self.columns for name in names)

    def __getitem__(self, name: str) -> Any:
        """Return a column."""
        return self.columns[name]

    def name(self, row: int) -> str:
        """Name a row: instance 3 (Cube, by Emitter)."""
        first, *more = [str(self.columns[name][row]) for name in self.named_by if name in self.columns] or [str(row)]
        return f"{self.row} {first}" + (f" ({', by '.join(part for part in more if part)})" if any(more) else "")


def read_table(
    name: str, value: Any, schema: dict[str, Column], row: str, named_by: tuple[str, ...], reasons: Reasons
) -> Table | None:
    """Report what a table has not as the schema wants it, and return the rest.

    Args:
        name: Of the table, in labels.
        value: What labels have under that name.
        schema: The columns.
        row: What a row is called.
        named_by: Columns that name a row; the first decides how many rows there are.
        reasons: Gets what is wrong.

    Returns:
        The table, or None if it has not even the first column that names rows.
    """
    if not isinstance(value, dict):
        reasons.add("schema", f"{name}: expected a dict of columns, got {type(value).__name__}")
        return None
    missing = [column for column, wanted in schema.items() if wanted.required and column not in value]
    if missing:
        reasons.add("schema", f"{name}: expected a column {', '.join(missing)}, got {', '.join(value) or 'none'}")
    count = None
    table = Table({}, row, named_by)
    for column in sorted(schema, key=lambda column: column != named_by[0]):
        if column not in value:
            continue
        wrong = malformed(value[column], schema[column], count)
        if wrong:
            reasons.add("schema", f"{name}[{column!r}]: {wrong}")
            continue
        table.columns[column] = value[column]
        count = len(value[column]) if count is None else count
    if named_by[0] not in table.columns:
        return None
    for column, wanted in schema.items():
        if table.has(column) and wanted.dtype.startswith("float"):
            _report_not_finite(table, column, wanted.unknown, reasons)
    return table


def malformed(value: Any, wanted: Column, count: int | None) -> str | None:
    """Say what is wrong with the type or shape of a column, or None.

    Args:
        value: The column.
        wanted: What the schema says.
        count: Rows that it should have, None for any number.

    Returns:
        "expected ..., got ...", or None if all is well.
    """
    rows = "any number of" if count is None else str(count)
    if wanted.dtype == TEXT:
        if not isinstance(value, (list, tuple)) or not all(isinstance(text, str) for text in value):
            return f"expected a list of {rows} str, got {type(value).__name__}"
        return None if count in (None, len(value)) else f"expected {rows} texts, got {len(value)}"
    if not isinstance(value, np.ndarray):
        return f"expected a numpy array of {wanted.dtype}, got {type(value).__name__}"
    shape = ("K" if count is None else count, *wanted.tail)
    fits = value.ndim == len(shape) and value.shape[1:] == wanted.tail and count in (None, len(value))
    if not fits or value.dtype != wanted.dtype:
        text = f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
        return f"expected {wanted.dtype} of shape {text}, got {value.dtype} of shape {value.shape}"
    return None


def _report_not_finite(table: Table, column: str, may_be_nan: bool, reasons: Reasons) -> None:
    values = table[column]
    wrong = np.isinf(values) if may_be_nan else ~np.isfinite(values)
    bad = wrong.any(axis=tuple(range(1, values.ndim)))
    if bad.any():
        expected = "finite numbers or NaN" if may_be_nan else "finite numbers"
        reasons.add_rows(
            column, bad, lambda row: f"{table.name(row)}: {column} is {_numbers(values[row])}, expected {expected}"
        )
        del table.columns[column]  # nothing follows from it


def _numbers(values: np.ndarray) -> str:
    return np.array2string(values, precision=4, threshold=8, edgeitems=3, separator=", ")
