"""Tensor bytes to numpy, held against torch and numpy."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_tensors import CountingSource, made_from, made_tensor

import ckpt_viewer
from ckpt_viewer.core import decode
from ckpt_viewer.core.decode import blocks, element_bytes, read_slice, to_numpy
from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.tensor import Quantization, StorageSpec, TensorExtra, TensorSpec
from ckpt_viewer.errors import CheckpointError, Damaged, OverBudget, SourceChanged, Truncated, Unsupported
from ckpt_viewer.sources import FileSource

NUMPY_NAMES = [row.name for row in DTYPES.values() if row.kind in ("float", "int", "uint", "bool") or row.name in
               ("complex32", "complex64", "complex128")]  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
NO_QUANTIZED = pytest.mark.filterwarnings("ignore:.*quantiz.*")


def raw(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.contiguous().untyped_storage().tolist())


def torch_values(tensor: torch.Tensor) -> np.ndarray:
    """The tensor in float64, complex128, int64 or uint64, by torch's own conversion."""
    if tensor.dtype == torch.complex32:
        return tensor.to(torch.complex64).numpy()
    if tensor.is_complex() or tensor.dtype in (torch.bool, torch.uint64):
        return tensor.numpy()
    return tensor.to(torch.float64 if tensor.is_floating_point() else torch.int64).numpy()


@pytest.mark.parametrize("name", NUMPY_NAMES)
def test_every_pattern_of_a_dtype_is_what_torch_says(name):
    dtype = getattr(torch, name)
    patterns = np.random.default_rng(7).integers(0, 256, 3 * 5 * 7 * 16, np.uint8)
    if DTYPES[name].itemsize == 1:
        patterns = np.resize(np.arange(256, dtype=np.uint8), patterns.shape)
    given = torch.from_numpy(patterns).view(torch.bool if name == "bool" else dtype)
    given = torch.from_numpy(patterns) != 0 if name == "bool" else given
    ours = to_numpy(made_tensor(patterns.tobytes(), name, given.shape))
    expected = torch_values(given)
    assert ours.shape == expected.shape
    wide = ours.astype(expected.dtype)
    assert wide.tobytes() == expected.tobytes() or np.array_equal(wide, expected, equal_nan=True)


@pytest.mark.parametrize(
    "name", ["float32", "float64", "int16", "complex64", "complex128", "complex32", "bfloat16", "bool"]
)
def test_big_endian_numbers_are_swapped_by_component(name):
    row = DTYPES[name]
    little = np.random.default_rng(1).integers(0, 120, 6 * row.itemsize, np.uint8)
    big = little.reshape(-1, row.component)[:, ::-1].tobytes()
    swapped = to_numpy(made_tensor(big, name, (2, 3), big_endian=True))
    assert swapped.tobytes() == to_numpy(made_tensor(little.tobytes(), name, (2, 3))).tobytes()
    turned = made_tensor(big, name, (3, 2), (1, 3), big_endian=True)
    assert to_numpy(turned).tobytes() == np.ascontiguousarray(swapped.T).tobytes()
    assert b"".join(element_bytes(made_tensor(big, name, (2, 3), big_endian=True))) == little.tobytes()


def test_float4_gives_two_numbers_a_byte():
    tensor = made_tensor(bytes([0x21, 0xFA, 0x07]), "float4_e2m1fn_x2", (3,))
    assert to_numpy(tensor).tolist() == [0.5, 1.0, -1.0, -6.0, 6.0, 0.0]
    assert read_slice(tensor, slice(1, 4)).tolist() == [1.0, -1.0, -6.0]
    assert to_numpy(made_tensor(b"\x21", "float4_e2m1fn_x2", ())).tolist() == [0.5, 1.0]


def test_conjugation_and_negation_are_applied():
    z = np.array([1 + 2j, -3 - 0.5j], np.complex64)
    assert to_numpy(made_from(z, conj=True)).tolist() == z.conj().tolist()
    assert to_numpy(made_from(z, conj=True, neg=True)).tolist() == (-z.conj()).tolist()
    x = np.array([1.5, -2.0], np.float32)
    assert to_numpy(made_from(x, neg=True)).tolist() == [-1.5, 2.0]
    half = torch.tensor([1 + 2j, -3 - 0.5j], dtype=torch.complex32)
    tensor = made_tensor(raw(half), "complex32", (2,), conj=True, neg=True)
    assert to_numpy(tensor).tolist() == (-z.conj()).tolist()
    (out,) = element_bytes(tensor, resolve=True)
    assert bytes(out) == raw((-half.conj()).resolve_conj().resolve_neg())
    (kept,) = element_bytes(tensor)
    assert bytes(kept) == raw(half)


@NO_QUANTIZED
@pytest.mark.parametrize(("dtype", "numbers"), [("qint8", np.int8), ("quint8", np.uint8), ("qint32", np.int32)])
def test_per_tensor_quantised_values_are_torchs_bit_for_bit(dtype, numbers):
    info = np.iinfo(numbers)
    q = np.random.default_rng(3).integers(info.min, info.max, 1001, numbers, endpoint=True)
    scale, zero = 0.0123456789, 77
    given = torch._make_per_tensor_quantized_tensor(torch.from_numpy(q), scale, zero)
    ours = to_numpy(
        made_tensor(q.tobytes(), dtype, q.shape, quantization=Quantization("per_tensor_affine", scale, zero))
    )
    assert ours.tobytes() == given.dequantize().numpy().tobytes()


@NO_QUANTIZED
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("dtype", "numbers"), [("qint8", np.int8), ("qint32", np.int32)])
def test_per_channel_quantised_values_are_torchs_bit_for_bit(dtype, numbers, axis):
    rng = np.random.default_rng(4)
    q = rng.integers(-100, 100, (5, 6, 7)).astype(numbers)
    scales, zeros = rng.random(q.shape[axis]), rng.integers(-9, 9, q.shape[axis])
    given = torch._make_per_channel_quantized_tensor(
        torch.from_numpy(q), torch.from_numpy(scales), torch.from_numpy(zeros), axis
    )
    quantization = Quantization("per_channel_affine", made_from(scales), list(map(int, zeros)), axis)
    tensor = made_tensor(q.tobytes(), dtype, q.shape, quantization=quantization)
    expected = given.dequantize().numpy()
    assert to_numpy(tensor).tobytes() == expected.tobytes()
    assert np.array_equal(read_slice(tensor, (slice(3, 0, -2), slice(1, 5, 3), -1)), expected[3:0:-2, 1:5:3, -1])
    assert sorted(np.concatenate(list(map(np.copy, blocks(tensor, 64))))) == sorted(expected.reshape(-1))


@NO_QUANTIZED
@pytest.mark.parametrize("columns", [1, 4, 5])
def test_packed_quantised_values_are_torchs(columns):
    x = torch.randn(7, columns, generator=torch.Generator().manual_seed(1))
    scales, zeros = torch.rand(7) * 0.1, torch.rand(7)
    given = torch.quantize_per_channel(x, scales, zeros, 0, torch.quint4x2)
    quantization = Quantization(
        "per_channel_affine_float_qparams", made_from(scales.numpy()), made_from(zeros.numpy()), 0
    )
    tensor = made_tensor(bytes(given.untyped_storage().tolist()), "quint4x2", x.shape, quantization=quantization)
    expected = given.dequantize().numpy()
    assert b"".join(element_bytes(tensor, 2)) == bytes(given.untyped_storage().tolist())
    assert np.array_equal(to_numpy(tensor), expected)
    assert np.array_equal(read_slice(tensor, (slice(None, None, 2), slice(None, None, -1))), expected[::2, ::-1])
    assert sorted(np.concatenate(list(map(np.copy, blocks(tensor, 2))))) == sorted(expected.reshape(-1))


def test_quint2x4_holds_four_numbers_a_byte():
    tensor = made_tensor(bytes([0b11100100, 0b01]), "quint2x4", (5,))
    assert to_numpy(tensor).tolist() == [0, 1, 2, 3, 1]


@pytest.mark.parametrize("zero_point", [None, "0", [1, 2], 1 << 63])
def test_unfit_quantisation_parameters_get_a_sentence(zero_point):
    tensor = made_tensor(b"abc", "qint8", (3,), quantization=Quantization("per_tensor_affine", 0.5, zero_point))
    with pytest.raises(Damaged, match=r"no fitting scale and zero point; load it with torch$"):
        to_numpy(tensor)


def test_scalars_and_empty_tensors_keep_their_shape():
    assert to_numpy(made_tensor(b"\0\0\x80?", "float32", ())).shape == ()
    assert to_numpy(made_tensor(b"", "float32", (0, 3))).shape == (0, 3)
    assert read_slice(made_tensor(b"", "float32", (0, 3)), (slice(None), 1)).shape == (0,)
    assert list(blocks(made_tensor(b"", "float32", (0, 3)))) == []
    assert list(element_bytes(made_tensor(b"", "float32", (0, 3)))) == []
    nowhere = TensorSpec(StorageSpec("9", "cpu", "float32", 0, made_tensor(b"", "int8", ()).storage.home), "float32",
                         (4, 0), (0, 1), 10**15)  # fmt: skip
    assert to_numpy(nowhere).shape == (4, 0)
    with pytest.raises(OverBudget, match="numpy has no arrays of the shape"):
        to_numpy(made_tensor(b"", "int8", (0, 1 << 61)))


def test_bytes_in_the_pickle():
    data = np.arange(6, dtype=np.int16)
    tensor = TensorSpec(None, "int16", (2, 3), (3, 1), extra=TensorExtra(device="xla:0", data=data.tobytes()))
    assert to_numpy(tensor).tolist() == data.reshape(2, 3).tolist()


@st.composite
def strided(draw):
    shape = draw(st.lists(st.integers(0, 7), max_size=4))
    stride = [draw(st.sampled_from([0, 1, 2, 3, 5, 8, 40])) for _ in shape]
    offset = draw(st.integers(0, 9))
    return tuple(shape), tuple(stride), offset


def memory_for(shape, stride, offset):
    return np.arange(offset + 1 + sum((n - 1) * s for n, s in zip(shape, stride, strict=True) if n), dtype=np.int32)


@settings(max_examples=150, deadline=None)
@given(strided(), st.sampled_from([4, 12, 100, 10_000]))
def test_any_view_is_read_as_torch_sees_it(view, block_bytes):
    shape, stride, offset = view
    memory = memory_for(shape, stride, offset)
    expected = torch.from_numpy(memory).as_strided(shape, stride, offset).numpy()
    tensor = made_tensor(memory.tobytes(), "int32", shape, stride, offset)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "BLOCK_BYTES", block_bytes)
        assert np.array_equal(to_numpy(tensor), expected)
    assert b"".join(map(bytes, element_bytes(tensor, block_bytes))) == expected.tobytes()
    found = blocks(tensor, block_bytes)
    values = np.concatenate([array.copy() for array in found] or [np.empty(0, np.int32)])
    assert sorted(np.repeat(values, found.repeats)) == sorted(expected.reshape(-1))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_slice_is_numpys_slice(data):
    shape, stride, offset = data.draw(strided())
    memory = memory_for(shape, stride, offset)
    expected = torch.from_numpy(memory).as_strided(shape, stride, offset).numpy()
    part = st.one_of(st.slices(8), st.integers(-8, 7))
    index = tuple(data.draw(st.lists(part, max_size=len(shape))))
    if data.draw(st.booleans()):
        index = (*index[: len(index) // 2], ..., *index[len(index) // 2 :])
    tensor = made_tensor(memory.tobytes(), "int32", shape, stride, offset)
    try:
        wanted = expected[index]
    except IndexError:
        with pytest.raises(CheckpointError, match="outside a dimension"):
            read_slice(tensor, index)
    else:
        assert np.array_equal(read_slice(tensor, index), wanted)


def test_a_slice_reads_only_its_rows():
    memory = np.arange(1_000_000, dtype=np.float32)
    tensor = made_from(memory.reshape(1000, 1000))
    assert np.array_equal(
        read_slice(tensor, (slice(500, 503), slice(10, 14))), memory.reshape(1000, 1000)[500:503, 10:14]
    )
    assert tensor.storage.extent().source.read < 10_000


def test_blocks_stay_small_however_the_tensor_lies():
    memory = np.arange(1 << 20, dtype=np.float32)
    for shape, stride in [
        ((1 << 20,), (1,)),
        ((1024, 1024), (1, 1024)),
        ((512, 1024), (2048, 1)),
        ((1024, 512), (1024, 2)),
    ]:
        tensor = made_tensor(memory.tobytes(), "float32", shape, stride)
        expected = np.lib.stride_tricks.as_strided(memory, shape, [4 * s for s in stride])
        source = tensor.storage.extent().source
        sizes, total = [], 0.0
        for array in blocks(tensor, 65536):
            sizes.append(array.size)
            total += float(array.sum(dtype=np.float64))
        assert sum(sizes) == expected.size
        assert total == expected.sum(dtype=np.float64)
        assert source.largest <= 65536
        assert max(sizes) <= 2 * 16384


def test_a_permuted_tensor_is_read_as_one_range():
    memory = np.arange(24, dtype=np.int32)
    tensor = made_tensor(memory.tobytes(), "int32", (4, 2, 3), (1, 12, 4))
    (array,) = blocks(tensor)
    assert array.tolist() == memory.tolist()


def test_an_expanded_tensor_is_read_once_and_never_blown_up():
    tensor = made_tensor(np.float32(3).tobytes(), "float32", (1 << 40, 2), (0, 0))
    found = blocks(tensor)
    assert found.repeats == 1 << 41
    assert [array.tolist() for array in found] == [[3.0]]
    assert read_slice(tensor, (slice(0, 3), 1)).tolist() == [3.0, 3.0, 3.0]
    for read in (to_numpy, lambda t: list(element_bytes(t)), lambda t: read_slice(t, ...)):
        with pytest.raises(OverBudget, match=r"made of 4 in the file; choose a slice$"):
            read(tensor)


def test_overlapping_windows_are_not_blown_up():
    memory = np.zeros(1 << 16, np.uint8)
    tensor = made_tensor(memory.tobytes(), "uint8", (1 << 15, 1 << 15, 1 << 15), (1, 1, 0))
    assert sum(array.size for array in blocks(made_tensor(memory.tobytes(), "uint8", (99, 99), (1, 1)))) == 9801
    assert blocks(tensor).repeats == 1 << 15
    deep = made_tensor(memory.tobytes(), "uint8", (1 << 14,) * 3, (1, 1, 1))
    with pytest.raises(OverBudget):
        blocks(deep)


@pytest.mark.parametrize(
    ("tensor", "sentence"),
    [
        (TensorSpec(None, "float32", (2,), None, extra=TensorExtra(layout="sparse_coo", parts={"indices": made_tensor(
            b"", "int64", (1, 0)), "values": made_tensor(b"", "float32", (0,))})), "look at its indices and values"),
        (TensorSpec(None, "int8", None, None, extra=TensorExtra(parts={"buffer": made_tensor(b"", "int8", (0,))})),
         "a nested tensor has no dense values; look at its buffer"),
        (TensorSpec(None, "float32", (2,), (1,), extra=TensorExtra(device="meta")), "a meta tensor has no values"),
        (TensorSpec(None, "", None, None), "was not initialised"),
        (TensorSpec(None, "float32", (2,), (1,), type="a.Sub", extra=TensorExtra(device="cpu")), "in its attributes"),
        (TensorSpec(StorageSpec("0", "cpu", "float32", 2, None), "float32", (2,), (1,)), "no bytes in this file"),
        (made_tensor(b"ab", "float99", (2,)), "dtype 'float99' are not known"),
    ],
)  # fmt: skip
def test_tensors_without_values_say_where_to_look(tensor, sentence):
    for read in (to_numpy, blocks, lambda t: read_slice(t, ...), lambda t: list(element_bytes(t))):
        with pytest.raises(CheckpointError, match=sentence):
            read(tensor)


def test_a_view_beyond_its_storage_is_refused():
    with pytest.raises(Damaged, match="needs 16 bytes of a storage of 12"):
        to_numpy(made_tensor(bytes(12), "float32", (4,)))


def test_packed_numbers_have_to_be_contiguous():
    with pytest.raises(Unsupported, match="only contiguous"):
        to_numpy(made_tensor(bytes(12), "quint4x2", (4, 2), (1, 4)))


class TestMaps:
    """numpy() without a copy is a map of the file."""

    @pytest.fixture
    def path(self, tmp_path):
        path = tmp_path / "x.pth"
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(40, 50, generator=generator)
        torch.save(
            {"x": x, "t": x.t(), "b": x.bfloat16(), "z": torch.tensor([1 + 2j]).conj(), "e": x[0, :1].expand(9)}, path
        )
        return path

    def test_it_is_read_only_and_right(self, path):
        theirs = torch.load(path)
        with ckpt_viewer.open_checkpoint(path) as checkpoint:
            for name in ("x", "t", "z", "e"):
                ours = checkpoint["/" + name].numpy()
                assert np.array_equal(ours, theirs[name].resolve_conj().numpy())
                assert not ours.flags.writeable
                copy = checkpoint["/" + name].numpy(copy=True)
                assert copy.flags.writeable
                assert np.array_equal(copy, ours)
            assert np.array_equal(checkpoint["/b"].numpy().astype(np.float32), theirs["b"].float().numpy())

    def test_nothing_is_read(self, path):
        with ckpt_viewer.open_checkpoint(path) as checkpoint:
            array = checkpoint["/x"].numpy()
            assert array.base is not None
            assert array.strides == (200, 4)
            again = checkpoint["/t"].numpy()
            assert np.shares_memory(array, again)

    def test_it_outlives_the_checkpoint(self, path):
        with ckpt_viewer.open_checkpoint(path) as checkpoint:
            array = checkpoint["/x"].numpy()
        assert np.array_equal(array, torch.load(path)["x"].numpy())

    def test_a_replaced_file_is_not_mapped(self, path, tmp_path):
        with ckpt_viewer.open_checkpoint(path) as checkpoint:
            other = tmp_path / "other"
            other.write_bytes(bytes(path.stat().st_size))
            expected = torch.load(path)["x"].numpy()
            other.replace(path)
            assert np.array_equal(checkpoint["/x"].numpy(), expected)

    def test_a_shortened_file_is_a_sentence(self, path):
        with ckpt_viewer.open_checkpoint(path) as checkpoint:
            os.truncate(path, 700)
            with pytest.raises(SourceChanged):
                checkpoint["/x"].numpy()
            with pytest.raises(SourceChanged):
                list(blocks(checkpoint["/x"].tensor))


def test_a_short_source_is_a_sentence():
    class Lying(CountingSource):
        size = 400

    tensor = made_tensor(b"", "float32", (100,), source=Lying(bytes(20)))
    tensor.storage.home.extents["0"] = tensor.storage.extent()._replace(nbytes=400)
    with pytest.raises(Truncated):
        to_numpy(tensor)


def test_a_plain_file_source_at_an_odd_offset(tmp_path):
    path = tmp_path / "raw"
    path.write_bytes(b"abc" + np.arange(5, dtype=np.float64).tobytes())
    tensor = made_tensor(b"", "float64", (5,), source=FileSource(path), start=3)
    assert to_numpy(tensor).tolist() == [0, 1, 2, 3, 4]
    tensor.storage.extent().source.close()
