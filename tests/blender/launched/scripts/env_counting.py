"""Serves agents that count: agent k is over after 5 + 7 k steps, each of which takes a while if one likes."""

import time

import numpy as np

from blendtorch import btb
from blendtorch.btb.env import spaces


class Counting(btb.env.BaseVectorEnv):
    observation_space = spaces.Box(0, 1000, (1,), np.int64)
    action_space = spaces.Discrete(3)

    def __init__(self, num_agents=1, step_s=0.0):
        self.num_agents, self.step_s = num_agents, step_s
        self.counts = np.zeros(num_agents, np.int64)
        self.lengths = 5 + 7 * np.arange(num_agents)

    def reset(self, agents, rngs, options):
        self.counts[agents] = 0
        return self.counts[agents][:, None]

    def step(self, actions, active):
        time.sleep(self.step_s)
        self.counts += active
        over = self.counts >= self.lengths
        return self.counts[:, None], np.ones(self.num_agents), over, np.zeros_like(over), {"count": self.counts.copy()}


btb.env.run(Counting)
