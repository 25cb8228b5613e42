"""Copies of a collection of rigid bodies, one for each agent, of which single ones are put back to a start."""

from collections.abc import Mapping, Sequence

import bpy
import numpy as np
from numpy.typing import ArrayLike

from ...errors import ConfigError, SceneError
from .copied_objects import copy_objects
from .frames import LAST_FRAME, Frames

# How much memory Blender's point cache, which keeps every frame, may take before everyone has to begin anew.
_CACHE_BYTES = 256 << 20
_BYTES_PER_BODY, _BYTES_PER_FRAME = 28, 300

# Location, and rotation as a quaternion (w, x, y, z).
Pose = tuple[Sequence[float], Sequence[float]]


class Agent:
    """One agent's objects.

    Attributes:
        objects: The copy of each object of the collection, by the name of the original.
        bodies: Those of them that are active rigid bodies, and not animated (kinematic): which physics moves.
        offset: By how much it lies beside the original, (3,) metres.
    """

    def __init__(self, objects: dict[str, bpy.types.Object], offset: np.ndarray) -> None:
        self.objects = objects
        self.offset = offset
        self.bodies = {name: obj for name, obj in objects.items() if _is_moved(obj.rigid_body)}

    def place(self, poses: Mapping[str, Pose]) -> None:
        """Puts bodies where they shall be, in the frame of the original."""
        for name, (location, quaternion) in poses.items():
            body = self.bodies[name]
            body.location = np.add(location, self.offset)
            body.rotation_quaternion = quaternion

    def hold(self, held: bool) -> None:
        """Has its bodies stay where they are put, or leaves them to physics."""
        for body in self.bodies.values():
            body.rigid_body.kinematic = held


class PhysicsAgents:
    """Copies of a collection with rigid bodies and constraints, played by the same frames.

    Blender plays physics as a whole: it begins at the first frame, and an active body cannot be moved on the way. What
    does work is to make a body kinematic, so that it goes where its object is put. So an agent's start takes effect in the
    first two frames of its next steps: in the first it goes there, in the second it stands still, which takes away the
    speed with which it came (with several substeps a frame it takes a third, for the way there is rounded). Meanwhile its
    action is without effect. All episodes begin like this.

    The same seeds and actions give the same episodes, bit for bit, whatever the number of Blenders, if each has the same
    number of agents. With another number the last digits differ: Bullet, Blender's physics engine, solves constraints in an
    order that depends on its list of bodies, in which those that were held are moved.

    Two things are up to the scene:

    - `offset` changes nothing that is computed: it lies along an axis in which nothing moves, or is 0.
    - Agents do not touch each other: their rigid bodies' collision collections see to that, or the offset does.

    Args:
        collection: What is copied, the first agent. Its active rigid bodies have no parents. Constraints among them, and
            between them and other objects, are copied, too, where they are in the collection.
        num_agents: How many agents there are.
        offset: From one agent to the next, (3,) metres.

    Raises:
        ConfigError: `num_agents` is less than 1.
        SceneError: The collection has no active rigid body, or one with a parent.

    Attributes:
        agents: The agents.
        held: Who was held in the frame played last, (M,) bool.
    """

    def __init__(self, collection: bpy.types.Collection, num_agents: int, offset: ArrayLike = (0.0, 0.0, 0.0)) -> None:
        if num_agents < 1:
            raise ConfigError(f"num_agents is {num_agents}, expected at least 1.")
        self._frames = Frames(bpy.context.scene)
        originals = list(collection.all_objects)
        first = Agent({obj.name: obj for obj in originals}, np.zeros(3))
        if not first.bodies or self._frames.scene.rigidbody_world is None:
            raise SceneError(
                f"collection {collection.name!r} has no active rigid body (Physics > Rigid Body, type Active): agents "
                "consist of such."
            )
        if children := [name for name, body in first.bodies.items() if body.parent is not None]:
            raise SceneError(f"the rigid bodies {children} have a parent, which agents' bodies must not have.")
        self._rest: dict[str, Pose] = {}
        for name, body in first.bodies.items():
            rotation = body.matrix_basis.to_quaternion()
            body.rotation_mode = "QUATERNION"
            body.rotation_quaternion = rotation
            self._rest[name] = (tuple(body.location), tuple(rotation))
        step = np.asarray(offset, np.float64)
        copies = [copy_objects(originals, i * step) for i in range(1, num_agents)]
        self.agents = [first, *(Agent(objects, i * step) for i, objects in enumerate(copies, 1))]
        self._offsets = np.array([agent.offset for agent in self.agents], np.float32)
        # The poses of agents that have not begun to move, and how many frames of their steps they have been held.
        self._starts: dict[int, dict[str, Pose]] = {}
        self._held_frames = [0] * num_agents
        self.held = np.zeros(num_agents, np.bool_)
        bodies = self._frames.scene.rigidbody_world.collection.objects
        self._matrices = np.empty((len(bodies), 4, 4), np.float32)
        places = {obj: i for i, obj in enumerate(bodies)}
        self._rows = {name: np.array([places[agent.bodies[name]] for agent in self.agents]) for name in first.bodies}
        fitting = _CACHE_BYTES // (_BYTES_PER_BODY * len(bodies) + _BYTES_PER_FRAME)
        self._last_frame = min(self._frames.scene.frame_start + fitting, LAST_FRAME)

    def begin(self, agent: int, poses: Mapping[str, Pose]) -> None:
        """Has an agent begin an episode, at rest.

        Args:
            agent: Its number.
            poses: Of each body, by the name of the original, its location (3,), metres, and its rotation as a quaternion
                (w, x, y, z), both in the frame of the original. A body that is left out is where it was in the scene.

        Raises:
            ConfigError: There is no body of that name.
        """
        if unknown := sorted(poses.keys() - self._rest.keys()):
            raise ConfigError(f"poses are given for {unknown}, but the agents' bodies are {sorted(self._rest)}.")
        self._starts[agent] = {**self._rest, **poses}
        self._held_frames[agent] = 0
        self.agents[agent].hold(True)
        self.agents[agent].place(self._starts[agent])

    def advance(self, frames: int, active: np.ndarray) -> None:
        """Plays frames one by one.

        Args:
            frames: How many.
            active: (M,) bool: who begins to move, if it has not yet. The others stay at their start.

        Raises:
            SceneError: Blender cannot count that far; see `exhausted`.
        """
        if len(self._starts) == len(self.agents) and not any(self._held_frames):
            self._rewind()
        substeps = self._frames.scene.rigidbody_world.substeps_per_frame
        for _ in range(frames):
            self.held[:] = False
            self.held[list(self._starts)] = True
            self._frames.advance(1)
            for agent in [agent for agent in self._starts if active[agent]]:
                self._held_frames[agent] += 1
                if self._held_frames[agent] == (2 if substeps == 1 else 3):
                    del self._starts[agent]
                    self.agents[agent].hold(False)

    @property
    def exhausted(self) -> bool:
        """Whether everyone should begin anew: Blender keeps every frame in memory until then.

        All episodes should be truncated: once all agents have begun another one, frames count from the first again.
        """
        return self._frames.current >= self._last_frame

    def matrices(self, *names: str) -> list[np.ndarray]:
        """Where bodies of each agent are now.

        Args:
            *names: Names of the originals.

        Returns:
            For each name (M, 4, 4) float32: from the body's frame to that of the original, metres.

        Raises:
            SceneError: Rigid bodies were added to the scene, or removed.
        """
        bodies = self._frames.scene.rigidbody_world.collection.objects
        if len(bodies) != len(self._matrices):
            raise SceneError(
                f"the scene has {len(bodies)} rigid bodies, and had {len(self._matrices)} when its agents were made. Make "
                "PhysicsAgents last."
            )
        bodies.foreach_get("matrix_world", self._matrices.ravel())
        found = [self._matrices[self._rows[name]].swapaxes(1, 2) for name in names]  # Blender's columns lie together
        for matrices in found:
            matrices[:, :3, 3] -= self._offsets
        return found

    def _rewind(self) -> None:
        """Goes back to the first frame, from which physics is built anew, with everyone in the pose of the scene."""
        for agent in self.agents:
            agent.place(self._rest)
        self._frames.rewind()
        self._frames.advance(1)
        for number, poses in self._starts.items():
            self.agents[number].place(poses)


def _is_moved(body: bpy.types.RigidBodyObject | None) -> bool:
    return body is not None and body.type == "ACTIVE" and not body.kinematic
