"""A receiver's end of the sample channels of several instances."""

import time
from collections.abc import Sequence
from functools import partial
from typing import Literal

from ..errors import PeerTimeout
from .curve import CurveKeys
from .group import Group
from .pause import Pause, Waiter
from .sockets import DEFAULT_QUEUE_SIZE, wait_for_any
from .source import Source

Order = Literal["arrival", "index"]

_LISTEN_EVERY_S = 10e-3
_SAY_READY_EVERY_S = 0.5


class SampleReceiver:
    """Takes samples from instances, each exactly once. Not thread-safe; not to be shared across a fork.

    Args:
        addresses: What to connect to.
        queue_size: How many samples of each instance may wait here that come by message.
        order: "arrival" takes from the instances in turn what is there; "index" by index, waiting for the instance whose
            turn it is.
        batch, keeps: See `Source`.
        allow_pickle: Whether pickled fields are loaded.
        owed: For each address where the stream goes on: seq, index and done of the next sample. None begins with what
            comes.
        streams: The names of the streams that `owed` is about; None for whichever are there.
        curve: The keys of the launch, where it has some.

    Raises:
        AddressError: An address is malformed.

    Attributes:
        sources: The instances.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        queue_size: int = DEFAULT_QUEUE_SIZE,
        order: Order = "arrival",
        batch: int = 0,
        keeps: bool = False,
        allow_pickle: bool = False,
        owed: Sequence[tuple[int, int, int]] | None = None,
        streams: Sequence[str] | None = None,
        curve: CurveKeys | None = None,
    ) -> None:
        self._addresses = list(addresses)
        self._by_index = order == "index" and len(self._addresses) > 1
        self._make_source = partial(
            Source, window=queue_size, batch=batch, keeps=keeps, allow_pickle=allow_pickle, curve=curve
        )
        self.sources = [
            self._make_source(i, address, owed=owed[i] if owed else (0, 0, 0), stream=streams[i] if streams else "")
            for i, address in enumerate(self._addresses)
        ]
        self._waiter = Waiter()
        self._turn = 0
        self._listen_at = self._say_ready_at = 0.0

    @property
    def ended(self) -> bool:
        """Whether all scripts have ended and all samples were taken."""
        return all(source.ended for source in self.sources)

    def receive(self, most: int, timeout_s: float | None = None) -> Group | None:
        """Takes the next samples.

        Args:
            most: At most so many.
            timeout_s: How long to wait for one; None for ever.

        Returns:
            Samples of one instance; None when all streams have ended.

        Raises:
            PeerTimeout: None came in time.
            ScriptError: A script has failed; all samples of its instance were taken before.
            ProtocolVersionError: An instance speaks another version of the protocol.
            PickleNotAllowedError: A sample holds a pickle that is not allowed.
        """
        pause = None
        while True:
            now = time.monotonic()
            if now >= self._listen_at:
                self._listen(now)
            group = self._take_in_order(most) if self._by_index else self._take_in_turn(most)
            if group is not None:
                if pause is not None:
                    self._waiter.end(pause)
                return group
            if self.ended:
                return None
            if pause is None:
                pause = self._waiter.begin()
            elif timeout_s is not None and pause.waited_s > timeout_s:
                raise PeerTimeout(f"no sample came from {', '.join(self._addresses)} for {timeout_s:g} s.")
            self._rest(pause)

    def take(self, most: int) -> Group | None:
        """Takes samples that are there, in turn; None when there are none. Never waits; to be called again and again.

        Raises:
            ScriptError, ProtocolVersionError, PickleNotAllowedError: As `receive`.
        """
        now = time.monotonic()
        if now >= self._listen_at:
            self._listen(now)
        return self._take_in_turn(most)

    def close(self) -> None:
        """Says farewell to all instances; what was not taken goes to other receivers."""
        for source in self.sources:
            source.close()

    def _rest(self, pause: Pause) -> None:
        if any(source.reads_ring for source in self.sources):
            pause.sleep()
        else:
            # Not for those that wait for others, when samples come by index, and have their queues full.
            wait_for_any([source.socket for source in self.sources if source.hears], 0.05)
            self._listen_at = 0.0

    def _listen(self, now: float) -> None:
        if now >= self._say_ready_at:
            self._say_ready_at = now + _SAY_READY_EVERY_S
            for source in self.sources:
                source.say_ready()
        for source in self.sources:
            source.listen()
        over = [source.over for source in self.sources]
        if self._by_index and any(over):
            # All begin the next launch together, or their indices could not be compared.
            over = [all(source.over or source.ended for source in self.sources)] * len(over)
        for i, source in enumerate(self.sources):
            if over[i]:  # another launch has taken the place of the one before
                self.sources[i] = self._make_source(i, source.address, before=source)
                source.close()
                self.sources[i].say_ready()
        self._listen_at = now + _LISTEN_EVERY_S

    def _take_in_turn(self, most: int) -> Group | None:
        for i in range(len(self.sources)):
            source = self.sources[(self._turn + i) % len(self.sources)]
            group = source.take(most)
            if group is not None:
                self._turn = (self._turn + i + 1) % len(self.sources)
                return group
        return None

    def _take_in_order(self, most: int) -> Group | None:
        """Takes from the instance whose next sample has the lowest index, once all have one or have ended."""
        heads = []
        for i, source in enumerate(self.sources):
            head = source.peek()
            if head is not None:
                heads.append((head[0], i))
            elif not (source.ended or source.over):
                return None
        if not heads:
            return None
        heads.sort()
        below = (heads[1][0], heads[0][1] < heads[1][1]) if len(heads) > 1 else None
        return self.sources[heads[0][1]].take(most, below)
