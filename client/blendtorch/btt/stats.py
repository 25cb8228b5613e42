"""What became of the samples, and who waited for whom."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..wire.source import Source


@dataclass(frozen=True)
class InstanceStats:
    """The account of one instance.

    Attributes:
        received: Samples that came.
        lost: Samples that did not come although later ones did. (Those that other receivers have taken are not lost; where
            samples come by message that is not known, and they are counted here.)
        duplicated: Samples that came again, and were dropped.
        refused: Messages and samples that were malformed, and were dropped.
        queued: Samples that wait to be taken, now.
        epoch: How often the instance was restarted.
        blender_waited_s: Seconds that this instance has waited for receivers, since it was started last.
    """

    received: int = 0
    lost: int = 0
    duplicated: int = 0
    refused: int = 0
    queued: int = 0
    epoch: int = 0
    blender_waited_s: float = 0.0

    @classmethod
    def of(cls, source: Source) -> "InstanceStats":
        """The account as it is now."""
        return cls(
            source.received,
            source.lost,
            source.duplicated,
            source.refused,
            source.queued,
            source.epoch,
            source.waited_s,
        )


@dataclass(frozen=True)
class StreamStats:
    """The account of a stream. `str` of it is one line, for a progress bar.

    Attributes:
        instances: For each instance, in the order of the addresses.
        trainer_waited_s: Seconds that the trainer has waited for batches, until now.
        batches_ready: Batches that wait for the trainer, now.
        dropped: Samples that came and are in no batch that was delivered: the loader was closed, a transform has failed,
            or a last batch was not full (`drop_last`).
    """

    instances: tuple[InstanceStats, ...]
    trainer_waited_s: float
    batches_ready: int
    dropped: int

    @classmethod
    def of(cls, sources: Sequence[Source], trainer_waited_s: float, batches_ready: int, dropped: int) -> "StreamStats":
        """The account as it is now."""
        return cls(tuple(map(InstanceStats.of, sources)), trainer_waited_s, batches_ready, dropped)

    @property
    def received(self) -> int:
        """Samples that came, of all instances."""
        return sum(instance.received for instance in self.instances)

    @property
    def lost(self) -> int:
        """Samples that did not come, of all instances."""
        return sum(instance.lost for instance in self.instances)

    @property
    def duplicated(self) -> int:
        """Samples that came again, of all instances."""
        return sum(instance.duplicated for instance in self.instances)

    @property
    def refused(self) -> int:
        """Messages and samples that were refused, of all instances."""
        return sum(instance.refused for instance in self.instances)

    @property
    def queued(self) -> int:
        """Samples that wait to be taken, of all instances."""
        return sum(instance.queued for instance in self.instances)

    @property
    def restarts(self) -> int:
        """How often instances were restarted."""
        return sum(instance.epoch for instance in self.instances)

    @property
    def blender_waited_s(self) -> float:
        """Seconds that the instances have waited for receivers, on average."""
        return sum(instance.blender_waited_s for instance in self.instances) / max(1, len(self.instances))

    def __str__(self) -> str:
        return (
            f"{self.received} received, {self.lost} lost, {self.duplicated} duplicated, {self.refused} refused, "
            f"{self.restarts} restarts; waited: trainer {self.trainer_waited_s:.1f} s, Blender "
            f"{self.blender_waited_s:.1f} s; queued: {self.queued} samples, {self.batches_ready} batches"
        )
