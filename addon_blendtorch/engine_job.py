"""Something that is done by and by, before samples are made again: the preview."""

from collections.abc import Callable
from typing import Protocol


class Job(Protocol):
    """What is done.

    Attributes:
        scene_uid: The `session_uid` of the scene that it is about.
    """

    scene_uid: int

    def step(self) -> bool:
        """Does a part of it; returns whether all is done."""

    def close(self) -> None:
        """Ends it, done or not."""


class Jobs:
    """The one that runs, if one does.

    Args:
        on_error: Called with the job and the error of a step, which ends it.
    """

    def __init__(self, on_error: Callable[[Job, BaseException], None]) -> None:
        self._job: Job | None = None
        self._on_error = on_error

    @property
    def running(self) -> bool:
        """Whether one runs."""
        return self._job is not None

    def start(self, job: Job) -> None:
        """Has it done by `step`."""
        self._job = job

    def step(self) -> bool:
        """Does a part of it; returns whether it is to be ended."""
        job = self._job
        if job is None:
            return False
        try:
            return job.step()
        except (Exception, SystemExit) as error:  # no hook ends Blender
            self._on_error(job, error)
            return True

    def end(self) -> None:
        """Ends it, done or not."""
        job, self._job = self._job, None
        if job is not None:
            job.close()
