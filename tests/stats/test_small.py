"""Small tensors looked at together give what the scan of each gives."""

import builders
import pytest
import torch

import ckpt_viewer
from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.errors import Cancelled
from ckpt_viewer.stats import small
from ckpt_viewer.stats.health import health

DTYPES = ("float64", "float32", "float16", "bfloat16", "float8_e5m2", "float8_e4m3fn", "complex64", "int64", "int8",
          "uint8", "uint16", "bool")  # fmt: skip
NAN, INF = float("nan"), float("inf")


@pytest.fixture
def model(tmp_path):
    """Tensors of every dtype: ordinary ones, all the same, with NaN, with infinities, views, empty ones, large ones."""
    state = {}
    for dtype in DTYPES:
        kind = getattr(torch, dtype)
        for name, values in {
            "plain": [[0, 1], [2, 3]],
            "same": [[3, 3], [3, 3]],
            "zeros": [[0.0, -0.0], [0, 0]],
            "nan": [[0, NAN], [2, NAN]],
            "inf": [[INF, 0], [-INF, INF]],
            "lone": NAN,
        }.items():
            state[f"{dtype}.{name}.weight"] = torch.tensor(values, dtype=torch.float64).to(kind)
    base = torch.arange(40.0)
    state |= {
        "a.view": base[3:9].reshape(2, 3),
        "a.turned": base[:6].reshape(2, 3).T,
        "a.wide": torch.zeros(1, 3).expand(4, 3),
    }
    state |= {
        "a.empty": torch.empty(0, 2),
        "a.large": torch.full((70, 70), NAN),
        "a.packed": torch.ones(2, 2).to_sparse(),
    }
    return builders.save(state, tmp_path / "model.pth")


def found(path):
    with ckpt_viewer.open_checkpoint(path) as checkpoint:
        return health(checkpoint)


def test_the_findings_are_the_same(model, monkeypatch):
    alone = found(model)
    assert {each.code for each in alone} == {"nan-values", "infinite-values", "constant-weight"}
    monkeypatch.setattr(small, "MANY", 1)
    assert found(model) == alone


def test_most_of_them_are_looked_at_together(model, monkeypatch):
    monkeypatch.setattr(small, "MANY", 1)
    with ckpt_viewer.open_checkpoint(model) as checkpoint:
        tensors = [tensor for _, tensor in checkpoint.outline.distinct_tensors()]
        seen = small.look(tensors, SILENT)
    assert len(seen) >= 60
    assert all(each.numel in (1, 4, 6, 12) for each in seen.values())


def test_a_part_of_the_file_that_is_missing_costs_only_what_lies_there(model, monkeypatch):
    monkeypatch.setattr(small, "MANY", 1)
    whole = found(model)
    data = model.read_bytes()
    model.write_bytes(data[: data.index(b"PK\1\2") - 3000])
    with ckpt_viewer.open_checkpoint(model, salvage=True) as checkpoint:
        left = health(checkpoint)
    assert set(left) < set(whole)


def test_it_can_be_stopped(model, monkeypatch):
    class Stop:
        def step(self, done, total):
            raise Cancelled

    monkeypatch.setattr(small, "MANY", 1)
    with ckpt_viewer.open_checkpoint(model) as checkpoint:
        tensors = [tensor for _, tensor in checkpoint.outline.distinct_tensors()]
        with pytest.raises(Cancelled):
            small.look(tensors, Stop())
