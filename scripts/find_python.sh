#!/usr/bin/env bash
# Prints the path of a Python that can make virtual environments, of the first of the given versions that is there:
#     scripts/find_python.sh 3.11 3.13
# Looks on the PATH, among pyenv's versions, and asks uv, which can install one. Exit status 1, and what to do, if none.
set -u

serves() { # a shim may be there without the version behind it, and Debian's Python without venv
    [ "$("$1" -c 'import ensurepip, sys, venv; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$2" ]
}

for version in "$@"; do
    for candidate in "python$version" python3 python "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python; do
        if command -v "$candidate" >/dev/null 2>&1 && serves "$candidate" "$version"; then
            "$candidate" -c 'import sys; print(sys.executable)'
            exit 0
        fi
    done
done
if command -v uv >/dev/null 2>&1; then
    for version in "$@"; do
        uv python install --quiet "$version" && uv python find "$version" && exit 0
    done
fi
echo "No Python $(echo "$@" | sed 's/ / or /g') with venv was found; Blender's bpy module needs exactly that." >&2
echo "Install it: 'apt-get install python3.11 python3.11-venv', 'dnf install python3.11', 'pyenv install 3.11', or" >&2
echo "install uv (https://docs.astral.sh/uv), which then gets it by itself. Or name one: make PYTHON=/path/to/python3.11" >&2
exit 1
