"""Which system libraries Blender needs, which packages hold them, and what `ldd` says is missing."""

import re
from collections.abc import Iterable

# Name of the library: its package in Debian and Ubuntu, in Fedora. These are the ones that the `bpy` modules 4.2, 4.5
# and 5.2 take from the system, next to the C library itself.
PACKAGES = {
    "libEGL.so.1": ("libegl1", "libglvnd-egl"),
    "libGL.so.1": ("libgl1", "libglvnd-glx"),
    "libGLX.so.0": ("libglx0", "libglvnd-glx"),
    "libGLdispatch.so.0": ("libglvnd0", "libglvnd"),
    "libICE.so.6": ("libice6", "libICE"),
    "libOpenGL.so.0": ("libopengl0", "libglvnd-opengl"),
    "libSM.so.6": ("libsm6", "libSM"),
    "libX11.so.6": ("libx11-6", "libX11"),
    "libXau.so.6": ("libxau6", "libXau"),
    "libXdmcp.so.6": ("libxdmcp6", "libXdmcp"),
    "libXext.so.6": ("libxext6", "libXext"),
    "libXfixes.so.3": ("libxfixes3", "libXfixes"),
    "libXi.so.6": ("libxi6", "libXi"),
    "libXrender.so.1": ("libxrender1", "libXrender"),
    "libXt.so.6": ("libxt6", "libXt"),
    "libXxf86vm.so.1": ("libxxf86vm1", "libXxf86vm"),
    "libgcc_s.so.1": ("libgcc-s1", "libgcc"),
    "libgomp.so.1": ("libgomp1", "libgomp"),
    "libstdc++.so.6": ("libstdc++6", "libstdc++"),
    "libuuid.so.1": ("libuuid1", "libuuid"),
    "libvulkan.so.1": ("libvulkan1", "vulkan-loader"),
    "libxcb.so.1": ("libxcb1", "libxcb"),
    "libxkbcommon.so.0": ("libxkbcommon0", "libxkbcommon"),
    "libz.so.1": ("zlib1g", "zlib-ng-compat"),
}
# Opened by Blender when it makes a GPU context without a window, so `ldd` does not tell of them.
OPENED_AT_RUN_TIME = ("libEGL.so.1", "libGL.so.1")
# All that OpenGL without a display needs, a driver included.
RENDERING = (
    "Debian/Ubuntu: apt-get install libegl1 libgl1 libgl1-mesa-dri; "
    "Fedora: dnf install libglvnd-egl libglvnd-glx mesa-dri-drivers"
)


def missing_libraries(ldd_output: str) -> list[str]:
    """The libraries that `ldd` did not find, each once, in its order."""
    return list(dict.fromkeys(re.findall(r"^\s*(\S+) => not found", ldd_output, re.MULTILINE)))


def missing_symbol_versions(ldd_output: str) -> list[str]:
    """What the system's libraries are too old for, such as "GLIBC_2.38"."""
    return list(dict.fromkeys(re.findall(r"version `([^']+)' not found", ldd_output)))


def unopened_library(text: str) -> str:
    """The library that the dynamic loader could not open, out of its error message; empty when it tells of none.

    A full path is no library of a package that is missing, but a place where something was looked for.
    """
    found = re.search(r"(?<![\w/+.-])([\w+.-]+\.so[.\d]*): cannot open shared object file", text)
    return found[1] if found else ""


def install_advice(libraries: Iterable[str]) -> str:
    """How to get these libraries, in Debian's and in Fedora's words."""
    debian, fedora = set(), set()
    unknown = []
    for library in libraries:
        if library in PACKAGES:
            debian.add(PACKAGES[library][0])
            fedora.add(PACKAGES[library][1])
        else:
            unknown.append(library)
            fedora.add(f"'{library}()(64bit)'")
    parts = [f"Debian/Ubuntu: apt-get install {' '.join(sorted(debian))}"] if debian else []
    parts += [f"Fedora: dnf install {' '.join(sorted(fedora))}"] if fedora else []
    parts += [f"Debian/Ubuntu: `apt-file search {library}` tells its package" for library in unknown]
    return "; ".join(parts)
