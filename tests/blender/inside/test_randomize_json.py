"""To JSON and back, for all types there are."""

import json
from dataclasses import dataclass, fields

import pytest
from randomize_scenes import CUBE, examples

from blendtorch.btb import randomize
from blendtorch.btb.randomize import DISTRIBUTIONS, TYPES, Choice, Constant, LogUniform, Normal, Target, Uniform
from blendtorch.errors import ConfigError

OF_EACH = [
    Uniform(0, 1),
    Uniform((0, 1.5), (2, 3)),
    Normal(0, 1),
    Normal((0, 1), 1, low=-1, high=(2, 3)),
    LogUniform(1, 10),
    Choice(("a", "b"), (1, 2)),
    Choice([[0, 1, 2], [3, 4, 5]]),
    Choice((None, True, 3, 0.5, "x")),
    Constant((1, 2, 3)),
    Constant("word"),
]


def there_and_back(randomizer):
    values = json.loads(json.dumps(randomize.to_json(randomizer), allow_nan=False))
    back = randomize.from_json(values)
    assert back == randomizer
    assert type(back) is type(randomizer)
    assert randomize.to_json(back) == values
    return values


@pytest.mark.parametrize("name", TYPES)
def test_every_type(name, tmp_path):
    of_type = [one for one in examples(tmp_path) if type(one) is TYPES[name]]
    assert of_type
    for one in of_type:
        values = there_and_back(one)
        assert values["type"] == name
        assert set(values) == {"type"} | {field.name for field in fields(one)}


def test_every_distribution():
    assert {type(one).__name__ for one in OF_EACH} == set(DISTRIBUTIONS)
    for one in OF_EACH:
        there_and_back(randomize.Property(CUBE, "location", one))


def test_settings_that_all_have():
    values = there_and_back(
        randomize.LocationInBox(CUBE, label="a", mute=True, per="episode", seed=4, on_error="skip"),
    )
    shared = {"label": "a", "mute": True, "per": "episode", "seed": 4, "on_error": "skip"}
    assert values.items() >= shared.items()
    assert values["target"] == {"type": "OBJECT", "name": "Cube"}
    assert values["low"] == [-1.0, -1.0, 0.0]


def test_defaults_may_be_missing():
    made = randomize.from_json({"type": "LocationInBox", "target": {"type": "OBJECT", "name": "Cube"}})
    assert made == randomize.LocationInBox(CUBE)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"type": "Teleport"}, "'Teleport'"),
        ({}, "type None"),
        ([], "expected an object"),
        ({"type": "Rotation", "target": {"type": "OBJECT", "name": "A"}, "speed": 3}, "'speed'"),
        ({"type": "Rotation"}, "lacks 'target'"),
        ({"type": "Rotation", "target": "Cube"}, "target is 'Cube'"),
        ({"type": "Rotation", "target": {"type": "OBJECT", "name": "A", "id": 3}}, "'id'"),
        ({"type": "Scale", "target": {"type": "OBJECT", "name": "A"}, "distribution": {"type": "Beta"}}, "'Beta'"),
        ({"type": "Scale", "target": {"type": "OBJECT", "name": "A"}, "distribution": 3}, "distribution is 3"),
        ({"type": "Scale", "target": {"type": "OBJECT", "name": "A"}, "distribution": {"type": "Uniform"}}, "'low'"),
        ({"type": "LocationInBox", "target": {"type": "OBJECT", "name": "A"}, "low": [0, 0]}, "low is"),
        ({"type": "LocationInBox", "target": {"type": "OBJECT", "name": "A"}, "mute": 1}, "mute is 1"),
    ],
)
def test_what_is_wrong_is_named(values, words):
    with pytest.raises(ConfigError, match=words):
        randomize.from_json(values)


def test_own_types_and_their_names():
    try:

        @randomize.register
        @dataclass(frozen=True)
        class Shake(randomize.Randomizer):
            target: Target
            strength: float = 1.0

            def apply(self, ctx):
                ctx.change(ctx.scene, "frame_end", 5)

        there_and_back(Shake(CUBE, 2))
        with pytest.raises(ConfigError, match="registered already"):
            randomize.register(type("Rotation", (randomize.Randomizer,), {}))
    finally:
        TYPES.pop("Shake", None)
