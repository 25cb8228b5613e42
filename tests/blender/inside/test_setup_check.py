"""What is wrong with a setup is said in words before anything is rendered."""

import bpy
import pytest

from blendtorch.btb import randomize, setup
from blendtorch.btb.setup.check import find_errors

GONE = randomize.Rotation(randomize.Target("OBJECT", "Gone"))


def problems(*randomizers, **output):
    one = setup.SceneSetup(randomizers=randomizers, output=setup.OutputSettings(**output))
    return setup.check(one, bpy.context.scene)


def no_active_camera():
    bpy.context.scene.camera = None


def no_viewport():
    for screen in bpy.data.screens:
        for area in screen.areas:
            if area.type == "VIEW_3D":
                area.type = "IMAGE_EDITOR"


def panoramic():
    bpy.data.cameras["Camera"].type = "PANO"


def cycles():
    bpy.context.scene.render.engine = "CYCLES"


def test_nothing_is_wrong_with_the_defaults():
    assert problems() == []
    assert problems(renderer="EEVEE", labels=("flow",), animate=True, cameras=("Camera",)) == []


@pytest.mark.parametrize(
    ("change", "output", "message"),
    [
        (no_active_camera, {}, "scene 'Scene' has no active camera"),
        (None, {"cameras": ("Gone",)}, "camera 'Gone' is not in the scene: was it renamed or removed?"),
        (None, {"cameras": ("Cube",)}, "camera 'Cube' is of type MESH"),
        (panoramic, {}, "is of type PANO"),
        (no_viewport, {}, "no 3D viewport"),
        (cycles, {"renderer": "RENDERED"}, "that is CYCLES: choose 'CYCLES' or 'EEVEE'"),
        (None, {"labels": ("flow",)}, "play frames"),
        (None, {"classes": (setup.ClassEntry("car", 2, "OBJECT", "Car"),)}, "class 1 (car) is that of object 'Car'"),
        (
            None,
            {"classes": (setup.ClassEntry("", 2, "COLLECTION", "Cars"),)},
            "class 1 (2) is that of collection 'Cars'",
        ),
    ],
)
def test_what_is_missing(change, output, message):
    if change is not None:
        change()
    (problem,) = problems(**output)
    assert message in problem


def test_final_renders_need_no_viewport():
    no_viewport()
    assert problems(renderer="CYCLES") == []


def test_randomizers():
    (problem,) = problems(randomize.Rotation(randomize.Target("OBJECT", "Cube")), GONE)
    assert "randomizer 2" in problem
    assert "Gone" in problem


def test_errors_of_randomizers_tell_which():
    left_out = randomize.Rotation(GONE.target, on_error="skip")
    randomizers = (left_out, GONE, randomize.Rotation(randomize.Target("OBJECT", "Cube")), GONE)
    one = setup.SceneSetup(randomizers=randomizers, output=setup.OutputSettings(labels=("flow",)))
    errors = find_errors(one, bpy.context.scene)
    assert [getattr(error, "number", None) for error in errors] == [None, 1, 3]
    assert [str(error) for error in errors] == setup.check(one, bpy.context.scene)


def test_those_that_are_left_out_do_not_count():
    left_out = (
        randomize.Rotation(GONE.target, mute=True),
        randomize.Rotation(GONE.target, on_error="skip"),
        setup.UnknownRandomizer({"type": "Swarm"}),
    )
    assert problems(*left_out) == []
