"""A scene that was set up is launched without a script: its samples are those that are made of it anywhere."""

import hashlib
import json
import subprocess

import numpy as np
import pytest

from blendtorch import btt

SEED = 5
INDICES = 6
FIELDS = ("image", "ids", "depth", "frameid", "camera")

SET_UP = """
import bpy, hashlib, json, sys
import numpy as np
from blendtorch.btb import randomize, session, setup, viewport
file, kind, seed, indices = sys.argv[1:]
bpy.ops.wm.read_factory_settings()
# With highlights single pixels of Blender 4.2 and 4.5 on a software GPU differ by one, by what was drawn before.
viewport.require_viewport()[0].shading.show_specular_highlight = False
cube = randomize.Target("OBJECT", "Cube")
randomizers = [randomize.Rotation(cube), randomize.MaterialColor(cube, randomize.Uniform((0, 0, 0), (1, 1, 1)))]
output = dict(width=64, height=48, episodes=int(indices))
if kind == "episodes":
    bpy.ops.rigidbody.world_add()
    bpy.context.view_layer.objects.active = bpy.data.objects["Cube"]
    bpy.ops.rigidbody.object_add(type="ACTIVE")
    box = randomize.LocationInBox(cube, (-1, -1, 0), (1, 1, 2), per="episode")
    randomizers = [box, randomize.Rotation(cube, per="episode"), randomizers[1]]
    output |= dict(animate=True, frame_start=2, frame_end=5)
one = setup.SceneSetup(seed=int(seed), randomizers=tuple(randomizers), output=setup.OutputSettings(**output))
if kind == "none":
    pass
elif kind == "garbage":
    bpy.context.scene[setup.KEY] = "{"
elif kind == "no camera":
    bpy.data.objects.remove(bpy.data.objects["Camera"])
    setup.save(one, bpy.context.scene)
else:
    setup.save(one, bpy.context.scene)
bpy.ops.wm.save_as_mainfile(filepath=file)
found = {}
if kind in ("still", "episodes"):
    bpy.ops.wm.open_mainfile(filepath=file)
    with setup.SampleMaker(setup.load(bpy.context.scene)[0]) as maker:
        for index in reversed(range(int(indices))):
            found[index] = []
            for sample in maker.samples(index):
                sha = hashlib.sha256()
                for name in %r:
                    value = sample[name]
                    is_array = isinstance(value, np.ndarray)
                    sha.update(np.ascontiguousarray(value).tobytes() if is_array else str(value).encode())
                found[index].append(sha.hexdigest()[:12])
print("FOUND", json.dumps(found))
session.end_process(0)
""" % (FIELDS,)  # noqa: UP031


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Makes a scene with a Blender, and in its process the samples: the path, and hashes by index."""
    made = {}

    def prepare(blender: str, kind: str) -> tuple[str, dict[int, list[str]]]:
        if (blender, kind) not in made:
            file = str(tmp_path_factory.mktemp("scene") / f"{kind}.blend")
            command = [blender, "-c", SET_UP, file, kind, str(SEED), str(INDICES)]
            result = subprocess.run(command, capture_output=True, text=True, timeout=120)
            line = [line for line in result.stdout.splitlines() if line.startswith("FOUND")]
            assert line, result.stdout + result.stderr
            found = json.loads(line[0].removeprefix("FOUND"))
            made[blender, kind] = file, {int(index): hashes for index, hashes in found.items()}
        return made[blender, kind]

    return prepare


def digest(item: dict) -> str:
    sha = hashlib.sha256()
    for name in FIELDS:
        value = item[name]
        sha.update(np.ascontiguousarray(value).tobytes() if isinstance(value, np.ndarray) else str(value).encode())
    return sha.hexdigest()[:12]


def stream(scene: str, blender: str, num_instances: int, **options) -> dict[int, list[str]]:
    options = {"seed": SEED, **options}
    found: dict[int, list[str]] = {}
    with btt.BlenderLauncher(scene=scene, blend_path=blender, num_instances=num_instances, **options) as launcher:
        for item in btt.RemoteIterableDataset(launcher.launch_info.addresses["DATA"], timeoutms=120_000):
            found.setdefault(item["btindex"], []).append(digest(item))
    return found


@pytest.mark.parametrize("kind", ["still", "episodes"])
def test_the_same_samples_however_many_make_them(blender, prepared, kind):
    scene, expected = prepared(blender, kind)
    assert len({one for hashes in expected.values() for one in hashes}) == INDICES * (1 if kind == "still" else 4)
    assert stream(scene, blender, 1) == expected
    assert stream(scene, blender, 2) == expected
    assert stream(scene, blender, 1, seed=SEED + 1) != expected


def test_a_share_and_a_first_index(blender, prepared):
    scene, expected = prepared(blender, "still")
    args = [["--share", "1", "3", "--first", "2"]]
    assert stream(scene, blender, 1, instance_args=args) == {4: expected[4]}


@pytest.mark.parametrize(
    ("kind", "args", "message"),
    [
        ("none", [], r"no BlendTorch settings in scene 'Scene' of .*none\.blend.*or pass script="),
        ("garbage", [], "is not the JSON text that BlendTorch saves"),
        ("no camera", [], "cannot be made:\nscene 'Scene' has no active camera"),
        ("still", ["--share", "2", "2"], "--share is 2 2, expected K and N with 0 <= K < N"),
        ("still", ["--frist", "2"], "--frist.*takes --share K N, --first INDEX, --scene"),
        ("still", ["--scene", "Nobody"], "there is no scene .Nobody. in .*only .Scene."),
    ],
)
@pytest.mark.one_blender
def test_bad_input(blender, prepared, kind, args, message):
    scene, _ = prepared(blender, kind)
    with pytest.raises(btt.ScriptError, match=f"(?s){message}"):
        stream(scene, blender, 1, instance_args=[args])
