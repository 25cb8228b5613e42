"""What all randomizers have in common, the registry of their types, and JSON. No bpy here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from ...errors import ConfigError
from .distributions import DISTRIBUTIONS, Distribution
from .fields import check_fields, fields_to_json, from_fields, plain
from .target import OBJECTS, Target

if TYPE_CHECKING:
    from .context import Context

TYPES: dict[str, type[Randomizer]] = {}
"""All types of randomizers by the name they have in JSON, in order of registration."""


@dataclass(frozen=True, kw_only=True)
class Randomizer:
    """One entry of the list: what varies, and how. Make your own as a frozen dataclass with `@randomize.register`.

    Its fields are plain: numbers, texts, bools, None, tuples, `Target` and `Distribution`. They are checked against
    their annotations when it is made.

    Attributes:
        label: What people call it, for lists and errors.
        mute: Left out, and draws nothing.
        per: "sample": anew for each sample; "episode": once before an episode's first frame.
        seed: None: it draws from the sample's own generator, after those before it in the list. A number: from a generator
            of its own, so that it gives the same whatever stands before it. Two of the same seed draw the same numbers.
        on_error: "stop", or "skip": what this one changed is put back, and the others go on.
    """

    label: str = ""
    mute: bool = False
    per: Literal["sample", "episode"] = "sample"
    seed: int | None = None
    on_error: Literal["stop", "skip"] = "stop"

    TARGETS: ClassVar[tuple[str, ...] | None] = None
    """Which types its field `target` may have; None for any. For panels, and checked when it is made."""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.seed is not None and self.seed < 0:
            raise ConfigError(f"{type(self).__name__}: seed is {self.seed}; expected 0 or more")
        target = getattr(self, "target", None)
        if isinstance(target, Target) and self.TARGETS is not None and target.type not in self.TARGETS:
            expected = ", ".join(self.TARGETS)
            raise ConfigError(f"{type(self).__name__}: its target is {target}; expected one of type {expected}")

    def apply(self, ctx: Context) -> None:
        """Draws with `ctx.rng`, and changes the scene by `ctx.change`.

        Raises:
            SceneError, ConfigError: The scene lacks what this needs. What was changed before is put back.
        """
        raise NotImplementedError

    def post_frame(self, ctx: Context) -> None:
        """Called when the sample was rendered, with its fields in `ctx.sample`; for those types that define it."""

    def check(self, ctx: Context) -> None:
        """Looks whether `apply` could work, and changes nothing. A type that does not say how has its targets looked up.

        The entries of a list are checked one by one in the scene as it is. `ctx.announced` is for those that need what one
        before them adds.

        Raises:
            SceneError, ConfigError: It could not.
        """
        from .find import blocks, objects  # which need Blender

        look_up = objects if self.TARGETS == OBJECTS else blocks
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Target):
                look_up(ctx, value)

    def to_json(self) -> dict[str, Any]:
        """Its fields and, as "type", its name."""
        return {"type": type(self).__name__, **fields_to_json(self)}


_R = TypeVar("_R", bound=type[Randomizer])


def register(cls: _R) -> _R:
    """Makes a type of randomizer known, so that it can be loaded from JSON: a decorator above `@dataclass(frozen=True)`.

    Raises:
        ConfigError: Another type has its name.
    """
    known = TYPES.get(cls.__name__)
    # A module that is loaded again registers its own anew.
    if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ConfigError(f"a randomizer {cls.__name__!r} is registered already, by {known.__module__}")
    TYPES[cls.__name__] = cls
    return cls


def to_json(randomizer: Randomizer) -> dict[str, Any]:
    """A randomizer as plain values for `json.dumps`.

    Returns:
        `{"type": "LocationInBox", "target": {"type": "OBJECT", "name": "Cube"}, "low": [0, 0, 0], ...}`, with all fields.
    """
    return randomizer.to_json()


def from_json(values: Mapping[str, Any]) -> Randomizer:
    """The randomizer that `to_json` has made these values of.

    Args:
        values: As `json.loads` gives them. Fields that have a default may be missing.

    Raises:
        ConfigError: The type or a field is unknown, a field is missing, or its value is not allowed.
    """
    cls = _type_of(values, TYPES, "randomizer")
    fields = {name: _field(value) for name, value in values.items() if name != "type"}
    return from_fields(cls, fields, f"a {cls.__name__}")


def _field(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return plain(value)
    fields = {name: plain(item) for name, item in value.items() if name != "type"}
    # Types of targets are in capitals, names of distributions are not.
    if str(value.get("type")).isupper():
        return from_fields(Target, {"type": value["type"], **fields}, "a target")
    cls: type[Distribution] = _type_of(value, DISTRIBUTIONS, "distribution")
    return from_fields(cls, fields, f"a {cls.__name__}")


def _type_of(values: Any, known: Mapping[str, type], what: str) -> Any:
    if not isinstance(values, Mapping):
        raise ConfigError(f'a {what} is {values!r}; expected an object with a "type"')
    name = values.get("type")
    if not isinstance(name, str) or name not in known:
        raise ConfigError(
            f"there is no {what} of type {name!r}; there are {', '.join(known)}. Was it saved by a newer version?"
        )
    return known[name]
