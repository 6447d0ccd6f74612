"""Many profiles put together at once are the same as one after another."""

from __future__ import annotations

import numpy as np
from made_tensors import made_from

from ckpt_viewer.stats import together as module
from ckpt_viewer.stats.figures import figures_of
from ckpt_viewer.stats.scan import Scan
from ckpt_viewer.stats.together import together

RNG = np.random.default_rng(11)


def profiles():
    arrays = [
        RNG.standard_normal(40_000).astype(np.float32), RNG.standard_normal(300) * 1e9, np.arange(-50, 50),
        np.array([np.nan, np.inf, -np.inf]), np.zeros(7, np.float16), RNG.integers(-9, 9, 30_000, np.int8),
    ]  # fmt: skip
    tensors = [made_from(array) for array in arrays]
    scan = Scan(tensors, cached=False)
    scan.run()
    return [scan.outcome(tensor) for tensor in tensors]


def same(one, other):
    assert one.census == other.census
    assert one.moments == other.moments
    assert one.cells.bits == other.cells.bits
    assert np.array_equal(one.cells.keys, other.cells.keys)
    assert np.array_equal(one.cells.counts, other.cells.counts)
    assert one.quantiles == other.quantiles


def test_all_at_once_is_one_after_another(monkeypatch):
    found = profiles()
    expected = found[0]
    for each in found[1:]:
        expected = expected.plus(each)
    same(together(found), expected)
    same(together(found[::-1]), expected)
    monkeypatch.setattr(module, "CHUNK", 100)
    same(together(found), expected)


def test_nothing_together_has_no_numbers():
    empty = together([])
    assert (empty.numel, empty.mean, empty.quantiles, empty.cells.size) == (0, None, None, 0)


def test_figures_are_the_numbers_of_a_row():
    ints, special = figures_of(profiles()[2]), figures_of(profiles()[3])
    assert (ints.numel, ints.zeros, ints.low, ints.high, ints.greatest, ints.mean) == (100, 1, -50, 49, 50, -0.5)
    assert ints.zero_share == 0.01
    assert (special.nan, special.inf, special.low, special.greatest, special.is_sound) == (1, 2, None, None, False)
