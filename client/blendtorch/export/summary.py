"""`ExportSummary`: what an export has written, and what it has left out."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class ExportSummary:
    """What an export has written, and what it has left out and why. `print` shows it.

    Attributes:
        format: Name of the format, such as "COCO".
        folder: Where it is, a folder or a file.
        written: What was written to how many: {"images, train": 90, "annotations, train": 412, ...}.
        left_out: Why to how many: {"instances without visible pixels": 12, ...}.
        problems: What the user should know, one sentence each; each once.
    """

    format: str
    folder: Path
    written: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    MAX_PROBLEMS = 20  # no annotation: a constant, no field

    def count(self, what: str, number: int = 1) -> None:
        """Count what was written; 0 makes the entry be there."""
        self.written[what] = self.written.get(what, 0) + number

    def leave_out(self, why: str, number: int = 1) -> None:
        """Count what was left out. 0 counts as nothing."""
        if number:
            self.left_out[why] = self.left_out.get(why, 0) + number

    def problem(self, text: str) -> None:
        """Note what the user should know. The same is noted once, and only the first 20 of all."""
        if text not in self.problems and len(self.problems) < self.MAX_PROBLEMS:
            self.problems.append(text)

    def __str__(self) -> str:
        """Several lines: the folder, what was written, what was left out, the problems."""
        lines = [f"{self.format} in {self.folder}"]
        lines += [f"  {number:,} {what}" for what, number in self.written.items()]
        lines += [f"  left out: {number:,} {why}" for why, number in self.left_out.items()]
        return "\n".join(lines + [f"  note: {text}" for text in self.problems])
