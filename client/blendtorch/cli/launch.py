"""`blendtorch launch`: starts Blender instances for clients elsewhere, and keeps them until Ctrl-C."""

import argparse
import inspect
import json
import signal
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from ..errors import ConfigError, MissingFileError
from ..launch import BlenderLauncher, LaunchInfo, Restart

# What a configuration file may set: the launcher's own arguments.
CONFIG_KEYS = list(inspect.signature(BlenderLauncher).parameters)


def add_parser(subparsers: Any) -> None:
    """Adds the sub-command."""
    parser = subparsers.add_parser(
        "launch",
        help="start Blender instances and keep them until Ctrl-C",
        description="Starts Blender instances and keeps them until Ctrl-C. A scene needs no script that was set up with "
        "the BlendTorch panel. Clients connect with what --out says: "
        "btt.LaunchInfo.load_json(FILE).addresses['DATA'].",
        epilog="CONFIG.json is an object with the arguments of btt.BlenderLauncher: " + ", ".join(CONFIG_KEYS) + ". "
        "Its scene and script are relative to it. Options given here win.",
    )
    parser.add_argument("source", type=Path, metavar="CONFIG.json|SCENE.blend|SCRIPT.py", help="what to launch")
    parser.add_argument(
        "--sockets", dest="named_sockets", nargs="+", metavar="NAME", help="named sockets (default: DATA)"
    )
    add_launcher_options(parser)
    parser.add_argument("--out", type=Path, default=Path("launch_info.json"), help="(default: %(default)s)")
    parser.set_defaults(run=run, command="launch")


def add_launcher_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that are arguments of the launcher."""
    parser.add_argument(
        "--script",
        type=Path,
        help="Python script to run inside Blender (default: what the panel has set up in the scene)",
    )
    parser.add_argument("-n", "--num-instances", type=int, help="how many Blenders (default: 1)")
    parser.add_argument(
        "--bind", dest="bind_addr", metavar="ADDRESS", help="'primaryip' or '0.0.0.0' for other machines"
    )
    parser.add_argument("--port", dest="start_port", type=int, help="first tcp port (default: any free ones)")
    parser.add_argument("--seed", type=int, help="seed of the launch (default: drawn, or without a script the scene's)")
    parser.add_argument("--window", dest="background", action="store_false", default=None, help="with a window")
    parser.add_argument("--blender", dest="blend_path", help="blender executable, or Python that has bpy")
    parser.add_argument(
        "--on-failure", choices=["restart", "raise"], help="what becomes of an instance that dies (default: restart)"
    )
    parser.add_argument(
        "--memory-budget-mb", type=float, metavar="MB", help="restart an instance that uses more memory"
    )
    parser.add_argument(
        "--shm-bytes", type=int, metavar="BYTES", help="shared memory of each sample channel (default: 256 MiB)"
    )
    parser.add_argument("--log-dir", type=Path, help="folder in which the instances' logs stay")


def run(args: argparse.Namespace) -> int:
    """Launches and waits; returns the exit status."""
    if not args.out.resolve().parent.is_dir():
        raise MissingFileError(f"there is no folder {args.out.resolve().parent} for --out {args.out}. Make it first.")
    options = launcher_options(args.source, args)
    # So that the launch info is removed then, too.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    console = Console()
    launcher = BlenderLauncher(**options)
    with launcher:
        info = launcher.launch_info
        info.save_json(args.out)
        try:
            console.print(f"{len(info.pids)} instance(s) run, seed {launcher.seed}. Connect with {args.out}:")
            for name, addresses in info.addresses.items():
                console.print(f"  {name}: {', '.join(addresses)}", soft_wrap=True)
            with console.status("running; Ctrl-C ends them"):
                _wait(launcher, info, args.out)
            console.print("all instances have ended")
        finally:
            args.out.unlink(missing_ok=True)
    return 0


def _wait(launcher: BlenderLauncher, info: LaunchInfo, out: Path) -> None:
    """Waits until all instances have ended; keeps the process ids in the file up to date."""
    restarts: list[Restart] = []
    while not launcher.wait(timeout_s=1):
        if restarts != launcher.restarts:
            restarts = list(launcher.restarts)
            info.save_json(out)


def launcher_options(source: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The launcher's arguments: those of the source, and the command line's, which win.

    Raises:
        MissingFileError: There is no such source.
        ConfigError: It is none, or names neither a script nor a scene.
    """
    options = read_source(source)
    options |= {key: value for key, value in vars(args).items() if key in CONFIG_KEYS and value is not None}
    if getattr(args, "script_args", None):
        options["instance_args"] = [args.script_args] * (options.get("num_instances") or 1)
    if options.get("script") is None and not options.get("scene"):
        raise ConfigError(
            f"{source} names no script, and no scene that the BlendTorch panel was used in. Give a script: "
            f"blendtorch {args.command} {source} --script SCRIPT.py"
        )
    return options


def read_source(source: Path) -> dict[str, Any]:
    """The launcher's arguments that a configuration file, a scene or a script stands for.

    Raises:
        MissingFileError: There is no such file.
        ConfigError: The configuration is not one, or has keys that the launcher does not know.
    """
    if not source.is_file():
        raise MissingFileError(f"there is no {source} (looked for {source.resolve()}). Check the path.")
    if source.suffix == ".blend":
        return {"scene": source}
    if source.suffix == ".py":
        return {"script": source}
    try:
        config = json.loads(source.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{source} is not JSON: {error}.") from None
    if not isinstance(config, dict):
        raise ConfigError(f"{source} holds a {type(config).__name__}, expected an object.")
    if unknown := sorted(set(config) - set(CONFIG_KEYS)):
        raise ConfigError(f"{source} has the unknown keys {', '.join(unknown)}. Known are {', '.join(CONFIG_KEYS)}.")
    for key in ("scene", "script"):
        if config.get(key):
            config[key] = source.parent / config[key]
    return config
