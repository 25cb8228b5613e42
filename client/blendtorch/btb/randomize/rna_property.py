"""The randomizer of any property there is."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import ConfigError, RandomizeError
from . import enums, find, paths
from .context import Context
from .distributions import Constant, Distribution
from .draws import within
from .fields import is_number
from .randomizer import Randomizer, register
from .target import Target
from .values import copied, custom_key


@register
@dataclass(frozen=True)
class Property(Randomizer):
    """Any property by its data path: what *Copy Data Path* in Blender's menu of a field gives.

    Numbers for whole-number properties are rounded, for on/off properties too (`Choice((True, False))` says it better).
    Enums and texts take a `Choice` of texts. What Blender would limit to a property's range without a word is an error.

    Attributes:
        target: The data block that has it, of any type; of a COLLECTION, each object has it.
        data_path: From the data block, such as `data.lens`, `modifiers["Bevel"].width`, `location[2]`,
            `node_tree.nodes["Principled BSDF"].inputs[0].default_value`, `["my property"]`.
        distribution: In the property's own units: radians, metres, scene-linear colours.
        index: Component of a vector; -1 for all of them.
    """

    target: Target
    data_path: str
    distribution: Distribution
    index: int = -1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.index < -1:
            raise ConfigError(f"Property: index is {self.index}; expected -1 for all components, or one from 0")

    def apply(self, ctx: Context) -> None:
        """Draws a value for the property of each data block."""
        for block in find.blocks(ctx, self.target):
            prop = _Property.at(block, self.data_path, self.index)
            value = prop.value(self.distribution.sample(ctx.rng, prop.size))
            try:
                ctx.change(prop.owner, prop.attribute, value)
            except (AttributeError, OverflowError, TypeError, ValueError) as error:
                raise prop.error(f"Blender does not take {value!r}: {error}") from error

    def check(self, ctx: Context) -> None:
        """Looks whether the path leads somewhere, and whether what the distribution gives fits there."""
        for block in find.blocks(ctx, self.target):
            prop = _Property.at(block, self.data_path, self.index)
            for example in self.distribution.examples():
                prop.value(Constant(example).sample(ctx.rng, prop.size))


@dataclass(frozen=True)
class _Property:
    """A property that was found.

    Attributes:
        owner: The struct.
        attribute: Its attribute, or `["name"]`.
        kind: "FLOAT", "INT", "BOOLEAN", "ENUM", "ENUM_FLAG" or "STRING".
        current: Its value now, a tuple for vectors.
        index: Component to set, or -1.
        low: The least it can be.
        high: The greatest.
        words: It in words, for errors.
    """

    owner: Any
    attribute: str
    kind: str
    current: Any
    index: int
    low: float
    high: float
    words: str

    @classmethod
    def at(cls, block: Any, path: str, index: int) -> "_Property":
        found = paths.resolve(block, path)
        words = f'`{path}` of {block.id_type.lower()} "{block.name}"'
        if index == -1 and found.component is not None:
            index = found.component
        key = custom_key(found.attribute)
        made = cls._custom(found, key, index, words) if key is not None else cls._of_rna(found, index, words)
        if index != -1:
            if not isinstance(made.current, tuple):
                raise made.error(f"it is a single value; expected index -1, not {index}")
            if not -1 < index < len(made.current):
                raise made.error(f"it has {len(made.current)} components, there is no index {index}")
        return made

    @classmethod
    def _of_rna(cls, found: paths.Named, index: int, words: str) -> "_Property":
        rna = found.owner.bl_rna.properties[found.attribute]
        if rna.type in ("POINTER", "COLLECTION"):
            raise RandomizeError(
                f"{words} is no value but holds others; let the path go on, as in `{found.attribute}.name`"
            )
        if rna.is_readonly:
            raise RandomizeError(f"{words} is read-only in Blender")
        kind, current = rna.type, copied(getattr(found.owner, found.attribute))
        if kind == "ENUM" and rna.is_enum_flag:
            kind = "ENUM_FLAG"
        if isinstance(current, tuple) and current and isinstance(current[0], tuple):
            raise RandomizeError(f"{words} is a matrix; set location, rotation and scale instead")
        low, high = (rna.hard_min, rna.hard_max) if kind in ("FLOAT", "INT") else (0.0, 0.0)
        return cls(found.owner, found.attribute, kind, current, index, low, high, words)

    @classmethod
    def _custom(cls, found: paths.Named, key: str, index: int, words: str) -> "_Property":
        current = copied(found.owner[key])
        one = current[0] if isinstance(current, tuple) and current else current
        kinds = {bool: "BOOLEAN", int: "INT", float: "FLOAT", str: "STRING"}
        if type(one) not in kinds:
            raise RandomizeError(f"{words} is {current!r}; expected a number, a text, a bool or a list of numbers")
        kind, low, high = kinds[type(one)], -np.inf, np.inf
        if kind in ("FLOAT", "INT"):
            limits = found.owner.id_properties_ui(key).as_dict()
            low, high = limits.get("min", low), limits.get("max", high)
        return cls(found.owner, found.attribute, kind, current, index, low, high, words)

    @property
    def size(self) -> int | None:
        """How many components are to be drawn; None for a single value."""
        return len(self.current) if isinstance(self.current, tuple) and self.index == -1 else None

    def value(self, drawn: Any) -> Any:
        """What was drawn as the value to assign."""
        if self.kind == "ENUM_FLAG":
            return {self._one(item) for item in (drawn if isinstance(drawn, tuple) else (drawn,))}
        if not isinstance(self.current, tuple):
            return self._one(drawn)
        if self.index == -1:
            return tuple(self._one(item) for item in (drawn.tolist() if isinstance(drawn, np.ndarray) else drawn))
        return (*self.current[: self.index], self._one(drawn), *self.current[self.index + 1 :])

    def error(self, why: str) -> RandomizeError:
        return RandomizeError(f"{self.words}: {why}")

    def _one(self, drawn: Any) -> Any:
        if self.kind in ("ENUM", "ENUM_FLAG", "STRING"):
            if not isinstance(drawn, str):
                raise self.error(f"the distribution gave {drawn!r}; expected a text, as of Choice")
            if self.kind != "STRING" and not enums.offers(self.owner, self.attribute, drawn):
                existing = enums.items_of(self.owner, self.attribute)
                raise self.error(f'there is no "{drawn}"; {find.there_are(drawn, existing)}')
            return drawn
        if isinstance(drawn, bool):
            drawn = float(drawn)
        if not is_number(drawn):
            raise self.error(f"the distribution gave {drawn!r}; expected a number")
        if self.kind == "BOOLEAN":
            return bool(self._within(round(drawn), 0, 1))
        return self._within(round(drawn) if self.kind == "INT" else float(drawn), self.low, self.high)

    def _within(self, value: Any, low: float, high: float) -> Any:
        try:
            within(value, low, high)
        except RandomizeError as error:
            raise self.error(str(error)) from None
        return value
