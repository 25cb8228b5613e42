"""After an update in a running Blender: the package `blendtorch` that came with the add-on is used, not the one before.

Blender imports an add-on anew that it has replaced, but none of the packages that came with it.
"""

import importlib
import importlib.metadata
import sys

_PACKAGE = "blendtorch"
_DISTRIBUTION = "__distribution_version__"  # noted in the package: which one it was imported from


def forget_replaced() -> None:
    """Has the package and the add-on's modules imported anew where the package was replaced since it was imported."""
    importlib.invalidate_caches()
    try:
        installed = importlib.metadata.version(_PACKAGE)
    except importlib.metadata.PackageNotFoundError:  # it runs from its sources
        return
    loaded = sys.modules.get(_PACKAGE)
    if loaded is not None and getattr(loaded, _DISTRIBUTION, installed) != installed:
        _forget(_PACKAGE)
        sys.modules.pop(_PACKAGE)
        _forget(__package__)
    setattr(importlib.import_module(_PACKAGE), _DISTRIBUTION, installed)


def _forget(package: str) -> None:
    """Forgets all modules of a package but the package itself."""
    for name in [name for name in sys.modules if name.startswith(f"{package}.") and name != __name__]:
        del sys.modules[name]
        parent, _, child = name.rpartition(".")
        if parent == package:
            vars(sys.modules[package]).pop(child, None)
