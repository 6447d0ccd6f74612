"""`check` as a user calls it, as far as the values go: which tensors are not sound, and the exit code."""

from __future__ import annotations

import io
import json
import math
import sys

import pytest
import torch
from made_tensors import CountingSource, made_tensor

from ckpt_viewer import cli_progress
from ckpt_viewer.cli import main
from ckpt_viewer.core.checkpoint import Checkpoint, Contents
from ckpt_viewer.core.finding import Finding
from ckpt_viewer.core.pace import Pace
from ckpt_viewer.core.value import Mapping
from ckpt_viewer.errors import Truncated
from ckpt_viewer.stats.health import health

INF, NAN = math.inf, math.nan


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def check(capsys, tmp_path):
    def run(content, *arguments, code=0):
        path = tmp_path / "x.pth"
        torch.save(content, path)
        assert main(["check", str(path), *arguments]) == code
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return run


def found(out):
    codes = {"nan-values", "infinite-values", "constant-weight", "values-unreadable"}
    return [
        (each["severity"], each["code"], each["path"], each["message"])
        for each in json.loads(out)["findings"]
        if each["code"] in codes
    ]


def model(**more):
    return {
        "model": {"conv.weight": torch.randn(3, 4), "norm.weight": torch.ones(4), "norm.bias": torch.zeros(4), **more}
    }


def test_a_sound_file_has_nothing_to_say_about_values(check):
    assert found(check(model(), "--json")) == []


def test_nan_is_an_error_and_named_with_how_much(check):
    out = check(model(bad=torch.tensor([[1.0, NAN], [NAN, 2.0]])), "--json", code=1)
    assert found(out) == [("error", "nan-values", ["model", "bad"], "2 of 4 values are NaN")]


def test_an_infinity_is_a_warning(check):
    content = model(mask=torch.tensor([[0.0, -INF], [INF, -INF]]), one=torch.tensor(INF))
    assert found(check(content, "--json")) == [
        ("warning", "infinite-values", ["model", "mask"], "3 of 4 values are infinite (1 +Inf, 2 -Inf)"),
        ("warning", "infinite-values", ["model", "one"], "the only value is infinite (1 +Inf)"),
    ]


def test_a_weight_of_one_value_is_a_note_and_an_optimizers_state_is_not(check):
    content = {**model(dead=torch.zeros(2, 3)), "optimizer": {"state": {0: {"exp_avg": torch.zeros(2, 3)}}}}
    assert found(check(content, "--json")) == [("info", "constant-weight", ["model", "dead"], "all 6 values are 0.0")]


def test_a_tensor_that_is_there_twice_is_named_once(check):
    bad = torch.tensor([NAN, 1.0])
    out = check({"a": bad, "b": [bad, bad]}, "--json", code=1)
    assert found(out) == [("error", "nan-values", ["a"], "1 of 2 values is NaN")]


def test_stored_values_of_a_sparse_tensor_are_called_so(check):
    sparse = torch.tensor([[0.0, NAN], [0.0, 1.0]]).to_sparse_coo()
    (finding,) = found(check({"s": sparse}, "--json", code=1))
    assert finding[3] == "1 of 2 stored values is NaN"


def test_the_values_can_be_left_out(check):
    assert found(check(model(bad=torch.tensor([NAN])), "--json", "--no-values")) == []


def test_for_people_it_is_a_line_with_the_path(check):
    assert "error: /model/bad: all 1 values are NaN" not in check(model(bad=torch.tensor([NAN])), code=1)
    assert "error: /model/bad: the only value is NaN\n" in check(model(bad=torch.tensor([NAN])), code=1)


class Torn(CountingSource):
    """Bytes that end too soon."""

    def read_into(self, offset, buffer):
        raise Truncated("the file", wanted=len(buffer), found=0, offset=offset)


@pytest.mark.parametrize("salvaged", [False, True])
def test_values_that_cannot_be_read_are_an_error_unless_that_is_known(salvaged):
    tensor = made_tensor(None, "float32", (4,), source=Torn(bytes(16)))
    root = Mapping()
    root.pairs += ["w", tensor]
    contents = Contents("torch-zip", root, (), (), 2, "", lambda: None, salvaged=salvaged)
    findings = health(Checkpoint("x.pth", 16, contents))
    assert [each[:3] for each in findings] == ([] if salvaged else [("error", "values-unreadable", ("w",))])


def test_what_needs_no_values_is_told_before_they_are_read(tmp_path, monkeypatch, capsys):
    path, told = tmp_path / "x.pth", []
    torch.save(model(bad=torch.tensor([NAN])), path)

    def scan(checkpoint, context):
        told.append(capsys.readouterr().out)
        return health(checkpoint, context)

    monkeypatch.setattr("ckpt_viewer.stats.health.health", scan)
    monkeypatch.setattr("ckpt_viewer.analysis.check.CHECKS", (lambda _: (Finding("warning", "x", (), "first"),),))
    assert main(["check", str(path)]) == 1
    assert told == ["warning: first\n"]
    assert capsys.readouterr().out.startswith("error: /model/bad: ")


def test_reading_values_tells_the_rate(tmp_path, monkeypatch, capsys):
    """And Ctrl-C ends it with a sentence."""
    path, terminal = tmp_path / "x.pth", io.StringIO()
    torch.save(model(), path)
    terminal.isatty = lambda: True

    def scan(checkpoint, context):
        clock = iter(range(100))
        context._pace = Pace(lambda: next(clock))
        monkeypatch.setattr(cli_progress, "REDRAW", 0)
        for done in range(5):
            context.step(done * 10**9, 10 * 10**9)
        raise KeyboardInterrupt

    monkeypatch.setattr("ckpt_viewer.stats.health.health", scan)
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["check", str(path)]) == 130
    assert "40 %  800 MB/s, 8 s left" in terminal.getvalue()
    assert terminal.getvalue().endswith(f"ckpt-viewer: {path}: stopped before it was done; nothing was written\n")


def test_of_a_tensor_that_cannot_be_read_no_more_is_tried():
    """Its other parts may be a terabyte."""

    class Counting(Torn):
        count = 0

        def read_into(self, offset, buffer):
            Counting.count += 1
            super().read_into(offset, buffer)

    nbytes = 1 << 30
    source = Counting(b"")
    source.size = nbytes
    tensor = made_tensor(b"", "float32", (nbytes // 4,), source=source)
    found = health(Checkpoint("x", 0, Contents("x", tensor, (), (), 2, "", lambda: None)))
    assert [each.code for each in found] == ["values-unreadable"]
    assert Counting.count <= 20
