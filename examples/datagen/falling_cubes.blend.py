"""Runs inside Blender: cubes of random size, colour and pose fall onto a plane; publishes pictures with labels.

Each episode is a new throw, each frame has a new view. They depend on (seed, episode) and (seed, episode, frame) alone:
instance k of N plays the episodes k, k + N, ...
"""

import argparse
import time

import bpy
import numpy as np

from blendtorch import btb

FRAMES = (1, 60)
OUTPUTS = ("ids", "depth", "normals_camera")
CUBE = 1  # its class; the ground has none


def main() -> None:
    btargs, remainder = btb.parse_blendtorch_args()
    parser = argparse.ArgumentParser()
    parser.add_argument("--num-cubes", type=int, default=8)
    parser.add_argument("--shading", default="SOLID", choices=["SOLID", "RENDERED"])
    parser.add_argument("--every", type=int, default=1, help="publish frames N, 2 N, ... 60")
    parser.add_argument("--shape", type=int, nargs=2, default=(240, 320), help="height and width of the pictures")
    parser.add_argument("--outputs", nargs="+", default=OUTPUTS, choices=OUTPUTS, help="label images to publish")
    parser.add_argument("--check-labels", choices=["report", "drop", "raise"], help="what to do with wrong labels")
    args = parser.parse_args(remainder)

    cubes = build_scene(args.num_cubes)
    checker = btb.LabelChecker(args.check_labels) if args.check_labels else None
    episodes = btb.sample_indices(btargs.btid, btargs.num_instances)
    episode = 0
    started = 0.0

    def pre_animation() -> None:
        nonlocal episode
        episode = next(episodes)
        throw(cubes, btb.sample_rng(btargs.seed, episode))
        passes.reset()  # what moved before has nothing to do with what comes

    def pre_frame() -> None:
        nonlocal started
        started = time.perf_counter()
        move_camera(camera, btb.sample_rng(btargs.seed, episode, anim.frameid))

    def post_frame() -> None:
        if anim.frameid % args.every:
            return
        image = renderer.render()
        arrays = passes.render()
        labels = passes.annotate()
        if checker is not None and not checker.accepts({"labels": labels, **arrays}):
            return
        channel.publish(
            image=image,
            **arrays,
            labels=labels,
            boxes=labels["instances"]["box"][: len(cubes)],  # rows go by name, and "Ground" comes after the cubes
            episode=episode,
            frameid=anim.frameid,
            blender_s=time.perf_counter() - started,  # for physics, drawing and labels
            published_at=time.time(),
        )

    channel = btb.BlenderOutputChannel(btargs.btsockets["DATA"], btargs.btid)
    camera = btb.Camera(shape=args.shape)
    renderer = btb.OffScreenRenderer(camera, mode="rgb", samples=8 if args.shading == "SOLID" else 1)
    renderer.set_render_style(shading=args.shading, overlays=False)
    passes = btb.LabelRenderer(camera, outputs=args.outputs)

    anim = btb.AnimationController()
    anim.pre_animation.add(pre_animation)
    anim.pre_frame.add(pre_frame)
    anim.post_frame.add(post_frame)
    anim.play(frame_range=FRAMES, num_episodes=-1)


def build_scene(num_cubes: int) -> list[bpy.types.Object]:
    """Makes a new scene of a ground, a camera, a sun and cubes that are rigid bodies; returns the cubes."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.view_settings.view_transform = "Standard"  # colours as they are, without a film's look
    scene.world = bpy.data.worlds.new("World")
    scene.world.color = (0.3, 0.35, 0.4)
    bpy.ops.rigidbody.world_add()

    bpy.ops.mesh.primitive_plane_add(size=40)
    bpy.ops.rigidbody.object_add(type="PASSIVE")
    bpy.context.object.name = "Ground"
    set_color(bpy.context.object, (0.6, 0.6, 0.6))
    cubes = []
    for i in range(num_cubes):
        bpy.ops.mesh.primitive_cube_add(size=1)
        cube = bpy.context.object
        cube.name = f"Cube {i:03d}"  # ids go by name: 1, 2, ...
        cube["class_id"] = CUBE
        bpy.ops.rigidbody.object_add(type="ACTIVE")
        cube.rigid_body.collision_shape = "BOX"
        cubes.append(cube)

    bpy.ops.object.light_add(type="SUN", rotation=(0.6, 0.3, 0))
    bpy.context.object.data.energy = 1.5
    bpy.ops.object.camera_add()
    scene.camera = bpy.context.object
    for area in (area for screen in bpy.data.screens for area in screen.areas if area.type == "VIEW_3D"):
        solid = area.spaces.active.shading
        solid.color_type, solid.show_shadows = "MATERIAL", True
        solid.show_specular_highlight = False  # the first pictures of a process would differ by a trace
        solid.background_type, solid.background_color = "VIEWPORT", (0.6, 0.7, 0.8)
    return cubes


def throw(cubes: list[bpy.types.Object], rng: np.random.Generator) -> None:
    """Puts the cubes above the ground at random."""
    for i, cube in enumerate(cubes):
        cube.location = (*rng.uniform(-2, 2, size=2), 1.5 + i)
        cube.rotation_euler = rng.uniform(0, 2 * np.pi, size=3)
        cube.scale = np.full(3, rng.uniform(0.6, 1.2))
        set_color(cube, rng.uniform(0.05, 0.9, size=3))


def move_camera(camera: btb.Camera, rng: np.random.Generator) -> None:
    """Looks at the heap from somewhere around it."""
    angle, distance, height = rng.uniform((0, 7, 2), (2 * np.pi, 10, 7))
    camera.look_at((0, 0, 1), position=(distance * np.cos(angle), distance * np.sin(angle), height))


def set_color(obj: bpy.types.Object, color: tuple[float, float, float]) -> None:
    """Sets a linear RGB colour, for Rendered and for Solid shading."""
    if not obj.data.materials:
        obj.data.materials.append(bpy.data.materials.new(obj.name))
    material = obj.data.materials[0]
    if material.node_tree is None:  # before Blender 5
        material.use_nodes = True
    material.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (*color, 1)
    obj.color = material.diffuse_color = (*color, 1)


main()
