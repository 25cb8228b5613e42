"""The random numbers of a sample depend on its address alone."""

from itertools import islice

import numpy as np
import pytest

from blendtorch import btb
from blendtorch.errors import ConfigError


def test_generator_is_numpys_of_the_address():
    expected = np.random.default_rng([7, 3, 11]).uniform(size=4)
    np.testing.assert_array_equal(btb.sample_rng(7, 3, 11).uniform(size=4), expected)
    assert (btb.sample_rng(7, 3, 12).uniform(size=4) != expected).all()
    assert (btb.sample_rng(8, 3, 11).uniform(size=4) != expected).all()


def test_instances_share_the_indices():
    shares = [list(islice(btb.sample_indices(k, 3), 4)) for k in range(3)]
    assert sorted(i for share in shares for i in share) == list(range(12))
    assert shares[1] == [1, 4, 7, 10]


def test_indices_end_where_they_are_told_to():
    shares = [list(btb.sample_indices(k, 3, stop=8)) for k in range(3)]
    assert shares == [[0, 3, 6], [1, 4, 7], [2, 5]]
    assert list(btb.sample_indices(2, 3, stop=2)) == []
    assert list(btb.sample_indices(0, 1, 0)) == []


def test_an_address_below_zero_is_refused():
    with pytest.raises(ConfigError, match=r"address \(3, -1\)"):
        btb.sample_rng(0, 3, -1)
