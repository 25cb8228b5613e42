"""Labels of scenes: boxes, silhouettes, poses, velocities, keypoints; and the checker's opinion of all of them."""

import bpy
import numpy as np
import pytest
from label_scenes import (
    SHAPE,
    add,
    add_camera,
    add_cube,
    add_geometry_instances,
    add_plane,
    add_sphere,
    instance_of,
    label_renderer,
)
from mathutils import Matrix

from blendtorch import btb
from blendtorch.errors import ConfigError, SceneError
from blendtorch.sensor import BrownConrady

POSE = {"location": (6, -5, 4), "rotation": (1.13, 0.1, 0.87)}


@pytest.fixture(autouse=True)
def scene():
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    return bpy.context.scene


def random_scene(seed, num_objects=12):
    """Things of several kinds at random, some behind others, some beyond the frame, some behind the camera."""
    rng = np.random.default_rng(seed)
    add_plane("ground", x=(-40, 40), y=(-40, 40), z=-2)
    for i in range(num_objects):
        location = rng.uniform(-4, 4, 3)
        cube = add_cube(f"cube {i}", location, rng.uniform(0.3, 0.9), rng.uniform(0, 6, 3))
        cube.scale = rng.choice([-1, 1]) * rng.uniform(0.5, 1.5, 3)
        cube["class_id"] = i % 3
    add_sphere("sphere", location=(1, -1, 0.5), segments=32)
    leaf = add_cube("leaf", half=0.2, location=(0, 0, -60))
    add_geometry_instances(add_plane("tree", x=(-3, 3), y=(1, 3), z=1), leaf)
    instance_of(add_cube("part", half=0.4), add_sphere("ball", segments=16, radius=0.4), location=(2, 1, 2))
    # Sheared: a turned child of a stretched parent.
    parent = add("parent", None, Matrix.Diagonal((1.5, 0.7, 1, 1)))
    child = add_cube("child", half=0.5, rotation=(0.3, 0.2, 0.7))
    child.parent = parent
    bpy.context.view_layer.update()


@pytest.mark.parametrize("kind", [{}, {"kind": "ORTHO", "ortho_scale": 9}, {"shift_x": 0.1, "lens": 35}])
@pytest.mark.parametrize("seed", range(3))
def test_the_checker_finds_nothing_wrong(seed, kind):
    add_camera(**POSE, **kind)
    random_scene(seed)
    labels = label_renderer("ids", "depth")
    drawn = labels.render()
    keypoints = [btb.Keypoint(name, bpy.data.objects[name]) for name in ("sphere", "parent", "cube 3")]
    made = labels.annotate([*keypoints, btb.Keypoint("corner", bpy.data.objects["cube 3"], vertex=5)])
    assert btb.check_labels(made, **drawn) == []
    assert len(made["instances"]["id"]) == 1 + 12 + 1 + 1 + 4 + 2 + 1
    if not kind:
        sample = {**drawn, "labels": made}
        lens = BrownConrady(made["camera"]["intrinsics"], k1=-0.1, k2=0.02)
        distorted = lens.distort_sample(sample)
        assert btb.check_labels(distorted["labels"], ids=distorted["ids"], depth=distorted["depth"]) == []
        assert (distorted["ids"] != drawn["ids"]).any()


def test_the_checker_finds_what_is_wrong():
    """A label of the frame before, which is what a script gets that annotates too late, does not go unseen."""
    add_camera(**POSE)
    random_scene(0)
    labels = label_renderer()
    labels.render()
    stale = labels.annotate()
    bpy.data.objects["sphere"].location.x += 0.5
    drawn = labels.render()
    reasons = btb.check_labels(stale, **drawn)
    assert any("sphere" in reason for reason in reasons)
    checker = btb.LabelChecker("drop")
    assert not checker.accepts({**drawn, "labels": stale})
    assert checker.accepts({**drawn, "labels": labels.annotate()})
    assert checker.report().startswith("2 samples checked, 1 with contradictory labels (dropped)")


@pytest.mark.parametrize("kind", [{}, {"kind": "ORTHO", "ortho_scale": 7}])
def test_silhouettes_are_what_each_thing_alone_would_show_in_a_wider_frame(kind):
    """The truth: everything else hidden, and a frame three times as wide and high through the same lens."""
    camera = add_camera(**POSE, **kind)
    names = ["a", "b", "c", "d"]
    for name, location in zip(names, [(0, 0, 0), (1.2, -1, 0.3), (-1, 2.7, 0.2), (3, 3, -1)], strict=True):
        add_cube(name, location, 0.8, (0.3, 0.4, 0.5))
    labels = label_renderer()
    labels.render()
    table = labels.annotate()["instances"]
    data = camera.data
    if data.type == "ORTHO":
        data.ortho_scale *= 3
    else:
        data.sensor_width *= 3
    height, width = SHAPE
    wide = label_renderer("ids", shape=(3 * height, 3 * width))
    for row, name in enumerate(names):
        for other in names:
            bpy.data.objects[other].hide_set(other != name)
        mask = wide.render()["ids"] > 0
        rows, columns = np.nonzero(mask)
        box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) - [width, height] * 2
        np.testing.assert_allclose(table["box_amodal"][row], box, atol=1)
        inside = mask[height : 2 * height, width : 2 * width].sum()
        assert table["truncation"][row] == pytest.approx(1 - inside / mask.sum(), abs=0.01)
        assert table["visible_fraction"][row] == pytest.approx(table["pixels"][row] / mask.sum(), abs=0.01)
    assert (table["truncation"] > 0.1).any()
    assert (table["truncation"] == 0).any()
    assert (table["visible_fraction"] + table["truncation"] < 0.9).any()


def test_silhouettes_of_what_is_hidden_beyond_or_behind():
    add_camera()
    add_plane("wall", x=(-2, 2), y=(-2, 2), z=2)
    add_cube("hidden", half=0.5)
    add_cube("beyond", half=0.5, location=(200, 0, 0))
    add_cube("behind", half=0.5, location=(0, 0, 20))
    add_plane("ground", x=(-1e4, 1e4), y=(-1e4, 1e4), z=-3)
    labels = label_renderer()
    labels.render()
    table = labels.annotate()["instances"]
    rows = {name: row for row, name in enumerate(table["object"])}
    fraction, truncation = table["visible_fraction"], table["truncation"]
    assert fraction[rows["wall"]] == 1
    assert (fraction[rows["hidden"]], truncation[rows["hidden"]]) == (0, 0)
    assert table["box_amodal"][rows["hidden"]][2] > table["box_amodal"][rows["hidden"]][0]
    for name in ("beyond", "behind"):
        assert (fraction[rows[name]], truncation[rows[name]]) == (0, 1)
        assert (table["box_amodal"][rows[name]] == 0).all()
    # Up to a frame's size beyond the frame is looked at: 8 of 9 parts, and the wall covers some of the rest.
    assert truncation[rows["ground"]] == pytest.approx(8 / 9, abs=0.01)
    np.testing.assert_allclose(table["box_amodal"][rows["ground"]], (-128, -96, 256, 192), atol=4)


@pytest.mark.parametrize("seed", range(4))
def test_the_checker_finds_nothing_wrong_with_a_ground_that_reaches_behind_the_camera(seed):
    """Its silhouette is drawn smaller, and a corner of its box may be just in front of the camera's plane."""
    rng = np.random.default_rng(seed)
    camera = add_camera()
    add_plane("ground", x=(-20, 20), y=(-20, 20))
    add_cube("cube")
    labels = label_renderer(shape=(240, 320))
    view = btb.Camera(camera)
    for _ in range(50):
        angle, distance, height = rng.uniform((0, 7, 2), (2 * np.pi, 10, 7))
        view.look_at((0, 0, 1), position=(distance * np.cos(angle), distance * np.sin(angle), height))
        drawn = labels.render()
        assert btb.check_labels(labels.annotate(), **drawn) == []


@pytest.mark.parametrize("seed", range(6))
def test_the_checker_finds_nothing_wrong_in_large_pictures(seed):
    """Whose silhouettes are drawn smaller, the larger ones."""
    add_camera(**POSE)
    random_scene(seed)
    labels = label_renderer(shape=(1080, 1920))
    drawn = labels.render()
    assert btb.check_labels(labels.annotate(), **drawn) == []


def test_boxes_of_large_silhouettes_are_exact():
    add_camera(kind="ORTHO", ortho_scale=8)
    add_plane("a", x=(-3.99, 3.5), y=(-2, 3), z=0)
    add_plane("b", x=(-7, 1), y=(-2, 2.5), z=-1)
    labels = label_renderer(shape=(600, 800))
    labels.render()
    table = labels.annotate()["instances"]
    np.testing.assert_array_equal(table["box_amodal"], [(1, 0, 750, 500), (-300, 50, 500, 500)])
    np.testing.assert_array_equal(table["box"], [(1, 0, 750, 500), (0, 50, 1, 500)])
    assert table["truncation"][1] == pytest.approx(300 / 800, abs=0.01)


def test_a_thing_between_pixels_is_not_beyond_the_frame():
    add_camera()
    add_cube("tiny", half=1e-4, location=(0.013, 0.013, 0))
    labels = label_renderer()
    labels.render()
    table = labels.annotate()["instances"]
    assert (table["pixels"][0], table["visible_fraction"][0], table["truncation"][0]) == (0, 0, 0)


def test_hundreds_of_silhouettes_on_several_sheets():
    add_camera(kind="ORTHO", ortho_scale=16)
    for i in range(40):
        add_plane(f"plane {i:02d}", x=(-6, 6), y=(-4, 4), z=i / 10)
    labels = label_renderer(shape=(300, 400))
    labels.render()
    table = labels.annotate()["instances"]
    assert (table["box_amodal"] == [50, 50, 350, 250]).all()
    assert table["visible_fraction"].tolist() == [0] * 39 + [1]


def test_poses_agree_with_blender():
    add_camera(**POSE)
    cube = add_cube(location=(0.5, 0.2, -0.3), rotation=(0.3, 0.4, 0.5))
    cube.scale = (2, 0.5, 1.5)
    labels = label_renderer()
    labels.render()
    made = labels.annotate()
    table = made["instances"]
    location, rotation, scale = cube.matrix_world.decompose()
    np.testing.assert_allclose(table["scale"][0], scale, rtol=1e-5)
    expected = made["camera"]["camera_from_world_opencv"] @ np.array(Matrix.LocRotScale(location, rotation, None))
    np.testing.assert_allclose(table["pose"][0], expected, atol=1e-5)
    np.testing.assert_allclose(table["bounds"][0], [(-1, -1, -1), (1, 1, 1)])
    np.testing.assert_allclose(table["box3d_world"][0], btb.bbox_coordinates(cube), atol=1e-5)
    np.testing.assert_allclose(table["box3d_pixel"][0], btb.Camera(shape=SHAPE).bbox_object_to_pixel(cube), atol=1e-3)


def test_velocities_are_of_the_animation(scene):
    add_camera()
    scene.render.fps = 25
    cube = add_cube()
    labels = label_renderer()
    for frame in (1, 2, 4):
        cube.location, cube.rotation_euler = (0.1 * frame, 0, 0), (0, 0, 0.02 * frame)
        scene.frame_set(frame)
        labels.render()
        table = labels.annotate(amodal=False)["instances"]
        if frame == 1:
            assert np.isnan(table["velocity_world"]).all()
            continue
        np.testing.assert_allclose(table["velocity_world"], [(2.5, 0, 0)], atol=1e-4)
        np.testing.assert_allclose(table["angular_velocity_world"], [(0, 0, 0.5)], atol=1e-4)
    cube.location.x += 0.05
    scene.frame_set(4, subframe=0.5)
    labels.render()
    np.testing.assert_allclose(labels.annotate()["instances"]["velocity_world"], [(2.5, 0, 0)], atol=1e-4)
    scene.frame_set(1)  # an episode without reset()
    labels.render()
    assert np.isnan(labels.annotate()["instances"]["velocity_world"]).all()
    add_cube("new", location=(3, 0, 0))
    scene.frame_set(5)
    labels.render()
    assert np.isnan(labels.annotate()["instances"]["velocity_world"][1]).all()
    labels.reset()
    scene.frame_set(6)
    labels.render()
    assert np.isnan(labels.annotate()["instances"]["angular_velocity_world"]).all()


def test_keypoints_of_every_kind():
    """Empties, origins, vertices after modifiers, weighted groups, bones' heads and tails, in the world."""
    add_camera()
    empty = add("empty", None, Matrix.Translation((1, 2, 3)))
    cube = add_cube(location=(0, 0, 1))
    cube.scale = (1, 1, 2)
    cube.vertex_groups.new(name="top").add([1, 3], 1.0, "REPLACE")
    cube.vertex_groups["top"].add([5], 0.5, "REPLACE")
    cube.modifiers.new("displace", "DISPLACE").strength = 0  # evaluated, and otherwise unchanged
    armature = add("armature", bpy.data.armatures.new("armature"), Matrix.Translation((0, 1, 0)))
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    bone = armature.data.edit_bones.new("bone")
    bone.head, bone.tail = (0, 0, 0), (0, 0, 1)
    bpy.ops.object.mode_set(mode="OBJECT")
    armature.pose.bones["bone"].rotation_mode = "XYZ"
    armature.pose.bones["bone"].rotation_euler.x = np.pi / 2
    labels = label_renderer()
    labels.render()
    keypoints = [
        btb.Keypoint("empty", empty),
        btb.Keypoint("origin", cube),
        btb.Keypoint("vertex", cube, vertex=7),
        btb.Keypoint("group", cube, vertex_group="top"),
        btb.Keypoint("head", armature, bone="bone"),
        btb.Keypoint("tail", armature, bone="bone", tail=True),
    ]
    found = labels.annotate(keypoints)["keypoints"]
    assert found["name"] == [keypoint.name for keypoint in keypoints]
    assert found["object"] == ["empty", "cube", "cube", "cube", "armature", "armature"]
    tail = armature.matrix_world @ armature.pose.bones["bone"].tail
    # Vertices 1, 3 and 5 are (-1, -1, 1), (-1, 1, 1) and (1, -1, 1), with weights 1, 1 and a half.
    group = np.array([(-2 + 0.5) / 2.5, -0.5 / 2.5, 1 + 2])
    expected = [(1, 2, 3), (0, 0, 1), (1, 1, 3), group, (0, 1, 0), tail]
    np.testing.assert_allclose(found["xyz_world"], np.array(expected, float), atol=1e-5)
    camera = btb.Camera(shape=SHAPE)
    xy, depth = camera.world_to_pixel(np.array(expected, float), return_depth=True)
    np.testing.assert_allclose(found["xy"], xy, atol=1e-3)
    np.testing.assert_allclose(found["depth_m"], depth, atol=1e-4)
    bpy.context.view_layer.objects.active = cube
    bpy.ops.object.mode_set(mode="EDIT")
    while_edited = labels.annotate(keypoints)["keypoints"]
    np.testing.assert_allclose(while_edited["xyz_world"], found["xyz_world"], atol=1e-5)


def test_visibility_of_keypoints():
    """From 10 m above: seen on a wall, hidden behind it, out of view, behind the camera, and inside of its owner."""
    add_camera()
    wall = add_plane("wall", x=(-1, 1), y=(-1, 1), z=2)
    body = add_cube("body", location=(2.5, 0, 0))
    ball = add_sphere("ball", location=(-2.5, 0, 0), segments=64)

    def point(name, *location, owner=None):
        return btb.Keypoint(name, add(name, None, Matrix.Translation(location)), owner=owner)

    keypoints = [
        btb.Keypoint("corner of the wall", wall, vertex=2),
        point("on the wall", 0.3, 0.2, 2),
        point("behind the wall", 0.3, 0.2, 1.9),
        point("in the air", 0.3, 0.2, 3),
        point("before nothing", 0, 12, -50),
        point("out of view", 30, 0, 0),
        point("behind the camera", 0, 0, 11),
        point("in the body", 2.5, 0, 0),
        point("in its body", 2.5, 0, 0, owner=body),
        point("of the body, behind the wall", 0, 0, 0, owner=body),
        btb.Keypoint("top of the ball", ball, vertex=0),
        btb.Keypoint("bottom of the ball", ball, vertex=len(ball.data.vertices) - 1),
    ]
    labels = label_renderer()
    labels.render()
    found = labels.annotate(keypoints)["keypoints"]
    assert dict(zip(found["name"], found["visibility"].tolist(), strict=True)) == {
        "corner of the wall": 2,
        "on the wall": 2,
        "behind the wall": 1,
        "in the air": 2,
        "before nothing": 2,
        "out of view": 0,
        "behind the camera": 0,
        "in the body": 1,
        "in its body": 2,
        "of the body, behind the wall": 1,
        "top of the ball": 2,
        "bottom of the ball": 1,
    }
    assert found["visibility"].dtype == np.uint8
    # What is not shown is not in the picture, and so is not seen.
    ball.hide_set(True)
    body.hide_set(True)
    drawn = labels.render()
    made = labels.annotate(keypoints)
    visibility = dict(zip(made["keypoints"]["name"], made["keypoints"]["visibility"].tolist(), strict=True))
    assert (visibility["top of the ball"], visibility["in its body"], visibility["in the body"]) == (0, 0, 2)
    assert btb.check_labels(made, **drawn) == []


def test_keypoints_that_cannot_be_found():
    add_camera()
    cube, empty = add_cube(), add("empty", None)
    cube.vertex_groups.new(name="nobody")
    gone = add("gone", None)
    labels = label_renderer()
    labels.render()
    keypoint = btb.Keypoint("p", gone)
    bpy.data.objects.remove(gone)
    for bad, message in [
        (keypoint, "keypoint 'p': its object was deleted"),
        (
            btb.Keypoint("p", cube, vertex=8),
            "'cube' has 8 vertices after its modifiers, from 0 on; there is no vertex 8",
        ),
        (
            btb.Keypoint("p", cube, vertex_group="nobody"),
            "no vertices in a group 'nobody'; its groups, empty ones included: 'nobody'",
        ),
        (btb.Keypoint("p", cube, vertex_group="other"), "no vertices in a group 'other'"),
        (btb.Keypoint("p", empty, vertex=0), "'empty' is of type EMPTY, expected a mesh"),
        (btb.Keypoint("p", empty, bone="b"), "EMPTY 'empty' has no bone 'b', it has none"),
    ]:
        with pytest.raises(SceneError, match=message):
            labels.annotate([bad])
    with pytest.raises(ConfigError, match="vertex and bone, expected at most one"):
        btb.Keypoint("p", cube, vertex=0, bone="b")
    with pytest.raises(ConfigError, match="tail set, but no bone"):
        btb.Keypoint("p", cube, tail=True)
    with pytest.raises(TypeError, match=r"object is 'cube', expected one of bpy\.data\.objects"):
        btb.Keypoint("p", "cube")
    with pytest.raises(ConfigError, match=r"expected a list of btb\.Keypoint"):
        labels.annotate(btb.Keypoint("p", cube))
    with pytest.raises(ConfigError, match="more than one keypoint is called 'p'"):
        labels.annotate([btb.Keypoint("p", cube), btb.Keypoint("p", empty)])
    cube.hide_viewport = True
    with pytest.raises(SceneError, match="keypoint 'p': object 'cube' is not evaluated"):
        labels.annotate([btb.Keypoint("p", cube, vertex=0)])


def test_an_object_that_is_deleted_between_frames():
    add_camera()
    add_cube("a", location=(-2, 0, 0))
    cube = add_cube("b", location=(2, 0, 0))
    labels = label_renderer("ids", "depth", "flow")
    labels.render()
    bpy.data.objects.remove(cube)
    drawn = labels.render()
    made = labels.annotate()
    assert made["instances"]["object"] == ["a"]
    assert btb.check_labels(made, ids=drawn["ids"], depth=drawn["depth"]) == []
    # Of the one that has gone, nothing is known in this picture.
    right = np.s_[:, SHAPE[1] // 2 + 10 :]
    assert np.isnan(drawn["flow_forward"][right]).all()
    assert drawn["occluded_forward"][right].all()
