"""The add-on's properties are the settings of `btb.setup`: the same fields, defaults and limits, and nothing is lost."""

import dataclasses
import json
import math

import bpy
import pytest

import addon_blendtorch
from addon_blendtorch.properties import EntryError, from_setup, let_go_of_deleted, to_setup, to_setup_unfinished
from addon_blendtorch.properties.convert_randomizer import entry_from_json, entry_to_json
from addon_blendtorch.properties.fields import FIELDS
from addon_blendtorch.properties.kinds import ALL_TARGETS, KINDS, OTHER, TYPE_ITEMS, target_items
from blendtorch.btb import randomize
from blendtorch.btb import setup as btb_setup
from blendtorch.btb.randomize import Choice, Constant, LogUniform, Normal, Target, Uniform
from blendtorch.btb.randomize.place import COLLECTIONS
from blendtorch.btb.setup import ClassEntry, OutputSettings, SceneSetup, StreamSettings, UnknownRandomizer
from blendtorch.errors import ConfigError

# What only the panel has.
PANEL_ONLY = {"rna_type", "name", "camera_index", "classes_index", "source"}
SCENE_ONLY = {
    *("rna_type", "name", "randomizer_index", "problems", "unknown", "loaded", "saved_digest", "settings_json"),
}

DISTRIBUTIONS = [
    Uniform(0.1, 0.7),
    Uniform((0.1, 0.2, 0.3), (1.1, 1.2, 1.3)),
    Normal(0.5, 0.2),
    Normal((0.1, 0.2, 0.3), 0.1, low=-1.0),
    Normal(2.0 * math.pi, 0.3, low=1.0, high=9.0),
    LogUniform(1e-3, 1e3),
    Choice((1, 2.5, "text", True, None)),
    Choice(((1, 0, 0), (0, 1, 0)), weights=(0.25, 0.75)),
    Constant(1 / 3),
    Constant((0.1, 0.2, 0.3, 1.0)),
]
VALUES = {
    "target": Target("OBJECT", "Cube"),
    "distribution": Uniform((0.1, 0.2, 0.3), (1.1, 1.2, 1.3)),
    "surface": "Cube",
    "at": Target("OBJECT", "Cube"),
    "data_path": 'modifiers["Bevel"].width',
    "folder": "//images",
    "text": "hook.py",
}
BUILT_IN = [name for name, cls in randomize.TYPES.items() if cls.__module__.startswith("blendtorch.")]


@pytest.fixture(autouse=True)
def settings():
    addon_blendtorch.register()
    yield bpy.context.scene.blendtorch
    addon_blendtorch.unregister()


def make(name: str, **more) -> randomize.Randomizer:
    """A randomizer of a type, with values for the fields that have no default."""
    cls = randomize.TYPES[name]
    needed = [item.name for item in dataclasses.fields(cls) if item.default is dataclasses.MISSING]
    values = {field: VALUES[field] for field in needed}
    if "target" in values and cls.TARGETS is not None and "OBJECT" not in cls.TARGETS:
        values["target"] = Target(cls.TARGETS[0], "World")
    return cls(**{**values, **more})


def round_trip(*randomizers) -> SceneSetup:
    scene = bpy.context.scene
    setup = SceneSetup(randomizers=randomizers)
    from_setup(scene, setup)
    assert to_setup(scene) == setup
    assert to_setup_unfinished(scene) == setup
    return setup


def entries() -> list:
    return list(bpy.context.scene.blendtorch.randomizers)


@pytest.mark.parametrize("name", btb_setup.SECTIONS)
def test_the_sections_have_the_fields_of_the_dataclasses(settings, name):
    kind = btb_setup.SECTIONS[name]
    properties = getattr(settings, name).bl_rna.properties
    assert {prop.identifier for prop in properties} - PANEL_ONLY == {item.name for item in dataclasses.fields(kind)}
    for item in dataclasses.fields(kind):
        prop = properties[item.name]
        if "low" in item.metadata:
            assert prop.hard_min == item.metadata["low"], item.name
            assert prop.hard_max == min(item.metadata["high"], 2**31 - 1), item.name
            assert prop.default == item.default, item.name
        elif choices := item.metadata.get("choices") or item.metadata.get("some_of"):
            assert {one.identifier for one in prop.enum_items} == set(choices), item.name
        elif prop.type != "COLLECTION":
            assert prop.default == item.default, item.name


def test_the_scene_has_the_fields_of_the_setup(settings):
    names = {prop.identifier for prop in settings.bl_rna.properties}
    assert names - SCENE_ONLY | {"unknown"} == {item.name for item in dataclasses.fields(SceneSetup)}


def test_class_entries_have_the_fields_of_the_dataclass(settings):
    properties = settings.output.classes.add().bl_rna.properties
    names = {prop.identifier for prop in properties} - {"rna_type"}
    pointers = {"object", "collection", "target_name", "target_kept"}
    assert names - pointers | {"target"} == {item.name for item in dataclasses.fields(ClassEntry)}


def test_what_is_new_is_the_default_setup():
    assert to_setup(bpy.context.scene) == SceneSetup()


def test_everything_has_a_tooltip(settings):
    def check(group) -> int:
        count = 0
        for prop in group.bl_rna.properties:
            if prop.identifier in ("rna_type", "name") or prop.is_hidden or prop.type in ("POINTER", "COLLECTION"):
                continue
            assert prop.description, f"{group.bl_rna.identifier}.{prop.identifier}"
            count += 1
        return count

    item = settings.randomizers.add()
    groups = [settings, settings.stream, settings.output, settings.recording, settings.workers, item]
    groups += [item.distribution, item.color, item.energy, settings.output.classes.add()]
    assert sum(check(group) for group in groups) > 80


def test_every_built_in_type_has_a_kind_and_properties_for_all_its_fields(settings):
    entry = settings.randomizers.add()
    assert set(KINDS) == set(FIELDS) == set(BUILT_IN)
    for name in BUILT_IN:
        cls = randomize.TYPES[name]
        assert set(FIELDS[name]) == {item.name for item in dataclasses.fields(cls)}, name
        takes_target = "target" in FIELDS[name]
        expected = (cls.TARGETS or ALL_TARGETS) if takes_target else ()
        assert set(KINDS[name].targets) == set(expected), name
        entry.type = name
        if takes_target:
            assert entry.target_type == KINDS[name].targets[0] or entry.target_type in expected
            assert [item[0] for item in target_items(entry, None)] == list(KINDS[name].targets)
            assert entry.target_choice == entry.target_type


def test_icons_and_target_types_are_those_of_this_blender(settings):
    icons = set(bpy.types.UILayout.bl_rna.functions["prop"].parameters["icon"].enum_items.keys())
    assert {item[3] for item in TYPE_ITEMS} <= icons
    assert {item[3] for item in target_items(settings.randomizers.add(), None)} <= icons
    assert set(ALL_TARGETS) <= set(COLLECTIONS)


@pytest.mark.parametrize("name", BUILT_IN)
def test_defaults_of_a_new_entry_are_those_of_the_dataclass(settings, name):
    entry = settings.randomizers.add()
    entry.type = "Rotation"
    entry.type = name
    data = entry_to_json(entry)
    for item in dataclasses.fields(randomize.TYPES[name]):
        if item.default is not dataclasses.MISSING:
            expected = randomize.to_json(make(name))[item.name]
            assert (
                json.dumps(data[item.name]) == json.dumps(expected)
                or data[item.name] == pytest.approx(expected)
                or (
                    item.name == "rotation"  # 2 pi of 32 bits
                )
            )


@pytest.mark.parametrize("name", BUILT_IN)
def test_round_trip_of_every_type(name):
    common = {"label": "mine", "mute": True, "per": "episode", "seed": 12, "on_error": "skip"}
    round_trip(make(name), make(name, **common), make(name, seed=2**40))
    assert [entry.type for entry in entries()] == [name] * 3
    if "target" not in FIELDS[name]:
        return
    for target in KINDS[name].targets:
        there = COLLECTIONS[target]
        blocks = getattr(bpy.data, there, ())
        for target_name in [*[block.name for block in blocks][:1], "not there"]:
            round_trip(make(name, target=Target(target, target_name)))
            assert entries()[0].type == name
    for target in randomize.target.UNNAMED:
        if target in KINDS[name].targets:
            round_trip(make(name, target=Target(target)))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=str)
@pytest.mark.parametrize("name", BUILT_IN)
def test_round_trip_of_every_distribution(name, distribution):
    hints = {item.name: item.type for item in dataclasses.fields(randomize.TYPES[name])}
    for field in [field for field, hint in hints.items() if hint in ("Distribution", randomize.Distribution)]:
        round_trip(make(name, **{field: distribution}))
        assert entries()[0].type == name


def test_round_trip_of_what_has_several_forms():
    round_trip(
        make("Rotation", low=(-0.1, -0.2, -0.3), high=(0.1, 0.2, 0.3)),
        make("LookAt", at=(0.1, 0.2, 0.3)),
        make("LookAt", at=Target("OBJECT", "gone")),
        make("MaterialColor", space="HSV"),
        make("Property", index=2, data_path="location"),
        make("LocationInSphere", surface_only=True, radius=0.1, center=(1e-3, 2e3, -1 / 3)),
        make("LocationOnSurface", surface="gone", offset=-0.1, align=True),
        make("Scale", uniform=False),
    )
    assert OTHER not in [entry.type for entry in entries()]


def test_round_trip_of_all_settings():
    scene = bpy.context.scene
    setup = SceneSetup(
        seed=2**62 + 1,
        stream=StreamSettings("0.0.0.0", 11000, "ipc", 3),
        output=OutputSettings(
            cameras=("Camera", "gone"),
            width=64,
            height=48,
            renderer="CYCLES",
            samples=3,
            image_mode="rgba",
            labels=("semantic", "ids"),
            annotate=False,
            amodal=True,
            classes=(
                ClassEntry("cube", 3_000_000_000, "OBJECT", "Cube"),
                ClassEntry("all", 2, "COLLECTION", "Collection"),
                ClassEntry("gone", 3, "COLLECTION", "gone"),
            ),
            animate=True,
            frame_start=-20,
            frame_end=-10,
            episodes=7,
        ),
        recording=btb_setup.RecordingOptions("//there", 5, "png", 0, "never"),
        workers=btb_setup.WorkerSettings(5),
        unknown={"later": [1, 2], "stream": {"new": "x"}},
    )
    from_setup(scene, setup)
    got = to_setup(scene)
    assert set(got.output.labels) == set(setup.output.labels)
    assert dataclasses.replace(got, output=dataclasses.replace(got.output, labels=setup.output.labels)) == setup
    from_setup(scene, SceneSetup())
    assert to_setup(scene) == SceneSetup()


def test_what_people_type_is_saved_as_they_typed_it(settings):
    entry = settings.randomizers.add()
    entry.type = "LocationInBox"
    entry.target_object = bpy.data.objects["Cube"]
    entry.box_low = (0.1, -0.7, 1e-7)
    assert to_setup(bpy.context.scene).randomizers[0].low == (0.1, -0.7, 1e-7)


def test_exact_numbers_are_kept_only_while_they_are_shown(settings):
    round_trip(make("LocationInSphere", radius=1 / 3, seed=2**40))
    entry = entries()[0]
    entry.radius = 0.5
    entry.seed = 16_777_217
    got = to_setup(bpy.context.scene).randomizers[0]
    assert (got.radius, got.seed) == (0.5, 16_777_217)


def test_names_follow_what_is_renamed(settings):
    round_trip(make("LookAt", target=Target("CAMERA", "Camera")), make("Property", target=Target("MESH", "Cube")))
    bpy.data.objects["Cube"].name = "other"
    bpy.data.cameras["Camera"].name = "lens"
    bpy.data.meshes["Cube"].name = "mesh"
    first, second = to_setup(bpy.context.scene).randomizers
    assert (first.target.name, first.at.name, second.target.name) == ("lens", "other", "mesh")
    assert (entries()[0].target_name, entries()[0].at_name, entries()[1].target_name) == ("lens", "other", "mesh")


def test_an_object_that_was_removed_is_named_still(settings):
    round_trip(make("Rotation"))
    bpy.data.objects.remove(bpy.data.objects["Cube"])
    assert to_setup(bpy.context.scene).randomizers[0].target.name == "Cube"
    entries()[0].target_object = None
    with pytest.raises(EntryError, match="needs a name"):
        to_setup(bpy.context.scene)


def test_an_object_that_was_the_target_before_is_let_go_of_without_its_name(settings):
    entry = settings.randomizers.add()
    entry.type = "Rotation"
    entry.target_object = bpy.data.objects["Cube"]
    entry.target_choice = "COLLECTION"
    entry.target_name = "not there"
    item = settings.output.classes.add()
    item.object, item.collection = bpy.data.objects["Cube"], bpy.data.collections["Collection"]
    item.type = "COLLECTION"
    bpy.data.collections["Collection"].objects.unlink(bpy.data.objects["Cube"])
    let_go_of_deleted(bpy.context.scene)
    assert (entry.target_object, item.object) == (None, None)
    assert (entry.target_name, item.target_name) == ("not there", "Collection")
    bpy.data.collections.remove(item.collection)
    assert item.target_name == "Collection"
    entry.target_choice = "OBJECT"
    assert entry.target_name == ""


def test_another_target_type_does_not_take_the_old_name(settings):
    round_trip(make("Property", target=Target("MESH", "Cube")))
    entry = entries()[0]
    entry.target_choice = "WORLD"
    assert entry_to_json(entry)["target"] == {"type": "WORLD", "name": ""}
    entry.target_choice = "IMAGE"
    assert (entry.target_other, entry.target_name) == (None, "")


def test_an_unfinished_entry_is_an_error_that_names_it_or_is_muted(settings):
    settings.randomizers.add().type = "Rotation"
    settings.randomizers.add().type = "Hook"
    entries()[1].text_name = "hook.py"
    with pytest.raises(EntryError, match=r"Randomizer 1 \(Rotation\): .* needs a name") as error:
        to_setup(bpy.context.scene)
    assert error.value.number == 0
    entries()[0].mute = True
    assert isinstance(to_setup(bpy.context.scene).randomizers[0], UnknownRandomizer)
    saved = to_setup_unfinished(bpy.context.scene)
    from_setup(bpy.context.scene, saved)
    assert [entry.type for entry in entries()] == ["Rotation", "Hook"]
    assert entries()[0].mute


def test_wrong_lists_of_a_choice_are_kept_and_told(settings):
    round_trip(make("MaterialRoughness", distribution=Choice((0.0, 1.0))))
    entries()[0].distribution.values = "0, oops"
    with pytest.raises(EntryError, match="Choice"):
        to_setup(bpy.context.scene)
    from_setup(bpy.context.scene, to_setup_unfinished(bpy.context.scene))
    assert entries()[0].distribution.values == "0, oops"
    entries()[0].distribution.values = '"a", [1, 2]'
    assert to_setup(bpy.context.scene).randomizers[0].distribution == Choice(("a", (1, 2)))


def test_a_wrong_setting_is_an_error_in_words(settings):
    settings.stream.bind_addr = ""
    with pytest.raises(ConfigError, match="Stream: bind_addr"):
        to_setup(bpy.context.scene)


@pytest.mark.parametrize(
    "raw",
    [
        {"type": "OfTomorrow", "label": "x", "mute": True, "some": [1, {"a": None}]},
        {"type": "Rotation", "target": {"type": "OBJECT", "name": "Cube"}, "later": 1},
        {"type": "Rotation", "target": {"type": "SCREEN", "name": "Layout"}},
        ["not", "an", "object"],
    ],
    ids=["type", "field", "target", "list"],
)
def test_what_the_panel_cannot_show_is_kept_as_it_is(settings, raw):
    from_setup(bpy.context.scene, SceneSetup(randomizers=(UnknownRandomizer(raw),)))
    entry = entries()[0]
    assert entry.type == OTHER
    assert entry_to_json(entry) == raw
    assert to_setup(bpy.context.scene).randomizers[0].raw == raw
    if isinstance(raw, dict):
        entry.mute, entry.label = False, "mine"
        assert entry_to_json(entry) == raw | {"label": "mine"} | ({"mute": False} if "mute" in raw else {})


def test_the_types_of_users_and_unusual_distributions_are_kept(settings):
    @randomize.register
    @dataclasses.dataclass(frozen=True)
    class OfMine(randomize.Randomizer):
        count: int = 3

    try:
        round_trip(OfMine(count=5), make("Scale", distribution=Uniform((0.0,) * 5, (1.0,) * 5)))
        round_trip(make("Property", distribution=Constant("text")), make("Scale", distribution=Constant(1e300)))
        assert [entry.type for entry in entries()] == [OTHER, OTHER]
    finally:
        del randomize.TYPES["OfMine"]


def test_an_entry_is_copied_by_its_json(settings):
    round_trip(make("LookAt", at=(0.1, 0.2, 0.3), roll=Uniform(-math.pi, math.pi)))
    copy = settings.randomizers.add()
    entry_from_json(copy, entry_to_json(settings.randomizers[0]))
    first, second = to_setup(bpy.context.scene).randomizers
    assert first == second


def test_first_and_last_frame_push_each_other(settings):
    settings.output.frame_start = 50
    assert settings.output.frame_end == 50
    settings.output.frame_end = 20
    assert settings.output.frame_start == 20
    to_setup(bpy.context.scene)


def test_colors_are_picked(settings):
    color = settings.randomizers.add().color
    color.high_color = (0.25, 0.5, 1.0)
    assert tuple(color.high)[:3] == (0.25, 0.5, 1.0)
    assert tuple(color.high_color) == (0.25, 0.5, 1.0)


def test_rows_without_a_camera_are_left_out(settings):
    settings.output.cameras.add()
    settings.output.cameras.add().object = bpy.data.objects["Camera"]
    settings.output.cameras.add().object = bpy.data.objects["Camera"]
    assert to_setup(bpy.context.scene).output.cameras == ("Camera",)
