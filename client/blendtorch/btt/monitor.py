"""Watches launched instances: who has reported, who has failed, and that those who wait for samples learn of it."""

import logging
import threading
from collections.abc import Sequence

from ..errors import BlendTorchError, InstanceError, PeerTimeout, ProtocolError, ScriptError
from ..wire import Kind, Message
from ..wire.sockets import MessageSocket, offer
from .instance import Instance

log = logging.getLogger(__name__)

_POLL_S = 0.05
# How long a failure is offered to clients at the addresses of a dead instance.
_STAND_IN_S = 30.0


class Monitor:
    """A thread that listens to instances and looks whether they live.

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
        self._failures: dict[int, InstanceError] = {}
        self._ended: set[int] = set()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="blendtorch monitor", daemon=True)
        self._thread.start()

    @property
    def silent(self) -> list[Instance]:
        """The instances that have not reported yet."""
        return [instance for instance in self._instances if instance.btid not in self._greeted]

    @property
    def failure(self) -> InstanceError | None:
        """The first failure of an instance, if there was one."""
        return next(iter(self._failures.values()), None)

    def close(self) -> None:
        """Ends the watch, after a last look."""
        self._closing.set()
        self._thread.join()

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
                self._failures.setdefault(-1, InstanceError(f"an instance sent what cannot be read: {error}"))
            timeout_s = 0

    def _take(self, message: Message) -> None:
        instance = next((i for i in self._instances if i.btid == message.btid), None)
        if instance is None:
            log.warning("a report of the unknown instance %s came", message.btid)
        elif message.kind == Kind.HELLO:
            log.info("instance %d runs: %s", instance.btid, message.body)
            self._greeted.add(instance.btid)
        elif message.kind == Kind.ERROR and isinstance(message.body, dict):
            what = f"failed: {message.body.get('error')}"
            self._failures.setdefault(instance.btid, ScriptError(instance.report(what)))

    def _judge_end(self, instance: Instance) -> None:
        if instance.btid not in self._failures:
            if instance.btid not in self._greeted:
                what = f"{instance.describe_end()} before its script called btb.parse_blendtorch_args()."
            elif instance.exit_code != 0:
                what = f"{instance.describe_end()}."
            else:
                return
            self._failures[instance.btid] = InstanceError(instance.report(what))
        failure = self._failures[instance.btid]
        log.error("%s", failure)
        message = Message(Kind.ERROR, {"error": str(failure), "traceback": ""}, instance.btid)
        for of_name in self._addresses.values():
            threading.Thread(target=_tell_clients, args=(of_name[instance.btid], message), daemon=True).start()


def _tell_clients(address: str, message: Message) -> None:
    """Takes a dead instance's place at its address, to tell its clients."""
    try:
        offer(address, message, _STAND_IN_S)
    except BlendTorchError as error:
        log.debug("no client at %s was told of the failure: %s", address, error)
