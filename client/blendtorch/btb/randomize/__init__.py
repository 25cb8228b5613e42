"""Randomizers: what varies from sample to sample, as plain data that is applied to the scene and taken back exactly."""

from .apply import OnProblem, apply, check
from .changes import Changes
from .context import Context
from .distributions import DISTRIBUTIONS, Choice, Constant, Distribution, LogUniform, Normal, Uniform
from .hook import Hook
from .light import LightColor, LightEnergy
from .material import MaterialColor, MaterialMetallic, MaterialRoughness
from .material_texture import MaterialTexture
from .pose import LocationInBox, LocationInSphere, LocationOnSurface, LookAt, Rotation, Scale
from .randomizer import TYPES, Randomizer, from_json, register, to_json
from .rna_property import Property
from .target import TARGET_TYPES, Target
from .visibility import Visibility
from .world import WorldImage, WorldStrength

__all__ = [
    "DISTRIBUTIONS",
    "TARGET_TYPES",
    "TYPES",
    "Changes",
    "Choice",
    "Constant",
    "Context",
    "Distribution",
    "Hook",
    "LightColor",
    "LightEnergy",
    "LocationInBox",
    "LocationInSphere",
    "LocationOnSurface",
    "LogUniform",
    "LookAt",
    "MaterialColor",
    "MaterialMetallic",
    "MaterialRoughness",
    "MaterialTexture",
    "Normal",
    "OnProblem",
    "Property",
    "Randomizer",
    "Rotation",
    "Scale",
    "Target",
    "Uniform",
    "Visibility",
    "WorldImage",
    "WorldStrength",
    "apply",
    "check",
    "from_json",
    "register",
    "to_json",
]
