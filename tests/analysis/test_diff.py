"""Two checkpoints side by side."""

from __future__ import annotations

import copy
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from builders import save
from torch import nn, optim

from ckpt_viewer.analysis.diff import diff
from ckpt_viewer.analysis.diff_json import diff_json
from ckpt_viewer.analysis.diff_values import boxes, with_values
from ckpt_viewer.cli import main
from ckpt_viewer.formats import open_checkpoint


def state(seed: int = 0) -> dict:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}


def told(tmp_path, one, other, *, values=True, **options) -> dict:
    first = save(one, tmp_path / "a.pth")
    second = save(other, tmp_path / "b.pth", **options)
    with open_checkpoint(first) as a, open_checkpoint(second) as b:
        document = diff_json(a, b, diff(a, b, values=values))
    json.dumps(document, allow_nan=False)
    return document


def changes(document: dict) -> list[tuple]:
    return [("/".join(map(str, each["path"])), each["field"], each["a"], each["b"]) for each in document["changed"]]


def test_a_file_and_itself(tmp_path):
    document = told(tmp_path, state(), state())
    assert document["only_a"] == document["only_b"] == document["changed"] == []
    leaves = 7 + 4 * 3 + 11 + 1
    assert document["same"] >= leaves - 5


def test_what_only_one_of_both_has(tmp_path):
    other = state()
    del other["model"]["1.bias"]
    other["extra"] = {"deep": [1, 2]}
    document = told(tmp_path, state(), other)
    assert document["only_a"] == [["model", "1.bias"]]
    assert document["only_b"] == [["extra"]]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda s: s.update(epoch=4), ("epoch", "value", 3, 4)),
        (lambda s: s["optimizer"]["param_groups"][0].update(lr=0.2),
         ("optimizer/param_groups/0/lr", "value", 0.1, 0.2)),
        (lambda s: s["model"].update({"0.bias": torch.zeros(5)}), ("model/0.bias", "shape", [3], [5])),
        (lambda s: s["model"].update({"0.bias": torch.zeros(3).half()}),
         ("model/0.bias", "dtype", "float32", "float16")),
        (lambda s: s["model"].update({"0.bias": 5}), ("model/0.bias", "kind", "tensor", "int")),
        (lambda s: s.update(epoch="3"), ("epoch", "kind", "int", "str")),
    ],
)  # fmt: skip
def test_one_thing_that_changed(tmp_path, change, expected):
    other = state()
    change(other)
    assert changes(told(tmp_path, state(), other, values=False)) == [expected]


def test_devices(tmp_path):
    document = told(tmp_path, {"w.weight": torch.ones(2)}, {"w.weight": torch.ones(2)}, tag="cuda:1")
    assert changes(document) == [("w.weight", "device", "cpu", "cuda:1")]


def test_devices_are_those_that_were_saved_whatever_map_location_says(tmp_path):
    first = save({"w.weight": torch.ones(2)}, tmp_path / "a.pth", tag="cuda:1")
    second = save({"w.weight": torch.ones(2)}, tmp_path / "b.pth", tag="cuda:1")
    with open_checkpoint(first, map_location="cpu") as a, open_checkpoint(second) as b:
        assert diff(a, b).equal


def test_numbers_of_numpy(tmp_path):
    found = changes(told(tmp_path, {"epoch": np.int64(3)}, {"epoch": np.int64(4)}))
    assert found == [("epoch", "value", 3, 4)]
    assert changes(told(tmp_path, {"x": np.zeros(3)}, {"x": np.ones(3)})) == [
        ("x", "value", "other numbers", "other numbers")
    ]


def test_values_are_compared_across_devices_and_dtypes(tmp_path):
    a = torch.tensor([1.0, 2.0, 3.0])
    found = changes(told(tmp_path, {"w.weight": a}, {"w.weight": a.clone()}, tag="cuda:1"))
    assert [each[1] for each in found] == ["device"]
    (dtype, values) = told(tmp_path, {"w.weight": a}, {"w.weight": torch.tensor([1.0, 2.0, 3.5]).bfloat16()})["changed"]
    assert (dtype["field"], values["field"], values["max_abs"], values["elements"]) == ("dtype", "values", 0.5, 1)
    (dtype,) = told(tmp_path, {"w.weight": a}, {"w.weight": a.half()})["changed"]
    assert dtype["field"] == "dtype"
    assert told(tmp_path, {"w.weight": a}, {"w.weight": a.half()})["same"] == 0


def test_a_whole_module_is_compared_with_a_state_dict_by_its_names(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    other = copy.deepcopy(net.state_dict())
    other["1.bias"] += 2
    document = told(tmp_path, net, other)
    values = [each for each in document["changed"] if each["field"] == "values"]
    assert [(each["path"], each["path_b"]) for each in values] == [
        (["_modules", "1", "_parameters", "bias"], ["1.bias"])
    ]
    assert document["only_b"] == []


def test_progress_counts_the_bytes_of_both(tmp_path):
    class Told:
        seen: list[tuple[int, int]] = []  # noqa: RUF012

        def step(self, done, total):
            self.seen.append((done, total))

    value = {"a": torch.zeros(300_000), "b": torch.ones(1000), "c": torch.ones(2)}
    first, second = save(value, tmp_path / "a.pth"), save({**value, "a": torch.ones(300_000)}, tmp_path / "b.pth")
    with open_checkpoint(first) as a, open_checkpoint(second) as b:
        found = diff(a, b)
        with_values(a, b, found, Told())
    total = 2 * 4 * 301_002
    counted = [done for done, whole in Told.seen if whole == total]
    assert counted == sorted(counted)
    assert counted[-1] == total


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_prefixes_are_seen_through(tmp_path, prefix):
    model = state()["model"]
    document = told(tmp_path, {"model": model}, {"model": {prefix + name: value for name, value in model.items()}})
    assert document["only_a"] == document["only_b"] == document["changed"] == []
    assert document["same"] == len(model)


def test_a_bare_state_dict_finds_itself_in_a_resume_checkpoint(tmp_path):
    made = state()
    changed = copy.deepcopy(made["model"])
    changed["0.bias"] += 1
    document = told(tmp_path, {f"module.{name}": value for name, value in changed.items()}, made)
    assert document["only_a"] == []
    assert document["only_b"] == [["optimizer"], ["epoch"]]
    (change,) = document["changed"]
    assert (change["path"], change["path_b"], change["field"]) == (["module.0.bias"], ["model", "0.bias"], "values")
    assert change["max_abs"] == pytest.approx(1)


DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.complex64,
          torch.float8_e4m3fn]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("legacy", [False, True])
def test_values_are_compared_exactly(tmp_path, dtype, legacy):
    if legacy and dtype is torch.float8_e4m3fn:
        dtype = torch.bfloat16
    generator = torch.Generator().manual_seed(1)
    a = (torch.rand(50, 40, generator=generator) * 100).to(dtype)
    b = a.clone()
    b.view(-1)[17] = torch.tensor(3.0).to(dtype)
    (change,) = told(tmp_path, {"w": a}, {"w": b}, legacy=legacy)["changed"]
    wide = torch.complex128 if dtype.is_complex else torch.float64
    x, y = a.to(wide).flatten(), b.to(wide).flatten()
    assert change["max_abs"] == pytest.approx(float((x - y).abs().max()), rel=1e-12)
    assert change["max_rel"] == pytest.approx(
        float(((x - y).abs() / torch.maximum(x.abs(), y.abs())).nan_to_num().max())
    )
    cosine = float(torch.vdot(x, y).real / (x.norm() * y.norm()))
    assert change["cosine"] == pytest.approx(cosine, rel=1e-12)
    assert change["elements"] == 1


def test_nan_and_infinity(tmp_path):
    a = torch.tensor([math.nan, math.inf, 1.0])
    assert told(tmp_path, {"w": a}, {"w": a.clone()})["changed"] == []
    (change,) = told(tmp_path, {"w": a}, {"w": torch.tensor([math.nan, math.inf, math.nan])})["changed"]
    assert (change["max_abs"], change["elements"], change["a"], change["b"]) == ("NaN", 1, 1.0, "NaN")
    (change,) = told(tmp_path, {"w": a}, {"w": torch.tensor([math.nan, -math.inf, 1.0])})["changed"]
    assert (change["max_abs"], change["cosine"]) == ("Infinity", None)


def test_sparse_tensors_part_by_part(tmp_path):
    a = torch.eye(4).to_sparse()
    assert told(tmp_path, {"s": a}, {"s": a.clone()})["changed"] == []
    (change,) = told(tmp_path, {"s": a}, {"s": a * 2})["changed"]
    assert change["max_abs"] == 1


def test_views_are_compared_as_what_they_show(tmp_path):
    a = torch.arange(12.0).view(3, 4).t()
    assert told(tmp_path, {"w": a}, {"w": a.contiguous()})["changed"] == []


def test_views_that_repeat_few_bytes_without_end(tmp_path):
    """What a file states costs nothing: sizes of 10**12 elements over one, and none of a dimension of 2**60."""

    def views(value):
        one = torch.full((1, 2), value)
        return {"w": one.expand(10**12, 2), "none": torch.empty(0).as_strided((0, 1 << 60), (1, 0))}

    assert changes(told(tmp_path, views(1.0), views(1.0))) == []
    (found,) = told(tmp_path, views(1.0), views(2.5))["changed"]
    assert (found["path"], found["max_abs"], found["elements"]) == (["w"], 1.5, 2 * 10**12)
    windows = [{"w": torch.full((200_000,), value).as_strided((100_000, 100_000), (1, 1))} for value in (1.0, 2.0)]
    (line,) = told(tmp_path, *windows)["changed"]
    assert "would take 40000000000 bytes" in line["problem"]


@pytest.mark.parametrize(
    "shape", [(), (0,), (5,), (1 << 20,), (3, 1 << 19), (2, 3, 700_000), (1000, 1000), (0, 5), (5, 0)]
)
def test_boxes_cover_a_tensor_once(shape):
    seen = np.zeros(shape, np.int8)
    for index in boxes(shape):
        seen[index] += 1
    assert (seen == 1).all()


def test_the_command(tmp_path):
    one, other = state(), state()
    other["epoch"] = 4
    paths = [str(save(one, tmp_path / "a.pth")), str(save(other, tmp_path / "b.pth"))]

    def run(*arguments):
        return subprocess.run([sys.executable, "-m", "ckpt_viewer", "diff", *arguments], capture_output=True, text=True)

    done = run(*paths)
    assert (done.returncode, done.stderr) == (1, "")
    assert "~ /epoch: value 3 -> 4" in done.stdout
    done = run(paths[0], paths[0], "--json", "--values")
    assert done.returncode == 0
    assert json.loads(done.stdout)["changed"] == []
    done = run(paths[0], str(tmp_path / "gone.pth"))
    assert done.returncode == 2
    assert done.stderr.startswith(f"ckpt-viewer: {tmp_path / 'gone.pth'}: ")


def test_what_was_not_compared_is_said(tmp_path, capsys):
    paths = [str(save({"w": torch.full((3,), number)}, tmp_path / f"{number}.pth")) for number in (1.0, 2.0)]
    assert main(["diff", *paths]) == 0
    assert capsys.readouterr().out.endswith("; the values of tensors were not compared (--values)\n")
    assert main(["diff", *paths, "--values"]) == 1
    assert "not compared" not in capsys.readouterr().out


def test_values_that_nobody_has_do_not_differ(tmp_path):
    value = {"w": torch.empty(3, device="meta"), "b": torch.ones(2)}
    assert told(tmp_path, value, value)["changed"] == []


def test_what_cannot_be_compared_is_counted_apart(tmp_path, capsys):
    windows = {"w": torch.ones(200_000).as_strided((100_000, 100_000), (1, 1)), "epoch": 3}
    paths = [str(save(windows, tmp_path / "a.pth")), str(save({**windows, "epoch": 4}, tmp_path / "b.pth"))]
    assert main(["diff", paths[0], paths[0], "--values"]) == 2
    out = capsys.readouterr().out
    assert "~ /w: values not compared: " in out
    assert "0 differ, 1 could not be compared, 0 are only in the first" in out
    assert main(["diff", *paths, "--values"]) == 1
    assert "1 differ, 1 could not be compared" in capsys.readouterr().out


def test_arrays_of_objects_are_compared_member_by_member(tmp_path):
    def state(last):
        return {"a": np.array([{"x": 1}, "text", last], dtype=object)}

    assert told(tmp_path, state((1, [2])), state((1, [2])))["changed"] == []
    (change,) = told(tmp_path, state(3), state(4))["changed"]
    assert (change["path"], change["a"], change["b"]) == (["a", 2], 3, 4)
