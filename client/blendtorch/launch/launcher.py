"""Starts Blender instances, waits until their scripts run, keeps them running, and ends them for certain."""

import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import ConfigError, InstanceError, InstanceStartTimeout, MissingFileError, PeerTimeout
from ..recording.origin import identity_of
from ..wire import LaunchArguments
from ..wire.curve import ENVIRONMENT_VARIABLE, CurveKeys, needs_curve
from ..wire.launch_args import DEFAULT_SHM_BYTES, SEED_OF_THE_FILE
from ..wire.owned_folder import OwnedFolder, make_folder
from ..wire.receivers import SHARED_MEMORY
from ..wire.sockets import MessageSocket
from .addresses import choose_addresses, client_address, control_address
from .finder import Blender, find_blender
from .guardian import Guardian
from .instance import Instance
from .launch_info import LaunchInfo
from .monitor import Monitor
from .supervisor import STACK_DUMP_S, TERMINATE_GRACE_S, InstanceState, OnFailure, Policy, Restart, Supervisor

log = logging.getLogger(__name__)

DEFAULT_START_TIMEOUT_S = 120.0
_POLL_S = 0.05
_TELL_AFTER_S = 10.0


class BlenderLauncher:
    """Launches Blender instances that run a script, or what was set up in a scene, as a context manager.

    Entering returns once every instance has reported that its script runs (`btb.parse_blendtorch_args`). Leaving ends
    all instances and what they have started, and removes all files but the logs in `log_dir`. Instances end, too, when
    this process dies, however it dies.

    An instance that is killed, crashes or hangs (sends no heartbeat and uses no CPU time) is started again, while the
    others go on. A script that raises is not: starting it again would not cure it.

    Args:
        scene: The .blend to open; None for Blender's default scene.
        script: The Python script to run inside Blender; None runs what was set up in the scene with the BlendTorch panel
            (`blendtorch.btb.setup`).
        num_instances: How many Blenders to start.
        named_sockets: A name for each socket the script opens; it finds its addresses in `btargs.btsockets[NAME]`.
        seed: Seed of the launch, the same for all instances; None draws one, or without a script takes the one that the
            scene was set up with. See `blendtorch.btb.sample_rng`.
        background: Whether Blender runs without a window. No display is needed then.
        instance_args: More arguments for the script, a list for each instance.
        start_port: First of the tcp ports to use, one for each socket of each instance; None for any free ones.
        bind_addr: Address to bind with tcp; "primaryip" or "0.0.0.0" let other machines connect, those that have
            `launch_info.curve`.
        proto: "tcp", "ipc", or "auto" for ipc where the system has it and neither `start_port` nor `bind_addr` asks
            for tcp.
        blend_path: The `blender` executable, a Python interpreter that has `bpy`, or a folder that holds one of them;
            None to look for one, see `find_blender`.
        start_timeout_s: How many seconds an instance may take to report; None waits as long as it lives.
        log_dir: Where to write `instance-0.log`, ... and leave them; None keeps the logs until the end only.
        on_failure: "restart", or "raise" to take the first failure of an instance for the launch's.
        max_restarts: How many times in a row an instance is restarted that publishes nothing in between.
        memory_budget_mb: An instance that uses more memory (resident, in MB) is ended and started again; None for any.
        frame_budget: Likewise after so many samples (it is looked at once a second), against scripts that leak.
        heartbeat_timeout_s: How many seconds without a heartbeat and without CPU time are a hang; None never is.
        shm_bytes: How much shared memory each sample channel may use, in bytes; 0 for none.

    Raises:
        ConfigError: An argument is out of range, or contradicts another.
        MissingFileError: The scene or the script is not there.

    Entering raises:
        BlenderNotFoundError: No Blender was found that can serve.
        AddressError: A port is in use, or `bind_addr` is not of this machine.
        ScriptError: A script raised; the message ends with the log, which ends with the traceback.
        InstanceError: An instance ended before it reported; the message ends with the tail of its log.
        InstanceStartTimeout: An instance did not report in time; the log ends with where it hangs.

    Attributes:
        launch_info: How to reach the instances.
        log_files: The instances' logs.
        seed: The seed.
        restarts: Each restart of an instance so far.
    """

    def __init__(
        self,
        scene: str | os.PathLike | None = None,
        script: str | os.PathLike | None = None,
        num_instances: int = 1,
        named_sockets: Sequence[str] = ("DATA",),
        seed: int | None = None,
        background: bool = True,
        instance_args: Sequence[Sequence[str]] | None = None,
        start_port: int | None = None,
        bind_addr: str = "127.0.0.1",
        proto: str = "auto",
        blend_path: str | os.PathLike | None = None,
        *,
        start_timeout_s: float | None = DEFAULT_START_TIMEOUT_S,
        log_dir: str | os.PathLike | None = None,
        on_failure: OnFailure = "restart",
        max_restarts: int = 5,
        memory_budget_mb: float | None = None,
        frame_budget: int | None = None,
        heartbeat_timeout_s: float | None = 10.0,
        shm_bytes: int = DEFAULT_SHM_BYTES,
    ) -> None:
        if num_instances < 1:
            raise ConfigError(f"num_instances is {num_instances}, expected at least 1.")
        # The predecessor's users write scene="" for Blender's default scene.
        scene = scene if scene is not None and os.fspath(scene) != "" else None
        if script is None and (scene is None or Path(scene).suffix.lower() != ".blend"):
            seen = "there is no scene, either" if scene is None else f"{os.fspath(scene)} is no .blend"
            raise ConfigError(
                "script is missing: what each Blender runs. Without one a .blend runs what was set up in it with the "
                f"BlendTorch panel, but {seen}. (The first argument is the scene; give script=...)"
            )
        if isinstance(named_sockets, str) or len(set(named_sockets)) != len(named_sockets):
            raise ConfigError(
                f"named_sockets is {named_sockets!r}, expected a list of different names such as ['DATA']."
            )
        if bad := [name for name in named_sockets if not re.fullmatch(r"[\w-]+", name)]:
            raise ConfigError(f"named_sockets has {bad}, expected names of letters, digits, '_' and '-'.")
        if instance_args is not None and len(instance_args) != num_instances:
            raise ConfigError(
                f"instance_args has {len(instance_args)} lists, expected one for each of the {num_instances} instances."
            )
        if bad := [args for args in instance_args or [] if isinstance(args, str)]:
            raise ConfigError(f"instance_args has {bad}, expected a list for each instance, such as [['--size', '3']].")
        if seed is not None and seed < 0:
            raise ConfigError(f"seed is {seed}, expected 0 or more.")
        if shm_bytes < 0:
            raise ConfigError(f"shm_bytes is {shm_bytes}, expected a number of bytes, or 0 for no shared memory.")
        self._policy = Policy(
            on_failure, max_restarts, memory_budget_mb, frame_budget, heartbeat_timeout_s, start_timeout_s
        )
        self._shm_bytes = shm_bytes
        self._scene = None if scene is None else _existing_file("scene", scene)
        self._script = None if script is None else _existing_file("script", script)
        self._num_instances = num_instances
        self._named_sockets = list(named_sockets)
        self.seed = secrets.randbelow(2**31) if seed is None else seed
        # What a scene that is run without a script is set up with says its seed, too.
        self._seed_option = [SEED_OF_THE_FILE] if seed is None and script is None else []
        self._blender_version = ""
        self._classes: dict[str, str] = {}
        self._background = background
        self._instance_args = [list(map(str, args)) for args in instance_args or [[]] * num_instances]
        self._choose_addresses = partial(
            choose_addresses,
            self._named_sockets,
            num_instances,
            proto=proto,
            bind_addr=bind_addr,
            start_port=start_port,
        )
        self._blend_path = blend_path
        self._start_timeout_s = start_timeout_s
        self._log_dir = None if log_dir is None else Path(log_dir)
        self._folders: list[OwnedFolder] = []
        self._guardian: Guardian | None = None
        self._control: MessageSocket | None = None
        self._monitor: Monitor | None = None
        self._reservation = ExitStack()
        self._cancelled = threading.Event()
        self._instances: list[Instance] = []
        self.launch_info = LaunchInfo({})
        self.log_files: list[Path] = []
        self.restarts: list[Restart] = []

    def __enter__(self) -> "BlenderLauncher":
        if self._folders:
            raise ConfigError("this launcher is running already; leave its `with` block first.")
        try:
            blender = find_blender(self._blend_path, windowed=not self._background)
            self._check_not_cancelled()
            self._blender_version = blender.version_string
            log.info("launching %d x Blender %s (%s)", self._num_instances, blender.version_string, blender.path)
            # On a thread, for Ctrl-C reaches the main one only: no process may be started and not be noted.
            with ThreadPoolExecutor(1) as pool:
                pool.submit(self._start, blender).result()
            self._await_hellos()
            if (monitor := self._monitor) is not None:
                self._classes = monitor.classes
                if self._seed_option and monitor.seed is not None:
                    self.seed = monitor.seed
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A dead instance is the cause of the silence that the body of the `with` has run into.
        failure = monitor.failure if (monitor := self._monitor) else None
        self.close()
        if isinstance(error, PeerTimeout) and failure is not None:
            raise failure from error

    def assert_alive(self) -> None:
        """Checks on the instances.

        Raises:
            ScriptError: The script of one has raised.
            InstanceError: One has ended, other than by the end of its script, and is not started again.
        """
        if (monitor := self._monitor) and monitor.failure is not None:  # another thread may close this launcher
            raise monitor.failure

    @property
    def instances(self) -> list[InstanceState]:
        """What each instance does, in the order of their ids; empty while none are launched."""
        monitor = self._monitor  # another thread may close this launcher
        return [] if monitor is None else monitor.states

    def restart(self, btid: int, reason: str) -> None:
        """Has an instance that hangs ended and started again, by the rules for those that hang; does not wait for it.

        Args:
            btid: The instance.
            reason: Why, such as "has not answered for 60 s". Its log says where it hangs.
        """
        if (monitor := self._monitor) is not None:  # another thread may close this launcher
            monitor.condemn(btid, reason)

    def cancel(self) -> None:
        """Ends another thread's entering, or the next one, by InstanceError; a search for a Blender is finished before."""
        self._cancelled.set()

    @property
    def restarting(self) -> bool:
        """Whether any instance is being restarted; its stream goes on when it runs again."""
        monitor = self._monitor  # another thread may close this launcher
        return monitor is not None and monitor.restarting

    @property
    def origin(self) -> dict[str, Any]:
        """Where the samples come from, for a recording's metadata.

        Blender's version, the seed, how many instances there are, the arguments of all of them (or a list for each, where
        they differ), and names and SHA-256 of the scene and the script; None for one that there is not. Names of classes by
        their ids, as texts, where a scene that is run without a script has some.
        """
        alike = all(args == self._instance_args[0] for args in self._instance_args)
        return {
            "blender": self._blender_version,
            "seed": self.seed,
            "num_instances": self._num_instances,
            "scene": identity_of(self._scene),
            "script": identity_of(self._script),
            "instance_args": self._instance_args[0] if alike else self._instance_args,
            **({"classes": self._classes} if self._classes else {}),
        }

    def wait(self, timeout_s: float | None = None) -> bool:
        """Waits until all instances have ended for good.

        Returns:
            Whether they have, within `timeout_s` seconds.

        Raises:
            ScriptError, InstanceError: As `assert_alive`.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while (monitor := self._monitor) and not monitor.over:
            self.assert_alive()
            if deadline is not None and time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        self.assert_alive()
        return True

    def close(self) -> None:
        """Ends the instances and removes their files. Nothing happens when that is done."""
        if self._monitor:
            self._monitor.close()
            self._instances = self._monitor.instances
            self._monitor = None
        for instance in self._instances:
            instance.terminate()
        deadline = time.monotonic() + TERMINATE_GRACE_S
        for instance in self._instances:
            instance.wait(max(0.0, deadline - time.monotonic()))
            instance.kill()  # what it has started may still run
        self._instances = []
        self._reservation.close()
        if self._control:
            self._control.close()
            self._control = None
        for folder in self._folders:
            folder.close()
        self._folders = []
        if self._guardian:
            self._guardian.dismiss()
            self._guardian = None
        self._cancelled.clear()

    def _start(self, blender: Blender) -> None:
        self.restarts = []
        folder, shared_folder = self._make_folders()
        self._guardian = guardian = Guardian([owned.path for owned in self._folders])
        addresses, self._reservation = self._choose_addresses(folder=folder)
        wide = any(needs_curve(address) for of_name in addresses.values() for address in of_name)
        keys = CurveKeys.generate() if wide else None
        self._control = MessageSocket("pull", control_address(folder), bind=True, queue_size=1000)
        control = self._control.addresses[0]
        logs = folder if self._log_dir is None else self._log_dir
        logs.mkdir(parents=True, exist_ok=True)
        # Unbuffered: the log of an instance that is killed shall hold all that was printed. TMPDIR: Blender's own
        # temporary files shall go with it.
        env = {**os.environ, "PYTHONUNBUFFERED": "1", "TMPDIR": str(folder)}
        env.pop(ENVIRONMENT_VARIABLE, None)  # of a launch that this process may be an instance of
        if keys is not None:
            env[ENVIRONMENT_VARIABLE] = keys.for_instances().to_text()

        def start(btid: int, epoch: int = 0, reason: str = "") -> Instance:
            args = LaunchArguments(
                btid,
                self._num_instances,
                self.seed,
                {name: of_name[btid] for name, of_name in addresses.items()},
                control,
                epoch,
                parent=os.getpid(),
                folder=str(shared_folder or folder),
                shm_bytes=self._shm_bytes if shared_folder else 0,
            )
            command = blender.command(self._scene, self._script, background=self._background)
            command += [*args.to_argv(), *self._seed_option, *self._instance_args[btid]]
            return Instance(btid, command, logs / f"instance-{btid}.log", env, guardian, epoch, reason)

        def start_again(btid: int, epoch: int, reason: str) -> Instance:
            instance = start(btid, epoch, reason)
            self.launch_info.commands[btid] = instance.command
            self.launch_info.pids[btid] = instance.pid
            return instance

        for btid in range(self._num_instances):
            self._check_not_cancelled()
            self._instances.append(start(btid))
        self.log_files = [instance.log_file for instance in self._instances]
        self.launch_info = LaunchInfo(
            {name: [client_address(address) for address in of_name] for name, of_name in addresses.items()},
            [instance.command for instance in self._instances],
            [instance.pid for instance in self._instances],
            keys.for_clients() if keys else None,
        )
        now = time.monotonic()
        supervisors = [Supervisor(i, partial(start_again, i.btid), self._policy, now) for i in self._instances]
        self._monitor = Monitor(supervisors, self._control, addresses, self.restarts, keys)

    def _make_folders(self) -> tuple[Path, Path | None]:
        """Makes the folder of the run, and one in shared memory, if that is wanted and there."""
        self._folders = [make_folder()]
        if self._shm_bytes and SHARED_MEMORY.is_dir():
            try:
                self._folders.append(make_folder(SHARED_MEMORY))
            except OSError as error:
                log.warning("%s cannot be used: %s. Samples go through sockets, more slowly.", SHARED_MEMORY, error)
                return self._folders[0].path, None
            return self._folders[0].path, self._folders[1].path
        return self._folders[0].path, None

    def _check_not_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise InstanceError("the launch was cancelled before all instances had reported.")

    def _await_hellos(self) -> None:
        assert self._monitor
        started = time.monotonic()
        told = False
        while waiting := self._monitor.silent:
            self.assert_alive()
            self._check_not_cancelled()
            if not told and time.monotonic() - started > _TELL_AFTER_S:
                told = True
                log.warning(
                    "still waiting for instance %d to load and to call btb.parse_blendtorch_args(); its log is %s",
                    waiting[0].btid,
                    waiting[0].log_file,
                )
            if self._start_timeout_s is not None and time.monotonic() - started > self._start_timeout_s:
                waiting[0].request_stacks()
                time.sleep(STACK_DUMP_S)
                raise InstanceStartTimeout(
                    waiting[0].report(
                        f"has not called btb.parse_blendtorch_args() within {self._start_timeout_s:g} s, but still runs. "
                        "Does its script call it, first thing? If the scene takes long to load, raise start_timeout_s."
                    )
                )
            time.sleep(_POLL_S)


def _existing_file(what: str, path: str | os.PathLike) -> str:
    file = Path(path)
    if not file.is_file():
        raise MissingFileError(f"there is no {what} {file} (looked for {file.resolve()}). Check the path.")
    return str(file.resolve())
