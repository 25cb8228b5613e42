"""What all benchmarks share: rows of ratios measured in one run, printed as a table and written as JSON."""

import argparse
import json
import os
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass
class Row:
    """One line of a benchmark.

    Attributes:
        name: What was measured.
        value: The median over the rounds.
        unit: Its unit.
        ratio: The median over the rounds of value divided by that of the row `ratio_to`, pair by pair.
        ratio_to: Name of the row it is compared with.
        remark: For the table, what limits it.
    """

    name: str
    value: float
    unit: str
    ratio: float
    ratio_to: str
    remark: str = ""


def row_of_rounds(rounds: list[dict[str, float]], name: str, unit: str, ratio_to: str, remark: str = "") -> Row:
    """Makes one row: rounds are measured in alternation, so that a noisy machine's noise cancels in the ratios."""
    value = statistics.median(values[name] for values in rounds)
    ratio = statistics.median(values[name] / values[ratio_to] for values in rounds)
    return Row(name, value, unit, ratio, ratio_to, remark)


def rows_of_rounds(rounds: list[dict[str, float]], unit: str, ratio_to: str, remarks: dict[str, str]) -> list[Row]:
    """Makes a row of everything that was measured, all in one unit and compared with one row."""
    return [row_of_rounds(rounds, name, unit, ratio_to, remarks.get(name, "")) for name in rounds[0]]


def parser(description: str) -> argparse.ArgumentParser:
    """The options of every benchmark."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--quick", action="store_true", help="fewer and shorter rounds: under a minute")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE")
    made.add_argument("--blender", help="blender executable, or Python that has bpy (default: found by itself)")
    return made


def show(title: str, rows: list[Row], file: Path | None) -> None:
    """Prints the rows, and writes them where a file is given."""
    table = Table(title=f"{title}; {os.cpu_count()} cores")
    for heading in ("row", "value", "ratio", "to"):
        table.add_column(heading, no_wrap=True)
    table.add_column("what limits it")
    for row in rows:
        table.add_row(row.name, f"{row.value:.4g} {row.unit}", f"{row.ratio:.3f}", row.ratio_to, row.remark)
    console = Console()
    if not console.is_terminal:  # a log has room
        console.width = 140
    console.print(table)
    if file is not None:
        write(rows, file)


def write(rows: list[Row], file: Path) -> None:
    """Writes the rows as JSON."""
    fields = ("name", "value", "unit", "ratio", "ratio_to")
    file.write_text(json.dumps([{key: asdict(row)[key] for key in fields} for row in rows], indent=2))
