#!/usr/bin/env bash
# Makes .venv-blender-VERSION: the bpy module of that Blender with blendtorch, without torch, to test against:
#     scripts/blender_venv.sh 5.2 3.13
# Without that Python the version is skipped, loudly; where CI is set that is an error.
set -eu
version=$1 python_version=$2
folder=.venv-blender-$version
if [ "$folder/.installed" -nt pyproject.toml ] && [ "$folder/.installed" -nt "$0" ]; then exit 0; fi

if ! python=$(scripts/find_python.sh "$python_version"); then
    echo "******** Blender $version is NOT TESTED: no Python $python_version ********" >&2
    [ -z "${CI:-}" ] || exit 1
    exit 0
fi
echo "installing bpy $version into $folder"
"$python" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt \
    "bpy==$version.*" "pyzmq>=26.4" "pytest>=8.2" "pytest-timeout>=2.3"
# Without its dependencies: there is no need for torch inside Blender, and it is large.
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -e .
touch "$folder/.installed"
