"""What environments say besides arrays, as Gymnasium wants it."""

from typing import Any

import numpy as np

# From Blender: a dict of arrays, whose first axis are its agents, or a list of a dict for each.
Infos = dict[str, Any] | list[dict[str, Any]] | None


def row_of(infos: Infos, row: int) -> dict[str, Any]:
    """The info of one agent."""
    if not infos:
        return {}
    if isinstance(infos, list):
        return dict(infos[row])
    return {name: values[row] for name, values in infos.items()}


class VectorInfos:
    """The infos of one step of a vector environment: for each name an array of all agents, and a mask of who has it.

    Args:
        num_envs: How many agents there are.

    Attributes:
        infos: The infos, as `gymnasium.vector.VectorEnv` returns them.
    """

    def __init__(self, num_envs: int) -> None:
        self._num_envs = num_envs
        self.infos: dict[str, Any] = {}

    def add(self, info: dict[str, Any], agent: int) -> None:
        """Adds the info of one agent."""
        for name, value in info.items():
            is_array = isinstance(value, np.ndarray | np.generic | int | float)
            self._place(name, np.shape(value), np.asarray(value).dtype if is_array else np.dtype(object))[agent] = value
            self.infos[f"_{name}"][agent] = True

    def add_rows(self, infos: Infos, agents: np.ndarray, rows: np.ndarray) -> None:
        """Adds what one Blender has said of some agents: `agents` among all, `rows` among its own."""
        if not infos:
            return
        if isinstance(infos, list):
            for agent, row in zip(agents.tolist(), rows.tolist(), strict=True):
                self.add(infos[row], agent)
            return
        for name, values in infos.items():
            array = np.asarray(values)[rows]
            place = self._place(name, array.shape[1:], array.dtype)
            if place.dtype == object:
                for agent, value in zip(agents.tolist(), array, strict=True):
                    place[agent] = value
            else:
                place[agents] = array
            self.infos[f"_{name}"][agents] = True

    def add_final(self, observation: Any, info: dict[str, Any], agent: int) -> None:
        """Adds what an agent has observed and been told last before it began another episode within the step."""
        if "final_obs" not in self.infos:
            for name in ("final_obs", "_final_obs", "_final_info"):
                self.infos[name] = np.full(self._num_envs, None, object) if name == "final_obs" else self._nobody()
            self.infos["final_info"] = {}
        self.infos["final_obs"][agent] = observation
        self.infos["_final_obs"][agent] = self.infos["_final_info"][agent] = True
        final = VectorInfos(self._num_envs)
        final.infos = self.infos["final_info"]
        final.add(info, agent)

    def _nobody(self) -> np.ndarray:
        return np.zeros(self._num_envs, np.bool_)

    def _place(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """The array for an info of this shape and dtype, whatever others say by that name."""
        place = self.infos.get(name)
        if place is None:
            if dtype.kind == "O" or dtype.kind in "US":
                place = np.full(self._num_envs, None, object)
            else:
                place = np.zeros((self._num_envs, *shape), dtype)
            self.infos[name], self.infos[f"_{name}"] = place, self._nobody()
        elif place.dtype != object and (place.shape[1:] != shape or not np.can_cast(dtype, place.dtype, "same_kind")):
            mixed = np.full(self._num_envs, None, object)
            for agent in np.flatnonzero(self.infos[f"_{name}"]):
                mixed[agent] = place[agent]
            place = self.infos[name] = mixed
        return place
