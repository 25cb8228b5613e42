"""The randomizer of whether something is there at all."""

from dataclasses import dataclass

import bpy

from ...errors import ConfigError
from . import find
from .context import Context
from .place import Place
from .randomizer import Randomizer, register
from .selection import is_in
from .target import OBJECTS, Target


@register
@dataclass(frozen=True)
class Visibility(Randomizer):
    """Shown or hidden, in the viewport and in renders.

    Attributes:
        target: Of type OBJECT, COLLECTION, CAMERA or LIGHT.
        probability: Of being shown, 0 to 1.
    """

    target: Target
    probability: float = 0.5

    TARGETS = OBJECTS

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.probability <= 1.0:
            raise ConfigError(f"Visibility: probability is {self.probability}; expected 0 to 1")

    def apply(self, ctx: Context) -> None:
        """Draws whether each object is shown."""
        for obj in find.objects(ctx, self.target):
            hidden = not ctx.rng.random() < self.probability
            ctx.change(obj, "hide_viewport", hidden)
            ctx.change(obj, "hide_render", hidden)
            if not hidden:
                _open_eye(ctx, obj)


def _open_eye(ctx: Context, obj: bpy.types.Object) -> None:
    """Shows an object that was hidden by its eye in the outliner, which counts in the viewport alone."""
    layer = bpy.context.view_layer
    if not is_in(obj, layer) or not obj.hide_get(view_layer=layer):
        return
    obj.hide_set(False, view_layer=layer)
    place, scene, name = Place.of(obj), ctx.scene_at, layer.name

    def close() -> None:
        found, inside = place.find(), scene.find()
        layer = inside.view_layers.get(name) if inside is not None else None
        if found is not None and layer is not None and is_in(found, layer):
            found.hide_set(True, view_layer=layer)

    ctx.on_restore(close)
