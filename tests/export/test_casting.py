"""Casts, bit for bit those of torch: every pattern of the small types, and the hard ones of the wide types."""

import itertools
import sys
import zipfile

import builders
import numpy as np
import pytest
import torch
from made_tensors import CountingSource, made_tensor

import ckpt_viewer
from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.errors import Truncated
from ckpt_viewer.export import machine
from ckpt_viewer.export.becoming import TARGETS
from ckpt_viewer.export.cargo import Cargo
from ckpt_viewer.export.cast_kernels import Caster
from ckpt_viewer.export.cast_source import Cast
from ckpt_viewer.export.choice import Choice
from ckpt_viewer.export.plan import plan_export, write
from ckpt_viewer.export.rows import rows_of
from ckpt_viewer.export.writers.pth import plan_state_dict

pytestmark = pytest.mark.torch

FLOATS = [
    "float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz",
    "float8_e8m0fnu",
]  # fmt: skip


def patterns(dtype):
    """All patterns of a type of at most 16 bits; of a wider one those around what the narrower ones can hold."""
    item = torch.empty(0, dtype=getattr(torch, dtype)).element_size()
    if item <= 2:
        return np.arange(1 << 8 * item, dtype=f"u{item}")
    halves = np.arange(1 << 16, dtype=np.uint16)
    with np.errstate(all="ignore"):
        exact = np.concatenate(
            [halves.view(np.float16).astype(np.float32), (halves.astype("u4") << 16).view(np.float32)]
        )
        rounded = np.concatenate([np.nextafter(exact, np.float32(way)) for way in (-np.inf, np.inf)])
        ties = (exact.view("u4")[:, None] + np.uint32([0x0FFF, 0x1000, 0x1001, 0x7FFF, 0x8000, 0x8001])).ravel()
        found = np.concatenate([exact, rounded, ties.view(np.float32), np.float32([65519.99, 65520, 3.4e38, 2**-25])])
        if item == 4:
            return found.view("u4")
        wide = found.astype(np.float64).view("u8")
        return np.concatenate([wide, wide + np.uint64(1), wide - np.uint64(1), wide + np.uint64(1 << 28)])


def cast(before, caster, target):
    """All of them, block by block; also what that did to the values."""
    blocks, counts = [], []
    for start in range(0, len(before), caster.block):
        block = before[start : start + caster.block]
        caster.room(len(block))[:] = block.view("u1").data
        blocks.append(np.empty(len(block), f"u{torch.empty(0, dtype=getattr(torch, target)).element_size()}"))
        counts.append(caster.cast(blocks[-1].view("u1").data))
    return np.concatenate(blocks), tuple(map(sum, zip(*counts, strict=True)))


def cast_bytes(caster, raw, nbytes, swap):
    """The result of casting big- or little-endian numbers, and what that did to them."""
    caster.room(len(raw) // len(caster.room(1)))[:] = raw.data
    after = bytearray(nbytes)
    counts = caster.cast(memoryview(after), swap)
    return bytes(after), counts


def bits_of(tensor):
    return (
        tensor.view({2: torch.int16, 4: torch.int32}[tensor.element_size()]).numpy().view(f"u{tensor.element_size()}")
    )


@pytest.fixture
def machine_code(monkeypatch):
    """Machine code, used however little there is to cast."""
    monkeypatch.setattr(machine, "_code", None)
    monkeypatch.setattr(machine, "WORTH", 0)
    machine.prepare(1)
    assert machine._code is not None


def test_every_pattern_in_machine_code(machine_code):
    made = 0
    for dtype, target in itertools.product(FLOATS, TARGETS):
        caster = machine.caster(dtype, target) if dtype != target else None
        if caster is not None:
            check_every_pattern(dtype, target, caster)
            made += 1
    assert made >= 4, "of float64, float32 and bfloat16 as bfloat16 and float32 on any processor"


@pytest.mark.filterwarnings("ignore:invalid value encountered")
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_every_pattern_in_numpy(dtype, target):
    if dtype != target:
        check_every_pattern(dtype, target, Caster(dtype, target))


def check_every_pattern(dtype, target, caster):
    before = patterns(dtype)
    numbers = torch.from_numpy(before.copy()).view(getattr(torch, dtype))
    wanted = numbers.to(getattr(torch, target))
    after, counts = cast(before, caster, target)
    sure = ~wanted.isnan().numpy() if target == "bfloat16" else slice(None)  # torch's NaN depends on its instructions
    assert np.array_equal(after[sure], bits_of(wanted)[sure])
    assert (
        torch.from_numpy(after.view("i2" if target != "float32" else "i4"))
        .view(wanted.dtype)[wanted.isnan()]
        .isnan()
        .all()
    )
    exact = numbers.to(torch.float64)
    lost = (wanted.isinf() & exact.isfinite()).sum(), ((wanted == 0) & (exact != 0)).sum(), wanted.isnan().sum()
    assert counts == tuple(map(int, lost))


@pytest.mark.parametrize(
    ("dtype", "target"), [("float32", "float16"), ("float64", "bfloat16"), ("bfloat16", "float32")]
)
def test_machine_code_and_numpy_agree_on_any_number_of_values(machine_code, dtype, target):
    fast, plain = machine.caster(dtype, target), Caster(dtype, target)
    if fast is None:
        pytest.skip("this processor has no instructions for it")
    raw, wide = np.random.default_rng(0).integers(0, 256, 8 * fast.block, np.uint8), len(fast.room(1))
    for count, swap in itertools.product((0, 1, 15, 16, 17, 31, 1000, fast.block - 1, fast.block), (1, wide)):
        given, nbytes = raw[: count * wide], count * DTYPES[target].itemsize
        assert cast_bytes(fast, given, nbytes, swap) == cast_bytes(plain, given, nbytes, swap)


def test_without_llvmlite_numpy_casts(monkeypatch):
    monkeypatch.setattr(machine, "_code", None)
    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
    monkeypatch.delitem(sys.modules, "ckpt_viewer.stats.compiler", raising=False)
    machine.prepare(machine.WORTH)
    assert machine.caster("float32", "bfloat16") is None


def test_little_is_cast_without_machine_code(monkeypatch):
    monkeypatch.setattr(machine, "_code", None)
    machine.prepare(machine.WORTH - 1)
    assert machine._code is None


def test_a_large_export_is_cast_in_machine_code(tmp_path, machine_code, monkeypatch):
    """The whole way, strides, byte order and a remainder included, with the checksums of the zip."""
    made = []
    monkeypatch.setattr(machine, "caster", lambda *of, real=machine.caster: made.append(of) or real(*of))
    value = {
        "a": torch.randn(1_300_001) * 1e5,
        "b": torch.randn(70, 90, dtype=torch.float64).t(),
        "c": torch.arange(5),
        "d": torch.randn(333).bfloat16(),
    }
    got, written = export(tmp_path, value, dtype="float16")
    assert all(torch.equal(got[name], value[name].half()) for name in "abd")
    assert torch.equal(got["c"], value["c"])
    lost = (value["a"].half().isinf().sum(), ((value["a"].half() == 0) & (value["a"] != 0)).sum(), 0)
    assert written.counts["a"] == tuple(map(int, lost))
    assert {("float32", "float16"), ("float64", "float16"), ("bfloat16", "float16")} <= set(made)
    assert zipfile.ZipFile(written.path).testzip() is None


def test_reading_anywhere_gives_the_same_bytes():
    numbers = np.random.default_rng(0).standard_normal(50_000).astype(np.float32)
    cast = Cast(CountingSource(b"head" + numbers.tobytes()), 4, numbers.size, 1, "float32", "float16")
    whole = cast.read_at(0, cast.size)
    assert whole == numbers.astype(np.float16).tobytes()
    for offset, size in [(0, 1), (1, 1), (1, 2), (7, 33_333), (cast.size - 1, 1), (40_000, 2), (cast.size, 0)]:
        assert cast.read_at(offset, size) == whole[offset : offset + size]
    with pytest.raises(Truncated):
        cast.read_at(cast.size - 1, 2)


def test_values_that_are_read_twice_are_counted_once():
    numbers = np.full(100_000, 1e9, np.float32)
    cast = Cast(CountingSource(numbers.tobytes()), 0, numbers.size, 1, "float32", "float16")
    for _ in range(2):
        for start in range(0, cast.size, 50_000):
            cast.read_at(start, 50_000)
    assert cast.counts == (100_000, 0, 0)


def test_big_endian_numbers():
    numbers = np.array([1.5, -2.25, 1e9, 1e-9], ">f4")
    tensor = made_tensor(numbers.tobytes(), "float32", (4,), big_endian=True)
    rows = rows_of(tensor, "float16")
    assert np.frombuffer(rows.source.read_at(rows.offset, rows.nbytes), "f2").tolist() == [1.5, -2.25, np.inf, 0.0]


def export(tmp_path, value, **choice):
    source = builders.save(value, tmp_path / "x.pth")
    with ckpt_viewer.open_checkpoint(source) as checkpoint:
        written = write(plan_export(checkpoint, Choice(sources=("",), **choice)), tmp_path / "out.pth")
    return torch.load(written.path, weights_only=True), written


def test_tied_tensors_and_views_stay_so(tmp_path):
    base = torch.randn(40, 30)
    value = {"a.weight": base, "tied.weight": base, "row.weight": base[3], "t.weight": base.t()}
    got, written = export(tmp_path, value, dtype="bfloat16")
    assert all(torch.equal(got[name], value[name].to(torch.bfloat16)) for name in value)
    assert len({tensor.untyped_storage().data_ptr() for tensor in got.values()}) == 1
    assert (got["t.weight"].stride(), got["row.weight"].storage_offset()) == ((1, 30), 90)
    assert written.warnings == ()


def test_only_the_used_range_is_cast(tmp_path):
    base = torch.full((100_000,), 1e9)
    base[500:600] = 1.5
    got, written = export(tmp_path, {"a.weight": base[500:600].view(10, 10)}, dtype="float16")
    assert torch.equal(got["a.weight"], torch.full((10, 10), 1.5, dtype=torch.float16))
    assert written.bytes < 3000
    assert written.counts == {}


def test_memory_that_casting_parts_is_said(tmp_path):
    words = torch.arange(8, dtype=torch.int16).view(torch.uint16)
    value = {"a.number": words, "b.weight": words.view(torch.float8_e5m2)[3:9], "c.weight": torch.ones(2)}
    got, written = export(tmp_path, value, dtype="float16")
    assert torch.equal(got["a.number"].view(torch.int16), words.view(torch.int16))
    assert torch.equal(got["b.weight"], value["b.weight"].to(torch.float16))
    parted = "tensors that share memory as different dtypes will not once some of them are cast: 'a.number', 'b.weight'"
    assert parted in written.warnings


def test_what_lies_behind_the_used_range_is_not_counted(tmp_path):
    """It is read ahead, block by block."""
    base = torch.full((3_000_000,), 1e9)
    base[:1_000_000] = 1.5
    got, written = export(tmp_path, {"a.weight": base[:1_000_000]}, dtype="float16")
    assert torch.equal(got["a.weight"], torch.full((1_000_000,), 1.5, dtype=torch.float16))
    assert written.counts == {}


def test_negated_numbers_stay_negated(tmp_path):
    value = {"a.weight": torch.randn(6, dtype=torch.complex64).conj().imag}
    got, _ = export(tmp_path, value, dtype="bfloat16")
    assert torch.equal(got["a.weight"], value["a.weight"].to(torch.bfloat16))


def test_two_dtypes_of_one_tensor_at_once():
    """Whoever plans may cast a tensor to one dtype under one name and to another under another."""
    numbers = np.arange(4, dtype=np.float32)
    tensor = made_tensor(numbers.tobytes(), "float32", (4,))
    recipe = plan_state_dict(Cargo({"a": tensor, "b": tensor, "c": tensor}, cast={"a": "float16", "b": "bfloat16"}))
    assert [piece.nbytes for piece in recipe.pieces.used] == [8, 8, 16]
    parted = "tensors that share memory as different dtypes will not once some of them are cast: 'a', 'b', 'c'"
    assert recipe.warnings == (parted,)
