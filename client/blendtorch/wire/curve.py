"""The keys with which the peers of a launch encrypt what they say and recognise each other (ZeroMQ's CURVE)."""

import ipaddress
import os
import re
from dataclasses import dataclass, field, fields, replace

import zmq

from ..errors import ConfigError

# Not an argument: other users of a machine see a process's arguments, but not its environment.
ENVIRONMENT_VARIABLE = "BLENDTORCH_CURVE"
_KEY = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")  # Z85 of 32 bytes (rfc.zeromq.org/spec/32)
_HOW_TO_MAKE = "Make keys with `btt.CurveKeys.generate()`, see docs/guide.md, 'On another machine'."


@dataclass(frozen=True)
class CurveKeys:
    """The keys of a launch: one pair for all its instances, and one for all its clients.

    Each key is a text of 40 characters (Z85). The end that binds is CURVE's server.

    Attributes:
        server_public: By this the clients know the instances.
        client_public: By this the instances know the clients.
        server_secret: Proves an instance; None at the clients, who need not have it.
        client_secret: Proves a client; None at the instances.

    Raises:
        ConfigError: A key is none, or a secret key is not that of its public one.
    """

    server_public: str
    client_public: str
    server_secret: str | None = field(default=None, repr=False)
    client_secret: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not zmq.has("curve"):
            raise ConfigError(
                f"ZeroMQ {zmq.zmq_version()} was built without CURVE. Install pyzmq from PyPI (`pip install pyzmq`), "
                "or keep to bind_addr='127.0.0.1'."
            )
        # No message shows what was there: it may be a secret.
        for one in fields(self):
            key = getattr(self, one.name)
            if not (isinstance(key, str) and _KEY.fullmatch(key)) and (key is not None or one.name.endswith("public")):
                raise ConfigError(f"the CURVE key {one.name} is no Z85 text of 40 characters. {_HOW_TO_MAKE}")
        for end, public, secret in [
            ("server", self.server_public, self.server_secret),
            ("client", self.client_public, self.client_secret),
        ]:
            if secret is not None and _public_key(secret) != public:
                raise ConfigError(f"the CURVE keys {end}_public and {end}_secret are not of one pair. {_HOW_TO_MAKE}")

    @classmethod
    def generate(cls) -> "CurveKeys":
        """New keys, for both ends."""
        (server_public, server_secret), (client_public, client_secret) = _new_pair(), _new_pair()
        return cls(server_public, client_public, server_secret, client_secret)

    def for_clients(self) -> "CurveKeys":
        """What clients need: with it one can connect, but not pass for an instance."""
        return replace(self, server_secret=None)

    def for_instances(self) -> "CurveKeys":
        """What instances need: with it one can bind, but not pass for a client."""
        return replace(self, client_secret=None)

    def to_text(self) -> str:
        """All keys in one line, as `from_text` reads them. **A secret.**"""
        return ",".join(getattr(self, one.name) or "" for one in fields(self))  # Z85 has no comma

    @classmethod
    def from_text(cls, text: str) -> "CurveKeys":
        """Reads what `to_text` gave.

        Raises:
            ConfigError: It is something else.
        """
        keys = text.strip().split(",")
        if len(keys) != len(fields(cls)):
            raise ConfigError(
                f"CURVE keys are {len(fields(cls))} texts with commas between, not {len(keys)}. {_HOW_TO_MAKE}"
            )
        return cls(keys[0], keys[1], keys[2] or None, keys[3] or None)


_of_this_process: CurveKeys | None = None


def curve_from_environment() -> CurveKeys | None:
    """The keys that this process was started with; None without.

    They are taken out of the environment, so that processes that a script starts do not inherit them.

    Raises:
        ConfigError: The environment variable holds something else.
    """
    global _of_this_process
    text = os.environ.pop(ENVIRONMENT_VARIABLE, "")
    if text:
        try:
            _of_this_process = CurveKeys.from_text(text)
        except ConfigError as error:
            raise ConfigError(f"the environment variable {ENVIRONMENT_VARIABLE} does not serve: {error}") from None
    return _of_this_process


def is_loopback(host: str) -> bool:
    """Whether `host` is reached from this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def needs_curve(address: str) -> bool:
    """Whether other machines reach what binds this address, so that it has to have keys."""
    return address.startswith("tcp:") and not is_loopback(address.removeprefix("tcp://").rpartition(":")[0])


def _new_pair() -> tuple[str, str]:
    public, secret = zmq.curve_keypair()
    return public.decode("ascii"), secret.decode("ascii")


def _public_key(secret: str) -> str | None:
    try:
        return zmq.curve_public(secret.encode("ascii")).decode("ascii")
    except (zmq.ZMQError, ValueError):
        return None
