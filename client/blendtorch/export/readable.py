"""`readable_samples`: the samples of a recording one by one, for exports that take all that there are."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ..errors import RecordingError
from .summary import ExportSummary

if TYPE_CHECKING:
    from ..recording import Recording

Progress = Callable[[int, int], None]
"""Called with how many samples are done, and how many there are."""

PASSED_OVER = "samples that the recording passed over (damaged, incomplete, or there twice)"
UNREADABLE = "samples that cannot be read"


def readable_samples(
    recording: "Recording", summary: ExportSummary, progress: Progress | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read a recording sample by sample. Nothing of one is kept when the next one is read.

    Args:
        recording: The recording.
        summary: Counts what cannot be read.
        progress: Is told after each sample, when the next one is asked for.

    Yields:
        Key and sample, in order; those that cannot be read are left out.
    """
    summary.leave_out(PASSED_OVER, recording.skipped)
    for text in recording.problems:
        summary.problem(text)
    for done, key in enumerate(recording.keys):
        try:
            sample = recording[done]
        except RecordingError as error:
            summary.leave_out(UNREADABLE)
            summary.problem(str(error))
        else:
            yield key, sample
        if progress is not None:
            progress(done + 1, len(recording))
