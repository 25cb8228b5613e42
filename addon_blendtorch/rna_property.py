"""From a field of Blender's interface to a randomizer of it: whose property it is, its data path, a range to begin with."""

import math
import re
from dataclasses import dataclass
from typing import Any

import bpy

from blendtorch.btb import randomize
from blendtorch.btb.randomize.enums import items_of
from blendtorch.btb.randomize.place import Place
from blendtorch.errors import SceneError

# A property whose soft range is at most this wide is varied over all of it: a factor, a percentage. Others (a location,
# the power of a light) have limits that no scene means.
_WIDEST_SOFT_RANGE = 100.0
_COLORS = ("COLOR", "COLOR_GAMMA")
_ANGLES = ("ANGLE", "EULER")
# A data path that ends with the key of a custom property: before it, and the key as it is escaped there.
_ENDS_WITH_KEY = re.compile(r'(.*?)\["((?:[^"\\]|\\.)*)"\]', re.DOTALL)
VARIED_TYPES = ("BOOLEAN", "INT", "FLOAT", "ENUM", "STRING")


@dataclass(frozen=True)
class Field:
    """A property of a data block.

    Attributes:
        target: The data block.
        data_path: From the data block to the property.
        owner: What has the property: the data block or a part of it.
        name: Its identifier, or the key of a custom property as `["key"]`.
        index: The component of an array; -1 for all of it.
    """

    target: randomize.Target
    data_path: str
    owner: Any
    name: str
    index: int = -1

    @property
    def value(self) -> Any:
        """Its value now: a number, text or set, or a tuple of them for an array."""
        value = self.owner[self._key] if self._is_custom else getattr(self.owner, self.name)
        if not _is_array(value):
            return value
        return tuple(value) if self.index < 0 else value[self.index]

    @property
    def label(self) -> str:
        """What people call it, such as "Cube: Location Z"."""
        rna = self._rna
        name = self._key if rna is None else rna.name or self.name
        if isinstance(self.owner, bpy.types.NodeSocket):
            name = self.owner.name
        if self.index >= 0:
            letters = "RGBA" if rna is not None and rna.subtype in _COLORS else "XYZW"
            name += f" {letters[self.index] if self.index < len(letters) else self.index}"
        return f"{self.target.name}: {name}"

    def distribution(self) -> Any:
        """A distribution to begin with.

        Colours over 0 to 1 (alpha stays), factors and percentages over their range, other numbers over their value
        +-50 % (+-1, or half a turn for angles, where that is 0), on and off and enums over all there are.

        Raises:
            SceneError: It cannot be varied.
        """
        value, rna = self.value, self._rna
        if rna is not None and rna.type == "ENUM":
            if rna.is_enum_flag:
                raise SceneError(
                    f"{self.label} holds several choices at once, which no distribution gives. Use a hook."
                )
            return randomize.Choice(items_of(self.owner, self.name) or (value,))
        if isinstance(value, str):
            return randomize.Choice((value,))
        if isinstance(value, bool):
            return randomize.Choice((False, True))
        if isinstance(value, tuple) and all(isinstance(one, bool) for one in value):
            return randomize.Choice(((False,) * len(value), (True,) * len(value)))
        limits = self._limits()
        if isinstance(value, tuple):
            ranges = [_range(one, limits, is_alpha=limits.is_color and k == 3) for k, one in enumerate(value)]
            return randomize.Uniform(tuple(low for low, _ in ranges), tuple(high for _, high in ranges))
        return randomize.Uniform(*_range(value, limits, is_alpha=limits.is_color and self.index == 3))

    @property
    def _is_custom(self) -> bool:
        return self.name.startswith("[")

    @property
    def _key(self) -> str:
        return self.name[2:-2]

    @property
    def _rna(self) -> Any:
        return None if self._is_custom else self.owner.bl_rna.properties[self.name]

    def _limits(self) -> "_Limits":
        rna = self._rna
        if rna is not None:
            return _Limits(rna.hard_min, rna.hard_max, rna.soft_min, rna.soft_max, rna.subtype)
        try:
            ui = self.owner.id_properties_ui(self._key).as_dict()
        except TypeError:  # it has none
            ui = {}
        low, high = ui.get("min", -math.inf), ui.get("max", math.inf)
        return _Limits(low, high, ui.get("soft_min", low), ui.get("soft_max", high), ui.get("subtype", "NONE"))


@dataclass(frozen=True)
class _Limits:
    low: float
    high: float
    soft_low: float
    soft_high: float
    subtype: str

    @property
    def is_color(self) -> bool:
        return self.subtype in _COLORS


def find_field(owner: Any, name: str, index: int = -1) -> Field:
    """The field of a property.

    Args:
        owner: What has the property: a data block, or a part of one such as a node's input.
        name: The property's identifier; for a custom property its key.
        index: The component of an array; -1 for all of it.

    Raises:
        SceneError: It belongs to no data block of the file, or cannot be changed or varied; the message says which.
    """
    rna = owner.bl_rna.properties.get(name)
    if rna is None and not _has_custom(owner, name):
        raise SceneError(f"{owner!r} has no property {name!r}.")
    if rna is not None and rna.type not in VARIED_TYPES:
        raise SceneError(f"{rna.name} refers to other data, which no distribution gives. Use a hook.")
    if rna is not None and rna.is_readonly:
        raise SceneError(f"{rna.name} is computed by Blender and cannot be changed.")
    if owner.id_data is None:
        raise SceneError("the field is not part of the file's data: only what is saved in the file can vary.")
    block = owner.id_data
    if block.library is not None:
        raise SceneError(f"{block.name} is linked from {block.library.filepath}. Make it local or an override first.")
    place = Place.of(owner)
    if place.held is not None:
        raise SceneError(f"Blender gives no data path for {owner!r}. Use a hook.")
    part = f'["{bpy.utils.escape_identifier(name)}"]' if rna is None else name
    path = _join(_join(place.embedded, place.path), part)
    is_array = _is_array(owner[name]) if rna is None else getattr(rna, "is_array", False)
    target = randomize.Target(place.kind, place.name)
    return Field(target, path, owner, f'["{name}"]' if rna is None else name, index if is_array else -1)


def find_path(block: bpy.types.ID, data_path: str, index: int = -1) -> Field:
    """The field of a property, by the data path from its data block.

    Raises:
        SceneError: As `find_field`; or there is no such property.
    """
    if found := _ENDS_WITH_KEY.fullmatch(data_path):
        inner, name = found[1], bpy.utils.unescape_identifier(found[2])
    else:
        inner, _, name = data_path.rpartition(".")
    try:
        owner = block.path_resolve(inner) if inner else block
    except ValueError as error:
        raise SceneError(f"{block.name} has no {data_path}: {error}") from None
    return find_field(owner, name, index)


def _has_custom(owner: Any, name: str) -> bool:
    try:
        return name in owner.keys()  # noqa: SIM118  (of Blender's types not all have `in`)
    except TypeError:  # it cannot have custom properties
        return False


def _is_array(value: Any) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, str | bytes | set)


def _join(path: str, part: str) -> str:
    return path + part if not path or not part or part.startswith("[") else f"{path}.{part}"


def _range(value: float, limits: _Limits, is_alpha: bool) -> tuple[float, float]:
    if is_alpha:
        return value, value
    if limits.is_color:
        return 0.0, 1.0
    is_narrow = limits.soft_high - limits.soft_low <= _WIDEST_SOFT_RANGE
    if limits.subtype in ("FACTOR", "PERCENTAGE") or is_narrow:
        low, high = limits.soft_low, limits.soft_high
    elif value:
        low, high = sorted((value * 0.5, value * 1.5))
    else:
        by = math.pi if limits.subtype in _ANGLES else 1.0
        low, high = value - by, value + by
    low, high = max(low, limits.low), min(high, limits.high)
    if isinstance(value, int):
        low, high = math.floor(low), math.ceil(high)
    return low, high
