"""What was changed of the scene, and how it was before."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import bpy

from ...errors import RandomizeError
from .action import Action
from .animation import silence_drivers, silenced
from .place import Place
from .selection import keep_selection
from .values import CustomValue, assign, copied, custom_key, neighbours, same, set_custom, tag

_PASSES = 2
"""Values that depend on each other agree after one pass or two."""


class Changes:
    """What randomizers have changed: a context that puts it back at its end, in reverse order and to the bit.

    ::

        with randomize.apply(randomizers, seed=btargs.seed, address=(index,)) as changes:
            sample = {"image": renderer.render()}
            changes.post_frame(sample)

    It refers to things by name, not by address, so that it may outlive an undo. What was removed meanwhile is not
    missed. Made by `randomize.apply`.
    """

    def __init__(self, scene: bpy.types.Scene) -> None:
        self._scene = Place.of(scene)
        self._undo: list[Callable[[], object]] = []
        self._after: list[Callable[[dict[str, Any], int | None], None]] = []
        self._properties: list[tuple[Place, str]] = []
        self._to_evaluate = True  # who made this may have changed something just before

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()

    def __len__(self) -> int:
        """How many changes there are to put back."""
        return len(self._undo)

    def __bool__(self) -> bool:
        return True

    def change(self, owner: Any, attribute: str, value: Any) -> None:
        """Sets an attribute until `restore`.

        Args:
            owner: A data block or a struct of one.
            attribute: Its name; `["name"]` with brackets and quotes for a custom property, which need not be there.
            value: As one would assign it.

        Raises:
            AttributeError, TypeError, ValueError: Blender does not take it.
        """
        unmute = silence_drivers(owner, attribute)
        if unmute is not None:
            self.on_restore(unmute)  # before the value, so that it comes after it
        key = custom_key(attribute)
        if key is not None:
            self._change_custom(owner, key, value)
            return
        before = copied(getattr(owner, attribute))
        if same(before, copied(value)):
            # Not assigned, for Blender takes any assignment as a change that must be evaluated.
            self._properties.append((Place.of(owner), attribute))
            return
        around = neighbours(owner, attribute)
        select = keep_selection(owner, attribute)
        if select is not None:
            self._undo.append(select)
        assign(owner, attribute, value)
        changed = _changed(owner, attribute, around)
        place = Place.of(owner)  # afterwards: it may be a name that was changed
        self._undo.append(Action(_put_back, (place, attribute, before, changed)))
        self._properties += [(place, name) for name in (attribute, *changed)]
        self._to_evaluate = True

    def on_restore(self, action: Callable[[], object]) -> None:
        """Has something else done by `restore`, in its turn of the reverse order."""
        self._undo.append(action)
        self._to_evaluate = True

    def update(self) -> None:
        """Has Blender evaluate what was changed, so that `matrix_world` and meshes are those of now."""
        if not self._to_evaluate:
            return
        self._to_evaluate = False
        layer = self._layer()
        if layer is not None:
            layer.update()

    def evaluated(self, obj: bpy.types.Object) -> bpy.types.Object | None:
        """An object as it is evaluated now; None of those that Blender leaves out.

        It leaves out what is disabled in viewports (the monitor symbol, of object or collection) or excluded from the
        view layer, unless something else depends on it. What is hidden by the eye is evaluated.
        """
        self.update()
        layer = self._layer()
        found = None if layer is None else obj.evaluated_get(layer.depsgraph)
        return found if found is not None and found.is_evaluated else None

    @contextmanager
    def over_animation(self) -> Iterator[None]:
        """A context in which keyframes and drivers leave alone what was changed.

        For what evaluates the frame anew, as final renders do::

            with changes.over_animation():
                picture = frame_renderer.render()["image"]
        """
        wanted = [(place, name, _value(place, name)) for place, name in dict.fromkeys(self._properties)]
        try:
            with silenced(self._properties):
                yield
        finally:
            # 4.2 evaluates the scene itself by the curves that it knew, after a render in which they were silent.
            for place, name, value in wanted:
                if not same(_value(place, name), value):
                    _set_value(place, name, value)
                    self._to_evaluate = True
            self.update()

    def post_frame(self, sample: dict[str, Any], frame: int | None = None) -> None:
        """Calls the hooks' `post_frame(ctx)`, in the order of the list.

        Args:
            sample: The fields of the sample as `ctx.sample`, to which they may add.
            frame: The frame it is of; None for the one that was given to `apply`.

        Raises:
            RandomizeError: One raised, and is set to stop.
        """
        for call in self._after:
            call(sample, frame)

    def restore(self) -> None:
        """Puts everything back, in reverse order. Again it does nothing.

        One thing that cannot be put back does not keep the others from it.

        Raises:
            RandomizeError: Blender did not take a value; all others are back.
        """
        self._after.clear()
        self.restore_to(0)

    def copy(self) -> Changes:
        """One that puts the same back, whether or not this one has: an undo may bring it again.

        It does not call hooks' `post_frame`, and holds nothing of a sample.
        """
        twin = copy.copy(self)
        twin._undo, twin._after, twin._properties = list(self._undo), [], list(self._properties)
        return twin

    def is_like(self, other: Changes) -> bool:
        """Whether the other one puts the same back, as far as can be told: actions of `on_restore` are never alike."""
        return self._scene == other._scene and self._undo == other._undo

    def restore_to(self, number: int) -> None:
        """Puts back all but the first changes, so many as `len` told before."""
        problems = []
        if len(self._undo) > number:
            self._to_evaluate = True
        if number == 0:
            self._properties.clear()
        while len(self._undo) > number:
            action = self._undo.pop()
            try:
                action()
            except Exception as error:
                problems.append(f"{type(error).__name__}: {error}")
        self.update()
        if problems:
            raise RandomizeError("could not put back all that was changed: " + "; ".join(problems))

    def call_after(self, call: Callable[[dict[str, Any], int | None], None]) -> None:
        """Has `post_frame` call something with the sample and the frame."""
        self._after.append(call)

    def _layer(self) -> bpy.types.ViewLayer | None:
        scene = self._scene.find()
        if scene is None:
            return None
        return bpy.context.view_layer if bpy.context.scene == scene else scene.view_layers[0]

    def _change_custom(self, owner: Any, key: str, value: Any) -> None:
        if key not in owner:
            set_custom(owner, key, value)
            place = Place.of(owner)
            self._undo.append(Action(_remove_custom, (place, key)))
            self._to_evaluate = True
        else:
            place, before = Place.of(owner), CustomValue.of(owner, key)
            if not before.is_same(value):
                # Before it is set, for half of an array may be when that fails.
                self._undo.append(Action(_put_back_custom, (place, key, before)))
                set_custom(owner, key, value)
                self._to_evaluate = True
        self._properties.append((place, f'["{bpy.utils.escape_identifier(key)}"]'))


def _changed(owner: Any, attribute: str, before: dict[str, Any]) -> dict[str, Any]:
    """Values of before that are others now, the attribute itself left out."""
    names = (name for name in before if name != attribute)
    return {name: before[name] for name in names if not same(copied(getattr(owner, name, before[name])), before[name])}


def _put_back(place: Place, attribute: str, before: Any, changed: dict[str, Any]) -> None:
    owner = place.find()
    if owner is None:
        return
    around = neighbours(owner, attribute)
    _assign_if_other(owner, attribute, before)
    # Also what only putting back has changed: turning a mode of rotation back computes angles anew.
    changed = _changed(owner, attribute, around) | changed
    # What it is computed from comes last, and has the last word: a lens, of a lens given by its angle.
    for _ in range(_PASSES):
        for name, value in changed.items():
            _assign_if_other(owner, name, value)


def _assign_if_other(owner: Any, name: str, value: Any) -> None:
    if same(copied(getattr(owner, name)), value):
        return
    if isinstance(value, Place) and value.find() is None:
        return  # it pointed to what was removed
    if value == "" and owner.bl_rna.properties[name].type == "ENUM":
        return  # it was none of those offered, and cannot be set to that
    assign(owner, name, value)


def _value(place: Place, attribute: str) -> Any:
    """A value as `copied`; None of what is not there any more."""
    owner, key = place.find(), custom_key(attribute)
    if owner is None or key is None:
        return copied(getattr(owner, attribute, None))
    return copied(owner.get(key))


def _set_value(place: Place, attribute: str, value: Any) -> None:
    owner, key = place.find(), custom_key(attribute)
    if owner is None:
        return
    if key is None:
        _assign_if_other(owner, attribute, value)
    elif value is not None:
        set_custom(owner, key, value)


def _put_back_custom(place: Place, key: str, before: CustomValue) -> None:
    before.put_back(place.find(), key)


def _remove_custom(place: Place, key: str) -> None:
    owner = place.find()
    if owner is not None and key in owner:
        del owner[key]
        tag(owner)
