"""Runs inside Blender: supershapes fall into a dish and come to rest; publishes pictures, ids, depth, normals and labels.

Each episode has new shapes and a new throw, each picture a new view. They depend on (seed, episode) and (seed, episode,
frame) alone: instance k of N plays the episodes k, k + N, ...
"""

import argparse
import colorsys

import bpy
import numpy as np

from blendtorch import btb

FRAMES = 150  # six seconds: by then nearly all lie still
RINGS, SEGMENTS = 24, 48  # of the grid that a supershape is made of
DISH_PROFILE = ((0, 0), (2.2, 0), (2.45, 0.08), (2.6, 0.25), (2.7, 0.55), (2.8, 0.55), (2.85, -0.05), (0, -0.05))


def main() -> None:
    btargs, remainder = btb.parse_blendtorch_args()
    parser = argparse.ArgumentParser()
    parser.add_argument("--num-shapes", type=int, default=8)
    parser.add_argument("--every", type=int, default=25, help="publish frames 25, 50, ... 150")
    parser.add_argument("--shape", type=int, nargs=2, default=(240, 320), help="height and width of the pictures")
    parser.add_argument("--check-labels", choices=["report", "drop", "raise"], help="what to do with wrong labels")
    args = parser.parse_args(remainder)

    shapes = build_scene(args.num_shapes)
    checker = btb.LabelChecker(args.check_labels) if args.check_labels else None
    episodes = btb.sample_indices(btargs.btid, btargs.num_instances)
    episode = 0

    def pre_animation() -> None:
        nonlocal episode
        episode = next(episodes)
        throw(shapes, btb.sample_rng(btargs.seed, episode))
        passes.reset()  # what moved before has nothing to do with what comes

    def post_frame() -> None:
        if anim.frameid % args.every:
            return
        move_camera(camera, btb.sample_rng(btargs.seed, episode, anim.frameid))
        sample = {
            "image": renderer.render(),
            **passes.render(),  # ids, depth, normals_camera
            "labels": passes.annotate(),
            "episode": episode,
            "frameid": anim.frameid,
        }
        if checker is None or checker.accepts(sample):
            channel.publish(**sample)

    channel = btb.BlenderOutputChannel(btargs.btsockets["DATA"], btargs.btid)
    camera = btb.Camera(shape=args.shape)
    renderer = btb.OffScreenRenderer(camera, mode="rgb", samples=8)
    renderer.set_render_style(shading="SOLID", overlays=False)
    passes = btb.LabelRenderer(camera, outputs=["ids", "depth", "normals_camera"])

    anim = btb.AnimationController()
    anim.pre_animation.add(pre_animation)
    anim.post_frame.add(post_frame)
    anim.play(frame_range=(1, FRAMES), num_episodes=-1)


def build_scene(num_shapes: int) -> list[bpy.types.Object]:
    """Makes a new scene of a dish, a camera and rigid bodies that will be supershapes; returns these."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    bpy.ops.rigidbody.world_add()

    dish = add_object("Dish", *lathe(np.array(DISH_PROFILE), segments=64))
    dish.data.set_sharp_from_angle(angle=np.radians(40))
    dish.color = (0.72, 0.66, 0.56, 1)
    add_body(dish, "PASSIVE", "MESH")

    shapes = []
    for i in range(num_shapes):
        # With numbers of two digits ids, which go by name, are in this order.
        obj = add_object(f"Supershape {i:02d}", *sphere_grid(np.ones(SEGMENTS), np.ones(RINGS + 1)))
        add_body(obj, "ACTIVE", "CONVEX_HULL")
        obj.rigid_body.linear_damping, obj.rigid_body.angular_damping = 0.3, 0.9
        obj.rigid_body.use_deactivation = True  # what hardly moves for two seconds stands still
        shapes.append(obj)

    bpy.ops.object.camera_add()
    scene.camera = bpy.context.object
    scene.camera.data.lens = 85
    for area in (area for screen in bpy.data.screens for area in screen.areas if area.type == "VIEW_3D"):
        solid = area.spaces.active.shading
        solid.color_type, solid.show_shadows = "OBJECT", True
        solid.show_specular_highlight = False  # the first pictures of a process would differ by a trace
        solid.background_type, solid.background_color = "VIEWPORT", (0.75, 0.82, 0.88)
    return shapes


def throw(shapes: list[bpy.types.Object], rng: np.random.Generator) -> None:
    """Gives the bodies new shapes and colours, and puts them above the dish. That their places change restarts physics."""
    hue, turn = rng.uniform((0, 0), (1, 2 * np.pi))
    for i, obj in enumerate(shapes):
        lobes = reshape(obj, rng)
        obj["class_id"] = lobes
        # Along a spiral staircase: bodies that overlap would burst apart.
        angle, distance = turn + 2.4 * i, rng.uniform(0.6, 1.6)
        obj.location = (distance * np.cos(angle), distance * np.sin(angle), 1 + 0.9 * i)
        obj.rotation_euler = rng.uniform(0, 2 * np.pi, size=3)
        obj.color = (*colorsys.hsv_to_rgb((hue + i / len(shapes)) % 1, *rng.uniform((0.45, 0.7), (0.9, 1.0))), 1)


def reshape(obj: bpy.types.Object, rng: np.random.Generator) -> int:
    """Makes an object another supershape; returns how many lobes it has around its axis."""
    lobes = int(rng.integers(2, 9))
    around = superformula(np.arange(SEGMENTS) * 2 * np.pi / SEGMENTS, lobes, *random_exponents(rng))
    latitude = np.linspace(-np.pi / 2, np.pi / 2, RINGS + 1)
    upright = superformula(latitude, 2 * int(rng.integers(0, 4)), *random_exponents(rng))
    vertices, _ = sphere_grid(around, upright)
    vertices *= rng.uniform(0.42, 0.75) / np.linalg.norm(vertices, axis=1).max()
    mesh = obj.data  # of as many vertices and the same faces as before
    mesh.vertices.foreach_set("co", vertices.astype(np.float32).ravel())
    mesh.set_sharp_from_angle(angle=np.radians(35))
    mesh.update()
    return lobes


def superformula(angle: np.ndarray, m: float, n1: float, n2: float, n3: float) -> np.ndarray:
    """Radii of Gielis' curve for angles (N,), with a = b = 1.

    J. Gielis 2003, "A generic geometric transformation that unifies a wide range of natural and abstract shapes", American
    Journal of Botany 90(3), equation 4. It has m lobes; it is closed when m is even, or n2 = n3.
    """
    return (np.abs(np.cos(m * angle / 4)) ** n2 + np.abs(np.sin(m * angle / 4)) ** n3) ** (-1 / n1)


def random_exponents(rng: np.random.Generator) -> tuple[float, float, float]:
    """n1, n2 and n3 of curves that are not too spiky."""
    n2 = rng.uniform(0.8, 4.0)
    # Half-way between two lobes the radius is 2 ** -waist (n2 < 2) or 2 ** waist (n2 > 2); n2 = 2 is a circle.
    waist = rng.uniform(0.1, 0.9)
    n1 = abs(1 - n2 / 2) / waist
    return max(n1, 0.2), n2, n2


def sphere_grid(around: np.ndarray, upright: np.ndarray) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """The spherical product of two curves, closed by a vertex at each pole.

    Args:
        around: (S,) radii in the plane of x and y, at S longitudes.
        upright: (R + 1,) radii at the latitudes from -90 to 90 degrees.

    Returns:
        vertices: ((R - 1) * S + 2, 3) float64.
        faces: Tuples of vertices.
    """
    count, rings = len(around), len(upright) - 1
    longitude = np.arange(count) * 2 * np.pi / count
    latitude = np.linspace(-np.pi / 2, np.pi / 2, rings + 1)
    flat = around[:, None] * np.stack([np.cos(longitude), np.sin(longitude)], axis=1)
    radius, height = upright * np.cos(latitude), upright * np.sin(latitude)
    x_y = radius[1:-1, None, None] * flat
    z = np.broadcast_to(height[1:-1, None, None], (rings - 1, count, 1))
    grid = np.concatenate([x_y, z], axis=2).reshape(-1, 3)
    vertices = np.concatenate([grid, [(0, 0, height[0]), (0, 0, height[-1])]])
    south, north = len(grid), len(grid) + 1
    faces: list[tuple[int, ...]] = []
    for k in range(count):
        right = (k + 1) % count
        faces.append((south, right, k))
        faces.extend((r + k, r + right, r + count + right, r + count + k) for r in range(0, south - count, count))
        faces.append((north, south - count + k, south - count + right))
    return vertices, faces


def lathe(profile: np.ndarray, segments: int) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """A solid of revolution: vertices and faces of a profile (P, 2), radius and height, from axis to axis."""
    angle = np.arange(segments) * 2 * np.pi / segments
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    rings = [np.column_stack([r * circle, np.full(segments, z)]) for r, z in profile[1:-1]]
    vertices = np.concatenate([*rings, [(0, 0, profile[0][1]), (0, 0, profile[-1][1])]])
    first, last = len(vertices) - 2, len(vertices) - 1
    faces: list[tuple[int, ...]] = []
    for k in range(segments):
        right = (k + 1) % segments
        faces.append((first, k, right))
        faces.extend(
            (r + right, r + k, r + segments + k, r + segments + right) for r in range(0, first - segments, segments)
        )
        faces.append((last, first - segments + right, first - segments + k))
    return vertices, faces


def add_object(name: str, vertices: np.ndarray, faces: list[tuple[int, ...]]) -> bpy.types.Object:
    """Adds a smooth mesh object to the scene."""
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(vertices.tolist(), [], faces)
    mesh.polygons.foreach_set("use_smooth", [True] * len(faces))
    obj = bpy.data.objects.new(name, mesh)
    bpy.context.collection.objects.link(obj)
    return obj


def add_body(obj: bpy.types.Object, kind: str, collision_shape: str) -> None:
    """Makes an object a rigid body."""
    bpy.context.view_layer.objects.active = obj
    bpy.ops.rigidbody.object_add(type=kind)
    obj.rigid_body.collision_shape = collision_shape
    obj.rigid_body.friction, obj.rigid_body.restitution = 0.8, 0
    obj.rigid_body.use_margin, obj.rigid_body.collision_margin = True, 0.005


def move_camera(camera: btb.Camera, rng: np.random.Generator) -> None:
    """Looks at the dish from somewhere around it."""
    angle, distance, elevation = rng.uniform((0, 13.0, 0.4), (2 * np.pi, 16.0, 1.0))
    x, y, z = np.cos(angle) * np.cos(elevation), np.sin(angle) * np.cos(elevation), np.sin(elevation)
    camera.look_at((0, 0, 0.4), position=(distance * x, distance * y, distance * z))


main()
