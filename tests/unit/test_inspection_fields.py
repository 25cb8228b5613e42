"""Ranges of fields: the same as numpy finds with all samples at hand."""

from typing import Any

import numpy as np
import pytest

from blendtorch.btt.inspection_fields import MAX_FIELDS, FieldCollector, FieldReport, measure
from blendtorch.btt.inspection_moments import Histogram, Moments

REAL = [
    np.uint8,
    np.int8,
    np.uint16,
    np.int16,
    np.uint32,
    np.int32,
    np.uint64,
    np.int64,
    np.float16,
    np.float32,
    np.float64,
]


def collect(samples: list[dict[str, Any]]) -> dict[str, FieldReport]:
    collector = FieldCollector()
    for sample in samples:
        collector.add(measure(sample))
    return collector.report()


def draw(rng: np.random.Generator, dtype: Any, shape: tuple[int, ...]) -> np.ndarray:
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return rng.normal(3, 20, shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


def assert_range(report: FieldReport, values: np.ndarray) -> None:
    wide = values.astype(np.longdouble)
    assert report.range.count == values.size
    assert (report.range.min, report.range.max) == (values.min(), values.max())
    np.testing.assert_allclose(report.range.mean, float(wide.mean()), rtol=1e-12, atol=float(abs(wide).max()) * 1e-14)
    np.testing.assert_allclose(report.range.std, float(wide.std()), rtol=1e-12)


@pytest.mark.parametrize("dtype", REAL)
def test_the_range_is_that_of_all_samples(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    arrays = [draw(rng, dtype, shape) for shape in ((40, 30, 3), (1, 1, 3), (400, 400, 3))]
    report = collect([{"x": array} for array in arrays])["x"]
    assert_range(report, np.concatenate([array.ravel() for array in arrays]))
    assert report.dtypes == {np.dtype(dtype).name: 3}
    assert (report.nan, report.posinf, report.neginf) == (0, 0, 0)
    assert isinstance(report.range.min, float if np.dtype(dtype).kind == "f" else int)


def test_the_spread_of_large_numbers_is_not_lost() -> None:
    arrays = [np.array([1e9, 1e9 + 1]), np.array([1e9 + 2]), np.full(300_000, 1e9 + 1)]
    report = collect([{"x": array} for array in arrays])["x"]
    # By a sum of squares nothing of it is left: 1e18 has no digits after the point in float64.
    np.testing.assert_allclose(report.range.std, np.std(np.concatenate(arrays) - 1e9), rtol=1e-9)


def test_what_is_not_finite_is_counted_apart() -> None:
    rng = np.random.default_rng(1)
    arrays = [rng.normal(size=(50, 60)).astype(np.float32) for _ in range(4)]
    for array, value in zip(arrays, (np.nan, np.inf, -np.inf), strict=False):
        array[rng.random(array.shape) < 0.2] = value
    report = collect([{"x": array} for array in arrays])["x"]
    everything = np.stack(arrays)
    assert report.nan == np.isnan(everything).sum() > 0
    assert report.posinf == np.isposinf(everything).sum() > 0
    assert report.neginf == np.isneginf(everything).sum() > 0
    assert report.nan_share == np.isnan(everything).mean()
    assert report.inf_share == np.isinf(everything).mean()
    assert_range(report, everything[np.isfinite(everything)])


def test_complex_numbers_have_no_range() -> None:
    report = collect([{"x": np.array([1 + 2j, np.nan, np.inf * 1j])}])["x"]
    assert report.range.count == 0
    assert (report.nan, report.posinf, report.elements) == (2, 0, 3)  # inf * 1j is nan + inf j
    report = collect([{"x": np.array([1 + 2j, complex(np.inf, 0)])}])["x"]
    assert (report.nan, report.posinf) == (0, 1)


@pytest.mark.parametrize(
    "shape", [(6, 5, 3), (6, 5, 4), (6, 5), (6, 5, 2), (5, 3, 3, 3), (7,), (0, 5, 3), (), (3, 5, 1)]
)
@pytest.mark.parametrize("layout", ["C", "F", "strided"])
def test_bytes_of_any_layout_are_counted_right(shape: tuple[int, ...], layout: str) -> None:
    array = np.random.default_rng(2).integers(0, 256, shape, np.uint8)
    if layout == "F":
        array = np.asfortranarray(array)
    elif layout == "strided" and array.ndim:
        array = np.repeat(array, 2, axis=0)[::2]
    array.flags.writeable = False  # as those of a recording
    facts = measure({"x": array})["x"]
    if not array.size:
        assert facts.counts is None
        return
    is_picture = len(shape) == 3 and shape[2] in (3, 4)
    channels = [array[..., c] for c in range(shape[2])] if is_picture else [array]
    expected = [[(channel == value).sum() for value in range(256)] for channel in channels]
    np.testing.assert_array_equal(facts.counts, expected)
    assert_range(collect([{"x": array}])["x"], array)


def test_what_never_changes_is_told() -> None:
    rng = np.random.default_rng(3)
    noise = rng.normal(size=(4, 3))
    fields = collect(
        [
            {
                "zero": np.zeros((2, 2)),
                "five": np.full(3, 5, np.uint8),
                "same": noise.copy(),
                "flat": np.full(4, i),
                "i": i,
            }
            for i in range(3)
        ]
    )
    assert [name for name, field in fields.items() if field.is_zero] == ["zero"]
    assert [name for name, field in fields.items() if field.is_constant] == ["zero", "five"]
    assert [name for name, field in fields.items() if field.is_same] == ["zero", "five", "same"]
    assert {name: field.uniform for name, field in fields.items()} == {
        "zero": 3,
        "five": 3,
        "same": 0,
        "flat": 3,
        "i": 0,
    }


def test_nothing_is_the_same_that_differs() -> None:
    base = np.arange(12.0).reshape(3, 4)
    holes = np.where(base == 5, np.nan, base)
    last = base.copy()
    last[-1, -1] += 1e-9
    pairs = {
        "equal": (base, base.copy(), True),
        "holes": (holes, holes.copy(), True),
        "last": (base, last, False),
        "moved": (base, np.roll(base, 1), False),  # of the same mean and spread
        "dtype": (base, base.astype(np.float32), False),
        "shape": (base, base.ravel(), False),
        "hole or not": (base, holes, False),
        "text": ("a", "b", False),
        "list": ([1, "a"], [1, "a"], True),
        "kind": (base, None, False),
    }
    fields = collect([{name: pair[k] for name, pair in pairs.items()} for k in (0, 1)])
    assert {name: fields[name].is_same for name in pairs} == {name: pair[2] for name, pair in pairs.items()}
    assert not any(field.is_same for field in collect([{"x": base}]).values())  # of one there is nothing to compare


def test_a_constant_with_holes_is_not_constant() -> None:
    report = collect([{"x": np.array([1.0, np.nan])}, {"x": np.array([1.0, 1.0])}])["x"]
    assert not report.is_constant
    assert report.uniform == 1


def test_nested_dicts_are_taken_apart() -> None:
    fields = collect([{"labels": {"camera": {"shape": (4, 6)}, "none": None, "empty": {}}, "a.b": 1}])
    assert list(fields) == ["labels.camera.shape", "labels.none", "labels.empty", "a.b"]
    assert fields["labels.none"].dtypes == {"None": 1}
    assert fields["labels.empty"].dtypes == {"dict": 1}
    assert (fields["labels.camera.shape"].range.min, fields["labels.camera.shape"].range.max) == (4, 6)


def test_shapes_and_dtypes_are_told_as_they_vary() -> None:
    fields = collect(
        [
            {"box": np.zeros((k, 4), np.float32), "mixed": np.zeros((1,) * k), "kind": k if k < 3 else "text", "k": k}
            for k in (2, 5, 3)
        ]
    )
    assert (fields["box"].shape, fields["box"].shapes) == ("2..5x4", {"2x4": 1, "5x4": 1, "3x4": 1})
    assert fields["mixed"].shape == "3 kinds"
    assert fields["kind"].dtypes == {"int": 1, "text": 2}
    assert (fields["k"].shape, fields["k"].is_array, fields["box"].is_array) == ("", False, True)
    assert fields["box"].nbytes == 4 * 4 * 10
    assert fields["box"].elements == 40


def test_texts_are_counted() -> None:
    fields = collect([{"one": f"t{i % 3}", "many": ["a", f"b{i}"], "mixed": ["a", 1], "none": []} for i in range(5)])
    assert (fields["one"].distinct_texts, fields["many"].distinct_texts) == (3, 6)
    assert fields["mixed"].distinct_texts is None
    assert not fields["none"].distinct_texts
    assert fields["many"].shape == "2"


def test_python_numbers_are_numbers() -> None:
    fields = collect(
        [{"int": 2**80, "bool": True, "float": 0.5, "numpy": np.float32(2), "list": [1, 2], "ragged": [[1], []]}]
    )
    assert fields["int"].range.max == 2.0**80
    assert (fields["bool"].range.max, fields["bool"].dtypes) == (1, {"bool": 1})
    assert fields["float"].range.mean == 0.5
    assert (fields["numpy"].dtypes, fields["numpy"].range.max) == ({"float32": 1}, 2)
    assert (fields["list"].elements, fields["list"].range.mean) == (2, 1.5)
    assert fields["ragged"].elements == 0


def test_names_that_never_end_are_bounded() -> None:
    collector = FieldCollector()
    for i in range(MAX_FIELDS + 30):
        collector.add(measure({f"object {i}": i}))
    assert len(collector.report()) == MAX_FIELDS
    assert collector.passed_over == 30


def test_fields_that_are_sometimes_there_are_counted() -> None:
    fields = collect([{"a": 1, **({"b": 2} if i % 2 else {})} for i in range(7)])
    assert (fields["a"].samples, fields["b"].samples) == (7, 3)


def test_moments_of_nothing() -> None:
    moments = Moments()
    moments.add(np.zeros(0))
    moments.merge(Moments())
    assert moments.summary().count == 0
    assert moments.summary().mean is None
    assert Moments.of_bytes(np.zeros(256, np.int64)).count == 0


def test_a_histogram_counts_what_is_beyond_in_its_outer_bins() -> None:
    histogram = Histogram(np.array([0.0, 1.0, 2.0, 4.0]))
    values = np.array([-5, 0, 0.5, 1, 1.99, 2, 4, 9, np.nan])
    histogram.add(values)
    assert histogram.counts.tolist() == [3, 2, 3]
    inside = np.random.default_rng(4).uniform(0, 4, 1000)
    histogram = Histogram(histogram.edges)
    histogram.add(inside)
    np.testing.assert_array_equal(histogram.counts, np.histogram(inside, histogram.edges)[0])
