"""Applying a list of randomizers to the scene."""

import traceback
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import bpy
import numpy as np

from ...errors import BlendTorchError, RandomizeError
from ..sampling import sample_rng
from .changes import Changes
from .context import Context
from .place import Place
from .randomizer import Randomizer

OnProblem = Callable[[int, RandomizeError], object]
"""Called with the entry's place in the list, from 0, and the error."""


def apply(
    randomizers: Iterable[Randomizer],
    *,
    seed: int,
    address: Sequence[int],
    per: Literal["sample", "episode"] | None = None,
    index: int = 0,
    frame: int | None = None,
    episode: int = 0,
    camera: bpy.types.Object | None = None,
    scene: bpy.types.Scene | None = None,
    on_problem: OnProblem | None = None,
) -> Changes:
    """Changes the scene as randomizers say, in the order of the list.

    The same seed, address and list make the same scene, in any Blender and on any machine.

    Args:
        randomizers: Those that are muted are left out.
        seed: Of the launch, `btargs.seed`.
        address: Of the sample, as of `btb.sample_rng`: its index; with episodes, index and frame.
        per: Only those for each sample, or for each episode; None for all.
        index: Of the sample or episode, for hooks.
        frame: Of the scene, for hooks; None for the one that it is at.
        episode: For hooks.
        camera: That renders: what a target of type CAMERA without a name means. None for the scene's active one.
        scene: None for the context's.
        on_problem: Told of entries that failed and are set to "skip"; None to warn of them.

    Returns:
        What was changed: a context at whose end all is as it was before.

    Raises:
        RandomizeError: An entry failed that is set to "stop", and everything is as before. The message says which, and why;
            `number` is its place in the list, from 0.
    """
    scene = bpy.context.scene if scene is None else scene
    changes = Changes(scene)
    rng = sample_rng(seed, *address)
    report = _warn if on_problem is None else on_problem
    # Animation that is yet to be evaluated, as just after loading, would come later and undo what is set here.
    changes.update()
    try:
        for number, randomizer in enumerate(randomizers):
            if randomizer.mute or per not in (None, randomizer.per):
                continue
            own = rng if randomizer.seed is None else own_rng(seed, address, randomizer.seed)
            ctx = Context(
                rng=own,
                seed=seed,
                index=index,
                frame=scene.frame_current if frame is None else frame,
                episode=episode,
                changes=changes,
                scene_at=Place.of(scene),
                camera_at=_place_of(scene.camera if camera is None else camera),
            )
            _apply_one(number, randomizer, ctx, report)
    except BaseException:
        changes.restore()
        raise
    changes.update()
    return changes


def check(
    randomizers: Iterable[Randomizer],
    *,
    camera: bpy.types.Object | None = None,
    scene: bpy.types.Scene | None = None,
) -> list[RandomizeError]:
    """Looks whether randomizers could be applied, and changes nothing.

    Args:
        randomizers: Those that are muted are left out.
        camera: That renders; None for the scene's active one.
        scene: None for the context's.

    Returns:
        An error for each that could not; its `number` is the place in the list, from 0.
    """
    scene = bpy.context.scene if scene is None else scene
    found = []
    announced: set[tuple[str, str]] = set()
    for number, randomizer in enumerate(randomizers):
        if randomizer.mute:
            continue
        ctx = Context(
            rng=np.random.default_rng(0),
            seed=0,
            index=0,
            frame=scene.frame_current,
            episode=0,
            changes=Changes(scene),
            scene_at=Place.of(scene),
            camera_at=_place_of(scene.camera if camera is None else camera),
            announced=announced,
        )
        try:
            randomizer.check(ctx)
        except Exception as error:
            found.append(_error_of(number, randomizer, error))
    return found


def own_rng(seed: int, address: Sequence[int], own_seed: int) -> np.random.Generator:
    """The generator of a randomizer that has a seed of its own.

    A key, for as one more number of the address a seed of 0 would give the sample's own generator once more.
    """
    return np.random.default_rng(np.random.SeedSequence([seed, *address], spawn_key=(own_seed,)))


def _apply_one(number: int, randomizer: Randomizer, ctx: Context, report: OnProblem) -> None:
    changes = ctx.changes
    before = len(changes)
    try:
        randomizer.apply(ctx)
    except Exception as error:
        problem = _error_of(number, randomizer, error)
        changes.restore_to(before)
        if randomizer.on_error == "stop":
            raise problem from error
        report(number, problem)
        return
    if type(randomizer).post_frame is Randomizer.post_frame:
        return

    def after(sample: dict[str, Any], frame: int | None) -> None:
        ctx.sample = sample
        ctx.frame = ctx.frame if frame is None else frame
        try:
            randomizer.post_frame(ctx)
        except Exception as error:
            problem = _error_of(number, randomizer, error)
            if randomizer.on_error == "stop":
                raise problem from error
            report(number, problem)

    changes.call_after(after)


def _error_of(number: int, randomizer: Randomizer, error: Exception) -> RandomizeError:
    """The error with the entry in words: its number from 1, as people count."""
    what = type(randomizer).__name__
    target = getattr(randomizer, "target", None)
    what = what if target is None else f"{what} of {target}"
    label = f' "{randomizer.label}"' if randomizer.label else ""
    words, trace = str(error), getattr(error, "traceback", "")
    if not isinstance(error, BlendTorchError):
        trace = "".join(traceback.format_exception(error)).rstrip()
        words = f"{type(error).__name__}: {error}\n{trace}"
    return RandomizeError(f"randomizer {number + 1}{label} ({what}): {words}", number, trace)


def _place_of(camera: bpy.types.Object | None) -> Place | None:
    return None if camera is None else Place.of(camera)


def _warn(number: int, problem: RandomizeError) -> None:
    warnings.warn(f"left out: {problem}", RuntimeWarning, stacklevel=3)
