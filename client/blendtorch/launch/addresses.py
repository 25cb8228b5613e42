"""Which addresses the sockets of launched instances get."""

import errno
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path

from ..errors import AddressError, ConfigError
from ..wire.curve import is_loopback

_IPC_PATH_LIMIT = 107  # bytes, of a Unix domain socket's path


def choose_addresses(
    named_sockets: Sequence[str],
    num_instances: int,
    *,
    proto: str,
    bind_addr: str,
    start_port: int | None,
    folder: Path,
) -> tuple[dict[str, list[str]], ExitStack]:
    """Chooses an address for each named socket of each instance.

    Args:
        named_sockets: The names.
        num_instances: The number of instances.
        proto: "tcp", "ipc", or "auto": ipc where it can serve, and nothing asks for tcp (a port, another interface).
        bind_addr: IPv4 address to bind with tcp; "primaryip" for the one that other machines reach this one by.
        start_port: First of the consecutive tcp ports to use; None for any free ones.
        folder: Where ipc sockets may lie.

    Returns:
        The addresses by name, in the order of the instances; and what keeps other launchers from the ports, to be closed
        when the instances have ended.

    Raises:
        ConfigError: An argument is out of range, or ipc cannot serve here.
        AddressError: A port is in use, or `bind_addr` is not of this machine.
    """
    if proto in ("ipc", "auto"):
        paths = {name: [folder / f"{name}-{i}" for i in range(num_instances)] for name in named_sockets}
        serves = all(_serves_ipc(path) for of_name in paths.values() for path in of_name)
        if proto == "ipc" and not serves:
            raise ConfigError(f"proto is 'ipc', which cannot serve here (folder {folder}). Leave it out, or use 'tcp'.")
        if serves and (proto == "ipc" or (start_port is None and is_loopback(bind_addr))):
            return {name: [f"ipc://{path}" for path in of_name] for name, of_name in paths.items()}, ExitStack()
    elif proto != "tcp":
        raise ConfigError(f"proto is {proto!r}, expected 'auto', 'tcp' or 'ipc'.")
    host = primary_ip() if bind_addr == "primaryip" else "0.0.0.0" if bind_addr == "*" else bind_addr
    found, reservation = _tcp_ports(host, len(named_sockets) * num_instances, start_port)
    ports = iter(found)
    return {name: [f"tcp://{host}:{next(ports)}" for _ in range(num_instances)] for name in named_sockets}, reservation


def address_list(addresses: str | Sequence[str]) -> list[str]:
    """One address or several, as clients are told what to connect to.

    Raises:
        ConfigError: There are none.
    """
    found = [addresses] if isinstance(addresses, str) else list(addresses)
    if not found:
        raise ConfigError("addresses is empty, expected at least one such as 'tcp://127.0.0.1:11000'.")
    return found


def control_address(folder: Path) -> str:
    """What the launcher binds for its instances' reports; an ipc socket where possible, for this user alone to reach."""
    path = folder / "control"
    return f"ipc://{path}" if _serves_ipc(path) else "tcp://127.0.0.1:*"


def client_address(address: str) -> str:
    """What a client connects to for what an instance binds: an address of all interfaces becomes the primary one."""
    return address.replace("tcp://0.0.0.0:", f"tcp://{primary_ip()}:")


def primary_ip() -> str:
    """The address of this machine that other machines reach it by; 127.0.0.1 without a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for documentation (RFC 5737); nothing is sent
            return probe.getsockname()[0]
        except OSError:
            return "127.0.0.1"


def _serves_ipc(path: Path) -> bool:
    return os.name == "posix" and len(os.fsencode(path)) <= _IPC_PATH_LIMIT


def _tcp_ports(host: str, count: int, start_port: int | None) -> tuple[list[int], ExitStack]:
    if start_port is not None and not 0 < start_port <= 65536 - count:
        raise ConfigError(f"start_port is {start_port}, expected 1 .. {65536 - count} for {count} sockets.")
    wanted = [0] * count if start_port is None else range(start_port, start_port + count)
    # The probes are held until all ports are known, so that none is given twice.
    with ExitStack() as probes, ExitStack() as reservation:
        ports = []
        for port in wanted:
            try:
                ports.append(_take_port(host, port, probes, reservation))
            except OSError as error:
                raise _bind_error(host, port, error) from None
        return ports, reservation.pop_all()


def _take_port(host: str, port: int, probes: ExitStack, reservation: ExitStack) -> int:
    """Probes and reserves a port, 0 for any free one; returns which.

    Raises:
        OSError: It is in use, or another launcher has reserved it.
    """
    while True:
        found = probes.enter_context(_listen(host, port)).getsockname()[1]
        try:
            reservation.enter_context(_reserve(found))
            return found
        except OSError as error:
            # Any other one does as well, and the system does not give this one again while it is probed.
            if port or error.errno != errno.EADDRINUSE:
                raise


def _listen(host: str, port: int) -> socket.socket:
    probe = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        probe.listen()
    except OSError:
        probe.close()
        raise
    return probe


def _reserve(port: int) -> AbstractContextManager:
    """Keeps a port from other launchers until Blender, seconds later, binds it.

    Raises:
        OSError: Another launcher has reserved it. (Noticed on Linux only: elsewhere there are no abstract sockets.)
    """
    if sys.platform != "linux":
        return nullcontext()
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        lock.bind(f"\0blendtorch-tcp-port-{port}")  # has no file, and goes with the process
    except OSError:
        lock.close()
        raise
    return lock


def _bind_error(host: str, port: int, error: OSError) -> AddressError:
    advice = "Expected the IP address of one of this machine's network interfaces, 'primaryip' or '0.0.0.0'."
    if error.errno == errno.EADDRINUSE:
        advice = "Another process listens there (`ss -ltnp` shows which). Choose another start_port, or leave it out."
    return AddressError(error.errno, f"cannot bind tcp://{host}:{port}: {error.strerror}. {advice}")
