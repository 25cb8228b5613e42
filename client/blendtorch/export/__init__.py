"""Recordings as datasets of other tools: COCO, YOLO, HDF5, BOP, Rerun, video. One module a format.

Imports recordings, labels, numpy, errors and Pillow; what a format needs besides is imported when it is asked for.
"""

from .formats import FORMATS, export
from .splits import split_of
from .summary import ExportSummary

__all__ = ["FORMATS", "ExportSummary", "export", "split_of"]
