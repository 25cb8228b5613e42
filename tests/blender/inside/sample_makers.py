"""The default scene set up in small, and all that samples could change of it."""

import hashlib
import json

import bpy
import numpy as np
import pytest

from blendtorch import btb
from blendtorch.btb import randomize, setup
from blendtorch.btb.physics import point_caches

SIZE = {"width": 64, "height": 48, "samples": 1}
CUBE = randomize.Target("OBJECT", "Cube")
TURN = randomize.Rotation(CUBE)
MOVE = randomize.LocationInBox(CUBE, (-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))
COLOR = randomize.MaterialColor(CUBE, randomize.Uniform((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))


@pytest.fixture(autouse=True)
def no_highlights(_default_scene):
    # With them single pixels of Blender 4.2 and 4.5 on a software GPU differ by one, by what was drawn before; in 4.2
    # also with anti-aliasing.
    viewport().shading.show_specular_highlight = False


@pytest.fixture(name="falling")
def falling_cube():
    """A scene in which the cube falls."""
    bpy.ops.rigidbody.world_add()
    cube = bpy.data.objects["Cube"]
    bpy.context.view_layer.objects.active = cube
    bpy.ops.rigidbody.object_add(type="ACTIVE")
    return cube


def made(*randomizers, seed=3, **output):
    return setup.SceneSetup(seed=seed, randomizers=randomizers, output=setup.OutputSettings(**{**SIZE, **output}))


def viewport():
    return btb.viewport.require_viewport()[0]


def state():
    """What of the scene samples could change."""
    scene, space = bpy.context.scene, viewport()
    values = {
        obj.name: [tuple(obj.location), tuple(obj.rotation_euler), tuple(map(tuple, obj.matrix_world))]
        for obj in bpy.data.objects
    }
    values["frame"] = scene.frame_current, scene.frame_subframe
    values["view"] = space.shading.type, space.overlay.show_overlays, space.show_gizmo
    values["scene"] = scene.camera, scene.eevee.taa_samples, scene.render.engine, scene.render.resolution_x
    values["preferences"] = bpy.context.preferences.system.viewport_aa
    values["material"] = tuple(bpy.data.materials["Material"].diffuse_color)
    values["caches"] = [(cache.frame_start, cache.frame_end) for cache in point_caches(scene)]
    return values


def digest(sample):
    """The whole sample."""
    sha = hashlib.sha256()

    def add(value):
        if isinstance(value, dict):
            for name in sorted(value):
                sha.update(name.encode())
                add(value[name])
        else:
            sha.update(value.tobytes() if isinstance(value, np.ndarray) else json.dumps(value).encode())

    add(sample)
    return sha.hexdigest()[:12]


def heights(samples):
    return [sample["labels"]["instances"]["world_from_object"][0][2, 3] for sample in samples]
