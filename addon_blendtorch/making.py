"""The window's samples on their way from the scene to the hub, and of which indices and settings they are."""

from collections.abc import Callable

from blendtorch.btb.setup import SceneSetup
from blendtorch.errors import SceneError
from blendtorch.hub import SampleHub

from .producer import Producer, Share


class Making:
    """Holds what makes samples and what takes them; both are there only while something needs them.

    Args:
        on_problem: Called with the scene's `session_uid` and the error of a randomizer that has failed and is set to be
            skipped.

    Attributes:
        hub: Gives samples to clients and to the recording.
        producer: Makes the window's samples.
        is_recording: Whether a recording runs.
        may_lack: Whether workers have left some of the indices that were theirs.
    """

    def __init__(self, on_problem: Callable[[int, Exception], None]) -> None:
        self.hub: SampleHub | None = None
        self.producer: Producer | None = None
        self.is_recording = self.may_lack = False
        self._on_problem = on_problem
        self._share = Share()

    @property
    def share(self) -> Share:
        """Which indices the window makes; another one counts from the next index on."""
        return self._share

    @share.setter
    def share(self, share: Share) -> None:
        self._share = share
        if self.producer is not None:
            self.producer.share = share

    @property
    def first_to_share(self) -> int:
        """The first index that neither the window nor workers have begun."""
        return max(self.next_index, self.hub.stats().next_index if self.hub is not None else 0)

    def share_with(self, num_workers: int, first: int) -> None:
        """Of the indices from `first` on the window makes one of each `num_workers` + 1; the others are for workers."""
        self.share = Share(0, num_workers + 1, first)

    @property
    def is_shared(self) -> bool:
        """Whether others make a part of the indices."""
        return self._share.count > 1

    @property
    def keeps_settings(self) -> bool:
        """Whether samples are made by the settings of before: a recording is of one setup, and so is what workers make."""
        return self.is_recording or self.is_shared

    @property
    def next_index(self) -> int:
        """The first index that the window has not begun."""
        return self._share.first if self.producer is None else self.producer.next_index

    def check_scene(self, uid: int) -> None:
        """Raises SceneError when samples of another scene are being made."""
        if self.producer is not None and self.producer.scene_uid != uid:
            raise SceneError("samples of another scene are being made. Stop that first (Esc).")

    def check_same(self, setup: SceneSetup) -> None:
        """Raises SceneError when what runs keeps to other settings than these."""
        if self.producer is None or not self.keeps_settings or not self.producer.is_other(setup):
            return
        who = "recording" if self.is_recording else "workers"
        raise SceneError(
            f"the settings were changed since the {who} began, and what runs goes by those of then. Stop the {who} first, "
            "or undo the changes."
        )

    def begin(self, setup: SceneSetup, uid: int) -> None:
        """Makes samples of a scene; those that are being made already by these settings from now on, if they may change.

        What was made by others and nobody has taken is dropped, and made anew.

        Raises:
            SceneError: The scene lacks what is asked of it.
        """
        if self.producer is None:
            self.producer = Producer(setup, uid, self._share, lambda _, error: self._on_problem(uid, error))
            return
        if self.keeps_settings:
            return
        self.producer.follow(setup)
        self.producer.take_over()
        if self.producer.changed_lately and self.hub is not None:
            self.hub.discard()
            self.producer.begin_at(self.hub.stats().next_index)

    def require_hub(self) -> SampleHub:
        """The hub, made if there is none."""
        if self.hub is None:
            self.hub = SampleHub()
        return self.hub

    def make(self, turn_s: float) -> int:
        """Makes samples as long as they are wanted, for about `turn_s` seconds; see `Producer.make`."""
        return self.producer.make(self.hub, turn_s) if self.producer is not None and self.hub is not None else 0

    def put_back(self) -> None:
        """Puts the scene back as the user has it; the samples that are due are made all the same."""
        if self.producer is not None:
            self.producer.put_back()

    def invalidate(self) -> None:
        """Blender's data was replaced."""
        if self.producer is not None:
            self.producer.invalidate()

    def end(self) -> None:
        """Makes no more samples, and puts the scene back."""
        producer, self.producer = self.producer, None
        if producer is not None:
            self._share, self.may_lack = Share(), False
            producer.close()

    def close_hub(self, timeout_s: float) -> None:
        """Ends the hub, see `SampleHub.close`."""
        hub, self.hub = self.hub, None
        if hub is not None:
            hub.close(timeout_s)
