"""Whether the labels of a sample contradict each other: `check_labels`, and `LabelChecker` for streams of samples."""

from .checker import LabelChecker
from .labels import Tolerances, check_labels

__all__ = ["LabelChecker", "Tolerances", "check_labels"]
