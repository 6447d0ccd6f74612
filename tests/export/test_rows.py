"""The elements of strided tensors as ranges of bytes, read anywhere, in windows, from any byte order."""

import numpy as np
import pytest
from made_tensors import CountingSource, made_tensor

from ckpt_viewer.errors import Damaged, Truncated
from ckpt_viewer.export import rows
from ckpt_viewer.export.rows import is_contiguous, rows_of


def read(tensor, target=""):
    found = rows_of(tensor, target)
    data = found.source.read_at(found.offset, found.nbytes)
    return np.frombuffer(data, "V1").view(f"u{found.swap}").byteswap().tobytes() if found.swap > 1 else data


def cube():
    return np.arange(7 * 11 * 5, dtype=np.int32)


VIEWS = {
    "whole": ((7, 11, 5), (55, 5, 1), 0),
    "turned": ((5, 11, 7), (1, 5, 55), 0),
    "steps": ((3, 4, 2), (110, 10, 2), 6),
    "expanded": ((4, 5), (0, 1), 20),
    "overlapping": ((6, 4), (1, 1), 3),
    "one": ((1, 1), (77, 13), 384),
    "none": ((), (), 100),
    "empty": ((0, 5), (5, 1), 0),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("big", [False, True], ids=["little", "big"])
@pytest.mark.parametrize("window", [rows.WINDOW, 64, 4])
def test_elements_come_in_row_major_order(monkeypatch, view, big, window):
    monkeypatch.setattr(rows, "WINDOW", window)
    shape, stride, offset = VIEWS[view]
    numbers = cube()
    wanted = np.lib.stride_tricks.as_strided(numbers[offset:], shape, [4 * step for step in stride]).tobytes()
    data = numbers.astype(">i4" if big else "<i4").tobytes()
    tensor = made_tensor(data, "int32", shape, stride, offset, big_endian=big)
    assert read(tensor) == wanted
    found = rows_of(tensor)
    if found.swap == 1:
        for start in range(0, found.nbytes, 13):
            size = min(29, found.nbytes - start)
            assert found.source.read_at(found.offset + start, size) == wanted[start : start + size]


def test_a_window_is_read_once_however_small_the_pieces():
    numbers = np.arange(60 * 50, dtype=np.float32)
    source = CountingSource(numbers.tobytes())
    found = rows_of(made_tensor(b"", "float32", (50, 60), (1, 50), source=source))
    got = b"".join(found.source.read_at(at, 100) for at in range(0, found.nbytes, 100))
    assert got == numbers.reshape(60, 50).T.tobytes()
    assert source.read <= 2 * len(source.data)


def test_conjugated_and_negated_values_are_written_as_they_are_seen():
    numbers = np.array([1 + 2j, -3 - 4j], np.complex64)
    assert read(made_tensor(numbers.tobytes(), "complex64", (2,), conj=True)) == numbers.conj().tobytes()
    assert read(made_tensor(numbers.tobytes(), "complex64", (2,), neg=True)) == (-numbers).tobytes()
    halves = np.array([1.5, -2.0, 0.0], np.float16)
    assert read(made_tensor(halves.tobytes(), "float16", (3,), neg=True)) == (-halves).tobytes()


@pytest.mark.parametrize(("shape", "stride"), [((4, 4), (4, 1)), ((4, 4), (1, 4))], ids=["range", "gathered"])
def test_a_storage_that_is_too_short_is_damaged(shape, stride):
    tensor = made_tensor(bytes(15 * 4), "float32", shape, stride)
    with pytest.raises(Damaged, match="a tensor needs 64 bytes of a storage of 60; copy or download"):
        read(tensor)


def test_nothing_is_read_beyond_the_end():
    found = rows_of(made_tensor(bytes(64), "float32", (4, 4), (1, 4)))
    with pytest.raises(Truncated):
        found.source.read_at(60, 5)


@pytest.mark.parametrize(
    ("shape", "stride", "answer"),
    [
        ((2, 3), (3, 1), True), ((2, 3), (1, 2), False), ((1, 3), (99, 1), True), ((0, 3), (1, 7), True),
        ((), (), True),
        ((2, 3), (4, 1), False), ((2, 1, 3), (3, 50, 1), True), ((3,), (0,), False), ((3,), (2,), False),
    ],
)  # fmt: skip
def test_contiguous_is_what_torch_calls_so(shape, stride, answer):
    torch = pytest.importorskip("torch")
    assert is_contiguous(shape, stride) == answer
    assert torch.empty_strided(shape, stride).is_contiguous() == answer
