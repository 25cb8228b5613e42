"""Watches launched instances: who has reported, who has failed, and that those who wait for samples learn of it."""

import logging
import threading
from collections.abc import Sequence

from ..errors import AddressError, InstanceError, PeerTimeout, ProtocolError, ScriptError
from ..wire import Kind, Message
from ..wire.sockets import MessageSocket, offer
from .instance import Instance

log = logging.getLogger(__name__)

_POLL_S = 0.05
# For how long clients of a dead instance are told, unless the launcher is closed before.
_STAND_IN_S = 3600.0


class Monitor:
    """A thread that listens to instances and looks whether they live.

    Attributes:
        failure: The first failure of an instance, if there was one.

    Args:
        instances: The instances.
        control: The socket they report to; from now on the thread's own.
        addresses: What the instances bind, by socket name and id.
    """

    def __init__(self, instances: Sequence[Instance], control: MessageSocket, addresses: dict[str, list[str]]) -> None:
        self._instances = list(instances)
        self._control = control
        self._addresses = addresses
        self._greeted: set[int] = set()
        self._failed: set[int] = set()
        self.failure: InstanceError | None = None
        self._ended: set[int] = set()
        self._stand_ins: list[threading.Thread] = []
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="blendtorch monitor", daemon=True)
        self._thread.start()

    @property
    def silent(self) -> list[Instance]:
        """The instances that have not reported yet."""
        return [instance for instance in self._instances if instance.btid not in self._greeted]

    def close(self) -> None:
        """Ends the watch, after a last look, and frees the addresses."""
        self._closing.set()
        self._thread.join()
        for thread in self._stand_ins:
            thread.join()

    def _watch(self) -> None:
        last_look = False
        while not last_look:
            last_look = self._closing.is_set()
            ended = [i for i in self._instances if i.btid not in self._ended and i.exit_code is not None]
            # Reports are read after the ends were seen: what an instance said last counts before that it ended.
            self._read_reports()
            for instance in ended:
                self._ended.add(instance.btid)
                self._judge_end(instance)

    def _read_reports(self) -> None:
        timeout_s = _POLL_S
        while True:
            try:
                self._take(self._control.recv(timeout_s))
            except PeerTimeout:
                return
            except ProtocolError as error:
                # Only instances know the address; one of another version ends up here.
                self._note(InstanceError(f"an instance sent what cannot be read: {error}"))
            timeout_s = 0

    def _take(self, message: Message) -> None:
        instance = next((i for i in self._instances if i.btid == message.btid), None)
        if instance is None:
            log.warning("a report of the unknown instance %s came", message.btid)
        elif message.kind == Kind.HELLO:
            log.info("instance %d runs: %s", instance.btid, message.body)
            self._greeted.add(instance.btid)
        elif message.kind == Kind.ERROR and isinstance(message.body, dict):
            self._failed.add(instance.btid)
            self._note(ScriptError(instance.report(f"failed: {message.body.get('error')}")))

    def _note(self, failure: InstanceError) -> None:
        log.error("%s", str(failure).splitlines()[0])
        if self.failure is None:
            self.failure = failure

    def _judge_end(self, instance: Instance) -> None:
        if instance.btid in self._failed:  # it has said why itself
            self._tell_clients(instance, instance.report("failed."))
            return
        if instance.btid not in self._greeted:
            what = f"{instance.describe_end()} before its script called btb.parse_blendtorch_args()."
        elif instance.exit_code != 0:
            what = f"{instance.describe_end()}."
        else:
            return
        failure = InstanceError(instance.report(what))
        self._note(failure)
        self._tell_clients(instance, str(failure))

    def _tell_clients(self, instance: Instance, text: str) -> None:
        """Takes a dead instance's place at its addresses, so that clients do not wait in vain."""
        message = Message(Kind.ERROR, {"error": text, "traceback": ""}, instance.btid)
        for of_name in self._addresses.values():
            thread = threading.Thread(target=self._offer, args=(of_name[instance.btid], message), daemon=True)
            self._stand_ins.append(thread)
            thread.start()

    def _offer(self, address: str, message: Message) -> None:
        """Tells all who are at `address`, or come there, until this monitor is closed."""
        try:
            offer(address, message, _STAND_IN_S, self._closing)
        except AddressError as error:
            log.warning("clients at %s could not be told of the failure: %s", address, error)
