"""Something that is done by and by, while no samples are made: the preview, an environment."""

from collections.abc import Callable
from typing import Protocol


class Job(Protocol):
    """What is done.

    Attributes:
        name: "preview" or "environment": what its errors are about.
        scene_uid: The `session_uid` of the scene that it is about.
        is_busy: Whether the next step is due at once.
    """

    name: str
    scene_uid: int

    @property
    def is_busy(self) -> bool: ...

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

    @property
    def name(self) -> str:
        """What the one that runs is; "" if none does."""
        return "" if self._job is None else self._job.name

    @property
    def is_busy(self) -> bool:
        """Whether one runs whose next step is due at once."""
        return self._job is not None and self._job.is_busy

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
