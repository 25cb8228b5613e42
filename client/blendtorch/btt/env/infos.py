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
    return {name: row_of(part, row) if isinstance(part, dict) else part[row] for name, part in infos.items()}


def own_info(infos: dict[str, Any], agent: int) -> dict[str, Any]:
    """The info of one agent out of those of a vector environment: what the masks say that it has."""
    names = [name for name in infos if f"_{name}" in infos and infos[f"_{name}"][agent]]
    parts = {name: infos[name] for name in names}
    return {name: own_info(part, agent) if isinstance(part, dict) else part[agent] for name, part in parts.items()}


class VectorInfos:
    """The infos of one step of a vector environment: for each name an array of all agents, and a mask of who has it.

    As Gymnasium's own make them, dicts within dicts, too. What agents say by the same name in different shapes or types
    comes in an array of objects.

    Args:
        num_envs: How many agents there are.
        infos: What there is already, to be added to; None for nothing.

    Attributes:
        infos: The infos, as `gymnasium.vector.VectorEnv` returns them.
    """

    def __init__(self, num_envs: int, infos: dict[str, Any] | None = None) -> None:
        self._num_envs = num_envs
        self.infos: dict[str, Any] = {} if infos is None else infos

    def add(self, info: dict[str, Any], agent: int) -> None:
        """Adds the info of one agent."""
        for name, value in info.items():
            if isinstance(value, dict) and name != "final_obs" and (inner := self._inner(name)) is not None:
                inner.add(value, agent)
            else:
                is_array = isinstance(value, np.ndarray | np.generic | int | float) and name != "final_obs"
                dtype = np.asarray(value).dtype if is_array else np.dtype(object)
                self._place(name, np.shape(value) if is_array else (), dtype)[agent] = value
            self._mask(name)[agent] = True

    def add_rows(self, infos: Infos, agents: np.ndarray, rows: np.ndarray) -> None:
        """Adds what one Blender has said of some agents: `agents` among all, `rows` among its own."""
        if not infos or not len(agents):
            return
        pairs = list(zip(agents.tolist(), rows.tolist(), strict=True))
        if isinstance(infos, list):
            for agent, row in pairs:
                self.add(infos[row], agent)
            return
        for name, part in infos.items():
            if isinstance(part, dict) and (inner := self._inner(name)) is not None:
                inner.add_rows(part, agents, rows)
            elif (
                isinstance(part, np.ndarray)
                and (place := self._place(name, part.shape[1:], part.dtype)).dtype != object
            ):
                place[agents] = part[rows]
            else:
                for agent, row in pairs:
                    self.add({name: row_of(part, row) if isinstance(part, dict) else part[row]}, agent)
            self._mask(name)[agents] = True

    def add_final(self, observation: Any, info: dict[str, Any], agent: int) -> None:
        """Adds what an agent has observed and been told last before it began another episode within the step."""
        self.add({"final_obs": observation, "final_info": info}, agent)

    def _mask(self, name: str) -> np.ndarray:
        return self.infos.setdefault(f"_{name}", np.zeros(self._num_envs, np.bool_))

    def _inner(self, name: str) -> "VectorInfos | None":
        """The infos in a dict within these; None when others say something else by that name."""
        part = self.infos.setdefault(name, {})
        return VectorInfos(self._num_envs, part) if isinstance(part, dict) else None

    def _place(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """The array for an info of this shape and dtype, whatever others say by that name."""
        place = self.infos.get(name)
        if place is None:
            if dtype.kind in "OUS":
                place = np.full(self._num_envs, None, object)
            else:
                place = np.zeros((self._num_envs, *shape), dtype)
        elif isinstance(place, dict) or (
            place.dtype != object and (place.shape[1:] != shape or not np.can_cast(dtype, place.dtype, "same_kind"))
        ):
            mixed = np.full(self._num_envs, None, object)
            for agent in np.flatnonzero(self._mask(name)):
                mixed[agent] = own_info(place, agent) if isinstance(place, dict) else place[agent]
            place = mixed
        self.infos[name] = place
        return place
