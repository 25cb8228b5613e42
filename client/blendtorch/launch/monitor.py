"""Watches launched instances: hears their reports, has them restarted, and tells clients of those that are gone."""

import logging
import threading
import time
from collections.abc import Sequence

from ..errors import AddressError, InstanceError, PeerTimeout, ProtocolError
from ..wire import Kind, Message
from ..wire.curve import CurveKeys
from ..wire.sockets import MessageSocket, answer
from .instance import Instance
from .supervisor import InstanceState, Restart, Supervisor

log = logging.getLogger(__name__)

_POLL_S = 0.05


class Monitor:
    """A thread that listens to instances and drives their supervisors.

    Attributes:
        failure: The first failure of an instance that was not cured by a restart, if there was one.

    Args:
        supervisors: The supervisors of the instances, in the order of their ids.
        control: The socket they report to; from now on the thread's own.
        addresses: What the instances bind, by socket name and id.
        restarts: Where each restart is noted.
        curve: The keys of the launch, if it has some.
    """

    def __init__(
        self,
        supervisors: Sequence[Supervisor],
        control: MessageSocket,
        addresses: dict[str, list[str]],
        restarts: list[Restart],
        curve: CurveKeys | None = None,
    ) -> None:
        self._supervisors = list(supervisors)
        self._control = control
        self._addresses = addresses
        self._restarts = restarts
        self._curve = curve
        self.failure: InstanceError | None = None
        self._noted: set[int] = set()
        self._replaced: set[int] = set()
        self._stand_ins: list[threading.Thread] = []
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="blendtorch monitor", daemon=True)
        self._thread.start()

    @property
    def instances(self) -> list[Instance]:
        """The last process of each instance."""
        return [supervisor.instance for supervisor in self._supervisors]

    @property
    def states(self) -> list[InstanceState]:
        """What each instance does."""
        return [supervisor.state for supervisor in self._supervisors]

    @property
    def silent(self) -> list[Instance]:
        """The instances that have not reported yet."""
        return [supervisor.instance for supervisor in self._supervisors if not supervisor.greeted]

    @property
    def seed(self) -> int | None:
        """The seed that the first instance has reported."""
        return self._supervisors[0].seed

    @property
    def classes(self) -> dict[str, str]:
        """The names of classes that the first instance has reported."""
        return self._supervisors[0].classes

    @property
    def restarting(self) -> bool:
        """Whether any instance is being restarted."""
        return any(supervisor.restarting for supervisor in self._supervisors)

    @property
    def over(self) -> bool:
        """Whether all instances have ended, and none will be restarted."""
        return all(btid in self._replaced for btid in range(len(self._supervisors)))

    def condemn(self, btid: int, reason: str) -> None:
        """Has an instance ended and started again, as one that hangs."""
        self._supervisors[btid].condemn(reason)

    def close(self) -> None:
        """Ends the watch and frees the addresses. What is to be restarted then is not."""
        self._closing.set()
        self._thread.join()
        for thread in self._stand_ins:
            thread.join()

    def _watch(self) -> None:
        try:
            while not self._closing.is_set():
                self._look()
        except Exception as error:
            # Without its watch a launch would wait for ever for whoever fails next.
            log.exception("the watch over the instances has failed")
            self._note(InstanceError(f"the watch over the instances has failed: {error!r}. This is a bug; report it."))

    def _look(self) -> None:
        # Reports are read after the ends were seen: what an instance said last counts before that it ended.
        ended = [supervisor.instance.exit_code is not None for supervisor in self._supervisors]
        self._read_reports()
        for btid, supervisor in enumerate(self._supervisors):
            if self._closing.is_set():
                return
            if restart := supervisor.step(ended[btid], time.monotonic()):
                log.warning("instance %d is restarted (epoch %d): it %s", btid, restart.epoch, restart.reason)
                self._restarts.append(restart)
            if supervisor.failure is not None and btid not in self._noted:
                self._noted.add(btid)
                self._note(supervisor.failure)
            if supervisor.over and btid not in self._replaced:
                self._replaced.add(btid)
                self._stand_in_for(btid, supervisor.failure)

    def _read_reports(self) -> None:
        timeout_s = _POLL_S
        while not self._closing.is_set():
            try:
                self._take(self._control.recv(timeout_s))
            except PeerTimeout:
                return
            except ProtocolError as error:
                # Only instances know the address; one of another version ends up here.
                self._note(InstanceError(f"an instance sent what cannot be read: {error}"))
            timeout_s = 0

    def _take(self, message: Message) -> None:
        if message.btid is None or not 0 <= message.btid < len(self._supervisors):
            log.warning("a report of the unknown instance %s came", message.btid)
            return
        if message.kind == Kind.HELLO:
            log.info("instance %d runs: %s", message.btid, message.body)
        self._supervisors[message.btid].take(message, time.monotonic())

    def _note(self, failure: InstanceError) -> None:
        log.error("%s", str(failure).splitlines()[0])
        if self.failure is None:
            self.failure = failure

    def _stand_in_for(self, btid: int, failure: InstanceError | None) -> None:
        """Takes the place of an instance that is gone at its addresses, so that clients do not wait in vain."""
        message = Message(Kind.END, {"made": None}, btid)
        if failure is not None:
            message = Message(Kind.ERROR, {"error": str(failure), "traceback": ""}, btid)
        for of_name in self._addresses.values():
            thread = threading.Thread(target=self._answer, args=(of_name[btid], message), daemon=True)
            self._stand_ins.append(thread)
            thread.start()

    def _answer(self, address: str, message: Message) -> None:
        """Answers all who are at `address`, or come there, until this monitor is closed."""
        try:
            answer(address, message, self._closing, self._curve)
        except AddressError as error:
            log.warning("clients at %s could not be told of the end of instance %s: %s", address, message.btid, error)
