"""The Blenders of an environment: started, connected to, and connected to again when they were started anew."""

import inspect
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from gymnasium.error import ClosedEnvironmentError

from ...errors import BlendTorchError, ConfigError, InstanceError, PeerTimeout
from ...launch.addresses import address_list
from ...launch.launcher import DEFAULT_START_TIMEOUT_S, BlenderLauncher
from ...launch.supervisor import InstanceState
from ...wire.curve import CurveKeys
from ...wire.launch_args import ENV_OPTIONS, ENV_SOCKET
from .connection import EnvConnection

DEFAULT_TIMEOUT_S = 60.0
_PAUSE_S = 0.02


class Gone(BlendTorchError):
    """A Blender has crashed or was ended, and is being started again."""


class Blenders:
    """Blenders that serve the same environment.

    Args:
        scene, script: What each opens and runs, see `BlenderLauncher`.
        num_instances: How many there are.
        address: Where environments are served that run already; then none are launched.
        env_options: Keyword arguments for the environment's class.
        autoreset: When the next episode begins.
        real_time: Whether the simulation goes on by itself; None as the environment says.
        timeout_s: How many seconds an answer may take; None for any. A launched Blender that takes longer hangs, and is
            started again.
        curve: The keys of environments that run already, where they have some.
        launch_options: More for `BlenderLauncher`.

    Raises:
        ConfigError: Arguments contradict each other.
        As entering a `BlenderLauncher`, and as `EnvConnection.open`.

    Attributes:
        connections: One for each.
        launcher: What has launched them; None where they run already.
    """

    def __init__(
        self,
        scene: Any,
        script: Any,
        num_instances: int,
        *,
        address: str | Sequence[str] | None,
        env_options: Mapping[str, Any] | None,
        autoreset: str,
        real_time: bool | None,
        timeout_s: float | None,
        curve: CurveKeys | None,
        launch_options: Mapping[str, Any],
    ) -> None:
        self._autoreset = autoreset
        self._real_time = real_time
        self._timeout_s = timeout_s
        self._curve = curve
        self._stack = ExitStack()
        self.launcher: BlenderLauncher | None = None
        if address is None:
            addresses = self._launch(scene, script, num_instances, env_options, launch_options)
        else:
            given = {"scene": scene, "script": script, "env_options": env_options, **launch_options}
            if wrong := [name for name, value in given.items() if value is not None]:
                raise ConfigError(
                    f"address is given, and so is {', '.join(wrong)}, which is for Blenders to be launched."
                )
            addresses = address_list(address)
        self._addresses = addresses
        self._epochs = [0] * len(addresses)
        self.connections: list[EnvConnection] = []
        try:
            for btid in range(len(addresses)):
                self.connections.append(self._connect(btid))
            for btid in range(len(addresses)):
                self._open(btid)
        except BaseException:
            self.close()
            raise

    def is_gone(self, btid: int) -> bool:
        """Whether a Blender that was connected to is no more, and has to be `reopened` before anything is asked of it."""
        try:
            self._check(btid)
        except Gone:
            return True
        return False

    def hangs(self, btid: int, error: PeerTimeout) -> None:
        """Has a Blender that does not answer started again.

        Raises:
            PeerTimeout: It was not launched here, so that cannot be done; the same error.
        """
        if self.launcher is None:
            raise error
        self.launcher.restart(btid, f"has not answered in time (timeout_s is {self._timeout_s}): it hangs")

    def reopen(self, btid: int) -> None:
        """Connects to a Blender that was started again, and waits until it serves.

        Raises:
            InstanceError: It could not be started again.
        """
        assert self.launcher is not None
        self.connections[btid].abandon()
        while (state := self._state(btid)).epoch == self._epochs[btid] or state.state != "running":
            time.sleep(_PAUSE_S)
        self._epochs[btid] = state.epoch
        self.connections[btid] = self._connect(btid)
        self._open(btid)

    def close(self) -> None:
        """Closes the connections, and ends what was launched."""
        for connection in self.connections:
            connection.close()
        self.connections = []
        self._stack.close()

    def _launch(
        self,
        scene: Any,
        script: Any,
        num_instances: int,
        env_options: Mapping[str, Any] | None,
        launch_options: Mapping[str, Any],
    ) -> list[str]:
        if script is None:
            raise ConfigError(
                "script is missing: what each Blender runs, and ends with btb.env.run(...). Or give address=."
            )
        known = inspect.signature(BlenderLauncher).parameters.keys() - {"named_sockets", "num_instances"}
        if unknown := sorted(launch_options.keys() - known):
            raise ConfigError(
                f"unknown options {unknown}. Known are those of this class (see its docstring) and of BlenderLauncher: "
                f"{sorted(known)}. Keyword arguments of the environment's class in Blender go into env_options."
            )
        try:
            option = [] if not env_options else [ENV_OPTIONS, json.dumps(dict(env_options))]
        except TypeError as error:
            raise ConfigError(f"env_options are {env_options!r}, expected what JSON can say: {error}.") from None
        per_instance = launch_options.get("instance_args") or [[]] * num_instances
        options = {**launch_options, "instance_args": [[*map(str, args), *option] for args in per_instance]}
        self.launcher = BlenderLauncher(scene, script, num_instances, [ENV_SOCKET], **options)
        self._stack.enter_context(self.launcher)
        self._curve = self.launcher.launch_info.curve
        return self.launcher.launch_info.addresses[ENV_SOCKET]

    def _connect(self, btid: int) -> EnvConnection:
        return EnvConnection(self._addresses[btid], btid, self._curve, lambda: self._check(btid))

    def _open(self, btid: int) -> None:
        timeout_s = DEFAULT_START_TIMEOUT_S if self.launcher is not None else self._timeout_s
        crowded = len(self._addresses) + 1 > _usable_cores()
        self.connections[btid].open(self._autoreset, self._real_time, timeout_s, crowded)

    def _state(self, btid: int) -> InstanceState:
        """What a launched Blender does; raises when it has ended for good."""
        assert self.launcher is not None
        states = self.launcher.instances
        if not states:
            raise ClosedEnvironmentError("Blender was ended, by another thread, while something was asked of it.")
        if states[btid].state == "died":
            self.launcher.assert_alive()
            raise InstanceError(f"Blender instance {btid} has died: {states[btid].detail}")
        if states[btid].state == "ended":
            self.launcher.assert_alive()
            raise InstanceError(
                f"Blender instance {btid} has ended: its script came to its end, or its window was closed. Make a new "
                "environment."
            )
        return states[btid]

    def _check(self, btid: int) -> None:
        """Raises when a Blender will not answer any more."""
        if self.launcher is None:
            return
        state = self._state(btid)
        if state.epoch != self._epochs[btid] or state.state == "restarting":
            raise Gone(f"Blender instance {btid} {state.detail}")


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
