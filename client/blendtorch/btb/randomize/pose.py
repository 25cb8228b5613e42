"""Randomizers of where objects are, how they are turned and how large they are."""

import math
from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Euler, Quaternion, Vector

from ...errors import ConfigError, RandomizeError
from . import find, transforms
from .context import Context
from .distributions import Constant, Distribution
from .draws import numbers
from .randomizer import Randomizer, register
from .surface import Surface
from .target import OBJECTS, Target

Vector3 = tuple[float, float, float]

_NO_ROLL = Constant(0.0)
_NO_JITTER = Constant((0.0, 0.0, 0.0))


@register
@dataclass(frozen=True)
class LocationInBox(Randomizer):
    """Anywhere in a box along the world's axes.

    Attributes:
        target: Of type OBJECT, COLLECTION, CAMERA or LIGHT.
        low: The corner of the least coordinates, (x, y, z) in metres, world.
        high: The corner of the greatest.
    """

    target: Target
    low: Vector3 = (-1.0, -1.0, 0.0)
    high: Vector3 = (1.0, 1.0, 1.0)

    TARGETS = OBJECTS

    def __post_init__(self) -> None:
        super().__post_init__()
        _ordered(self, self.low, self.high)

    def apply(self, ctx: Context) -> None:
        """Draws x, y and z of each object."""
        low, high = np.asarray(self.low), np.asarray(self.high)
        for obj in find.objects(ctx, self.target):
            transforms.set_location(ctx, obj, low + (high - low) * ctx.rng.random(3))


@register
@dataclass(frozen=True)
class LocationInSphere(Randomizer):
    """Anywhere in a ball, or on a sphere: no part of it is likelier than another of the same size.

    Attributes:
        target: Of type OBJECT, COLLECTION, CAMERA or LIGHT.
        center: (x, y, z) in metres, world.
        radius: Metres.
        surface_only: On the sphere instead of in the ball.
    """

    target: Target
    center: Vector3 = (0.0, 0.0, 0.0)
    radius: float = 1.0
    surface_only: bool = False

    TARGETS = OBJECTS

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.radius < 0:
            raise ConfigError(f"LocationInSphere: radius is {self.radius}; expected 0 or more")

    def apply(self, ctx: Context) -> None:
        """Draws a direction of each object, and how far."""
        for obj in find.objects(ctx, self.target):
            z = 2.0 * ctx.rng.random() - 1.0  # Archimedes: on a sphere, heights are uniform
            angle = 2.0 * math.pi * ctx.rng.random()
            distance = self.radius if self.surface_only else self.radius * math.cbrt(ctx.rng.random())
            flat = math.sqrt(1.0 - z * z)
            direction = np.array((flat * math.cos(angle), flat * math.sin(angle), z))
            transforms.set_location(ctx, obj, self.center + distance * direction)


@register
@dataclass(frozen=True)
class LocationOnSurface(Randomizer):
    """Anywhere on an object's surface, with modifiers, each part as likely as its area says.

    Attributes:
        target: Of type OBJECT, COLLECTION, CAMERA or LIGHT.
        surface: Name of the object: a mesh, or what can be made one (curve, text).
        offset: Metres off the surface, along its normal.
        align: Also turn: the target's +Z along the normal.
    """

    target: Target
    surface: str
    offset: float = 0.0
    align: bool = False

    TARGETS = OBJECTS

    def apply(self, ctx: Context) -> None:
        """Draws a point of the surface for each object."""
        targets, surface = self._look_up(ctx)
        for obj in targets:
            point, normal = surface.sample(ctx.rng)
            transforms.set_location(ctx, obj, point + self.offset * normal)
            if self.align:
                transforms.set_rotation(ctx, obj, Vector((0, 0, 1)).rotation_difference(Vector(normal)))

    def check(self, ctx: Context) -> None:
        """Looks for the target and the surface."""
        self._look_up(ctx)

    def _look_up(self, ctx: Context) -> tuple[list[bpy.types.Object], Surface]:
        targets = find.objects(ctx, self.target)
        surface = find.object_named(ctx, self.surface)
        if surface in targets:
            raise RandomizeError(f'object "{self.surface}" cannot be placed on itself')
        return targets, Surface(ctx, surface)


@register
@dataclass(frozen=True)
class Rotation(Randomizer):
    """Turned, relative to the world's axes.

    Attributes:
        target: Of type OBJECT, COLLECTION, CAMERA or LIGHT.
        low: The least angles about X, Y and Z in radians, as in Blender's XYZ Euler. None, with `high`: any orientation is
            as likely as another.
        high: The greatest angles.
    """

    target: Target
    low: Vector3 | None = None
    high: Vector3 | None = None

    TARGETS = OBJECTS

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low is not None and self.high is not None:
            _ordered(self, self.low, self.high)
        elif self.low is not self.high:
            raise ConfigError("Rotation: one of low and high is none; give both, or neither for any orientation")

    def apply(self, ctx: Context) -> None:
        """Draws an orientation of each object."""
        for obj in find.objects(ctx, self.target):
            if self.low is None or self.high is None:
                transforms.set_rotation(ctx, obj, _any_orientation(ctx.rng))
            else:
                low, high = np.asarray(self.low), np.asarray(self.high)
                transforms.set_rotation(ctx, obj, Euler(low + (high - low) * ctx.rng.random(3), "XYZ"))


@register
@dataclass(frozen=True)
class Scale(Randomizer):
    """Larger or smaller: the object's own scale is set (not multiplied).

    Attributes:
        target: Of type OBJECT, COLLECTION, CAMERA or LIGHT.
        distribution: Factors; 1 is the size of its mesh.
        uniform: One factor for all axes; else one for each.
    """

    target: Target
    distribution: Distribution
    uniform: bool = True

    TARGETS = OBJECTS

    def apply(self, ctx: Context) -> None:
        """Draws one factor of each object, or three."""
        for obj in find.objects(ctx, self.target):
            ctx.change(obj, "scale", self._factors(self.distribution, ctx.rng))

    def check(self, ctx: Context) -> None:
        """Looks for the target, and whether the factors are numbers."""
        find.objects(ctx, self.target)
        for example in self.distribution.examples():
            self._factors(Constant(example), ctx.rng)

    def _factors(self, distribution: Distribution, rng: np.random.Generator) -> tuple[float, ...]:
        drawn = distribution.sample(rng, 1 if self.uniform else 3)
        return tuple(numbers(drawn, 1 if self.uniform else 3).tolist()) * (3 if self.uniform else 1)


@register
@dataclass(frozen=True)
class LookAt(Randomizer):
    """Turned so that its -Z, which is where cameras and lights look, points at something; the picture's top is up (+Z).

    Attributes:
        target: Of type OBJECT, COLLECTION, CAMERA or LIGHT.
        at: An object (its origin), or a point (x, y, z) in metres, world.
        roll: Radians about the line of sight, counter-clockwise as the camera sees itself turn.
        jitter: Added to the point that is looked at: (x, y, z) in metres, world.
    """

    target: Target
    at: Target | Vector3
    roll: Distribution = _NO_ROLL
    jitter: Distribution = _NO_JITTER

    TARGETS = OBJECTS

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.at, Target) and self.at.type != "OBJECT":
            raise ConfigError(f"LookAt: at is {self.at}; expected an object or a point (x, y, z)")

    def apply(self, ctx: Context) -> None:
        """Draws where exactly each object looks, and its roll."""
        for obj in find.objects(ctx, self.target):
            jitter = numbers(self.jitter.sample(ctx.rng, 3), 3)
            (roll,) = numbers(self.roll.sample(ctx.rng, 1), 1)
            here = transforms.world_matrix(ctx, obj).translation
            direction = self._point(ctx) + Vector(jitter) - here
            if direction.length == 0:
                raise RandomizeError(
                    f'object "{obj.name}" is where it should look at; move it away before, or add jitter'
                )
            # Looking straight up or down, this takes +Y for up.
            turned = direction.to_track_quat("-Z", "Y") @ Quaternion((0.0, 0.0, 1.0), roll)
            transforms.set_rotation(ctx, obj, turned)

    def check(self, ctx: Context) -> None:
        """Looks for the target and for what is looked at."""
        targets = find.objects(ctx, self.target)
        if isinstance(self.at, Target) and find.object_named(ctx, self.at.name) in targets:
            raise RandomizeError(f"{self.at} cannot look at itself")
        for distribution, size in ((self.jitter, 3), (self.roll, 1)):
            for example in distribution.examples():
                numbers(Constant(example).sample(ctx.rng, size), size)

    def _point(self, ctx: Context) -> Vector:
        if isinstance(self.at, Target):
            return transforms.world_matrix(ctx, find.object_named(ctx, self.at.name)).translation
        return Vector(self.at)


def _any_orientation(rng: np.random.Generator) -> Quaternion:
    """Uniform on SO(3): K. Shoemake, Uniform random rotations, Graphics Gems III, 1992."""
    u, a, b = rng.random(), 2.0 * math.pi * rng.random(), 2.0 * math.pi * rng.random()
    near, far = math.sqrt(1.0 - u), math.sqrt(u)
    return Quaternion((far * math.cos(b), near * math.sin(a), near * math.cos(a), far * math.sin(b)))


def _ordered(owner: Randomizer, low: Vector3, high: Vector3) -> None:
    if any(least > greatest for least, greatest in zip(low, high, strict=True)):
        raise ConfigError(f"{type(owner).__name__}: low {low} is above high {high}")
