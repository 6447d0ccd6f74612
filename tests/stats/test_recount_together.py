"""Exact counts of the values of many tensors between any edges, each byte read once, against numpy."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from made_tensors import CountingSource, made_from, made_tensor
from test_recount import ARRAYS, RANDOM, SIZE, expected

from ckpt_viewer.errors import Cancelled, SourceChanged
from ckpt_viewer.stats.recount import count_together

EDGES = {
    "linear": np.linspace(-3, 3, 98),
    "wide": np.array([-1e300, -1e10, -1.0, -1e-40, 0.0, 1e-42, 0.5, 1.5, 1e20, 1e300]),
    "one value": np.array([1.5, 1.5]),
}


def together(arrays, edges):
    """Add up what numpy counts."""
    return tuple(np.sum([expected(array, edges) for array in arrays], axis=0).tolist())


@pytest.mark.parametrize("name", EDGES)
def test_counts_of_all_kinds_equal_numpys(name):
    found = count_together([made_from(array) for array in ARRAYS.values()], EDGES[name])
    assert found.counts == together(ARRAYS.values(), EDGES[name])
    assert found.edges == tuple(EDGES[name].tolist())


def test_small_tensors_in_one_file_are_counted_many_at_once():
    parts, data = [], b""
    for number in range(300):
        dtype = ("float32", "float64", "int32", "float16")[number % 4]
        array = (RANDOM.normal(size=number % 9) * 3).astype(dtype)
        parts.append((array, len(data)))
        data += array.tobytes() + bytes(number % 3)  # some lie at odd places
    source = CountingSource(data)
    tensors = [made_from(array, source=source, start=at) for array, at in parts]
    edges = np.linspace(-4, 4, 33)
    assert count_together(tensors, edges).counts == together([array for array, _ in parts], edges)
    assert source.read <= len(data)


def test_views_are_read_as_they_look_and_shared_bytes_once():
    values = RANDOM.normal(size=(300, 200)).astype("float32")
    source = CountingSource(values.tobytes())
    turned = made_tensor(b"", "float32", (200, 300), (1, 200), source=source)
    part = made_tensor(b"", "float32", (300, 50), (200, 1), 10, source=source)
    spread = made_tensor(values.tobytes(), "float32", (7, 300, 200), (0, 200, 1))
    edges = np.linspace(-1, 1, 41)
    assert count_together([part], edges).counts == expected(values[:, 10:60].ravel(), edges)
    assert count_together([turned, spread], edges).counts == together([values.ravel()] * 8, edges)


def test_complex_packed_and_big_endian_values():
    wide = RANDOM.normal(size=SIZE) + 1j * RANDOM.normal(size=SIZE)
    half = RANDOM.normal(size=SIZE).astype(ml_dtypes.bfloat16)
    turned = RANDOM.normal(size=SIZE).astype(">f4")
    tensors = [
        made_from(wide, "complex128"), made_from(half, "bfloat16"),
        made_tensor(turned.tobytes(), "float32", (SIZE,), big_endian=True),
    ]  # fmt: skip
    edges = np.linspace(-2, 2, 65)
    arrays = [np.abs(wide), half.astype("float32"), turned.astype("float32")]
    assert count_together(tensors, edges).counts == together(arrays, edges)


def test_nothing_is_nothing():
    edges = np.linspace(0, 1, 3)
    assert count_together([], edges).counts == (0, 0)
    assert count_together([made_from(np.zeros(0, "float32"))], edges).counts == (0, 0)


def test_it_can_be_stopped_and_says_what_cannot_be_read():
    class Stop:
        def step(self, done, total):
            if done:
                raise Cancelled

    class Gone(CountingSource):
        def read_into(self, offset, buffer):
            raise SourceChanged("it was changed")

    tensor = made_from(np.zeros(1 << 20, "float32"))
    with pytest.raises(Cancelled):
        count_together([tensor], np.linspace(0, 1, 3), Stop())
    with pytest.raises(SourceChanged):
        count_together([made_tensor(b"", "float32", (9,), source=Gone(bytes(36)))], np.linspace(0, 1, 3))
