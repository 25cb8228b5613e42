"""Which addresses the sockets of launched instances get."""

import errno
import ipaddress
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from ..errors import AddressError, ConfigError

_IPC_PATH_LIMIT = 107  # bytes, of a Unix domain socket's path


def choose_addresses(
    named_sockets: Sequence[str],
    num_instances: int,
    *,
    proto: str | None,
    bind_addr: str,
    start_port: int | None,
    folder: Path,
) -> dict[str, list[str]]:
    """Chooses an address for each named socket of each instance.

    Args:
        named_sockets: The names.
        num_instances: The number of instances.
        proto: "ipc", "tcp", or None for ipc where it can serve and nothing asks for tcp.
        bind_addr: IP address to bind with tcp; "primaryip" for the one that other machines reach this one by.
        start_port: First of the consecutive tcp ports to use; None for any free ones.
        folder: Where ipc sockets may lie.

    Raises:
        ConfigError: The arguments contradict each other.
        AddressError: A port is in use, or `bind_addr` is not of this machine.
    """
    host = primary_ip() if bind_addr == "primaryip" else "0.0.0.0" if bind_addr == "*" else bind_addr
    paths = {name: [folder / f"{name}-{i}" for i in range(num_instances)] for name in named_sockets}
    fits = all(len(os.fsencode(path)) <= _IPC_PATH_LIMIT for of_name in paths.values() for path in of_name)
    ipc_serves = hasattr(socket, "AF_UNIX") and os.name == "posix" and fits
    if proto is None:
        proto = "ipc" if ipc_serves and is_loopback(host) and start_port is None else "tcp"
    if proto == "ipc":
        if not ipc_serves:
            raise ConfigError(f"proto is 'ipc', which cannot serve here (folder {folder}). Leave it out, or use 'tcp'.")
        return {name: [f"ipc://{path}" for path in of_name] for name, of_name in paths.items()}
    if proto != "tcp":
        raise ConfigError(f"proto is {proto!r}, expected 'tcp', 'ipc', or None to choose.")
    ports = iter(_tcp_ports(host, len(named_sockets) * num_instances, start_port))
    return {name: [f"tcp://{host}:{next(ports)}" for _ in range(num_instances)] for name in named_sockets}


def client_address(address: str) -> str:
    """What a client connects to for what an instance binds: an address of all interfaces becomes the primary one."""
    return address.replace("tcp://0.0.0.0:", f"tcp://{primary_ip()}:")


def is_loopback(host: str) -> bool:
    """Whether `host` is reached from this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def primary_ip() -> str:
    """The address of this machine that other machines reach it by; 127.0.0.1 without a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for documentation (RFC 5737); nothing is sent
            return probe.getsockname()[0]
        except OSError:
            return "127.0.0.1"


def _tcp_ports(host: str, count: int, start_port: int | None) -> list[int]:
    wanted = [0] * count if start_port is None else list(range(start_port, start_port + count))
    if start_port is not None and not (start_port > 0 and wanted[-1] < 65536):
        raise ConfigError(f"start_port is {start_port}, expected 1 .. {65536 - count} for {count} sockets.")
    probes: list[socket.socket] = []
    try:
        # All are held until all are known, so that none is given twice.
        for port in wanted:
            probe = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            probes.append(probe)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                probe.listen()
            except OSError as error:
                raise _bind_error(host, port, error) from None
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _bind_error(host: str, port: int, error: OSError) -> AddressError:
    advice = "Expected the IP address of one of this machine's network interfaces, 'primaryip' or '0.0.0.0'."
    if error.errno == errno.EADDRINUSE:
        advice = "Another process listens there (`ss -ltnp` shows which). Choose another start_port, or leave it out."
    return AddressError(error.errno, f"cannot bind tcp://{host}:{port}: {error.strerror}. {advice}")
