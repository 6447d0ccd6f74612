"""Tensors with the same content: found by exact numbers, confirmed by their bytes."""

from __future__ import annotations

import numpy as np
import pytest
from made_tensors import CountingSource, made_from, made_tensor

from ckpt_viewer.errors import Cancelled, SourceChanged
from ckpt_viewer.stats.duplicates import candidates, confirm, nbytes_of
from ckpt_viewer.stats.scan import Scan

ARRAY = np.random.default_rng(0).normal(size=(30, 20)).astype("float32")


def scanned(*tensors):
    scan = Scan(tensors, cached=False)
    scan.run()
    return scan, list(tensors)


def test_equal_tensors_are_found_and_others_are_not():
    other = ARRAY.copy()
    other[0, 0] += 1
    tensors = [made_from(array) for array in (ARRAY, other, ARRAY.reshape(20, 30), ARRAY.astype("float64"))]
    groups = candidates(*scanned(*tensors))
    assert groups == [[tensors[0], tensors[2]]]
    assert nbytes_of(groups) == 2 * ARRAY.nbytes
    assert confirm(groups) == groups


def test_the_same_numbers_in_another_order_are_candidates_only():
    tensors = [made_from(array) for array in (ARRAY, ARRAY[::-1].copy(), ARRAY)]
    groups = candidates(*scanned(*tensors))
    assert groups == [tensors]
    assert confirm(groups) == [[tensors[0], tensors[2]]]


def test_layouts_do_not_matter_but_views_of_the_same_bytes_are_no_duplicates():
    turned = made_from(ARRAY.T.copy()).with_(shape=(30, 20), stride=(1, 30))
    tensor = made_from(ARRAY)
    tied = tensor.with_(requires_grad=True)
    groups = candidates(*scanned(tensor, tied, turned))
    assert confirm(groups) == [[tensor, turned]]
    assert candidates(*scanned(tensor, tied)) == []


def test_constants_say_nothing():
    zeros = [made_from(np.zeros(50, "float32")) for _ in range(3)]
    assert candidates(*scanned(*zeros)) == []


def test_those_that_take_most_come_first():
    small = [made_from(ARRAY[:2]) for _ in range(3)]
    large = [made_from(ARRAY) for _ in range(2)]
    assert confirm(candidates(*scanned(*small, *large))) == [large, small]


def test_only_candidates_are_read_and_that_can_be_cancelled():
    sources = [CountingSource(array.tobytes()) for array in (ARRAY, ARRAY, ARRAY + 1)]
    tensors = [made_tensor(b"", "float32", ARRAY.shape, source=source) for source in sources]
    groups = candidates(*scanned(*tensors))
    before = [source.read for source in sources]
    confirm(groups)
    assert [source.read - read for source, read in zip(sources, before, strict=True)] == [ARRAY.nbytes] * 2 + [0]

    class Stop:
        def step(self, done, total):
            raise Cancelled

    with pytest.raises(Cancelled):
        confirm(groups, Stop())


def test_a_file_that_changed_is_an_error():
    class Changed(CountingSource):
        changed = False

        def read_into(self, offset, buffer):
            if self.changed:
                raise SourceChanged("the file was changed by another program; reload it (F5)")
            super().read_into(offset, buffer)

    source = Changed(ARRAY.tobytes())
    groups = candidates(*scanned(made_tensor(b"", "float32", ARRAY.shape, source=source), made_from(ARRAY)))
    source.changed = True
    with pytest.raises(SourceChanged):
        confirm(groups)
