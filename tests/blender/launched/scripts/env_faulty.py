"""Serves an environment that counts, and does at a step what the options of `reset` say, in the Blender that they name."""

import os
import signal
import time

import numpy as np

from blendtorch import btb
from blendtorch.btb.env import spaces


class Faulty(btb.env.BaseEnv):
    observation_space = spaces.Dict({"random": spaces.Box(0, 1, (2,)), "count": spaces.Discrete(1000)})
    action_space = spaces.Box(-1, 1, (2,))
    max_episode_steps = 50

    def __init__(self, fails_to_begin=False):
        if fails_to_begin:
            raise RuntimeError("cannot begin")
        self.count, self.fault = 0, None

    def reset(self, rng, options):
        self.count = 0
        self.random = rng.uniform(0, 1, 2)
        self.fault = options.get("do") if btargs.btid == options.get("btid", 0) and btargs.epoch == 0 else None
        self.at = options.get("at", 1)
        if self.fault == "raise in reset":
            raise ValueError("no start today")
        return self.observe(), {"episode_begins": True}

    def step(self, action):
        self.count += 1
        if self.count == self.at and self.fault in FAULTS:
            FAULTS[self.fault]()
        self.advance()
        info = {"vector": Vector()} if self.fault == "wrong info" else {"twice": 2 * self.count}
        return self.observe(), float(action.sum()), self.count == 40, False, info

    def observe(self):
        return {"random": self.random, "count": self.count}

    def render(self):
        if self.fault == "hang in render":
            time.sleep(1000)
        return np.full((4, 6, 3), self.count, np.uint8)


def fail():
    raise ValueError("boom")


class Vector:
    """As mathutils has one: what cannot be sent."""


FAULTS = {
    "crash": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "hang": lambda: time.sleep(1000),
    "spin": lambda: [None for _ in iter(int, 1)],
    "raise": fail,
    "exit": lambda: os._exit(0),
}

btargs, _ = btb.parse_blendtorch_args()
btb.env.run(Faulty)
