"""The randomizer that calls functions of the user's."""

import linecache
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import bpy

from ...errors import ConfigError, RandomizeError
from ..session import current_session
from .context import Context
from .find import there_are
from .randomizer import Randomizer, register

_MODULES: dict[str, tuple[str, ModuleType]] = {}
"""Of each text: what it said when it was run, and the module that came of it."""


@register
@dataclass(frozen=True)
class Hook(Randomizer):
    """Calls `pre_frame(ctx)` and `post_frame(ctx)` of a text of Blender's text editor, those that it has.

    The text is run once as a module, and again when it was changed.

    Attributes:
        text: Name of the text data block; or, where there is none of that name, path of a `.py` file (`//` is the folder of
            the .blend).
    """

    text: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.text:
            raise ConfigError("Hook: text is empty; expected the name of a text data block, or the path of a .py file")

    def apply(self, ctx: Context) -> None:
        """Calls `pre_frame(ctx)`, in which the sample is empty."""
        self._call("pre_frame", ctx)

    def post_frame(self, ctx: Context) -> None:
        """Calls `post_frame(ctx)`, which may add to `ctx.sample`."""
        self._call("post_frame", ctx)

    def check(self, ctx: Context) -> None:
        """Runs the text if it has not been run yet: what it does besides defining functions, it does now."""
        if not any(self._function(name) for name in ("pre_frame", "post_frame")):
            raise RandomizeError(f'the hook "{self.text}" has neither pre_frame(ctx) nor post_frame(ctx); define one')

    def _call(self, name: str, ctx: Context) -> None:
        function = self._function(name)
        if function is None:
            return
        try:
            function(ctx)
        except (Exception, SystemExit) as error:
            raise _raised(f'{name} of the hook "{self.text}"', error) from error

    def _function(self, name: str) -> Callable[[Context], object] | None:
        function = getattr(_module(self.text), name, None)
        if function is not None and not callable(function):
            raise RandomizeError(
                f'{name} of the hook "{self.text}" is {function!r}; expected a function of one argument'
            )
        return function


def _module(text: str) -> ModuleType:
    source, file = _source(text)
    known = _MODULES.get(file)
    if known is not None and known[0] == source:
        return known[1]
    module = ModuleType(f"_blendtorch_hook:{file}")
    module.__file__ = file
    # Dataclasses look up the module of a class by its name. One for each text: run again, it takes the place of the last.
    sys.modules[module.__name__] = module
    _MODULES.pop(file, None)
    # So that tracebacks show the lines of a text that is no file.
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    try:
        exec(compile(source, file, "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        raise _raised(f'the hook "{text}"', error) from error
    _MODULES[file] = source, module
    return module


def _source(text: str) -> tuple[str, str]:
    """What the text says, and what tracebacks call it."""
    block = bpy.data.texts.get(text)
    if block is not None:
        return block.as_string(), f"{bpy.data.filepath}/{text}"  # as Blender names it
    if not text.endswith(".py"):
        names = [other.name for other in bpy.data.texts]
        raise RandomizeError(f'there is no text "{text}", and it is no path of a .py file; {there_are(text, names)}')
    path = Path(bpy.path.abspath(text))
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except (OSError, UnicodeDecodeError) as error:
        raise RandomizeError(f'there is no text "{text}", and no such file: {error}') from error


def _raised(what: str, error: BaseException) -> RandomizeError:
    """The error of a user's code with its traceback, from where that code begins. No hook ends Blender; a signal does."""
    session = current_session()
    if isinstance(error, SystemExit) and session is not None and session.interrupted:
        raise error
    trace: Any = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    words = "".join(traceback.format_exception(type(error), error, trace)).rstrip()
    return RandomizeError(f"{what} raised {type(error).__name__}: {error}\n{words}", traceback=words)
