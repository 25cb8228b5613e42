"""The BlendTorch add-on: the user interface of `blendtorch.btb`, and nothing but that."""

from .replaced import forget_replaced

forget_replaced()  # before anything is imported from it

from . import (  # noqa: E402
    context_menu,
    engine_registration,
    environment_operators,
    error_operators,
    escape,
    list_operators,
    menu,
    on_disk,
    panels,
    preferences,
    presets,
    preview,
    properties,
    randomize_operators,
    recording_operators,
    saved,
    stream_operators,
    workers,
    workers_operators,
)

# In order: what comes later uses what comes before.
_MODULES = (
    properties,
    preferences,
    presets,
    saved,
    engine_registration,
    on_disk,
    workers,
    escape,
    stream_operators,
    recording_operators,
    randomize_operators,
    preview,
    workers_operators,
    environment_operators,
    list_operators,
    error_operators,
    panels,
    menu,
    context_menu,
)


def register() -> None:
    """Adds all classes, properties, handlers and menu entries."""
    for module in _MODULES:
        module.register()


def unregister() -> None:
    """Removes all of them, the last first."""
    for module in reversed(_MODULES):
        module.unregister()
