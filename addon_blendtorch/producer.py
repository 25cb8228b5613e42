"""Makes the window's share of the samples, one at a time, and can put the scene back in between."""

import math
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from blendtorch.btb import setup as btb_setup
from blendtorch.btb.setup import SceneSetup
from blendtorch.btb.setup.check import find_errors
from blendtorch.btb.setup.episode import Episode
from blendtorch.errors import RandomizeError, SceneError
from blendtorch.hub import SampleHub

from . import applied
from .scenes import scene_context

OnProblem = Callable[[int, Exception], None]
_LATELY = 8  # more than wait in the hub to be sent and recorded


@dataclass(frozen=True)
class Share:
    """Which indices are made here: those from `first` on that leave the remainder `number` when divided by `count`."""

    number: int = 0
    count: int = 1
    first: int = 0

    def __post_init__(self) -> None:
        if not (self.count >= 1 and 0 <= self.number < self.count and self.first >= 0):
            raise ValueError(f"{self} is no share, expected count >= 1, 0 <= number < count and first >= 0")

    def index_from(self, index: int) -> int:
        """The least index of the share that is not below `index`."""
        start = max(index, self.first)
        return start + (self.number - start) % self.count


class Producer:
    """The samples of a scene, from the first index of its share on.

    Args:
        setup: What is set up for the scene.
        scene_uid: The scene's `session_uid`.
        share: Which indices; may be set to another one, which counts from the next index on.
        on_problem: Called with the number of a randomizer that has failed and is set to be skipped, and the error.

    Attributes:
        scene_uid: The same.
        share: The same.
        next_index: The first index that is not begun yet.

    Raises:
        SceneError: The scene was removed, or lacks what is asked of it.
    """

    def __init__(
        self, setup: SceneSetup, scene_uid: int, share: Share = Share(), on_problem: OnProblem | None = None
    ) -> None:
        self.share = share
        self.next_index = share.first
        self.scene_uid = scene_uid
        self._sample_s = 0.0  # what a sample has lately taken
        self._on_problem = on_problem
        self._setup = setup
        self._due: SceneSetup | None = None
        self._made_by: deque[SceneSetup] = deque(maxlen=_LATELY)
        self._index = self._count = 0  # the one that is underway, and how many samples of it are made
        self._samples: Generator[dict[str, Any], None, None] | None = None
        self._maker: btb_setup.SampleMaker | None = None
        self._marked: Episode | None = None  # the last episode that there was a mark for
        self._token = ""
        self._check(setup)

    @property
    def setup(self) -> SceneSetup:
        """What the samples are made by, from the next index on."""
        return self._due or self._setup

    @property
    def is_over(self) -> bool:
        """Whether all indices of the share are made."""
        return self._samples is None and self.share.index_from(self.next_index) >= (
            self.setup.output.episodes or math.inf
        )

    def begin_at(self, index: int) -> None:
        """Goes on with this index, or the first of the share after it; one that is underway is given up."""
        self.close()
        self.next_index = self.share.index_from(index)

    def is_other(self, setup: SceneSetup) -> bool:
        """Whether samples by these settings would be others."""
        return what_is_made(setup) != what_is_made(self.setup)

    def follow(self, setup: SceneSetup) -> bool:
        """Makes the samples by other settings, from the next index on.

        Returns:
            Whether they are others.

        Raises:
            SceneError: They do not serve; those before are kept.
        """
        if not self.is_other(setup):
            return False
        self._check(setup)
        self._due = setup
        return True

    def make(self, hub: SampleHub, turn_s: float) -> int:
        """Makes samples as long as they are wanted, for about `turn_s` seconds; at least one if one is wanted.

        Returns:
            How many samples were made.

        Raises:
            SceneError: As `next`. Of a hook, anything.
            ConfigError: A hook has added a field whose name is taken.
        """
        started = time.monotonic()
        made = 0
        while not self.is_over and hub.wants_sample():
            began = time.monotonic()
            if made and began - started + self._sample_s > turn_s:
                break
            found = self.next()
            if found is None:
                self.put_back()
                break
            hub.put(*found)
            self._made_by.append(self._setup)
            made += 1
            took_s = time.monotonic() - began
            self._sample_s = took_s if not self._sample_s else 0.7 * self._sample_s + 0.3 * took_s
        return made

    def next(self) -> tuple[int, dict[str, Any]] | None:
        """Makes one sample.

        Returns:
            Its index and its fields; None when all episodes are over.

        Raises:
            SceneError: The scene was removed, or lacks what is asked of it; a randomizer or hook failed.
        """
        with scene_context(self.scene_uid) as scene:
            if self._samples is None:
                self.take_over()
                if self.is_over:
                    return None
                if self._maker is None:
                    self._maker = btb_setup.SampleMaker(self._setup, scene, on_problem=self._on_problem)
                self._index = self.share.index_from(self.next_index)
                self.next_index, self._count = self._index + 1, 0
                self._samples = self._maker.samples(self._index)
            try:
                fields = next(self._samples)
            except BaseException:
                self._samples = None  # it has put all back, and ended
                raise
            self._count += 1
            if self._count == self._maker.samples_per_index:  # nobody need ask for more to know that all are made
                self._samples.close()
                self._samples = None
            self._mark()
            return self._index, fields

    def put_back(self) -> None:
        """Puts the scene back as it was. The next call of `next` goes on with the sample that is due."""
        if self._maker is not None:
            with scene_context(self.scene_uid, missing_ok=True):
                try:
                    self._maker.put_back()
                finally:
                    applied.unmark()

    def invalidate(self) -> None:
        """To be called when Blender has replaced its data: after undo and redo."""
        if self._maker is not None:
            self._maker.invalidate()

    def close(self) -> None:
        """Puts the scene back as it was; an index that is underway is given up."""
        samples, self._samples = self._samples, None
        maker, self._maker = self._maker, None
        with scene_context(self.scene_uid, missing_ok=True):
            try:
                if samples is not None:
                    samples.close()
            finally:
                try:
                    if maker is not None:
                        maker.close()
                finally:
                    applied.unmark()

    def take_over(self) -> None:
        """Goes by the settings of `follow` from now on; an index that is underway is given up."""
        if self._due is not None:
            self.close()
            self._setup, self._due = self._due, None

    @property
    def changed_lately(self) -> bool:
        """Whether the last samples, which may still wait in the hub, were made by other settings."""
        return any(one is not self._setup for one in self._made_by)

    def _mark(self) -> None:
        """Marks that an episode is underway, if one is; see `applied`."""
        episode = None if self._maker is None else self._maker.episode
        if episode is None:
            applied.mark_nothing()
            return
        if episode is not self._marked:
            if self._marked is None or not episode.is_like(self._marked):
                self._token = applied.mark(partial(_leave, episode, self.scene_uid))
            self._marked = episode
        applied.mark_again(self._token)

    def _check(self, setup: SceneSetup) -> None:
        with scene_context(self.scene_uid) as scene:
            errors = find_errors(setup, scene)
        for error in errors:
            if isinstance(error, RandomizeError) and self._on_problem is not None:
                self._on_problem(error.number, error)
        if errors:
            raise SceneError("\n".join(map(str, errors)))


def _leave(episode: Episode, scene_uid: int) -> None:
    with scene_context(scene_uid, missing_ok=True) as scene:
        episode.leave(scene)


def what_is_made(setup: SceneSetup) -> tuple[object, ...]:
    """The part of a setup that samples depend on; the order of labels, which scripts may choose, is of no account."""
    return setup.seed, replace(setup.output, labels=tuple(sorted(setup.output.labels))), setup.randomizers
