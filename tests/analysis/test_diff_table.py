"""Differences as lines of one kind each, with the marks and the CSV that are made of them."""

from __future__ import annotations

import copy

import pytest
import torch
from builders import save
from torch import nn, optim
from torch.optim import lr_scheduler

from ckpt_viewer.analysis.diff import diff
from ckpt_viewer.analysis.diff_table import ADDED, KINDS, REMOVED, Line, csv_rows, diff_lines, rows_by_kind
from ckpt_viewer.formats import open_checkpoint


def state() -> dict:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    scheduler = lr_scheduler.StepLR(optimizer, 3)
    return {
        "model": model.state_dict(), "optimizer": optimizer.state_dict(), "lr_scheduler": scheduler.state_dict(),
        "epoch": 3, "loss": 0.5, "args": {"seed": 1}, "note": "x",
    }  # fmt: skip


def lines_of(tmp_path, one, other, *, values=True, **options) -> list[Line]:
    first, second = save(one, tmp_path / "a.pth"), save(other, tmp_path / "b.pth", **options)
    with open_checkpoint(first) as a, open_checkpoint(second) as b:
        return diff_lines(a, b, diff(a, b, values=values))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda s: s.update(epoch=4), ("progress", "/epoch", "3", "4")),
        (lambda s: s["optimizer"]["param_groups"][0].update(lr=0.2),
         ("hyper-parameter", "/optimizer/param_groups/0/lr", "0.1", "0.2")),
        (lambda s: s["lr_scheduler"].update(last_epoch=9), ("scheduler", "/lr_scheduler/last_epoch", "0", "9")),
        (lambda s: s["args"].update(seed=2), ("setting", "/args/seed", "1", "2")),
        (lambda s: s.update(loss=0.25), ("metric", "/loss", "0.5", "0.25")),
        (lambda s: s.update(note="y"), ("value", "/note", "x", "y")),
        (lambda s: s.update(note=None), ("type", "/note", "str", "none")),
        (lambda s: s["model"].update({"0.bias": torch.zeros(5)}), ("shape", "/model/0.bias", "3", "5")),
        (lambda s: s["model"].update({"0.bias": s["model"]["0.bias"].double()}),
         ("dtype", "/model/0.bias", "float32", "float64")),
    ],
)  # fmt: skip
def test_each_difference_has_its_kind(tmp_path, change, expected):
    other = copy.deepcopy(state())
    change(other)
    (line,) = lines_of(tmp_path, state(), other)
    assert (line.kind, line.path, line.a, line.b) == expected
    assert line.kind in KINDS


def test_what_only_one_has_stands_in_the_order_of_the_files(tmp_path):
    other = state()
    del other["model"]["0.bias"]
    other["epoch"] = 4
    other["extra"] = {"deep": [1, 2], "more": 3}
    lines = lines_of(tmp_path, state(), other)
    told = [(line.kind, line.path, line.a, line.b) for line in lines]
    assert told == [
        (REMOVED, "/model/0.bias", "3 float32", ""),
        ("progress", "/epoch", "3", "4"),
        (ADDED, "/extra", "", "dict of 2"),
    ]
    marks_a, marks_b = rows_by_kind(lines, of_b=False), rows_by_kind(lines, of_b=True)
    assert sorted(marks_a.values()) == ["changed", "removed"]
    assert sorted(marks_b.values()) == ["added", "changed"]


def test_devices(tmp_path):
    lines = lines_of(tmp_path, {"w.weight": torch.ones(2)}, {"w.weight": torch.ones(2)}, tag="cuda:1")
    assert [(line.kind, line.a, line.b) for line in lines] == [("device", "cpu", "cuda:1")]


def test_values_say_how_far_they_are_apart(tmp_path):
    a, b = {"w.weight": torch.tensor([1.0, 2.0])}, {"module.w.weight": torch.tensor([1.0, 4.0])}
    (line,) = lines_of(tmp_path, a, b)
    assert (line.kind, line.path_a, line.path_b) == ("values", "/w.weight", "/module.w.weight")
    assert (line.max_abs, line.max_rel) == (2.0, 0.5)
    assert line.cosine == pytest.approx(9 / (5 * 17) ** 0.5)


def test_csv_has_every_digit(tmp_path):
    a, b = {"w.weight": torch.tensor([1.0, 2.0])}, {"w.weight": torch.tensor([1.1, 2.0]), "n": 5}
    lines = lines_of(tmp_path, a, b)
    head, *rows = csv_rows(lines, ("a.pth", "b.pth"))
    assert head[3:5] == ("A: a.pth", "B: b.pth")
    difference = float(torch.tensor(1.1)) - 1.0
    assert rows[0][:3] == ("values", "/w.weight", "/w.weight")
    assert rows[0][5] == repr(difference)
    assert rows[1] == ("added", "", "/n", "", "5", "", "", "", "")
