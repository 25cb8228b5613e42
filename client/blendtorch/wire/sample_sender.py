"""The instance's end of a sample channel: each sample goes to exactly one receiver, by shared memory or by message.

`docs/protocol.md`, section 6, tells the conversation with the receivers.
"""

import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, EncodeError, PeerTimeout, ProtocolError
from .body import MAX_JSON_INT, Buffer
from .codec import encode
from .curve import CurveKeys
from .launch_args import DEFAULT_SHM_BYTES
from .ledger import Ledger, Position
from .message import Kind, Message
from .pause import Pause, Waiter
from .receivers import Ready, Receiver
from .recycled_memory import RecycledMemory
from .refusals import log_refusal
from .ring_chain import RingChain
from .roster import Roster
from .sockets import DEFAULT_QUEUE_SIZE, RouterSocket

log = logging.getLogger(__name__)

# How often receivers are heard while there is no need to; the others are looked after less often.
_LISTEN_EVERY_S = 1e-3
_LOOK_AFTER_EVERY_S = 0.5
_TURN_S = 0.05  # how long one waits for receivers to say something before looking whether they are still there
_FAREWELL_S = 1.0
_STAY_S = 1.0  # how long receivers wait at the end for what others do not take
_SILENCE_S = 5.0  # after which a receiver that has nothing to confirm is looked after, too
_MOST_AT_ONCE = 1000  # messages that are heard before samples are sent again
_REUNION_S = 3.0
_MOST_HAD = 100_000


class SampleSender:
    """Sends the samples of one instance. Not thread-safe.

    Args:
        address: What to bind.
        btid: Id of the instance.
        num_instances: How many instances share the stream: sample number n of this one has the index
            `btid + n * num_instances` unless `publish` is told another.
        epoch: How often the instance was restarted.
        queue_size: How many samples may wait, in shared memory or on their way to each receiver, before `publish` blocks.
        shm_bytes: How many bytes of shared memory the samples may take; 0 for none.
        folder: Where the ring and the ledger lie, of this launch alone: a successor of this process finds them there. None
            makes a folder that goes with this process.
        name: Name of the channel, for its files.
        allow_pickle: Whether fields that the protocol has no type for are pickled.
        curve: The keys of the launch: receivers must have them. An address that other machines reach needs them.

    Raises:
        AddressError: The address is in use, malformed, or not of this machine.
        ConfigError: The address needs keys, or an argument is out of range.

    Attributes:
        resumed: Where a predecessor had come to, or the receiver wants to go on from.
        waited_s: How many seconds `publish` has waited for receivers.
        refused: How many messages of receivers were not understood.
    """

    def __init__(
        self,
        address: str,
        btid: int | None = None,
        *,
        num_instances: int = 1,
        epoch: int = 0,
        queue_size: int = DEFAULT_QUEUE_SIZE,
        shm_bytes: int = DEFAULT_SHM_BYTES,
        folder: Path | None = None,
        name: str = "DATA",
        allow_pickle: bool = False,
        curve: CurveKeys | None = None,
    ) -> None:
        if queue_size < 1:
            raise ConfigError(f"queue_size is {queue_size}, expected at least 1 (send_hwm likewise).")
        self._btid = btid
        self._num_instances = num_instances
        self._epoch = epoch
        self._allow_pickle = allow_pickle
        self._router = RouterSocket(address, curve)
        self._rings = RingChain(folder, f"{name}-{btid}", shm_bytes, queue_size, self._note)
        self._ledger = Ledger(None if folder is None else folder / f"{name}-{btid}.ledger")
        self._roster = Roster(self._router, queue_size)
        # A successor in the same folder goes on with this stream; any other process begins another one.
        self._stream = secrets.token_hex(8) if folder is None else folder.name
        self._last_by_ring = False
        self._listen_at = self._look_after_at = 0.0
        self._parting: Message | None = None
        self._waiter = Waiter()
        self._memory = RecycledMemory(most=2 * queue_size)
        self._told_of_other_layout = False
        self.waited_s = 0.0
        self.refused = 0
        made = max(self._ledger.made, self._rings.made or Position())
        self.resumed = min(made, self._ledger.owed) if self._ledger.owed.seq < self._ledger.made.seq else made
        self._next = self.resumed
        self._awaited = self._ledger.receivers if self.resumed < made else 0
        # What receivers have, from `resumed` on.
        self._had = {seq for seq in self._ledger.had if self.resumed.seq <= seq < made.seq}
        if self._rings.made and self.resumed < made:  # and what is in the rings
            self._had.update(seq for seq in range(self._ledger.made.seq, made.seq))
        self._last = Position(0, -1)  # of the sample with an index that was published last, or passed over

    @property
    def address(self) -> str:
        """The address that is bound."""
        return self._router.address

    @property
    def made(self) -> int:
        """How many samples of this instance's stream are made, those of its predecessors included."""
        return self._next.seq

    @property
    def receivers(self) -> int:
        """How many receivers are there, as of when they were heard last."""
        return len(self._roster.there)

    @property
    def waiting(self) -> int:
        """How many samples wait for receivers, or are on their way to them."""
        return self._rings.waiting + len(self._roster.on_their_way())

    def publish(
        self,
        fields: Mapping[str, Any],
        index: int | None = None,
        timeout_s: float | None = None,
        *,
        done: int | None = None,
    ) -> bool:
        """Sends one sample, waiting while no receiver is there or has room.

        What was delivered already, before a restart, is passed over: samples of an index count from 0 anew each time that
        the index changes. Not so where `done` tells: then indices come in any order, and nothing follows from a low one.

        Args:
            fields: The sample.
            index: The index that it belongs to; None for the next one of this instance.
            timeout_s: How long to wait; None for ever.
            done: How many samples of the index come before it; None counts those that were published since another index.
                Receivers that read no ring count themselves.

        Returns:
            Whether it was sent, and not passed over.

        Raises:
            PickleNotAllowedError, EncodeError: A field cannot be sent; names it.
            PeerTimeout: No receiver took it in time.
        """
        if time.monotonic() >= self._listen_at:
            self.service()
        if not self._roster.there:
            # Who may want the stream from another place on.
            self._wait(lambda: bool(self._roster.there), timeout_s)
        if self._awaited:
            self._wait_for_those_of_before()
        position = self._place(index, done)
        if index is not None and done is None and position[1:] < self.resumed[1:]:
            is_sent = False  # it was delivered before the restart
        else:
            is_sent = not (self._had and position.seq in self._had)
            if not is_sent:
                self._had.discard(position.seq)
            elif not self._deliver(position, fields):
                self._wait(lambda: self._deliver(position, fields), timeout_s)
            self._next = position.after()
        if index is not None:
            self._last = position
        return is_sent

    def ready(self) -> bool:
        """Whether `publish` would not wait."""
        self.service(at_once=True)
        return self._roster.taker() is not None or (self._roster.wants_ring and self._rings.has_room())

    def reserve(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Memory to make the next sample's field in, which `publish` then need not copy.

        Returns:
            An array with arbitrary content: the field's place in shared memory where there is one free, else any.
        """
        place = self._rings.place(name) if self._roster.wants_ring else None
        array = np.empty(shape, dtype)  # takes no memory until it is written to
        if place is None:
            return array
        if (place.shape, place.dtype) == (array.shape, array.dtype):
            return place
        if not self._told_of_other_layout:
            self._told_of_other_layout = True
            log.warning(
                "reserve(%r) asks for %s %s, but the field's place in shared memory is %s %s, as first published: what is "
                "drawn will be copied. Said once for %s.",
                name,
                array.dtype,
                array.shape,
                place.dtype,
                place.shape,
                self.address,
            )
        return array

    def fail(self, body: dict[str, str], duration_s: float) -> None:
        """Tells all receivers, and those who come within `duration_s` seconds, that nothing will follow."""
        self._part(Kind.ERROR, body, duration_s)

    def close(self, linger_s: float, ended: bool = True) -> None:
        """Closes the channel.

        Args:
            linger_s: How long receivers may take to fetch what is waiting.
            ended: Whether the stream has ended. Otherwise a successor goes on with it, and receivers wait for it.
        """
        if ended and self._parting is None:
            # What is on its way to one receiver may go to another yet: they stay until it is final. Not for long, though:
            # a `DataLoader` asks its workers in turn, and those that have samples would wait for those that have none.
            started = time.monotonic()
            self._part(Kind.END, {"made": self._next.seq, "final": False}, min(linger_s, _STAY_S))
            left_s = max(0.0, linger_s - (time.monotonic() - started))
            self._part(Kind.END, {"made": self._next.seq, "final": True}, left_s)
        self._note()
        self._rings.close()
        self._ledger.close()
        self._router.close(_FAREWELL_S)

    def service(self, at_once: bool = False, timeout_s: float = 0) -> None:
        """Hears what receivers say; `publish` and `ready` do it, too."""
        now = time.monotonic()
        if now < self._listen_at and not at_once and not timeout_s:
            return
        for _ in range(_MOST_AT_ONCE):  # a peer may send without end
            try:
                heard = self._router.recv(timeout_s)
                if heard is None:
                    break
                self._hear(heard[0], Ready.of(heard[1]))
            except ProtocolError as error:
                self.refused += 1
                log_refusal(log, self.address, error, self.refused)
            timeout_s = 0
        self._listen_at = now + _LISTEN_EVERY_S
        self._roster.resend()
        if now >= self._look_after_at:
            self._look_after_at = now + _LOOK_AFTER_EVERY_S
            self._rings.tidy()
            for name in [name for name, receiver in self._roster.there.items() if not self._is_there(receiver)]:
                self._roster.leave(name)

    def _place(self, index: int | None, done: int | None) -> Position:
        """Where in the stream the sample is that the script has made."""
        if index is None:
            return Position(self._next.seq, (self._btid or 0) + self._next.seq * self._num_instances)
        if not 0 <= index <= MAX_JSON_INT:
            raise EncodeError(f"the sample's index is {index}, expected 0 .. 2**53.")
        if done is None:
            done = self._last.done + 1 if index == self._last.index else 0
        return Position(self._next.seq, index, done)

    def _wait_for_those_of_before(self) -> None:
        """Lets all receivers of a predecessor say what they have, so that no other gets it again."""
        # What they have said before they have heard of this instance may be less than they have by now.
        with contextlib.suppress(PeerTimeout):
            there = self._roster.there.values
            self._wait(
                lambda: sum(one.has_got and one.epoch == self._epoch for one in there()) >= self._awaited, _REUNION_S
            )
        self._awaited = 0

    def _wait(self, done: Callable[[], bool], timeout_s: float | None) -> None:
        pause = self._waiter.begin()
        try:
            while True:
                if self._roster.wants_ring:
                    pause.sleep()
                    self.service()
                else:
                    self.service(timeout_s=_TURN_S if timeout_s is None else min(_TURN_S, timeout_s))
                if done():
                    return
                if timeout_s is not None and pause.waited_s > timeout_s:
                    raise PeerTimeout(
                        f"nobody took a sample at {self.address} for {timeout_s} s. "
                        "Is the receiver running, connected to this address, and reading?"
                    )
        finally:
            self._waiter.end(pause)
            self.waited_s += pause.waited_s
            self._rings.note_waited(self.waited_s)

    # Delivery

    def _deliver(self, position: Position, fields: Mapping[str, Any]) -> bool:
        """Gives the sample to a receiver, if one has room; by ring and by message in turn, where there are both."""
        if not self._roster.takers:  # by far the most frequent case: all receivers read the ring
            return self._write(position, fields)
        ways = [self._send, self._write] if self._last_by_ring else [self._write, self._send]
        for way in ways:
            if way(position, fields):
                self._last_by_ring = way == self._write
                return True
        return False

    def _write(self, position: Position, fields: Mapping[str, Any]) -> bool:
        if not self._roster.wants_ring:
            return False
        written = self._rings.write(position, fields, self._epoch, self._allow_pickle)
        if self._rings.changed:
            for receiver in self._roster.there.values():
                self._welcome(receiver)
        elif not self._rings.possible:
            self._roster.sort(False)
        return written

    def _send(self, position: Position, fields: Mapping[str, Any]) -> bool:
        name = self._roster.taker()
        if name is None:
            return False
        message = Message(
            Kind.SAMPLE,
            dict(fields),
            self._btid,
            self._epoch,
            position.seq,
            index=position.index,
            time_us=time.time_ns() // 1000,
            waited_us=round(self.waited_s * 1e6),
        )
        frames = encode(message, allow_pickle=self._allow_pickle)
        # Kept until they are confirmed: what the script can still write to has to be copied.
        kept = [self._kept(i, frame) for i, frame in enumerate(frames)]
        self._roster.give(name, position, kept)
        self._note(position.after())
        return True

    def _kept(self, i: int, frame: Buffer) -> Buffer:
        if isinstance(frame, bytes) or frame.readonly:
            return frame
        block = self._memory.take(i, frame.nbytes)
        block[:] = np.frombuffer(frame, np.uint8)
        return block.data

    def _note(self, made: Position | None = None) -> None:
        made = made or self._next
        got = sum(receiver.has_got for receiver in self._roster.there.values())
        self._ledger.note(made, self._roster.on_their_way(), got)

    # Receivers

    def _hear(self, peer: bytes, ready: Ready) -> None:
        if ready.stream not in ("", self._stream):  # of another launch, before this one, at the same address
            ready = replace(ready, taken=-1, have=(), owed=(0, 0, 0))
        self._roster.has(ready.have)
        if ready.window == 0:
            self._roster.farewell(ready.receiver, ready.taken)
            return
        receiver = self._roster.there.get(ready.receiver)
        # Of those who read no ring, only the first word is a question.
        asks = receiver is None or receiver.peer != peer or receiver.ring
        if receiver is None:
            if not self._roster.there and ready.owed > (self.resumed.seq, self.resumed.index, self.resumed.done):
                self.resumed = Position(*ready.owed)
                self._next = max(self._next, self.resumed)
            receiver = self._roster.join(ready.receiver, peer)
            self._rings.ask(ready.batch, ready.keeps)
        if self._epoch > 0 and len(self._had) < _MOST_HAD:
            self._had.update(seq for seq in ready.have if seq >= self._next.seq)
        receiver.heard_at, receiver.epoch = time.monotonic(), ready.epoch
        receiver.has_got = receiver.has_got or bool(ready.have)
        receiver.confirm(ready.taken)
        if receiver.peer != peer:
            self._roster.reconnect(receiver, peer)
        receiver.window = ready.window
        receiver.ring = bool(ready.host) and ready.host == self._rings.host
        self._roster.sort(self._rings.possible)
        if asks or receiver.ring:
            self._welcome(receiver, ready.ring)
        if self._parting is not None:
            self._router.send(peer, encode(self._parting))

    def _welcome(self, receiver: Receiver, reads: str | None = None) -> None:
        """Tells a receiver that it is known, and which ring to read if it reads none.

        Args:
            receiver: The receiver.
            reads: Which ring it has said that it reads; None when it has not been asked.
        """
        body: dict[str, Any] = {"stream": self._stream, "reads": reads}
        ring = self._rings.to_read() if receiver.ring and not self._rings.has(reads or "") else None
        if ring is not None:
            body |= {"path": str(ring.path), "token": ring.token}
        waiting = self._rings.first
        first = self._next.seq if waiting is None else waiting
        self._router.send(receiver.peer, encode(Message(Kind.WELCOME, body, self._btid, self._epoch, first)))

    def _is_there(self, receiver: Receiver) -> bool:
        if not receiver.unconfirmed and time.monotonic() < receiver.heard_at + _SILENCE_S:
            return True
        body = {"stream": self._stream, "reads": None}
        probe = Message(Kind.WELCOME, body, self._btid, self._epoch, self.made)
        return self._router.send(receiver.peer, encode(probe))

    def _part(self, kind: Kind, body: dict[str, Any], duration_s: float) -> None:
        """Says the last word, and waits until all is fetched, at most `duration_s` seconds."""
        self._parting = Message(kind, body, self._btid, self._epoch, self._next.seq)
        self._rings.retire()
        self._roster.parting = True
        self._roster.tell_all(self._parting)
        pause = Pause()
        while pause.waited_s < duration_s:
            self.service(timeout_s=0.01)
            if kind == Kind.END and not self._roster.unconfirmed and self._rings.drained:
                return
