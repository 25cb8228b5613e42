"""A receiver's view of one instance: takes its samples from shared memory or from messages, and keeps their account."""

import errno
import logging
import secrets
from collections import deque
from collections.abc import Set
from typing import Any

import numpy as np

from ..errors import PickleNotAllowedError, ProtocolError, ProtocolVersionError, SharedMemoryError
from .curve import CurveKeys
from .group import Group
from .layout import Field, Layout
from .message import Kind, Message, script_error
from .receivers import BYTES_ON_THEIR_WAY, MAX_HAVE, MAX_TEXT, MAX_WINDOW, Ready, host_id, offered_ring
from .refusals import log_refusal
from .ring_stream import RingStream, is_sample
from .seq_account import SeqAccount
from .sockets import MessageSocket

log = logging.getLogger(__name__)

# Messages that may wait besides samples.
_ROOM_FOR_OTHERS = 16
_MOST_AT_ONCE = 1000  # messages that are heard before samples are taken again
_MAX_MISSING = 5  # times in a row that a ring was named which is not there


class Source:
    """The stream of one instance. Not thread-safe.

    Args:
        number: Which of a receiver's sources this is.
        address: What to connect to.
        window: How many samples may wait here that come by message.
        batch: How many samples are taken at a time that lie side by side; 0 for any number.
        keeps: Whether they are kept there as long as their user likes, where there is room.
        allow_pickle: Whether pickled fields are loaded.
        owed: seq, index and done of the first sample wanted.
        curve: The keys of the launch, where it has some.
        stream: The stream that `owed` is about; "" for whichever is there.
        before: The source that was here before, of another stream: its counts go on.

    Attributes:
        number, address: The same.
        account: What came of this stream.
        refused: How many messages and samples were refused.
        stream: The name of the stream, "" until it is known.
        btid: Id of the instance, once it is known.
        epoch: How often it was restarted, as far as it is known.
        ended: Whether its script has ended and all its samples were taken.
        waited_s: How many seconds the instance has waited for receivers.
    """

    def __init__(
        self,
        number: int,
        address: str,
        *,
        window: int,
        batch: int = 0,
        keeps: bool = False,
        allow_pickle: bool = False,
        owed: tuple[int, int, int] = (0, 0, 0),
        curve: CurveKeys | None = None,
        stream: str = "",
        before: "Source | None" = None,
    ) -> None:
        self.number = number
        self.address = address
        self.account = SeqAccount()
        self._before = (before.received, before.duplicated, before.lost) if before else (0, 0, 0)
        self.refused: int = before.refused if before else 0
        self.stream = stream
        self._is_another = False
        self.btid: int | None = None
        self.epoch = 0
        self.waited_s = 0.0
        self._owed = owed
        self._batch = batch
        self._keeps = keeps
        self._allow_pickle = allow_pickle
        self._window = window
        self._id = secrets.token_hex(8)
        self._host = host_id()
        self._socket = MessageSocket(
            "dealer",
            address,
            bind=False,
            queue_size=window + _ROOM_FOR_OTHERS,
            allow_pickle=allow_pickle,
            curve=curve,
        )
        self._inbox: deque[Message] = deque()
        # Of the last message: the fields, and those that stack.
        self._names: Set[str] = set()
        self._kinds: dict[str, Field] = {}
        self._ring: RingStream | None = None
        # As much as can be on its way, from a Blender with a longer queue than this one, too.
        self._most_waiting = min(MAX_HAVE, 2 * window + 64)
        self._have: deque[int] = deque(maxlen=self._most_waiting)  # by message, what was taken last
        self._unconfirmed = self._unconfirmed_bytes = 0
        self._parting: Message | None = None
        self._offered: dict[str, Any] = {}  # the ring to read after this one
        self._next_seq = 0  # the oldest sample that waited when it was offered
        self._settled = True  # whether the instance has answered the last question for another ring
        self._ring_end = 0
        self._rings_missing = 0
        self._closed = False
        self._index, self._done = owed[1], owed[2] - 1  # of the sample that was taken last by message

    @property
    def socket(self) -> MessageSocket:
        """What to wait for."""
        return self._socket

    @property
    def reads_ring(self) -> bool:
        """Whether samples come by shared memory, which nothing announces."""
        return self._ring is not None

    @property
    def queued(self) -> int:
        """How many samples wait to be taken."""
        ring = self._ring  # another thread may ask, while this one's lets go of it
        return len(self._inbox) + (ring.queued if ring else 0)

    @property
    def ended(self) -> bool:
        """Whether the script has ended, and nothing of it can be taken any more."""
        if self._parting is None or self._parting.kind != Kind.END or self.waiting():
            return False
        final = not isinstance(self._parting.body, dict) or self._parting.body.get("final") is not False
        made = self._made()
        if made is None:  # the launcher says so in the instance's place: nobody can name another ring
            return True
        return (final and self._settled) or max(self.account.end if final else 0, self._ring_end) >= made

    def _made(self) -> int | None:
        """How many samples there are in all, when the instance has said so."""
        made = self._parting.body.get("made") if self._parting and isinstance(self._parting.body, dict) else None
        return made if type(made) is int else None

    @property
    def received(self) -> int:
        """How many samples came."""
        return self._before[0] + self.account.received

    @property
    def duplicated(self) -> int:
        """How many samples came again; they were not delivered."""
        return self._before[1] + self.account.duplicated

    @property
    def lost(self) -> int:
        """How many samples did not come: of those before the last that came, or at the end of the stream of all."""
        return self._before[2] + self.account.lost_before(self._made() or 0 if self.ended else 0)

    def waiting(self) -> bool:
        """Whether a sample can be taken."""
        return bool(self._inbox) or (self._ring is not None and not self._ring.read_out)

    @property
    def hears(self) -> bool:
        """Whether `listen` takes what comes: not while as much waits to be taken as an instance may send."""
        return len(self._inbox) < self._most_waiting and not self._is_another

    @property
    def over(self) -> bool:
        """Whether another stream is at the address now, and everything of this one was taken."""
        return self._is_another and not self.waiting()

    def say_ready(self, whole: bool = True) -> None:
        """Tells the instance that this receiver is here, and what it has got; all that a successor has to know, or not."""
        self._unconfirmed = self._unconfirmed_bytes = 0
        self._tell(self._window, whole)

    def listen(self) -> None:
        """Hears what the instance says.

        Raises:
            ScriptError: The script has failed, and all its samples were taken.
            ProtocolVersionError: The instance speaks another version of the protocol.
            PickleNotAllowedError: A sample holds a pickle that is not allowed.
        """
        for _ in range(_MOST_AT_ONCE):  # a peer may send without end
            if not self.hears or not self._hear_next():
                break
        if self._ring is not None and not self.waiting() and (self._offered or self._ring.ring.closed):
            self._drop_ring()
            if not self._offered:
                self._settled = False
                self.say_ready()  # there may be another one
        if self._ring is None and self._offered:
            self._read_ring(self._offered)
        if self._parting is None or self._parting.kind != Kind.ERROR or self.waiting():
            return
        if self._settled or max(self.account.end, self._ring_end) >= self._parting.seq:
            raise script_error(self._parting)

    def peek(self) -> tuple[int, int] | None:
        """Index and number of the next sample; None when none waits."""
        try:
            if self._ring is not None and not self._message_is_next() and (head := self._ring.peek()) is not None:
                return head
        except ProtocolError as error:
            self._refuse_ring(error)
        if self._inbox:
            return self._inbox[0].index or 0, self._inbox[0].seq
        return None

    def take(self, most: int, below: tuple[int, bool] | None = None) -> Group | None:
        """Takes samples that wait.

        Args:
            most: At most so many.
            below: Only those with a lower index than this one, or (true) an equal one; None for all.

        Returns:
            The samples, None when there are none that can be taken, or they came before.

        Raises:
            PickleNotAllowedError: A sample holds a pickle that is not allowed. It is gone.
        """
        try:
            if self._ring is not None and not self._message_is_next():
                group = self._ring.take(self.btid, most, below)
                if group is not None:
                    self.epoch = max(self.epoch, self._ring.epoch)
                    self.waited_s = max(self.waited_s, self._ring.ring.waited_us / 1e6)
                    return group
                if not self._ring.read_out:
                    return None
        except PickleNotAllowedError:
            raise
        except ProtocolError as error:
            self._refuse_ring(error)
            return None
        return self._take_message() if self._inbox else None

    def _message_is_next(self) -> bool:
        """Whether a message has come that was made before what waits in the ring: for another receiver, which has left."""
        if not self._inbox or self._ring is None:
            return False
        head = self._ring.peek()
        return head is None or self._inbox[0].seq < head[1]

    def close(self) -> None:
        """Says farewell; what was not taken goes to others."""
        if not self._closed:
            self._closed = True
            self._tell(0, True)
            self._drop_ring()
            self._socket.close(linger_s=0.2)

    # Messages

    def _tell(self, window: int, whole: bool) -> None:
        ring = str(self._ring.ring.path) if self._ring else ""
        taken = self._have[-1] if self._have else -1
        inbox = self._inbox if window else ()  # at a farewell it goes to others
        have = (*self._have, *(message.seq for message in inbox))[-MAX_HAVE:] if whole else ()
        epoch = min(self.epoch, MAX_WINDOW)
        asked = (self._owed, self._batch, epoch, self.stream, self._keeps)
        ready = Ready(self._id, window, self._host, ring, taken, have, *asked)
        self._socket.try_send(Message(Kind.READY, ready.to_body()))

    def _hear_next(self) -> bool:
        """Hears one message; false when there is none."""
        try:
            message = self._socket.try_recv()
            if message is not None:
                self._hear(message)
        except (ProtocolVersionError, PickleNotAllowedError):
            raise
        except ProtocolError as error:
            self._refuse(error)
            return True
        return message is not None

    def _hear(self, message: Message) -> None:
        if message.kind == Kind.SAMPLE and is_sample(message.body):
            self._inbox.append(message)
        elif message.kind == Kind.WELCOME and isinstance(message.body, dict):
            stream = message.body.get("stream")
            if type(stream) is not str or not 0 < len(stream) < MAX_TEXT:
                raise ProtocolError("it welcomes to a stream without a name.")
            if self.stream not in ("", stream):
                self._is_another = True
                if self._ring is not None:
                    self._ring.is_last = True
                return
            self.stream = stream
            if message.epoch > self.epoch:
                self.epoch = message.epoch
                self.say_ready()
            self.btid = message.btid
            offer = message.body if "path" in message.body else {}
            if offer and (self._ring is None or offer["path"] != str(self._ring.ring.path)):
                self._offered, self._next_seq = offer, message.seq
            elif not offer:
                # An answer to what was said while another ring was read says nothing of what comes after it.
                self._settled = self._settled or message.body.get("reads") == ""
                self.account.begin(message.seq)
        elif message.kind in (Kind.END, Kind.ERROR):
            self.btid = message.btid
            self._parting = message
            # Who was killed has not closed it, and samples may be fewer than are taken at a time.
            if self._ring is not None:
                self._ring.is_last = True
            if self._unconfirmed:
                self.say_ready()
        else:
            raise ProtocolError(f"it is of kind {message.kind[:32]!r}, expected 'sample' with a dict of fields.")

    def _take_message(self) -> Group | None:
        message = self._inbox.popleft()
        self._have.append(message.seq)
        self._unconfirmed += 1
        self._unconfirmed_bytes += message.nbytes
        if self._unconfirmed >= max(1, self._window // 2) or self._unconfirmed_bytes >= BYTES_ON_THEIR_WAY // 2:
            self.say_ready(whole=False)
        self.btid, self.epoch = message.btid, max(self.epoch, message.epoch)
        self.waited_s = max(self.waited_s, (message.waited_us or 0) / 1e6)
        if not self.account.take(message.seq):
            return None
        kinds = self._kinds_of(message.body)
        self._done = self._done + 1 if message.index == self._index else 0
        self._index = message.index or 0
        words = (message.seq, message.index or 0, self._done, message.epoch, message.time_us or 0, 0, 0, 0)
        rest = {name: value for name, value in message.body.items() if name not in kinds}
        return Group(
            self.number,
            message.btid,
            np.array([words], np.int64),
            {name: np.asarray(message.body[name])[None] for name in kinds},
            kinds,
            [rest] if rest else None,
            lambda count=None: None,
            False,
        )

    def _kinds_of(self, sample: dict[str, Any]) -> dict[str, Field]:
        """The fields of a sample that stack; the same object as long as samples are alike."""
        alike = self._names == sample.keys() and all(field.takes(sample[name]) for name, field in self._kinds.items())
        if not alike:
            self._names, self._kinds = sample.keys(), Layout.of(sample, 0).fields
        return self._kinds

    def _refuse(self, error: Exception, count: int = 1) -> None:
        self.refused += count
        log_refusal(log, self.address, error, self.refused, count)

    # Shared memory

    def _read_ring(self, body: dict[str, Any]) -> None:
        self._offered = {}
        try:
            self._ring = RingStream(
                *offered_ring(body),
                number=self.number,
                account=self.account,
                batch=self._batch,
                keeps=self._keeps,
                allow_pickle=self._allow_pickle,
                refuse=self._refuse,
            )
            self._ring.is_last = self._is_another or self._parting is not None
            head = self._ring.peek()
            self.account.begin(self._next_seq if head is None else head[1])
            self._rings_missing = 0
        except ProtocolError as error:
            self._refuse(error)
        except SharedMemoryError as error:
            self._rings_missing += 1
            if error.errno == errno.ENOENT and self._rings_missing < _MAX_MISSING:
                self._settled = False
                return  # read out by others, and removed, meanwhile; another one is asked for soon
            log.warning("samples from %s come by message, which is slower: %s", self.address, error)
            self._host = ""
            self.say_ready()

    def _drop_ring(self) -> None:
        if self._ring is not None:
            try:
                self._ring_end = max(self._ring_end, self._ring.ring.end)
            except ProtocolError as error:
                self._refuse(error)
            self._ring.note_others(self._ring.ring.tail)
            self._ring.close()
            self._ring = None

    def _refuse_ring(self, error: Exception) -> None:
        """Lets go of a ring in which nothing can be trusted."""
        self._refuse(error)
        if self._ring is not None:
            self._ring.close()
            self._ring = None
