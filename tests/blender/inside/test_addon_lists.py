"""The lists of the panel: what their operators do, and the randomizer that a right-click on a field makes."""

import math

import bpy
import pytest

import addon_blendtorch
from addon_blendtorch.panels.randomizer_fields import missing_part, missing_target
from addon_blendtorch.panels.randomizers import icon_of, summary
from addon_blendtorch.panels.workers import shortened
from addon_blendtorch.properties import to_setup
from addon_blendtorch.properties.convert_randomizer import entry_to_json
from addon_blendtorch.properties.kinds import KINDS
from addon_blendtorch.rna_property import find_field, find_path
from addon_blendtorch.wrapped_text import wrap
from blendtorch.btb import randomize
from blendtorch.btb import setup as btb_setup
from blendtorch.errors import SceneError

Choice, Target, Uniform = randomize.Choice, randomize.Target, randomize.Uniform


@pytest.fixture(autouse=True)
def settings():
    """The settings of the default scene, with the add-on registered."""
    addon_blendtorch.register()
    yield bpy.context.scene.blendtorch
    addon_blendtorch.unregister()


def labels(settings) -> list[str]:
    return [entry.label for entry in settings.randomizers]


def delete(name: str) -> None:
    """As X does in the window."""
    bpy.ops.object.select_all(action="DESELECT")
    bpy.data.objects[name].select_set(True)
    bpy.ops.object.delete()


def add(settings, *names: str) -> None:
    for name in names:
        bpy.ops.blendtorch.randomizer_add(type="Rotation")
        settings.randomizers[-1].label = name


def socket(name: str):
    return bpy.data.materials["Material"].node_tree.nodes["Principled BSDF"].inputs[name]


class TestRandomizers:
    @pytest.mark.parametrize("kind", KINDS)
    def test_each_kind_can_be_added_and_is_aimed_at_what_is_active(self, settings, kind):
        assert bpy.ops.blendtorch.randomizer_add(type=kind) == {"FINISHED"}
        entry = settings.randomizers[settings.randomizer_index]
        assert entry.type == kind
        assert summary(entry)
        assert icon_of(entry) in bpy.types.UILayout.bl_rna.functions["label"].parameters["icon"].enum_items
        targets = KINDS[kind].targets
        if targets:
            assert entry.target_type in targets
            assert entry.target_name or entry.target_type in ("CAMERA", "WORLD")

    def test_most_kinds_serve_as_they_are_added(self, settings):
        # The others ask for a surface, a folder, a data path or a text first.
        asking = {"LocationOnSurface", "MaterialTexture", "WorldImage", "Property", "Hook"}
        for kind in KINDS.keys() - asking:
            bpy.ops.blendtorch.randomizer_add(type=kind)
        made = to_setup(bpy.context.scene).randomizers
        assert len(made) == len(KINDS) - len(asking)
        assert randomize.check(made) == []

    def test_a_box_begins_around_the_object(self, settings):
        bpy.data.objects["Cube"].location = 3, 0, -2
        bpy.context.view_layer.update()
        bpy.ops.blendtorch.randomizer_add(type="LocationInBox")
        data = entry_to_json(settings.randomizers[0])
        assert (data["low"], data["high"]) == ([2, -1, -3], [4, 1, -1])
        assert data["target"] == {"type": "OBJECT", "name": "Cube"}

    def test_without_an_active_object_entries_are_unfinished(self, settings):
        bpy.context.view_layer.objects.active = None
        for kind in KINDS:
            bpy.ops.blendtorch.randomizer_add(type=kind)
        assert settings.randomizers[0].target_name == ""

    def test_remove_chooses_a_neighbour(self, settings):
        add(settings, "a", "b", "c")
        settings.randomizer_index = 1
        bpy.ops.blendtorch.randomizer_remove()
        assert labels(settings) == ["a", "c"]
        assert settings.randomizer_index == 1
        bpy.ops.blendtorch.randomizer_remove()
        bpy.ops.blendtorch.randomizer_remove()
        assert labels(settings) == []
        assert settings.randomizer_index == 0
        assert not bpy.ops.blendtorch.randomizer_remove.poll()

    def test_move_follows_the_entry_and_stops_at_the_ends(self, settings):
        add(settings, "a", "b", "c")
        assert bpy.ops.blendtorch.randomizer_move(direction="DOWN") == {"CANCELLED"}
        bpy.ops.blendtorch.randomizer_move(direction="UP")
        bpy.ops.blendtorch.randomizer_move(direction="UP")
        assert labels(settings) == ["c", "a", "b"]
        assert settings.randomizer_index == 0
        assert bpy.ops.blendtorch.randomizer_move(direction="UP") == {"CANCELLED"}

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_duplicate_is_equal(self, settings, kind):
        bpy.ops.blendtorch.randomizer_add(type=kind)
        entry = settings.randomizers[0]
        entry.label, entry.use_seed, entry.seed, entry.per = "mine", True, 7, "episode"
        entry.distribution.type = entry.color.type = entry.energy.type = "Normal"
        entry.distribution.size = 3
        entry.distribution.mean = 1, 2, 3, 4
        bpy.ops.blendtorch.randomizer_add(type="Scale")
        settings.randomizer_index = 0
        bpy.ops.blendtorch.randomizer_duplicate()
        assert labels(settings) == ["mine", "mine", ""]
        assert settings.randomizer_index == 1
        assert entry_to_json(settings.randomizers[0]) == entry_to_json(settings.randomizers[1])

    def test_a_duplicate_keeps_the_name_of_what_is_not_in_the_file(self, settings):
        bpy.ops.blendtorch.randomizer_add(type="Rotation")
        settings.randomizers[0].target_object = None
        settings.randomizers[0].target_name = "Gone"
        bpy.ops.blendtorch.randomizer_duplicate()
        assert settings.randomizers[1].target_name == "Gone"


class TestWhatIsGone:
    def test_a_deleted_target_is_told_at_once(self, settings):
        bpy.ops.blendtorch.randomizer_add(type="Rotation")
        (entry,) = settings.randomizers
        assert missing_target(entry) == ""
        delete("Cube")
        assert entry.target_object is not None  # which keeps it in the file
        assert missing_target(entry) == "Cube was deleted."
        assert btb_setup.check(to_setup(bpy.context.scene), bpy.context.scene)

    def test_so_is_what_it_looks_at_or_is_put_on(self, settings):
        bpy.ops.blendtorch.randomizer_add(type="LookAt")
        bpy.ops.blendtorch.randomizer_add(type="LocationOnSurface")
        looks, lies = settings.randomizers
        assert missing_part(lies) == "Choose the mesh that it is put on."
        lies.surface = looks.at_object = bpy.data.objects["Cube"]
        assert missing_part(looks) == missing_part(lies) == ""
        delete("Cube")
        assert missing_part(looks) == missing_part(lies) == "Cube was deleted."
        looks.at_type = "POINT"
        assert missing_part(looks) == ""

    def test_an_object_of_another_scene_or_of_a_collection_alone_is_there(self, settings):
        bpy.ops.blendtorch.randomizer_add(type="Rotation")
        cube = bpy.data.objects["Cube"]
        bpy.data.collections["Collection"].objects.unlink(cube)
        for collection in (bpy.data.scenes.new("other").collection, bpy.data.collections.new("of nobody")):
            collection.objects.link(cube)
            assert missing_target(settings.randomizers[0]) == ""
            collection.objects.unlink(cube)
        assert missing_target(settings.randomizers[0]) == "Cube was deleted."

    def test_all_that_is_not_there_is_marked_when_a_start_is_refused(self, settings, tmp_path):
        settings.recording.folder = str(tmp_path)
        for path in ('["gone"]', "location", "modifiers[0].width"):
            bpy.ops.blendtorch.randomizer_add(type="Property")
            settings.randomizers[-1].data_path = path
        for start in (bpy.ops.blendtorch.stream_start, bpy.ops.blendtorch.record_start):
            with pytest.raises(RuntimeError, match=r"randomizer 1 .*\n.*randomizer 3"):
                start()
            errors = [entry.error for entry in settings.randomizers]
            assert errors[1] == ""
            assert "gone" in errors[0]
            assert "Modifiers" in errors[2]
            settings.randomizers[0].mute = settings.randomizers[2].mute = True
            bpy.ops.blendtorch.stream_start()  # which goes well, and takes the marks away
            bpy.ops.blendtorch.stream_stop()
            assert [entry.error for entry in settings.randomizers] == [""] * 3
            settings.randomizers[0].mute = settings.randomizers[2].mute = False


class TestCamerasAndClasses:
    def test_the_scenes_camera_is_added_once(self, settings):
        assert bpy.ops.blendtorch.camera_add() == {"FINISHED"}
        assert [entry.name for entry in settings.output.cameras] == ["Camera"]
        assert not bpy.ops.blendtorch.camera_add.poll()
        bpy.ops.blendtorch.camera_remove()
        assert not settings.output.cameras
        assert not bpy.ops.blendtorch.camera_remove.poll()

    def test_selected_cameras_are_added(self, settings):
        for name in ("b", "a"):
            camera = bpy.data.objects.new(name, bpy.data.cameras.new(name))
            bpy.context.collection.objects.link(camera)
            camera.select_set(True)
        bpy.ops.blendtorch.camera_add()
        assert to_setup(bpy.context.scene).output.cameras == ("a", "b")

    def test_selected_objects_become_classes_by_name(self, settings):
        for name in ("Chair", "Chair.001", "Table"):
            thing = bpy.data.objects.new(name, bpy.data.meshes.new(name))
            bpy.context.collection.objects.link(thing)
            thing.select_set(True)
        bpy.data.objects["Cube"].select_set(False)
        bpy.data.objects["Light"].select_set(True)
        bpy.ops.blendtorch.class_add(source="SELECTED")
        found = [(one.name, one.class_id, one.target) for one in to_setup(bpy.context.scene).output.classes]
        assert found == [("Chair", 1, "Chair"), ("Chair", 1, "Chair.001"), ("Table", 2, "Table")]
        with pytest.raises(RuntimeError, match="No object is selected"):
            bpy.ops.blendtorch.class_add(source="SELECTED")

    def test_a_collection_and_an_empty_entry(self, settings):
        bpy.ops.blendtorch.class_add(source="COLLECTION")
        bpy.ops.blendtorch.class_add(source="EMPTY")
        output = settings.output
        assert [(one.type, one.target_name, one.class_id) for one in output.classes] == [
            ("COLLECTION", "Collection", 1),
            ("OBJECT", "", 2),
        ]
        bpy.ops.blendtorch.class_move(direction="UP")
        assert output.classes_index == 0
        bpy.ops.blendtorch.class_remove()
        assert [one.name for one in output.classes] == ["Collection"]


class TestFields:
    """What a right-click on a field makes."""

    @pytest.mark.parametrize(
        ("owner", "name", "index", "target", "path", "expected"),
        [
            ("objects['Cube']", "location", 2, ("OBJECT", "Cube"), "location", Uniform(-1, 1)),
            ("objects['Cube']", "location", -1, ("OBJECT", "Cube"), "location", Uniform((-1,) * 3, (1,) * 3)),
            ("objects['Cube']", "rotation_euler", 0, ("OBJECT", "Cube"), "rotation_euler", Uniform(-math.pi, math.pi)),
            ("objects['Cube']", "hide_render", -1, ("OBJECT", "Cube"), "hide_render", Choice((False, True))),
            ("lights['Light']", "energy", -1, ("LIGHT", "Light"), "energy", Uniform(500, 1500)),
            ("lights['Light']", "color", -1, ("LIGHT", "Light"), "color", Uniform((0,) * 3, (1,) * 3)),
            ("cameras['Camera']", "lens", -1, ("CAMERA", "Camera"), "lens", Uniform(25, 75)),
            (
                "cameras['Camera'].dof",
                "aperture_blades",
                -1,
                ("CAMERA", "Camera"),
                "dof.aperture_blades",
                Uniform(0, 16),
            ),
            ("objects['Cube']", "color", 3, ("OBJECT", "Cube"), "color", Uniform(1, 1)),
        ],
    )
    def test_a_range_that_fits(self, owner, name, index, target, path, expected):
        field = find_field(eval(f"bpy.data.{owner}"), name, index)
        assert (field.target, field.data_path) == (Target(*target), path)
        made = field.distribution()
        if isinstance(expected, Uniform):
            assert made.low == pytest.approx(expected.low, rel=1e-6)
            assert made.high == pytest.approx(expected.high, rel=1e-6)
        else:
            assert made == expected

    def test_an_enum_may_have_each_of_its_items(self):
        field = find_field(bpy.data.objects["Cube"], "display_type")
        assert field.distribution() == Choice(("BOUNDS", "WIRE", "SOLID", "TEXTURED"))

    def test_a_nodes_input_is_found_by_its_material(self):
        field = find_field(socket("Roughness"), "default_value")
        assert field.target == Target("MATERIAL", "Material")
        assert bpy.data.materials["Material"].path_resolve(field.data_path) == socket("Roughness").default_value
        assert field.distribution() == Uniform(0, 1)
        assert field.label == "Material: Roughness"
        color = find_field(socket("Base Color"), "default_value")
        assert color.distribution() == Uniform((0, 0, 0, 1), (1, 1, 1, 1))

    def test_a_world_and_the_collection_of_the_scene(self):
        world = bpy.data.worlds["World"]
        field = find_field(world.node_tree.nodes["Background"].inputs["Strength"], "default_value")
        assert field.target == Target("WORLD", "World")
        field = find_field(bpy.context.scene.collection, "hide_render")
        assert (field.target, field.data_path) == (Target("SCENE", "Scene"), "collection.hide_render")

    def test_custom_properties_have_the_limits_of_their_own(self):
        cube = bpy.data.objects["Cube"]
        cube["wear"] = 0.25
        cube.id_properties_ui("wear").update(min=0.0, max=1.0)
        cube["number"] = 10
        assert find_field(cube, "wear").distribution() == Uniform(0, 1)
        assert find_field(cube, "wear").data_path == '["wear"]'
        assert find_field(cube, "number").distribution() == Uniform(5, 15)

    def test_what_is_found_by_path_is_the_same(self):
        path = find_field(socket("Metallic"), "default_value").data_path
        assert find_path(bpy.data.materials["Material"], path).owner == socket("Metallic")
        cube = bpy.data.objects["Cube"]
        cube["a.b"] = 1.0
        assert find_path(cube, '["a.b"]').value == 1
        assert find_path(cube, "location", 1).data_path == "location"
        with pytest.raises(SceneError, match="no"):
            find_path(cube, "nothing.there")

    @pytest.mark.parametrize(
        ("owner", "name", "why"),
        [
            ("objects['Cube']", "parent", "refers to other data"),
            ("objects['Cube']", "bound_box", "computed"),
            ("objects['Cube']", "nonsense", "has no property"),
        ],
    )
    def test_what_cannot_vary_says_why(self, owner, name, why):
        with pytest.raises(SceneError, match=why):
            find_field(eval(f"bpy.data.{owner}"), name)

    def test_the_operator_adds_a_randomizer_that_serves(self, settings):
        path = find_field(socket("Roughness"), "default_value").data_path
        bpy.ops.blendtorch.randomize_property(target_type="MATERIAL", target_name="Material", data_path=path)
        bpy.ops.blendtorch.randomize_property(target_type="OBJECT", target_name="Cube", data_path="location", index=2)
        bpy.ops.blendtorch.randomize_property(target_type="OBJECT", target_name="Cube", data_path="display_type")
        made = to_setup(bpy.context.scene).randomizers
        assert [type(one) for one in made] == [randomize.Property] * 3
        assert randomize.check(made) == []
        assert settings.randomizer_index == 2
        before = bpy.data.objects["Cube"].location.copy()
        with randomize.apply(made, seed=1, address=[0]):
            assert bpy.data.objects["Cube"].location.z != before.z
        assert bpy.data.objects["Cube"].location == before

    def test_the_operator_says_what_it_cannot_do(self, settings):
        with pytest.raises(RuntimeError, match="cannot be randomized"):
            bpy.ops.blendtorch.randomize_property(target_type="OBJECT", target_name="Cube", data_path="parent")
        with pytest.raises(RuntimeError, match="no data-block 'Gone'"):
            bpy.ops.blendtorch.randomize_property(target_type="OBJECT", target_name="Gone", data_path="location")
        assert not settings.randomizers


class TestTexts:
    def test_lines_are_no_wider_than_asked(self):
        text = "a sentence of words, and /a/very/long/path/without/any/spaces/that/has/to/be/broken/somewhere.blend"
        lines = wrap(text, 150, 11)
        assert len(lines) > 2
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")
        assert wrap("one\ntwo", 500, 11) == ["one", "two"]
        assert wrap("", 500, 11) == [""]

    def test_a_report_without_command_line_and_with_the_last_lines(self):
        log = "\n".join(f"line {number}" for number in range(20))
        report = f"Blender instance 1 was killed\ncommand: blender -b\n--- end of its log ---\n{log}"
        assert shortened(report).splitlines() == ["It was killed", *log.splitlines()[-5:]]
        failed = report.replace("was killed", "failed: blendtorch.errors.SceneError: there is no camera.\nAdd one.")
        assert shortened(failed) == "there is no camera.\nAdd one."
        assert shortened("a\nb") == "a\nb"


def test_a_traceback_goes_to_a_text_block():
    assert not bpy.ops.blendtorch.show_traceback.poll()
