"""The channel on which an instance publishes its samples."""

from pathlib import Path
from typing import Any

import numpy as np

from ..wire import LaunchArguments
from ..wire.field_names import check_field_names
from ..wire.sample_sender import SampleSender
from ..wire.sockets import DEFAULT_QUEUE_SIZE
from .session import open_session


class BlenderOutputChannel:
    """Publishes samples to the training side. Binds `address`; any number of clients connect, and share the samples.

    On the same machine samples go through shared memory, otherwise through the socket.

    Args:
        address: What to bind, usually `btargs.btsockets["DATA"]`.
        btid: Id of this instance, sent along with every sample.
        send_hwm: How many samples may wait before `publish` blocks: in shared memory (large ones at most 4 MB together, or
            4), or on their way to each client elsewhere (large ones at most 16 MB together, or 2).
        linger_ms: How many milliseconds samples still queued at the end may take to leave.
        allow_pickle: Whether fields that the protocol has no type for are pickled. Both ends must ask for it.

    Raises:
        AddressError: The address is in use, malformed, or not of this machine.
        ConfigError: The address can be reached from other machines, and this instance has no keys; see the guide.
    """

    def __init__(
        self,
        address: str,
        btid: int | None = None,
        send_hwm: int = DEFAULT_QUEUE_SIZE,
        linger_ms: float = 10_000,
        *,
        allow_pickle: bool = False,
    ) -> None:
        # The session that this process is already, where the script has parsed its arguments.
        self._session = open_session(LaunchArguments())
        args = self._session.args
        self.btid = btid
        self._linger_s = linger_ms / 1000
        # Only what the launcher knows of has a place in its folder.
        names = [name for name, of_name in args.btsockets.items() if of_name == address and args.folder]
        self._sender = SampleSender(
            address,
            btid,
            num_instances=args.num_instances,
            epoch=args.epoch,
            queue_size=send_hwm,
            shm_bytes=args.shm_bytes,
            folder=Path(args.folder) if args.folder and names else None,
            name=names[0] if names else "DATA",
            allow_pickle=allow_pickle,
            curve=self._session.curve,
        )
        self._has_folder = bool(names)
        self._note_owed()
        self._session.add_channel(self)

    @property
    def address(self) -> str:
        """The address that is bound; where a free port was asked for, the port that was found."""
        return self._sender.address

    def publish(self, **fields: Any) -> None:
        """Sends one sample. Blocks while the clients' queues are full, or no client is connected.

        Arrays are copied before this returns, so they may be drawn into again.

        After a restart a sample that was delivered before is passed over, where the script numbers its samples by
        `btb.sample_indices` or the episodes of an `AnimationController`. Any other script begins anew: what it publishes is
        numbered on (`btseq`, `btindex`), so nothing is passed over, and what it makes the same again comes again.

        Args:
            **fields: The sample: numpy arrays, numbers, strings, lists, dicts, ...; see docs/protocol.md. The receiver
                gets them with `btid` (the instance), `btepoch` (how often it was restarted), `btseq` (number of the
                sample in this instance's stream) and `btindex` (see `btb.sample_indices`) added.

        Raises:
            PickleNotAllowedError: A field has a type that the protocol does not know; names the field.
            ConfigError: A field is called as one of those that are added.
        """
        check_field_names(fields)
        session, sender = self._session, self._sender
        session.published += sender.publish(fields, session.position.index)
        if sender.resumed is not self._resumed:  # the first receiver may have said where it wants to go on from
            self._note_owed()

    def reserve(self, name: str, shape: tuple[int, ...], dtype: Any = np.uint8) -> np.ndarray:
        """Memory to draw the next sample's field into, which `publish` then need not copy.

        `image = channel.reserve("image", renderer.shape)`, `renderer.render(out=image)`, `channel.publish(image=image)`.

        Args:
            name: The name under which it will be published.
            shape: Its shape.
            dtype: Its dtype.

        Returns:
            An array with arbitrary content, to be used until the next `publish`. It is not in shared memory, and will be
            copied, when there is none, or no room in it, or the first sample's field had another shape or dtype; of the
            latter a warning tells.
        """
        return self._sender.reserve(name, shape, dtype)

    def publish_error(self, body: dict[str, str], duration_s: float) -> None:
        """Tells all clients that are connected, or connect within `duration_s` seconds, that this instance has failed."""
        self._sender.fail(body, duration_s)

    def ready(self) -> bool:
        """Whether `publish` would not block."""
        return self._sender.ready()

    def close(self) -> None:
        """Closes the channel: clients are told that the stream has ended, and get what is queued within `linger_ms`.

        Not so where this process is ended by SIGTERM: then clients wait for whoever comes in its place.
        """
        self._session.remove_channel(self)
        self._session.position.owed.pop(self.address, None)
        # What is told to end by a signal may be started again, by the launcher or by hand: receivers wait for that.
        interrupted = self._session.interrupted
        self._sender.close(0 if interrupted else self._linger_s, ended=not interrupted)

    def _note_owed(self) -> None:
        self._resumed = resumed = self._sender.resumed
        if self._has_folder or resumed.seq > 0:
            self._session.position.owed[self.address] = resumed.index
