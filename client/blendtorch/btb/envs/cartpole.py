"""Runs inside Blender: a pole on a cart, of Blender's own rigid bodies, constraints and motor, for any number of agents.

What Gymnasium's CartPole-v1 is, but for physics: the cart has a motor that drives it at a speed.
"""

from collections.abc import Sequence
from typing import Any

import bpy
import numpy as np

from blendtorch import btb
from blendtorch.btb.env import spaces
from blendtorch.btb.viewport import find_viewport

MAX_SPEED = 3.0  # of the cart, m/s, at action 1
MOTOR_FORCE = 20.0  # N; what Blender calls the motor's Max Impulse acts as a force
LIMITS = (2.4, np.radians(12))  # of the position (m) and the angle (rad)
START = 0.05  # the largest distance (m) and angle (rad) to begin with
HINGE_HEIGHT, POLE_LENGTH = 0.75, 1.2
HERTZ = 50
# Colours, scene-linear.
GREY, BLUE, ORANGE = (0.1, 0.1, 0.1, 1), (0.1, 0.3, 0.8, 1), (1, 0.3, 0.02, 1)
BACKGROUND = (0.75, 0.8, 0.85)


class CartPole(btb.env.BaseVectorEnv):
    """Poles to be balanced on carts.

    Observations are float32: the cart's position (m) and speed (m/s), the pole's angle from upright (rad) and angular
    speed (rad/s). Speeds are those between the last two steps. The action is the speed of the motor, -1 .. 1 for
    -3 .. 3 m/s. Each step is rewarded by 1. An episode is over when the cart is more than 2.4 m off or the pole more
    than 12 degrees, and is cut off after 500 steps of 1/50 s.

    Args:
        num_agents: How many carts there are.
        substeps: How many steps Bullet makes in a frame.
        iterations: How many times it goes over the constraints in each.
    """

    observation_space = spaces.Box(-np.inf, np.inf, (4,))
    action_space = spaces.Box(-1, 1, (1,))
    max_episode_steps = 500

    def __init__(self, num_agents: int = 1, substeps: int = 1, iterations: int = 10) -> None:
        self.num_agents = num_agents
        collection = build_scene(substeps, iterations)
        # Nothing moves along y. 2 m apart, so that their numbers have no other rounding.
        self.agents = btb.env.PhysicsAgents(collection, num_agents, offset=(0, 2, 0))
        self._motors = [agent.objects["Motor"].rigid_body_constraint for agent in self.agents.agents]
        self._speeds = [0.0] * num_agents
        self._last = np.zeros((num_agents, 2), np.float32)
        self._rewards = np.ones(num_agents)

    def reset(self, agents: np.ndarray, rngs: Sequence[np.random.Generator], options: dict[str, Any]) -> np.ndarray:
        """Begins with the cart near the middle and the pole nearly upright, both at rest."""
        observations = np.zeros((len(agents), 4), np.float32)
        for row, (agent, rng) in enumerate(zip(agents.tolist(), rngs, strict=True)):
            x, angle = rng.uniform(-START, START, 2)
            self.agents.begin(agent, {"Cart": cart_pose(x), "Pole": pole_pose(x, angle)})
            self._last[agent] = observations[row, 0], observations[row, 2] = x, angle
        return observations

    def step(self, actions: np.ndarray, active: np.ndarray) -> tuple:
        """Sets the motors, plays a frame, and looks where carts and poles are."""
        speeds = (actions[:, 0] * np.float32(MAX_SPEED)).tolist()
        for agent, speed in enumerate(speeds):
            if speed != self._speeds[agent]:  # to set one has Blender evaluate its object anew
                self._motors[agent].motor_lin_target_velocity = speed
        self._speeds = speeds
        self.agents.advance(self.frames_per_step, active)
        now = self._positions()
        observations = np.empty((self.num_agents, 4), np.float32)
        observations[:, ::2] = now
        observations[:, 1::2] = (now - self._last) * (HERTZ / self.frames_per_step)
        if self.agents.held.any():
            observations[self.agents.held, 1::2] = 0
        self._last = now
        fallen = (np.abs(now) > LIMITS).any(1)
        return observations, self._rewards, fallen, np.full(self.num_agents, self.agents.exhausted)

    def _positions(self) -> np.ndarray:
        """Positions of the carts and angles of the poles, (M, 2) float32."""
        carts, poles = self.agents.matrices("Cart", "Pole")
        found = np.empty((self.num_agents, 2), np.float32)
        found[:, 0] = carts[:, 0, 3]
        np.arctan2(poles[:, 0, 2], poles[:, 2, 2], out=found[:, 1])
        return found


def cart_pose(x: float) -> tuple:
    """Location and rotation of a cart."""
    return (x, 0, 0.5), (1, 0, 0, 0)


def pole_pose(x: float, angle: float) -> tuple:
    """Location and rotation of a pole on a cart at `x`, leaning by an angle."""
    half = POLE_LENGTH / 2
    location = (x + half * np.sin(angle), 0, HINGE_HEIGHT + half * np.cos(angle))
    return location, (np.cos(angle / 2), 0, np.sin(angle / 2), 0)


def build_scene(substeps: int, iterations: int) -> bpy.types.Collection:
    """Makes a track, a cart, a pole, and what joins them; returns the collection of the last three."""
    scene = bpy.context.scene
    bpy.data.objects.remove(bpy.data.objects["Cube"])
    scene.render.fps, scene.render.fps_base = HERTZ, 1
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 320, 240, 100
    bpy.ops.rigidbody.world_add()
    world = scene.rigidbody_world
    world.collection = bpy.data.collections.new("Bodies")
    world.constraints = bpy.data.collections.new("Constraints")
    world.substeps_per_frame, world.solver_iterations = substeps, iterations
    collection = bpy.data.collections.new("CartPole")
    scene.collection.children.link(collection)

    # To Bullet, a body is a box as large as its mesh, around its origin. What one sees may lie above that.
    seen_cart = (((0.6, 0.4, 0.1), 0.1), ((0.14, 0.14, 0.1), 0.2))
    track = add_body(scene.collection, "Track", (0, 0, 0.35), [((6, 0.1, 0.05), 0.175)], "PASSIVE", GREY)
    cart = add_body(collection, "Cart", (0, 0, 0.5), seen_cart, "ACTIVE", BLUE, mass=1)
    upright, _ = pole_pose(0, 0)
    pole = add_body(collection, "Pole", upright, [((0.06, 0.06, POLE_LENGTH), 0)], "ACTIVE", ORANGE, mass=0.2)
    add_constraint(collection, "Slider", "SLIDER", track, cart, (0, 0, 0.5))
    motor = add_constraint(collection, "Motor", "MOTOR", cart, track, (0, 0, 0.5))  # in this order + is along x
    motor.use_motor_lin, motor.motor_lin_target_velocity, motor.motor_lin_max_impulse = True, 0, MOTOR_FORCE
    add_constraint(collection, "Hinge", "HINGE", cart, pole, (0, 0, HINGE_HEIGHT), rotation=(np.pi / 2, 0, 0))

    set_view()
    return collection


def set_view() -> None:
    """Places the camera so that it sees the cart wherever it may go, and has the viewport look through it."""
    btb.Camera(bpy.data.objects["Camera"]).look_at((0, 0, 1.1), (0, -6.8, 2.2))
    if (found := find_viewport()) is not None:
        space, _ = found
        space.region_3d.view_perspective, space.region_3d.view_camera_zoom = "CAMERA", 20
        space.overlay.show_overlays = space.show_gizmo = False  # which take long to draw
        space.shading.background_type, space.shading.background_color = "VIEWPORT", BACKGROUND


def add_body(
    collection: bpy.types.Collection,
    name: str,
    location: tuple,
    boxes: Sequence[tuple[tuple[float, float, float], float]],
    kind: str,
    color: tuple,
    mass: float = 1.0,
) -> bpy.types.Object:
    """Adds a rigid body that collides with nothing: all that holds it are constraints.

    Its mesh are boxes, each of a size and at a height above the origin.
    """
    unit = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / 2
    faces = np.array([(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)])
    corners = np.concatenate([unit * size + (0, 0, height) for size, height in boxes])
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(corners.tolist(), [], np.concatenate([faces + 8 * i for i in range(len(boxes))]).tolist())
    obj = bpy.data.objects.new(name, mesh)
    obj.location, obj.color = location, color
    material = bpy.data.materials.new(name)
    material.diffuse_color = color
    mesh.materials.append(material)
    collection.objects.link(obj)
    bpy.context.scene.rigidbody_world.collection.objects.link(obj)
    body = obj.rigid_body
    body.type, body.mass, body.collision_shape = kind, mass, "BOX"
    body.linear_damping = body.angular_damping = body.friction = 0
    body.use_deactivation = False
    body.collision_collections = [False] * 20
    return obj


def add_constraint(
    collection: bpy.types.Collection,
    name: str,
    kind: str,
    first: bpy.types.Object,
    second: bpy.types.Object,
    location: tuple,
    rotation: tuple = (0, 0, 0),
) -> bpy.types.RigidBodyConstraint:
    """Adds an empty that joins two rigid bodies where it is."""
    empty = bpy.data.objects.new(name, None)
    empty.location, empty.rotation_euler, empty.empty_display_size = location, rotation, 0.2
    collection.objects.link(empty)
    bpy.context.scene.rigidbody_world.constraints.objects.link(empty)
    if empty.rigid_body_constraint is None:
        with bpy.context.temp_override(object=empty, active_object=empty, selected_objects=[empty]):
            bpy.ops.rigidbody.constraint_add()
    constraint = empty.rigid_body_constraint
    constraint.type, constraint.object1, constraint.object2 = kind, first, second
    constraint.disable_collisions = True
    return constraint


if __name__ == "__main__":
    btb.env.run(CartPole)
