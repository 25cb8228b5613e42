"""Runs inside Blender for env.py: environments, the same scenes played in bare loops, and a step loop with pickles."""

import time

import bpy
import numpy as np
import zmq

from blendtorch import btb
from blendtorch.btb.env import spaces
from blendtorch.btb.envs.cartpole import CartPole
from blendtorch.btb.envs.cartpole_pixels import CartPolePixels

FRAMES = 250  # of the trivial scene, as in Blender's default


class Trivial(btb.env.BaseEnv):
    """Blender's default scene: a frame is played, the cube looked at."""

    observation_space = spaces.Box(-np.inf, np.inf, (3,))
    action_space = spaces.Box(-1, 1, (1,))

    def __init__(self):
        self.cube = bpy.data.objects["Cube"]
        self.scene = bpy.context.scene

    def reset(self, rng, options):
        if count := options.get("bare"):
            return self.look(), {"bare_s": bare(count)}
        self.scene.frame_set(1)
        return self.look()

    def step(self, action):
        play(self.scene)
        return self.look(), 1.0, False, False

    def look(self):
        return np.array(self.cube.matrix_world.translation, np.float32)


class Timed:
    """Measures bare loops at a reset with the option "bare"."""

    def reset(self, agents, rngs, options):
        observations = super().reset(agents, rngs, options)
        if count := options.get("bare"):
            active = np.ones(self.num_agents, bool)
            self.agents.advance(3, active)
            seconds = self.bare(count, options.get("with_motors", False))
            return observations, {"bare_s": np.full(len(agents), seconds)}
        return observations

    def bare(self, count, with_motors):
        scene = bpy.context.scene
        first = scene.frame_current + 1
        started = time.perf_counter()
        for frame in range(first, first + count):
            if with_motors:
                for motor in self._motors:
                    motor.motor_lin_target_velocity = frame % 7 - 3
            scene.frame_set(frame)
        return time.perf_counter() - started


class TimedCartPole(Timed, CartPole):
    pass


class TimedPixels(Timed, CartPolePixels):
    def bare(self, count, with_motors):
        scene = bpy.context.scene
        first = scene.frame_current + 1
        started = time.perf_counter()
        for frame in range(first, first + count):
            scene.frame_set(frame)
            self._eye.render()
        return time.perf_counter() - started


def play(scene):
    scene.frame_set(scene.frame_current % FRAMES + 1)


def bare(count):
    scene = bpy.context.scene
    started = time.perf_counter()
    for _ in range(count):
        play(scene)
    return time.perf_counter() - started


def serve_pickles(address):
    """What the predecessor did: a dict each way, pickled, over REQ and REP."""
    socket = zmq.Context.instance().socket(zmq.REP)
    socket.bind(address)
    scene, cube = bpy.context.scene, bpy.data.objects["Cube"]
    while True:
        socket.recv_pyobj()
        play(scene)
        observation = np.array(cube.matrix_world.translation, np.float32)
        socket.send_pyobj({"obs": observation, "reward": 1.0, "done": False, "time": scene.frame_current})


ENVS = {"trivial": Trivial, "cartpole": TimedCartPole, "pixels": TimedPixels}


def make(kind, **options):
    if kind == "pickles":
        serve_pickles(btargs.btsockets["ENV"])
    return ENVS[kind](**options)


btargs, _ = btb.parse_blendtorch_args()
btb.env.run(make)
