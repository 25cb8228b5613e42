"""Where a stream is bound, and what to say when it cannot be."""

import errno
import os
import socket
import tempfile
import time
from dataclasses import dataclass

from blendtorch.btb.setup import StreamSettings
from blendtorch.errors import AddressError, ConfigError
from blendtorch.hub import SampleHub
from blendtorch.launch.addresses import primary_ip
from blendtorch.wire.curve import CurveKeys, needs_curve
from blendtorch.wire.owned_folder import OwnedFolder, make_folder

_SOCKET_PATH_LIMIT = 107  # bytes, of a Unix domain socket's path
_LETS_GO_S = 0.3  # within which ZeroMQ lets go of a port that it was told to close


@dataclass
class Endpoint:
    """Where a stream is to be bound.

    Attributes:
        address: What to bind.
        shm: Whether samples go through shared memory to clients on this machine.
        curve: The keys of both ends, where other machines reach the address; None else.
        folder: Holds what goes with the stream: the socket's file, or the keys that clients are to read; None for nothing.
    """

    address: str
    shm: bool
    curve: CurveKeys | None = None
    folder: OwnedFolder | None = None

    def close(self) -> None:
        """Removes what goes with the stream."""
        if self.folder is not None:
            self.folder.close()
            self.folder = None


def bind(hub: SampleHub, endpoint: Endpoint, settings: StreamSettings) -> None:
    """Opens a hub's stream; `endpoint` then tells its port, too.

    Args:
        hub: The hub.
        endpoint: Where; closed if that cannot be.
        settings: What the endpoint was made of.

    Raises:
        AddressError: It cannot be bound; says what to do about it in the panel.
        ConfigError: There is a stream already.
    """
    keys = endpoint.curve.for_instances() if endpoint.curve else None
    try:
        endpoint.address = hub.open_stream(
            endpoint.address, queue_size=settings.queue_size, shm=endpoint.shm, curve=keys
        )
    except AddressError as error:
        endpoint.close()
        raise AddressError(in_words(error, settings)) from error
    except BaseException:
        endpoint.close()
        raise


def endpoint_of(settings: StreamSettings, folder: str | os.PathLike | None = None) -> Endpoint:
    """Where the settings say that the stream is bound.

    Args:
        settings: The settings.
        folder: In which an ipc socket's folder is made; by default the system's folder for temporary files.

    Raises:
        ConfigError: The transport cannot serve on this system, or the folder cannot be written to.
    """
    if settings.transport == "ipc":
        if os.name != "posix":
            raise ConfigError("transport is 'ipc', which this system does not have. Choose 'auto' or 'tcp'.")
        owned = folder_in(folder)
        path = owned.path / "stream"
        if len(os.fsencode(path)) > _SOCKET_PATH_LIMIT:
            owned.close()
            owned = folder_in(tempfile.gettempdir())
            path = owned.path / "stream"
        return Endpoint(f"ipc://{path}", shm=True, folder=owned)
    host = primary_ip() if settings.bind_addr == "primaryip" else settings.bind_addr
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"  # IPv6
    address = f"tcp://{'0.0.0.0' if host == '*' else host}:{settings.port or '*'}"
    keys = CurveKeys.generate() if needs_curve(address) else None
    return Endpoint(address, settings.transport != "tcp", keys)


def check_free(settings: StreamSettings) -> None:
    """Tells that a TCP port is taken, where what is to be bound there takes long to make, or changes the scene.

    Raises:
        AddressError: It cannot be bound; says what to do about it in the panel.
    """
    deadline = time.monotonic() + _LETS_GO_S
    while True:
        try:
            with socket.socket() as probe:
                if os.name == "posix":  # connections that were closed lately are no reason, for ZeroMQ neither
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((settings.bind_addr, settings.port))
                return
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise AddressError(in_words(AddressError(error.errno, str(error)), settings)) from error
        time.sleep(_LETS_GO_S / 30)


def folder_in(parent: str | os.PathLike | None) -> OwnedFolder:
    """A folder that goes with this process; by default in the system's folder for temporary files.

    Raises:
        ConfigError: It cannot be made.
    """
    try:
        return make_folder(parent)
    except OSError as error:
        raise ConfigError(
            f"nothing can be written to {parent or tempfile.gettempdir()}: {error.strerror or error}. Choose another Cache "
            "Folder in the preferences of BlendTorch."
        ) from None


def client_address(address: str) -> str:
    """What a client connects to for what is bound: an address of all interfaces becomes that of this machine."""
    for of_all in ("tcp://0.0.0.0:", "tcp://[::]:"):
        address = address.replace(of_all, f"tcp://{primary_ip()}:")
    return address


def in_words(error: AddressError, settings: StreamSettings) -> str:
    """Why the stream cannot be bound, and what to do about it in the panel."""
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {settings.port} of {settings.bind_addr} is taken: another program listens there, maybe another "
            "Blender that streams. Stop it, set another port, or set port 0 for any free one."
        )
    if error.errno == errno.EACCES:
        return (
            f"Port {settings.port} may not be used without administrator's rights. Set one from 1024 on, or 0 for any."
        )
    if settings.transport == "ipc":
        return f"The socket cannot be made in the folder for temporary files: {error.strerror}. Set transport 'auto'."
    if error.errno in (errno.EADDRNOTAVAIL, errno.ENODEV, errno.EINVAL):
        return (
            f"{settings.bind_addr!r} is no address of this machine. Set 127.0.0.1 for clients on this machine, or * for "
            "all."
        )
    return str(error)
