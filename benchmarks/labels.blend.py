"""Runs inside Blender for labels.py: on command it times what is drawn, or draws and publishes.

    {"scene": [KIND, COUNT], "shape": [H, W], "rows": [...], "rounds": N}    answers {"ms": N x rows}
    {"frames": N, "labels": BOOL, "publish": BOOL}                           answers {"done": True}, if not published

Between two measurements the frame is set anew and objects have turned, so that no row profits from the one before. What
stands in front of a row's clock is that alone; for annotations the picture of labels, too.
"""

import math
import time
from collections.abc import Callable

import bpy
import numpy as np

from blendtorch import btb
from blendtorch.labels import boxes_from_ids

SHAPE = (480, 640)
THREE = ("ids", "depth", "normals_world")
# Rows that are pictures of labels, by what they have; each other name is an output.
OUTPUTS = {
    "ids+depth": ("ids", "depth"),
    "ids+depth+normals": THREE,
    "all": (*THREE, "normals_camera", "flow", "semantic"),
}
WARM_UP = 2  # rounds that compile shaders and fill caches
CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
FACES = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]


class Stage:
    """A scene in front of the default camera, in which objects turn from frame to frame.

    Args:
        kind: "few" (the default cube, a floor, a sphere, a torus and a monkey), "objects" (cubes with a mesh each),
            "instances" (a cube shown at each vertex of a mesh) or "triangles" (one sphere of about so many).
        count: How many.
    """

    def __init__(self, kind: str, count: int) -> None:
        bpy.data.batch_remove([obj for obj in bpy.data.objects if obj.type == "MESH"])
        bpy.data.batch_remove(bpy.data.meshes[:])
        makers = {"few": _few, "objects": _objects, "instances": _instances, "triangles": _triangles}
        self._turning = makers[kind](count)
        self._frame = 0

    def step(self) -> None:
        """Goes to the next frame."""
        self._frame = self._frame % 250 + 1
        for i, obj in enumerate(self._turning):
            obj.rotation_euler.z = i + self._frame / 20
        bpy.context.scene.frame_set(self._frame)


def _few(_: int) -> list[bpy.types.Object]:
    add = bpy.ops.mesh
    add.primitive_plane_add(size=12, location=(0, 0, -1))
    added = []
    for make, options in (
        (add.primitive_cube_add, {}),
        (add.primitive_uv_sphere_add, {"location": (0, 3, 0)}),
        (add.primitive_torus_add, {"location": (3, 0, 0)}),
        (add.primitive_monkey_add, {"location": (0, -3, 0)}),
    ):
        make(**options)
        added.append(bpy.context.object)
    bpy.ops.object.shade_smooth()
    return [added[0], added[-1]]


def _objects(count: int) -> list[bpy.types.Object]:
    places, size = _grid(count)
    return [_add(CORNERS * size, FACES, place) for place in places]


def _instances(count: int) -> list[bpy.types.Object]:
    places, size = _grid(count)
    parent = _add(places, [], (0, 0, 0))
    parent.instance_type = "VERTS"
    _add(CORNERS * size, FACES, (0, 0, 0)).parent = parent
    return [parent]


def _triangles(count: int) -> list[bpy.types.Object]:
    rings = round(math.sqrt(count) / 2)
    bpy.ops.mesh.primitive_uv_sphere_add(segments=2 * rings, ring_count=rings, radius=2)
    return [bpy.context.object]


def _grid(count: int) -> tuple[np.ndarray, float]:
    """Places on a square before the camera, (count, 3), and half the size of cubes that leave gaps."""
    side = math.ceil(math.sqrt(count))
    spacing = min(4.0, 8.0 / side)
    places = [(x, y, 0) for x in range(side) for y in range(side)]
    return (np.array(places[:count]) - [(side - 1) / 2, (side - 1) / 2, 0]) * spacing, spacing * 0.3


def _add(vertices: np.ndarray, faces: list[list[int]], place: tuple[float, float, float]) -> bpy.types.Object:
    mesh = bpy.data.meshes.new("Object")
    mesh.from_pydata(vertices.tolist(), [], faces)
    obj = bpy.data.objects.new("Object", mesh)
    obj.location = place
    bpy.context.scene.collection.objects.link(obj)
    return obj


def contestant(name: str, camera: btb.Camera) -> tuple[Callable[[], object], Callable[[], object]]:
    """What a row does before the clock runs, and while it does."""
    if name == "solid":
        return _nothing, btb.OffScreenRenderer(camera).render
    if name == "solid/1":
        return _nothing, btb.OffScreenRenderer(camera, samples=1).render
    if name in {"annotate", "annotate-amodal", "boxes_from_ids"}:
        renderer = btb.LabelRenderer(camera)
        drawn: dict[str, np.ndarray] = {}
        if name == "boxes_from_ids":
            return lambda: drawn.update(renderer.render()), lambda: boxes_from_ids(drawn["ids"], renderer.instances.ids)
        return renderer.render, lambda: renderer.annotate(amodal=name == "annotate-amodal")
    return _nothing, btb.LabelRenderer(camera, OUTPUTS.get(name, (name,))).render


def _nothing() -> None:
    pass


def timed(scene: tuple[str, int], shape: tuple[int, int], rows: list[str], rounds: int) -> np.ndarray:
    """Milliseconds that each row took in each round, (rounds, rows) float64."""
    stage = Stage(*scene)
    camera = btb.Camera(shape=tuple(shape))
    contestants = [contestant(name, camera) for name in rows]
    taken_ms = np.empty((WARM_UP + rounds, len(rows)))
    for number, of_round in enumerate(taken_ms):
        order = range(len(rows))
        # Every other round runs backwards, so that no row always comes first of a pair.
        for i in reversed(order) if number % 2 else order:
            before, measured = contestants[i]
            stage.step()
            before()
            started = time.perf_counter()
            measured()
            of_round[i] = (time.perf_counter() - started) * 1000
    return taken_ms[WARM_UP:]


class Publisher:
    """Draws Solid pictures without anti-aliasing, with or without ids, depth and normals, and publishes them or not."""

    def __init__(self, address: str, btid: int) -> None:
        self._channel = btb.BlenderOutputChannel(address, btid)
        self._stage = Stage("few", 0)
        camera = btb.Camera(shape=SHAPE)
        self._picture = btb.OffScreenRenderer(camera, samples=1)
        self._labels = btb.LabelRenderer(camera, THREE)

    def draw(self, frames: int, labels: bool, publish: bool) -> None:
        for _ in range(frames):
            self._stage.step()
            fields = {"image": self._picture.render()}
            if labels:
                fields |= self._labels.render()
            if publish:
                self._channel.publish(**fields)


btargs, _ = btb.parse_blendtorch_args()
commands = btb.DuplexChannel(btargs.btsockets["CTRL"], btargs.btid)
publisher: Publisher | None = None
while True:
    command = commands.recv(timeoutms=None)
    if "scene" in command:
        commands.send(ms=timed(command["scene"], command["shape"], command["rows"], command["rounds"]))
        continue
    publisher = publisher or Publisher(btargs.btsockets["DATA"], btargs.btid)
    publisher.draw(command["frames"], command["labels"], command["publish"])
    if not command["publish"]:
        commands.send(done=True)
