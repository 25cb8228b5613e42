"""The arrays of one step of an environment: what both ends agree that goes to Blender and comes back."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .body import DTYPES
from .spaces import Leaf, Space, leaves

Allocate = Callable[[tuple[int, ...], np.dtype], np.ndarray]


@dataclass
class StepArrays:
    """What one step of all agents of one Blender takes and gives; the first axis is always the agents.

    Attributes:
        actions: One array for each leaf of the action space.
        observations: One array for each leaf of the observation space.
        final_observations: Likewise: of agents that were reset within the step, what they observed before that.
        rewards: float64.
        terminated: bool.
        truncated: bool.
    """

    actions: list[np.ndarray]
    observations: list[np.ndarray]
    final_observations: list[np.ndarray]
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray

    @property
    def results(self) -> list[np.ndarray]:
        """What every step gives: all but the actions and the final observations."""
        return [*self.observations, self.rewards, self.terminated, self.truncated]

    @classmethod
    def allocate(
        cls, observation_space: Space, action_space: Space, num_agents: int, allocate: Allocate = np.zeros
    ) -> "StepArrays":
        """Arrays for so many agents.

        Args:
            observation_space: Of one agent.
            action_space: Of one agent.
            num_agents: How many agents there are.
            allocate: Makes an array of a shape and a dtype. It is called in the order of the attributes.
        """

        def arrays_of(space: Space) -> list[np.ndarray]:
            return [allocate((num_agents, *leaf.shape), dtype_of(leaf)) for _, leaf in leaves(space)]

        return cls(
            arrays_of(action_space),
            arrays_of(observation_space),
            arrays_of(observation_space),
            allocate((num_agents,), DTYPES["float64"]),
            allocate((num_agents,), DTYPES["bool"]),
            allocate((num_agents,), DTYPES["bool"]),
        )


def dtype_of(leaf: Leaf) -> np.dtype:
    """The dtype of a leaf as it travels: little-endian."""
    return DTYPES[leaf.dtype.name]
