"""Small tensors compared together: each pair has the difference that it has when it is compared by itself."""

from __future__ import annotations

import math
import random

import pytest
import torch
from builders import save

from ckpt_viewer.analysis import diff_small, diff_values
from ckpt_viewer.analysis.diff import diff
from ckpt_viewer.analysis.diff_small import MANY, small_differences
from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.errors import Cancelled
from ckpt_viewer.formats import open_checkpoint

EACH = MANY + 6


def changed(tensor: torch.Tensor, number: int) -> torch.Tensor:
    """Return a copy that is the same, or differs in one way or the other."""
    other = tensor.clone()
    flat = other.view(-1)
    kind = number % 6
    if kind == 1:
        flat[number % flat.numel()] = 1
    elif kind == 2 and tensor.dtype.is_floating_point:
        flat[0] = math.nan
    elif kind == 3 and tensor.dtype.is_floating_point and tensor.dtype != torch.float8_e4m3fn:
        flat[1], tensor.view(-1)[1] = -math.inf, math.inf
    elif kind == 4:
        other += 1
    elif kind == 5:
        flat[0], tensor.view(-1)[0] = -0.0, 0.0
    return other


def made(dtype: torch.dtype) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(5)
    one = {f"t{n}": (torch.rand(n % 5 + 1, 3, generator=generator) * 90).to(dtype) for n in range(EACH)}
    return one, {name: changed(tensor, number) for number, (name, tensor) in enumerate(one.items())}


def pairs_of(a, b, names):
    found = [(a.node((name,)).value, b.node((name,)).value) for name in names]
    return {(id(one), id(other)): (one, other) for one, other in found}


def told(value: object) -> object:
    """Return a difference whose NaN compare, and whose sums may be rounded in another order."""
    if value is None:
        return None
    return [pytest.approx(each, rel=1e-12, nan_ok=True) if isinstance(each, float) else each for each in value]


DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.complex64]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_it_is_what_each_pair_gives_alone(tmp_path, dtype):
    one, other = made(dtype)
    names = list(other)
    random.Random(2).shuffle(names)
    a = open_checkpoint(save(one, tmp_path / "a.pth"))
    b = open_checkpoint(save({name: other[name] for name in names}, tmp_path / "b.pth"))
    pairs = pairs_of(a, b, one)
    found = dict(small_differences(pairs, SILENT))
    assert found.keys() == pairs.keys()
    alone = {key: diff_values.compare(*pair, SILENT) for key, pair in pairs.items()}
    assert any(each is None for each in alone.values())
    assert sum(each is not None for each in alone.values()) > EACH // 4
    for key, expected in alone.items():
        assert found[key] == expected or list(found[key]) == told(expected)


def test_integers_too_large_for_a_float_are_told_apart(tmp_path):
    one = {f"t{n}": torch.tensor([7, 2**60]) for n in range(EACH)}
    other = {name: torch.tensor([7, 2**60 + 1]) for name in one}
    a, b = (open_checkpoint(save(value, tmp_path / name)) for value, name in ((one, "a.pth"), (other, "b.pth")))
    found = diff(a, b, values=True)
    assert len(found.changed) == EACH
    assert {(each.a, each.b, each.by.elements) for each in found.changed} == {(2**60, 2**60 + 1, 1)}
    by = diff_values.compare(a.node(("t0",)).value, b.node(("t0",)).value, SILENT)
    assert (by.a, by.b) == (2**60, 2**60 + 1)


def test_what_lies_in_another_order_is_left_out(tmp_path):
    one = {f"t{n}": torch.arange(6.0).reshape(2, 3) for n in range(EACH)}
    other = {name: tensor.t().contiguous().t() for name, tensor in one.items()}
    a, b = (open_checkpoint(save(value, tmp_path / name)) for value, name in ((one, "a.pth"), (other, "b.pth")))
    assert not list(small_differences(pairs_of(a, b, one), SILENT))
    assert diff(a, b, values=True).equal


def test_what_cannot_be_read_says_so_one_by_one(tmp_path, monkeypatch):
    one, other = made(torch.float32)
    a, b = (open_checkpoint(save(value, tmp_path / name)) for value, name in ((one, "a.pth"), (other, "b.pth")))
    before = diff(a, b)
    (tmp_path / "b.pth").write_bytes(b"")
    found = diff_values.with_values(a, b, before, SILENT)
    assert len(found.changed) == EACH
    assert all(each.problem for each in found.changed)


def test_a_file_read_as_one_goes_through_few_reads(tmp_path, monkeypatch):
    one, other = made(torch.float32)
    a, b = (open_checkpoint(save(value, tmp_path / name)) for value, name in ((one, "a.pth"), (other, "b.pth")))
    reads = []
    usual = diff_small.read_run
    monkeypatch.setattr(diff_small, "read_run", lambda source, run: (reads.append(len(run)), usual(source, run))[1])
    assert not diff(a, b, values=True).equal
    assert reads == [EACH, EACH]


def test_its_progress_is_that_of_the_bytes(tmp_path):
    one, other = made(torch.float32)
    one["large"] = other["large"] = torch.rand(20_000)
    a, b = (open_checkpoint(save(value, tmp_path / name)) for value, name in ((one, "a.pth"), (other, "b.pth")))
    told = []

    class Heard:
        def step(self, done: int, total: int) -> None:
            told.append((done, total))

    total = sum(2 * tensor.nbytes for tensor in one.values())
    diff_values.with_values(a, b, diff(a, b), Heard())
    of_bytes = [done for done, of in told if of == total]
    assert of_bytes == sorted(of_bytes)
    assert of_bytes[-1] == total
    assert len(set(of_bytes)) > EACH


def test_it_can_be_stopped(tmp_path):
    one, other = made(torch.float32)
    a, b = (open_checkpoint(save(value, tmp_path / name)) for value, name in ((one, "a.pth"), (other, "b.pth")))

    class Stop:
        def step(self, done: int, total: int) -> None:
            raise Cancelled

    with pytest.raises(Cancelled):
        list(small_differences(pairs_of(a, b, one), Stop()))
