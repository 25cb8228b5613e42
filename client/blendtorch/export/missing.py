"""`need`: the libraries that one format needs, imported when it is used."""

import importlib
from types import ModuleType

from ..errors import ConfigError


def need(module: str, *, extra: str) -> ModuleType:
    """Import a library that not everybody has.

    Args:
        module: Its name, such as "pycocotools" or "pycocotools.mask".
        extra: The extra of `blendtorch` that brings it.

    Returns:
        The module.

    Raises:
        ConfigError: (a ValueError) It, or a library that it imports, is not installed; says how to install it. What else
            fails inside of an installed one is raised as it is.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        library = module.partition(".")[0]
        if error.name is None:
            raise
        if error.name.partition(".")[0] != library:
            raise ConfigError(f"{library} is installed and lacks {error.name}: pip install {error.name}") from error
        raise ConfigError(
            f'this Python has no {library}, which this needs: pip install "blendtorch[{extra}]" brings it'
        ) from None
