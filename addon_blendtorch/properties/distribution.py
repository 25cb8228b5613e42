"""Property groups for distributions: one for each unit that values are shown in."""

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatVectorProperty, IntProperty, StringProperty

MAX_COMPONENTS = 4

TYPES = (
    ("Uniform", "Uniform", "Any value between two limits, each as likely as the other"),
    ("Normal", "Normal", "Values around a mean, the further from it the rarer"),
    ("LogUniform", "Log-Uniform", "Between two limits above zero, each order of magnitude as likely as the other"),
    ("Choice", "Choice", "One of a list of values"),
    ("Constant", "Constant", "Always the same value"),
)


class DistributionBase:
    """What all of these groups have; `low`, `high`, `mean`, `std` and `value` come with the unit.

    A group holds up to four components; `size` says how many of them count, and 1 is a plain number.
    """

    type: EnumProperty(name="Distribution", description="How the values are drawn", items=TYPES)
    size: IntProperty(
        name="Components",
        description="Numbers in a value: 1 for a plain number, 3 for a vector or a colour",
        min=1,
        max=MAX_COMPONENTS,
        default=1,
    )
    use_low: BoolProperty(name="Lower Limit", description="Draw again what lies below the lower limit")
    use_high: BoolProperty(name="Upper Limit", description="Draw again what lies above the upper limit")
    values: StringProperty(
        name="Values",
        description='What is chosen from, separated by commas: numbers, "texts in quotes" or [lists, of, numbers]',
        default="0, 1",
    )
    weights: StringProperty(
        name="Weights",
        description="How likely each value is, relative to the others, separated by commas; empty: all alike",
    )


def _annotations(size: int, kind: str, defaults: dict[str, float], look: dict) -> dict:
    """The properties that have a unit; `kind` says in a tooltip what a value is."""

    def vector(name: str, description: str, **more: object) -> object:
        return FloatVectorProperty(
            name=name, description=f"{description}. {kind}", size=MAX_COMPONENTS, **(look | more)
        )

    low, high, mean, std = (defaults[name] for name in ("low", "high", "mean", "std"))
    return {
        "size": IntProperty(
            name="Components",
            description="Numbers in a value: 1 for a plain number, 3 for a vector or a colour",
            min=1,
            max=MAX_COMPONENTS,
            default=size,
        ),
        "low": vector("Low", "The least value", default=[low] * MAX_COMPONENTS),
        "high": vector("High", "The greatest value", default=[high] * MAX_COMPONENTS),
        "mean": vector("Mean", "The value around which the others lie", default=[mean] * MAX_COMPONENTS),
        "std": vector(
            "Deviation",
            "Standard deviation: two of three values lie within it around the mean",
            min=0.0,
            default=[std] * MAX_COMPONENTS,
        ),
        "value": vector("Value", "The value", default=[mean] * MAX_COMPONENTS),
    }


def _group(suffix: str, size: int, kind: str, defaults: dict[str, float], **look: object) -> type:
    return type(
        f"BLENDTORCH_PG_distribution_{suffix}",
        (DistributionBase, bpy.types.PropertyGroup),
        {
            "__annotations__": _annotations(size, kind, defaults, look),
            "__module__": __name__,
            "__doc__": f"A distribution. {kind}.",
        },
    )


def _swatch(name: str, label: str) -> object:
    """The first three components of `name` as a colour to be picked."""

    def get(self: bpy.types.PropertyGroup) -> tuple[float, ...]:
        return tuple(getattr(self, name))[:3]

    def put(self: bpy.types.PropertyGroup, value: tuple[float, ...]) -> None:
        setattr(self, name, (*value, getattr(self, name)[3]))

    return FloatVectorProperty(
        name=label, description="Linear RGB", subtype="COLOR", size=3, min=0.0, soft_max=1.0, get=get, set=put
    )


_ONE = {"low": 0.0, "high": 1.0, "mean": 0.5, "std": 0.1}
_TURN = {"low": -0.1, "high": 0.1, "mean": 0.0, "std": 0.1}

PlainDistribution = _group("plain", 1, "In the unit of what is set", _ONE, precision=3)
AngleDistribution = _group("angle", 1, "An angle", _TURN, unit="ROTATION")
LengthDistribution = _group("length", 3, "A distance along X, Y and Z", _TURN, unit="LENGTH", precision=3)
PowerDistribution = _group(
    "power", 1, "In watts; in W/m² for a sun", {"low": 100.0, "high": 1000.0, "mean": 500.0, "std": 100.0}, unit="POWER"
)
ColorDistribution = _group("color", 3, "A colour, each component from 0 to 1", _ONE, soft_min=0.0, soft_max=1.0)
ColorDistribution.__annotations__ |= {
    f"{name}_color": _swatch(name, label) for name, label in (("low", "Low"), ("high", "High"), ("mean", "Mean"))
}
ColorDistribution.__annotations__["value_color"] = _swatch("value", "Value")

CLASSES = (PlainDistribution, AngleDistribution, LengthDistribution, PowerDistribution, ColorDistribution)
