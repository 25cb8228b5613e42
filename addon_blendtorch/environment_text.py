"""The environment that a text defines.

The text is executed as a module of its own, never as `__main__`: what it has below `if __name__ == "__main__":` is for
launches. Where it calls `btb.env.run(...)` all the same, nothing is served there: what it gives to it is taken (see
`btb.env.run.handed_over`), and the text goes on behind the call.
"""

import linecache
import sys
from types import ModuleType

import bpy

from blendtorch.btb.env import BaseEnv, BaseVectorEnv
from blendtorch.btb.env.run import Environment, Maker, handed_over, make_env
from blendtorch.errors import BlendTorchError, ConfigError, SceneError

_BASES = (BaseEnv, BaseVectorEnv)
_EXPECTED = "a class that inherits from btb.env.BaseEnv or btb.env.BaseVectorEnv"


def environment_of(text: bpy.types.Text, class_name: str = "") -> tuple[Environment, bool]:
    """Executes a text, and makes the environment that it defines.

    That is of the class that is named, or else what the text gives to `btb.env.run`, or else of the only subclass of
    `BaseEnv` or `BaseVectorEnv` that it defines, or, if it defines none, imports.

    Args:
        text: The text.
        class_name: The name of the class in the text; "" if none is named.

    Returns:
        The environment, and whether the text asks `btb.env.run` for real time.

    Raises:
        ConfigError: It is not clear which class, or the text has none.
        SceneError: The text or the class raised.
    """
    given: list[tuple[Maker, bool]] = []
    with handed_over(lambda env, real_time: given.append((env, real_time))):
        module = _executed(text)
    if class_name:
        make: Maker = _class_of_name(module, text.name, class_name)
    elif len(given) == 1:
        make = given[0][0]
    elif given:
        raise ConfigError(
            f'the text "{text.name}" calls btb.env.run {len(given)} times, expected once. Remove the other calls, or name '
            "the class."
        )
    else:
        make = _only_class(module, text.name)
    name = getattr(make, "__name__", type(make).__name__)
    try:
        return make_env(make, {}), any(real_time for _, real_time in given)
    except BlendTorchError:
        raise
    except (Exception, SystemExit) as error:
        raise raised(f'{name}() of the text "{text.name}"', error) from error


def forget(text_name: str) -> None:
    """Lets go of the module that a text of that name was executed as."""
    sys.modules.pop(_module_name(text_name), None)


def raised(what: str, error: BaseException) -> SceneError:
    """An error of the user's code in words; raise it from that error, whose traceback tells where."""
    return SceneError(f"{what} raised {type(error).__name__}: {error}")


def _executed(text: bpy.types.Text) -> ModuleType:
    source, file = text.as_string(), f"{bpy.data.filepath}/{text.name}"  # as Blender names it
    module = ModuleType(_module_name(text.name))
    module.__file__ = file
    sys.modules[module.__name__] = module  # dataclasses look up the module of a class by its name
    # So that tracebacks show the lines of a text that is no file.
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    try:
        exec(compile(source, file, "exec"), module.__dict__)
    except (Exception, SystemExit) as error:  # no text ends Blender
        raise raised(f'the text "{text.name}"', error) from error
    return module


def _module_name(text_name: str) -> str:
    return f"_blendtorch_environment:{text_name}"


def _class_of_name(module: ModuleType, text_name: str, class_name: str) -> type:
    found = getattr(module, class_name, None)
    if isinstance(found, type) and issubclass(found, _BASES):
        return found
    seen = "nothing of that name" if found is None else f"{found!r} of that name"
    there_are = f"It has {_listed(classes)}." if (classes := _classes(module)) else "It has no such class."
    raise ConfigError(
        f'the class is set to {class_name!r}, and the text "{text_name}" has {seen}, expected {_EXPECTED}. {there_are} Set '
        "the name of one, or none."
    )


def _only_class(module: ModuleType, text_name: str) -> type:
    classes = _classes(module)
    own = [cls for cls in classes if cls.__module__ == module.__name__]
    candidates = own or classes
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise ConfigError(
            f'the text "{text_name}" has {len(candidates)} environments, {_listed(candidates)}, expected one. Set the name '
            "of the class that is to be served."
        )
    others = [cls for cls in vars(module).values() if isinstance(cls, type) and cls.__module__ == module.__name__]
    seen = f"only {_listed(others)}" if others else "no class"
    raise ConfigError(
        f'the text "{text_name}" defines {seen}, expected {_EXPECTED}. Choose the text that has one, or write it there.'
    )


def _classes(module: ModuleType) -> list[type]:
    """The environments' classes that are in a module, its own and imported ones, in its order, each once."""
    found = [cls for cls in vars(module).values() if isinstance(cls, type) and issubclass(cls, _BASES)]
    return [cls for cls in dict.fromkeys(found) if cls not in _BASES]


def _listed(classes: list[type]) -> str:
    return ", ".join(cls.__name__ for cls in classes)
