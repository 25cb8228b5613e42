"""These tests run inside Blender: in a Python that has `bpy`, one run for each version."""

import os
import sys

import bpy
import pytest

_status = 0


def pytest_sessionfinish(session, exitstatus):
    global _status
    _status = int(exitstatus)


def pytest_unconfigure(config):
    # Blender 4.2 crashes and 4.5 hangs at the interpreter's own exit when a handler or class is still registered.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_status)


def pytest_report_header(config):
    return f"Blender {bpy.app.version_string}, Python {sys.version.split()[0]}"


@pytest.fixture(autouse=True)
def _default_scene():
    """Every test begins with Blender's default scene: a cube, a camera, a light."""
    bpy.ops.wm.read_homefile(use_factory_startup=True)  # and not the preferences, which takes ten times as long
