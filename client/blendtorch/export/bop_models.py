"""Which rigid model each instance is of, for BOP: `Models` gives out obj_ids and knows the models' boxes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ..errors import ConfigError
from .bop_annotations import MM
from .classes import WITHOUT_CLASS, class_name
from .summary import ExportSummary

ObjIds = Literal["object", "class"] | Mapping[str, int]

SAME_SCALE = 1e-3
"""Scales that differ by less, relatively, are of one model."""
MOST_SCALES = 64
"""Of one object. One with more is scaled at random, and would be another model in each picture."""
_SAME_BOX = 0.01  # of the diameter
_MOST_NAMES = 100  # of objects of one model, in objects.json


@dataclass
class Model:
    """A rigid model.

    Attributes:
        name: Of the object, or of the class.
        scale: (3,) that its object had when it was seen first.
        box_mm: (2, 3) lowest and highest corner in the model's axes, mm: its bounds times scale; None where unknown.
        objects: Names of the objects that are it, not more than 100.
        class_ids: That they have.
        instances: How many were exported.
        deviation: By how much, of the diameter, a box was another at most.
    """

    name: str
    scale: np.ndarray
    box_mm: np.ndarray | None
    objects: set[str] = field(default_factory=set)
    class_ids: set[int] = field(default_factory=set)
    instances: int = 0
    deviation: float = 0.0

    @property
    def diameter_mm(self) -> float:
        """Diagonal of the box, mm: what two vertices are apart at most, and somewhat more for round things."""
        return 0.0 if self.box_mm is None else float(np.linalg.norm(self.box_mm[1] - self.box_mm[0]))

    def add(self, name: str, class_id: int, box_mm: np.ndarray | None) -> None:
        """Count an instance, and compare its box with the first one's."""
        self.instances += 1
        self.class_ids.add(class_id)
        if len(self.objects) < _MOST_NAMES:
            self.objects.add(name)
        if self.box_mm is None:
            self.box_mm = box_mm
        elif box_mm is not None:
            difference = float(np.abs(box_mm - self.box_mm).max())
            self.deviation = max(self.deviation, difference / max(self.diameter_mm, 1e-9))


class Models:
    """The models of an export.

    Args:
        obj_ids: "object": an id for each name of an object, from 1 in the order in which they come, and one more for each
            other scale that it has: BOP's models are rigid. "class": the class id; what has no class is left out. Or a
            dict, name of the object to id; what is not in it is left out.
        class_names: Of the recording.

    Raises:
        ConfigError: (a ValueError) Another value, or an id that is no whole number of at least 0.
    """

    def __init__(self, obj_ids: ObjIds, class_names: Mapping[int, str]) -> None:
        if not isinstance(obj_ids, Mapping) and obj_ids not in ("object", "class"):
            raise ConfigError(f'obj_ids: expected "object", "class", or a dict of names to ids, got {obj_ids!r}')
        if isinstance(obj_ids, Mapping):
            for name, obj_id in obj_ids.items():
                if isinstance(obj_id, bool) or not isinstance(obj_id, int | np.integer) or obj_id < 0:
                    raise ConfigError(f"obj_ids: expected a whole number of at least 0 for {name!r}, got {obj_id!r}")
        self._obj_ids = obj_ids
        self._class_names = class_names
        self._models: dict[int, Model] = {}
        self._ids_of: dict[str, list[int]] = {}

    def obj_id(self, name: str, class_id: int, scale: np.ndarray, bounds: np.ndarray | None) -> int | None:
        """The id of an instance's model; None where it is left out.

        Args:
            name: Of the object whose geometry it is.
            class_id: Its class.
            scale: (3,), all negative for mirrored objects.
            bounds: (2, 3), in the object's axes and units; None where unknown.

        Raises:
            ConfigError: (a ValueError) An object has more scales than `MOST_SCALES`.
        """
        if isinstance(self._obj_ids, Mapping):
            obj_id, called = self._obj_ids.get(name), name
        elif self._obj_ids == "class":
            obj_id, called = (None if class_id == WITHOUT_CLASS else class_id), class_name(class_id, self._class_names)
        else:
            obj_id, called = self._by_scale(name, scale), name
        if obj_id is None:
            return None
        obj_id = int(obj_id)
        box_mm = None if bounds is None else np.sort(MM * np.asarray(bounds, np.float64) * scale, axis=0)
        if obj_id not in self._models:
            self._models[obj_id] = Model(called, np.array(scale, np.float64), box_mm)
        self._models[obj_id].add(name, class_id, box_mm)
        return obj_id

    def objects(self) -> dict[str, Any]:
        """The content of objects.json: obj_id to its name, the objects, their classes and scale, and how many there are."""
        return {
            str(obj_id): {
                "name": model.name,
                "objects": sorted(model.objects),
                "class_ids": sorted(model.class_ids),
                "scale": model.scale.tolist(),
                "instances": model.instances,
            }
            for obj_id, model in sorted(self._models.items())
        }

    def models_info(self) -> dict[str, Any]:
        """The content of models_info.json, mm: obj_id to min_x, ..., size_x, ..., diameter, where the box is known.

        The diameter is the diagonal of the box. BOP's, the largest distance of two vertices, needs the mesh.
        """
        info: dict[str, Any] = {}
        for obj_id, model in sorted(self._models.items()):
            if model.box_mm is None:
                continue
            low, size = model.box_mm[0].tolist(), (model.box_mm[1] - model.box_mm[0]).tolist()
            info[str(obj_id)] = {"diameter": model.diameter_mm}
            info[str(obj_id)] |= {f"min_{axis}": value for axis, value in zip("xyz", low, strict=True)}
            info[str(obj_id)] |= {f"size_{axis}": value for axis, value in zip("xyz", size, strict=True)}
        return info

    def report(self, summary: ExportSummary) -> None:
        """Note what the user should know of the models."""
        summary.count("models", len(self._models))
        varying = [(model.deviation, i) for i, model in self._models.items() if model.deviation > _SAME_BOX]
        if varying:
            deviation, obj_id = max(varying)
            summary.problem(
                f"{len(varying)} models are not rigid: boxes of obj_id {obj_id} ({self._models[obj_id].name}) differ by up "
                f"to {100 * deviation:.0f} % of its diameter. models_info.json has the box that came first"
            )
        several = [name for name, ids in self._ids_of.items() if len(ids) > 1]
        if several:
            summary.problem(
                f"{len(several)} objects, such as {several[0]}, have several scales, and an obj_id for each (objects.json)"
            )
        if any(model.box_mm is None for model in self._models.values()):
            summary.problem("some instances have no column bounds: their models are not in models_info.json")

    def why_left_out(self) -> str:
        """What instances are that `obj_id` returns None for."""
        return "instances without a class" if self._obj_ids == "class" else "instances of objects that obj_ids lacks"

    def _by_scale(self, name: str, scale: np.ndarray) -> int:
        ids = self._ids_of.setdefault(name, [])
        for obj_id in ids:
            if np.abs(self._models[obj_id].scale - scale).max() <= SAME_SCALE * np.abs(scale).max():
                return obj_id
        if len(ids) == MOST_SCALES:
            raise ConfigError(
                f"{name} has more than {MOST_SCALES} scales, and BOP's models are rigid: each would be a model of its own. "
                'Give the objects that you want as obj_ids={"name": 1, ...}, without it, or use obj_ids="class"'
            )
        ids.append(len(self._models) + 1)
        return ids[-1]
