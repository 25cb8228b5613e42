"""The script of scenes that are launched without one: streams what is set up in the scene.

Arguments after those of the launcher: `--share K N` makes the indices K, K + N, ... instead of those of this instance;
`--first INDEX` begins at that index, or the first of the share after it; `--scene NAME` is for files with several scenes;
`--seed-of-file` takes the seed that is set up, as does leaving out `-btseed`.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NoReturn

import bpy

from ...errors import ConfigError, RandomizeError, SceneError
from ...wire import LaunchArguments
from ...wire.launch_args import SEED_OF_THE_FILE
from .. import compat
from ..arguments import parse_blendtorch_args
from ..output_channel import BlenderOutputChannel
from ..sampling import sample_indices
from ..session import current_session, open_session
from .check import check
from .recording import names_of_classes
from .sample_maker import SampleMaker
from .settings import SceneSetup
from .stored import KEY, load

# How soon a window looks again whether the clients have taken a sample.
_FULL_QUEUE_PAUSE_S = 0.01


def run() -> None:
    """Streams the samples of the context's scene on the socket "DATA" until all are made.

    In background it returns after the last one; in a window at once, and the samples are made between Blender's events.

    Raises:
        SceneError: Nothing is set up for the scene, or what is set up cannot be made.
        ConfigError: An argument has the wrong form.
    """
    words = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    args, rest = LaunchArguments.parse(words)
    options = _options(rest)
    number, count, first = _share(options, args.btid, args.num_instances)
    _open_scene(options.scene)
    setup = setup_of(bpy.context.scene)
    if options.seed_of_file or not any(word.partition("=")[0] == "-btseed" for word in words):
        args = replace(args, seed=setup.seed)
    setup = replace(setup, seed=args.seed)
    session = open_session(args)
    session.args, session.classes = args, names_of_classes(setup)
    # Only now the launcher hears that this runs, and the seed: of all that was wrong, entering it tells.
    parse_blendtorch_args()
    channel = BlenderOutputChannel(args.btsockets["DATA"], args.btid, send_hwm=setup.stream.queue_size)
    indices = sample_indices(first_of_share(number, count, first), count, setup.output.episodes or None)
    steps = _publish(setup, channel, indices)
    if compat.is_background():
        for _ in steps:
            pass
    else:
        _run_by_timer(steps, channel)


def _open_scene(name: str | None) -> None:
    """Makes the scene that is asked for the context's.

    Raises:
        SceneError: There is none of that name.
    """
    if name is None or name == bpy.context.scene.name:
        return
    scene = bpy.data.scenes.get(name)
    if scene is None:
        there = ", ".join(repr(other.name) for other in bpy.data.scenes)
        raise SceneError(f"there is no scene {name!r} in {bpy.data.filepath or 'the default file'}, only {there}.")
    bpy.context.window.scene = scene


def setup_of(scene: bpy.types.Scene) -> SceneSetup:
    """What is set up for a scene; what of it cannot be used is printed.

    Raises:
        SceneError: There is nothing, or it cannot be made.
    """
    setup, problems = load(scene)
    if setup is None:
        others = ", ".join(repr(other.name) for other in bpy.data.scenes if KEY in other and other != scene)
        raise SceneError(
            f"there are no BlendTorch settings in scene {scene.name!r} of {bpy.data.filepath or 'the default file'}"
            f"{': ' + problems[0] if problems else ''}{f' (but in {others}: make it the active one)' if others else ''}. "
            "Set it up in Blender, in the BlendTorch tab of the 3D viewport's sidebar (N), and save; or pass script=."
        )
    for problem in problems:
        print(f"blendtorch: {problem}", file=sys.stderr, flush=True)
    if found := check(setup, scene):
        raise SceneError(f"what is set up in scene {scene.name!r} cannot be made:\n" + "\n".join(found))
    return setup


def first_of_share(number: int, count: int, first: int) -> int:
    """The least of `number`, `number + count`, ... that is `first` or more."""
    return number + max(0, -(-(first - number) // count)) * count


def _publish(setup: SceneSetup, channel: BlenderOutputChannel, indices: Iterator[int]) -> Iterator[None]:
    """Makes and sends the samples; yields after each."""
    told: set[tuple[int, str]] = set()

    def on_problem(number: int, error: RandomizeError) -> None:
        # Once, not with each sample.
        words = str(error)
        if (number, words) not in told and len(told) < 100:
            told.add((number, words))
            print(f"blendtorch: left out: {words}", file=sys.stderr, flush=True)

    with SampleMaker(setup, on_problem=on_problem, reserve=channel.reserve) as maker:
        for index in indices:
            for sample in maker.samples(index):
                channel.publish(**sample)
                yield


def _run_by_timer(steps: Iterator[None], channel: BlenderOutputChannel) -> None:
    session = current_session()
    assert session is not None  # it was opened by parse_blendtorch_args

    def step() -> float | None:
        if not session.ready():
            return _FULL_QUEUE_PAUSE_S
        try:
            next(steps)
        except StopIteration:
            channel.close()  # clients are told that this was all
            return None
        except SystemExit:
            raise  # which ends Blender with that status
        except BaseException as error:  # Blender prints exceptions of timers and goes on
            session.fail(error)
            if session.args.control:
                session.exit(1)
            return None
        return 0.0

    bpy.app.timers.register(step)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(
            f"{message}. A scene without a script takes --share K N, --first INDEX, --scene NAME and --seed-of-file."
        )


def _options(rest: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--share", nargs=2, type=int)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--scene")
    parser.add_argument(SEED_OF_THE_FILE, dest="seed_of_file", action="store_true")
    return parser.parse_args(rest)


def _share(options: argparse.Namespace, btid: int, num_instances: int) -> tuple[int, int, int]:
    """Number and size of the share, and the first index."""
    number, count = options.share or (btid, num_instances)
    if not 0 <= number < count:
        raise ConfigError(f"--share is {number} {count}, expected K and N with 0 <= K < N.")
    if options.first < 0:
        raise ConfigError(f"--first is {options.first}, expected 0 or more.")
    return number, count, options.first
