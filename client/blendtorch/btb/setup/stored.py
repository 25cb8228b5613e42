"""Setups as JSON, in the .blend: read leniently, for they may be of an older or newer version, and written in full.

What cannot be used is said in words, and nothing that a newer version has saved is lost.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import Any

import bpy

from ...errors import BlendTorchError, ConfigError, SceneError
from .. import randomize
from .settings import SECTIONS, ClassEntry, SceneSetup, UnknownRandomizer

KEY = "blendtorch_setup"
"""The custom property of a scene that holds its setup, JSON text.

Not "blendtorch": up to Blender 4.5 the properties of add-ons are custom properties, too, and the panel's are called so.
"""

VERSION = 1
"""The version of what `to_json` makes."""

MAX_BYTES = 4 << 20
"""Longer texts are no setup."""

MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""By version what makes JSON of the next version of it. A change of the format adds one and raises `VERSION`.

One is to leave names alone that are new in the next version: this version may have kept them, and saved its own again.
"""


def to_json(setup: SceneSetup) -> dict[str, Any]:
    """A setup as plain JSON values, with all defaults and `version`; what a newer version had saved is in it again."""
    data: dict[str, Any] = {"version": VERSION, "seed": setup.seed}
    for name in SECTIONS:
        data[name] = _plain(asdict(getattr(setup, name)))
    data["randomizers"] = [_of_randomizer(one) for one in setup.randomizers]
    of_output = setup.unknown.get("output", {})
    for entry in data["output"]["classes"]:
        for name, value in of_output.get("classes", {}).get(_key_of(entry), {}).items():
            entry.setdefault(name, value)
    for name, value in setup.unknown.items():
        if name in SECTIONS and isinstance(value, Mapping):
            data[name] = {**value, **data[name]}
        else:
            data.setdefault(name, value)
    return data


def from_json(data: Any) -> tuple[SceneSetup, list[str]]:
    """Reads what `to_json` made, of this version or any other.

    A value that cannot be used is the default instead. A randomizer that cannot be used becomes an `UnknownRandomizer`,
    which does nothing and is saved again. Names that are not known, of a newer version, are kept in `SceneSetup.unknown`.

    Args:
        data: The JSON, read.

    Returns:
        The setup, and what was wrong, in words; an empty list if nothing.
    """
    problems: list[str] = []
    if not isinstance(data, Mapping):
        return SceneSetup(), [f"the settings are {_short(data)}, expected a JSON object: the defaults are used."]
    data = _migrated(dict(data), problems)
    unknown: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for name, value in data.items():
        if name in SECTIONS:
            values[name] = _section(name, value, unknown, problems)
        elif name == "seed":
            values |= _usable(SceneSetup, {"seed": value}, "", problems)
        elif name == "randomizers":
            values[name] = _randomizers(value, problems)
        elif name != "version":
            unknown[name] = value
            problems.append(_not_known(name))
    return SceneSetup(**values, unknown=unknown), problems


def save(setup: SceneSetup, scene: bpy.types.Scene) -> None:
    """Puts a setup into a scene, and so into its .blend when that is saved. Works without the add-on.

    Raises:
        SceneError: The scene is linked from a library, so that it cannot be changed.
        ConfigError: The setup is longer than can be read again.
    """
    if scene.library is not None:
        raise SceneError(f"scene {scene.name!r} is linked from {scene.library.filepath}: set it up in that file.")
    text = json.dumps(to_json(setup), indent=1, ensure_ascii=False)
    if len(text.encode()) > MAX_BYTES:
        raise ConfigError(f"the settings have {len(text.encode())} bytes, expected at most {MAX_BYTES}: remove some.")
    if scene.get(KEY) == text:
        return
    if KEY in scene:
        del scene[KEY]  # what is of another type cannot be assigned to
    scene[KEY] = text


def load(scene: bpy.types.Scene) -> tuple[SceneSetup | None, list[str]]:
    """The setup of a scene.

    Returns:
        The setup, None if the scene has none or none that can be read; and what was wrong, in words, as of `from_json`.
    """
    text = scene.get(KEY)
    if text is None:
        return None, []
    where = f"the custom property {KEY!r} of scene {scene.name!r}"
    if not isinstance(text, str):
        return None, [f"{where} is of type {type(text).__name__}, expected the JSON text that BlendTorch saves."]
    if len(text) > MAX_BYTES:
        return None, [f"{where} has {len(text)} letters, expected at most {MAX_BYTES}: BlendTorch did not write it."]
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        return None, [f"{where} is not the JSON text that BlendTorch saves ({error}): it begins {_short(text)}."]
    try:
        return from_json(data)
    except RecursionError:
        return None, [f"{where} has lists within lists within lists, too many to be read: BlendTorch did not write it."]


def _migrated(data: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    version = data.get("version")
    if type(version) is not int or version < min(MIGRATIONS, default=VERSION):
        problems.append(
            f"version is {_short(version)}, expected {VERSION}: the settings are read as of version {VERSION}."
        )
        return data
    if version > VERSION:
        problems.append(
            f"the settings were saved by a newer BlendTorch (version {version} of the settings, this one knows {VERSION}): "
            "what it knows is used, and the rest kept. Update BlendTorch to use all."
        )
    while version < VERSION:
        try:
            data = MIGRATIONS[version](data)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            problems.append(f"the settings of version {version} could not be brought up to date ({error!r}).")
            return data
        version += 1
    return data


def _section(name: str, value: Any, unknown: dict[str, Any], problems: list[str]) -> Any:
    kind = SECTIONS[name]
    if not isinstance(value, Mapping):
        problems.append(f"{name} is {_short(value)}, expected a JSON object: the defaults are used.")
        return kind()
    known = {item.name for item in fields(kind)}
    for key in value:
        if key not in known:
            unknown.setdefault(name, {})[key] = value[key]
            problems.append(_not_known(f"{name}.{key}"))
    values = {key: value[key] for key in value if key in known}
    if "classes" in values:
        values["classes"] = _classes(values["classes"], unknown, problems)
    return kind(**_usable(kind, values, f"{name}.", problems))


def _usable(kind: type, values: dict[str, Any], where: str, problems: list[str]) -> dict[str, Any]:
    """Those values with which an object of a kind can be made."""
    usable = dict(values)
    while True:
        try:
            kind(**usable)
            return usable
        except ConfigError as error:
            problems.append(f"{where}{error} The default is used.")
            # Messages of settings begin with the name of the field. Of first and last frame the other may be left.
            named = str(error).split(" ", 1)[0]
            usable.pop(named if named in usable else "frame_end" if "frame_end" in usable else next(iter(usable)))


def _classes(value: Any, unknown: dict[str, Any], problems: list[str]) -> tuple[ClassEntry, ...]:
    if not isinstance(value, list | tuple):
        problems.append(f"output.classes is {_short(value)}, expected a list: there are no classes.")
        return ()
    known = {item.name for item in fields(ClassEntry)}
    entries = []
    for number, item in enumerate(value):
        where = f"output.classes[{number}]"
        if not isinstance(item, Mapping):
            problems.append(f"{where} is {_short(item)}, expected a JSON object: it is left out.")
            continue
        try:
            entries.append(ClassEntry(**{key: item[key] for key in item if key in known}))
        except ConfigError as error:
            problems.append(f"{where}: {error} It is left out.")
            continue
        for key in item:
            if key not in known:
                # Where the list of classes is, which is known, there are those of its entries.
                of_classes = unknown.setdefault("output", {}).setdefault("classes", {})
                of_classes.setdefault(_key_of(item), {})[key] = item[key]
                problems.append(_not_known(f"{where}.{key}"))
    return tuple(entries)


def _randomizers(value: Any, problems: list[str]) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        problems.append(f"randomizers is {_short(value)}, expected a list: there are none.")
        return ()
    read: list[Any] = []
    for number, item in enumerate(value, start=1):
        try:
            read.append(randomize.from_json(item))
        # Whatever is wrong with what somebody has saved, the rest is to be read.
        except (BlendTorchError, TypeError, ValueError, KeyError, AttributeError) as error:
            kind = item.get("type") if isinstance(item, Mapping) else None
            words = _cut(str(error), 1000)
            problems.append(f"randomizer {number} ({_short(kind or item)}) cannot be used and is kept muted: {words}")
            read.append(UnknownRandomizer(item, words))
    return tuple(read)


def _of_randomizer(one: Any) -> Any:
    return _plain(one.raw if isinstance(one, UnknownRandomizer) else randomize.to_json(one))


def _key_of(entry: Mapping[str, Any]) -> str:
    """By what the keys of a newer version are kept with the entry of classes that they belong to."""
    return f"{entry.get('type', 'OBJECT')}:{entry.get('target', '')}"


def _plain(value: Any) -> Any:
    """Tuples as the lists that they are when they are read again."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _not_known(path: str) -> str:
    return f"{path} is not known to this version of BlendTorch: it is not used, and saved again as it is."


def _short(value: Any) -> str:
    return _cut(repr(value), 60)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."
