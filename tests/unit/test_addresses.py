"""Which addresses the sockets of launched instances get."""

import socket
from pathlib import Path
from typing import Any

import pytest

from blendtorch.errors import AddressError, ConfigError
from blendtorch.launch import addresses
from blendtorch.launch.addresses import choose_addresses, client_address, control_address, is_loopback, primary_ip


def choose(folder: Path, names: tuple[str, ...] = ("DATA", "CTRL"), count: int = 2, **options: Any) -> dict:
    """The addresses; the ports stay reserved for as short as it takes to choose them."""
    defaults: dict[str, Any] = {"proto": "tcp", "bind_addr": "127.0.0.1", "start_port": None}
    addresses, reservation = choose_addresses(names, count, folder=folder, **{**defaults, **options})
    reservation.close()
    return addresses


def free_ports(count: int) -> int:
    """First of so many consecutive ports that are free (most likely still when they are used)."""
    for first in range(20_000, 60_000, 50):
        probes = []
        try:
            for port in range(first, first + count):
                probes.append(socket.socket())
                probes[-1].bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
    raise AssertionError("no free ports")


def test_ipc_lies_in_the_folder(tmp_path: Path) -> None:
    assert choose(tmp_path, proto="ipc") == {
        "DATA": [f"ipc://{tmp_path}/DATA-0", f"ipc://{tmp_path}/DATA-1"],
        "CTRL": [f"ipc://{tmp_path}/CTRL-0", f"ipc://{tmp_path}/CTRL-1"],
    }


def test_ipc_is_chosen_where_it_serves_and_nothing_asks_for_tcp(tmp_path: Path) -> None:
    first = free_ports(4)
    for options, start in [
        ({}, f"ipc://{tmp_path}/"),
        ({"bind_addr": "localhost"}, f"ipc://{tmp_path}/"),
        ({"bind_addr": "0.0.0.0"}, "tcp://0.0.0.0:"),
        ({"start_port": first}, f"tcp://127.0.0.1:{first}"),
        ({"folder": tmp_path / ("x" * 120)}, "tcp://127.0.0.1:"),
    ]:
        assert choose(**{"folder": tmp_path, "proto": "auto", **options})["DATA"][0].startswith(start)


def test_reports_come_by_ipc_where_it_serves(tmp_path: Path) -> None:
    assert control_address(tmp_path) == f"ipc://{tmp_path}/control"
    assert control_address(tmp_path / ("x" * 120)) == "tcp://127.0.0.1:*"


@pytest.mark.parametrize(
    ("options", "host"),
    [
        ({}, "127.0.0.1"),
        ({"bind_addr": "0.0.0.0"}, "0.0.0.0"),
        ({"bind_addr": "*"}, "0.0.0.0"),
        ({"bind_addr": "primaryip"}, primary_ip()),
    ],
)
def test_each_socket_has_a_port_of_its_own(tmp_path: Path, options: dict[str, str], host: str) -> None:
    chosen = [address for of_name in choose(tmp_path, **options).values() for address in of_name]
    assert {address.rpartition(":")[0] for address in chosen} == {f"tcp://{host}"}
    assert len({address.rpartition(":")[2] for address in chosen}) == 4


def test_a_folder_too_deep_for_ipc(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 120)
    with pytest.raises(ConfigError, match="proto is 'ipc', which cannot serve here"):
        choose(deep, proto="ipc")


def test_start_port_counts_up_name_by_name(tmp_path: Path) -> None:
    first = free_ports(4)
    assert choose(tmp_path, start_port=first) == {
        "DATA": [f"tcp://127.0.0.1:{first}", f"tcp://127.0.0.1:{first + 1}"],
        "CTRL": [f"tcp://127.0.0.1:{first + 2}", f"tcp://127.0.0.1:{first + 3}"],
    }


def test_a_port_is_reserved_until_the_instances_have_ended(tmp_path: Path) -> None:
    """Blender binds its ports seconds after they were chosen; another launcher must not choose the same."""
    options: dict[str, Any] = {"proto": "tcp", "bind_addr": "127.0.0.1", "folder": tmp_path}
    first = free_ports(2)
    _, reservation = choose_addresses(["DATA"], 2, start_port=first, **options)
    with pytest.raises(AddressError, match=rf"{first + 1}: .*Another process"):
        choose_addresses(["DATA"], 2, start_port=first + 1, **options)
    reservation.close()
    choose_addresses(["DATA"], 2, start_port=first + 1, **options)[1].close()


def test_a_free_port_that_another_launcher_has_reserved_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its Blender has not bound it yet, so the system gives it away."""
    listen, reserved = addresses._listen, {}

    def listen_where_another_reserves(host: str, port: int) -> socket.socket:
        probe = listen(host, port)
        if len(reserved) < 3:
            found = probe.getsockname()[1]
            reserved[found] = addresses._reserve(found)
        return probe

    monkeypatch.setattr(addresses, "_listen", listen_where_another_reserves)
    try:
        chosen = choose(tmp_path, ("DATA",), 2)["DATA"]
    finally:
        for reservation in reserved.values():
            reservation.close()
    assert len(reserved) == 3
    assert not {int(address.rpartition(":")[2]) for address in chosen} & reserved.keys()
    assert len(set(chosen)) == 2


def test_chosen_ports_can_be_bound(tmp_path: Path) -> None:
    for address in choose(tmp_path, proto="tcp", count=5)["DATA"]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", int(address.rpartition(":")[2])))


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(AddressError, match=rf"cannot bind tcp://127.0.0.1:{port}: .*Another process listens"):
            choose(tmp_path, ("DATA",), 1, start_port=port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_an_address_of_another_machine_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(AddressError, match="this machine's network interfaces"):
        choose(tmp_path, bind_addr=host)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start_port": 0}, "start_port is 0"),
        ({"start_port": 65_533}, r"expected 1 \.\. 65532"),
        ({"start_port": -1}, "start_port is -1"),
        ({"proto": "udp"}, "proto is 'udp', expected 'auto', 'tcp' or 'ipc'"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        choose(tmp_path, **options)


def test_clients_connect_to_an_address_that_leads_here() -> None:
    assert client_address("tcp://0.0.0.0:5") == f"tcp://{primary_ip()}:5"
    assert client_address("tcp://127.0.0.1:5") == "tcp://127.0.0.1:5"
    assert client_address("ipc:///tmp/0.0.0.0:5") == "ipc:///tmp/0.0.0.0:5"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("127.0.0.1.example.org", False),
        ("", False),
    ],
)
def test_loopback_is_told_from_the_rest(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
