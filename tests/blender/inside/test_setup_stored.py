"""Setups as JSON in the scene: round trips, other versions, and whatever else may be found there."""

import dataclasses
import json

import bpy
import pytest

from blendtorch.btb import randomize, setup
from blendtorch.btb.setup import stored
from blendtorch.errors import ConfigError

OTHER = {
    "stream": setup.StreamSettings("0.0.0.0", 5000, "ipc", 3),
    "output": setup.OutputSettings(
        cameras=("Camera",),
        width=64,
        height=48,
        renderer="EEVEE",
        samples=4,
        image_mode="rgba",
        labels=("flow", "semantic"),
        annotate=False,
        amodal=True,
        classes=(setup.ClassEntry("cube", 3, "OBJECT", "Cube"), setup.ClassEntry("all", 4, "COLLECTION", "Collection")),
        animate=True,
        frame_start=5,
        frame_end=9,
        episodes=12,
    ),
    "recording": setup.RecordingOptions("/tmp/x", 7, "png", 8, "never"),
    "workers": setup.WorkerSettings(5),
}
RANDOMIZERS = (
    randomize.LocationInBox(randomize.Target("OBJECT", "Cube"), (-1.0, -1.0, 0.0), (1.0, 1.0, 2.0), per="episode"),
    randomize.Property(randomize.Target("SCENE", ""), "cursor.location", randomize.Uniform(0.0, 1.0), index=2),
)


@pytest.fixture
def scene():
    return bpy.context.scene


def full():
    return setup.SceneSetup(seed=2**40, randomizers=RANDOMIZERS, **OTHER)


def test_every_default_differs_from_the_other_value():
    for name, kind in setup.SECTIONS.items():
        for item in dataclasses.fields(kind):
            assert getattr(OTHER[name], item.name) != getattr(kind(), item.name), (name, item.name)


@pytest.mark.parametrize("one", [setup.SceneSetup(), full()])
def test_json_and_back(one):
    data = json.loads(json.dumps(setup.to_json(one)))
    assert data["version"] == setup.VERSION
    assert setup.from_json(data) == (one, [])
    assert setup.to_json(one) == data


def test_saved_in_the_file(scene, tmp_path):
    assert setup.load(scene) == (None, [])
    setup.save(full(), scene)
    file = str(tmp_path / "scene.blend")
    bpy.ops.wm.save_as_mainfile(filepath=file)
    bpy.ops.wm.read_factory_settings()
    assert setup.load(bpy.context.scene) == (None, [])
    bpy.ops.wm.open_mainfile(filepath=file)
    assert setup.load(bpy.context.scene) == (full(), [])
    setup.save(setup.SceneSetup(), bpy.context.scene)
    assert setup.load(bpy.context.scene) == (setup.SceneSetup(), [])


def test_what_a_newer_version_saved_is_kept_and_reported(scene):
    data = setup.to_json(full())
    data |= {"version": 7, "weather": {"rain": [1, 2]}}
    data["output"] |= {"hdr": True, "layers": {"a": 1}}
    data["output"]["classes"][1]["color"] = "red"
    data["randomizers"].insert(1, {"type": "Swarm", "count": 3, "label": "bees"})
    data["randomizers"][2]["wobble"] = 0.5
    scene[setup.KEY] = json.dumps(data)
    found, problems = setup.load(scene)
    text = "\n".join(problems)
    for part in (
        "newer BlendTorch (version 7",
        "weather is not",
        "output.hdr",
        "output.layers",
        "classes[1].color",
        "Swarm",
    ):
        assert part in text
    assert "randomizer 3 ('Property') cannot be used" in text
    assert [one.mute for one in found.randomizers] == [False, True, True]
    assert found.randomizers[1].label == "bees"
    assert found.output == full().output
    setup.save(found, scene)
    assert json.loads(scene[setup.KEY]) == data | {"version": setup.VERSION}
    # Also when the entry has another place, or is gone.
    kept = dataclasses.replace(found, output=dataclasses.replace(found.output, classes=found.output.classes[::-1]))
    assert setup.to_json(kept)["output"]["classes"][0]["color"] == "red"
    gone = dataclasses.replace(found, output=dataclasses.replace(found.output, classes=()))
    assert setup.to_json(gone)["output"]["classes"] == []


def test_older_versions_are_brought_up_to_date_step_by_step(monkeypatch):
    def to_1(data):
        return {**data, "output": {"width": data["output"]["size"], "height": 48}}

    def to_2(data):
        return {**data, "seed": data["seed"] + 1}

    monkeypatch.setattr(stored, "VERSION", 2)
    monkeypatch.setattr(stored, "MIGRATIONS", {0: to_1, 1: to_2})
    found, problems = setup.from_json({"version": 0, "seed": 4, "output": {"size": 64}})
    assert (found.seed, found.output.width, found.output.height, problems) == (5, 64, 48, [])
    assert setup.from_json({"version": 1, "seed": 4})[0].seed == 5
    assert setup.to_json(found)["version"] == 2
    found, problems = setup.from_json({"version": 0, "seed": 4})  # which the step does not stand
    assert found.seed == 4
    assert "version 0 could not be brought up to date" in problems[0]
    assert "version is -1" in setup.from_json({"version": -1})[1][0]


def test_values_that_cannot_be_used_are_the_defaults():
    data = setup.to_json(full())
    data["seed"] = "seven"
    data["stream"] = [1]
    data["output"] |= {
        "width": 0,
        "renderer": "POVRAY",
        "frame_start": 20,
        "labels": ["ids", "smell"],
        "annotate": "yes",
    }
    data["output"]["classes"] = [{"class_id": -1, "target": "Cube"}, 5, {"class_id": 2, "target": "Cube"}]
    data["recording"]["num_samples"] = True
    data["randomizers"] = [{"type": "Scale", "target": 5}, 7, None]
    found, problems = setup.from_json(data)
    expected = dataclasses.replace(
        full().output,
        width=320,
        renderer="SOLID",
        frame_start=1,
        labels=("ids", "depth"),
        annotate=True,
        classes=(setup.ClassEntry("", 2, "OBJECT", "Cube"),),
    )
    assert found.output == expected
    assert (found.seed, found.stream, found.recording.num_samples) == (0, setup.StreamSettings(), 1000)
    assert [one.mute for one in found.randomizers] == [True] * 3
    text = "\n".join(problems)
    for part in (
        "seed is 'seven', expected an integer from 0 to",
        "stream is [1]",
        "output.width is 0, expected an integer from 4 to 16384",
        "output.renderer is 'POVRAY', expected one of 'SOLID'",
        "output.frame_start is 20 and frame_end 9",
        "output.labels is",
        "output.annotate is 'yes', expected true or false",
        "output.classes[0]: class_id is -1",
        "output.classes[1] is 5",
        "recording.num_samples is True",
        "randomizer 1 ('Scale')",
        "randomizer 3 (None)",
    ):
        assert part in text, part
    assert setup.to_json(found)["randomizers"] == data["randomizers"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{", "is not the JSON text"),
        ("", "is not the JSON text"),
        ("[" * 100_000, "is not the JSON text"),
        ("[]", "expected a JSON object"),
        ("null", "expected a JSON object"),
        ("NaN", "expected a JSON object"),
        ("x" * 10_000_000, "has 10000000 letters"),
        (5, "is of type int"),
        ([1.0, 2.0], "expected the JSON text"),
        ({"version": 1}, "expected the JSON text"),
        (b"\xff\xfe", "BlendTorch saves"),
    ],
)
def test_garbage(scene, value, message):
    scene[setup.KEY] = value
    found, problems = setup.load(scene)
    assert len(problems) == 1
    assert message in problems[0]
    assert len(problems[0]) < 400
    assert found in (None, setup.SceneSetup())
    setup.save(full(), scene)
    assert setup.load(scene) == (full(), [])


def test_without_a_version():
    assert setup.from_json({"seed": 3})[0].seed == 3
    assert "version is None" in setup.from_json({"seed": 3})[1][0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: setup.OutputSettings(width=0), "width is 0, expected an integer from 4 to 16384"),
        (lambda: setup.OutputSettings(height=2.5), "height is 2.5"),
        (lambda: setup.OutputSettings(samples=0), "samples is 0"),
        (lambda: setup.OutputSettings(labels="ids"), "labels is 'ids', expected a list"),
        (lambda: setup.OutputSettings(cameras=("a", "a")), "each camera once"),
        (lambda: setup.OutputSettings(cameras=("",)), "names of camera objects"),
        (lambda: setup.OutputSettings(classes=(1,)), "a list of ClassEntry"),
        (lambda: setup.OutputSettings(frame_start=2), "frame_start is 2 and frame_end 1"),
        (lambda: setup.ClassEntry(class_id=2**32), "class_id is 4294967296"),
        (lambda: setup.StreamSettings(port=65_536), "port is 65536, expected an integer from 0 to 65535"),
        (lambda: setup.StreamSettings(bind_addr="a b"), "bind_addr is 'a b'"),
        (lambda: setup.RecordingOptions(folder=""), "folder is ''"),
        (lambda: setup.RecordingOptions(encode_image="exr"), "encode_image is 'exr'"),
        (lambda: setup.WorkerSettings(instances=0), "instances is 0"),
        (lambda: setup.SceneSetup(seed=-1), "seed is -1"),
        (lambda: setup.SceneSetup(output=None), "output is None, expected OutputSettings"),
        (lambda: setup.SceneSetup(randomizers=("x",)), "expected a list of randomizers"),
    ],
)
def test_out_of_range(make, message):
    with pytest.raises(ConfigError, match="(?s)" + message.replace("(", r"\(")):
        make()


def test_recording_settings(scene, tmp_path):
    one = dataclasses.replace(full(), recording=setup.RecordingOptions("//rec", 5, "png", 9, "never"))
    with pytest.raises(ConfigError, match="not saved yet"):
        setup.recording_settings(one)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    settings = setup.recording_settings(one)
    assert settings.folder == str(tmp_path / "rec")
    assert (settings.shard_samples, settings.fsync, settings.encode) == (5, "never", {"image": "png"})
    metadata = dict(settings.metadata)
    assert metadata.pop("setup")["sha256"] != setup.recording_settings(setup.SceneSetup()).metadata["setup"]["sha256"]
    assert metadata == {
        "classes": {"3": "cube", "4": "all"},
        "seed": one.seed,
        "scene": {"name": "scene.blend"},
        "script": None,
    }
    jpg = dataclasses.replace(one, recording=setup.RecordingOptions("//rec", encode_image="jpg"))
    with pytest.raises(ConfigError, match="jpg does not hold"):
        setup.recording_settings(jpg)


def test_hostile_names_and_depths(scene):
    data = setup.to_json(setup.SceneSetup())
    data["output.classes"] = {"OBJECT:Cube": 7}
    data["output"]["classes"] = [{"type": "OBJECT", "target": "Cube", "class_id": 2, "name": "", "color": "red"}]
    found, problems = setup.from_json(data)
    assert len(problems) == 2
    assert setup.to_json(found) == data
    deep = 1
    for _ in range(450):
        deep = [deep]
    distribution = {"type": "Choice", "values": deep}
    entry = {"type": "Property", "target": {"type": "SCENE"}, "data_path": "x", "distribution": distribution}
    scene[setup.KEY] = json.dumps({**data, "randomizers": [entry]})
    found, problems = setup.load(scene)
    assert max(map(len, problems)) < 2000
    scene[setup.KEY] = json.dumps({**data, "randomizers": [deep]})
    assert max(map(len, setup.load(scene)[1])) < 2000
