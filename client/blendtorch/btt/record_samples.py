"""Records a stream and does nothing else with it: no batches, no tensors."""

from collections.abc import Callable, Sequence

from ..errors import PeerTimeout
from ..launch.addresses import address_list
from ..recording.resume import Position
from ..wire.curve import CurveKeys
from ..wire.sample_receiver import SampleReceiver
from .stream_recorder import StreamRecorder

_TURN_S = 0.5


def record_samples(
    addresses: str | Sequence[str],
    recorder: StreamRecorder,
    count: int | None,
    *,
    owed: Sequence[Position] | None = None,
    curve: CurveKeys | None = None,
    timeout_s: float = 60.0,
    excused: Callable[[], bool] = lambda: False,
    stopped: Callable[[], bool] = lambda: False,
    progress: Callable[[], None] = lambda: None,
) -> None:
    """Records what comes from instances, until there are so many new samples or all scripts have ended.

    Args:
        addresses: What to connect to.
        recorder: Where to.
        count: How many samples, those not counted that are there already; None for all.
        owed: For each address where its stream goes on, as `positions_after` tells; None begins with what comes.
        curve: The keys of the launch.
        timeout_s: How long to wait for a sample.
        excused: Asked when none has come for a while; whether that is for a good reason.
        stopped: Asked between samples; whether that is all.
        progress: Called after each sample.

    Raises:
        PeerTimeout: No sample came in time.
        ScriptError, ProtocolVersionError, AuthenticationError, PickleNotAllowedError: As iterating a dataset.
        RecordingWriteError: The disk is full or has failed.
        EncodeError: A field cannot be recorded; names it.
    """
    receiver = SampleReceiver(address_list(addresses), owed=owed, curve=curve)
    first, waited_s = recorder.samples, 0.0
    try:
        while not stopped() and (count is None or recorder.samples - first < count):
            try:
                group = receiver.receive(1, _TURN_S)
            except PeerTimeout:
                waited_s = 0.0 if excused() else waited_s + _TURN_S
                if waited_s >= timeout_s:
                    raise PeerTimeout(
                        f"no sample came for {timeout_s:g} s. Does Blender still render, or does the script wait for "
                        "something (see its log)?"
                    ) from None
                continue
            if group is None:
                return
            waited_s = 0.0
            try:
                recorder.record(group)
            finally:
                group.release()
            progress()
    finally:
        receiver.close()
