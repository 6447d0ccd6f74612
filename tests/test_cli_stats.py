"""`stats` and `show` as a user calls them."""

from __future__ import annotations

import io
import json
import math
import sys

import numpy as np
import pytest
import torch

from ckpt_viewer.cli import main
from ckpt_viewer.cli_show import parse_slice
from ckpt_viewer.errors import CheckpointError

NAN = math.nan


@pytest.fixture
def path(tmp_path):
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(4, 5, generator=generator)
    content = {
        "model": {"conv.weight": weight, "tied": weight, "half": weight.bfloat16(),
                  "bad\x1b[31m": torch.tensor([NAN, 1.0])},
        "more": [torch.arange(6).reshape(2, 3), torch.empty(0), torch.empty(2, device="meta")],
        "again": None,
        "sparse": torch.eye(3).to_sparse_coo(),
        "z": torch.tensor([1 + 2j, complex(NAN, math.inf)]),
        "flag": torch.tensor([True, False]),
        "big": torch.zeros(200, 300),
        "epoch": 3, "note": "two\nlines", "huge": 1 << 80, "lr": math.inf, "raw": b"\x00\xff", "none": None,
        "array": np.array([[1.5, NAN], [2.0, -1.0]]), "letters": np.array(["a"]), "dtype": torch.float16,
        "size": torch.Size([1, 2]), 0: "zero",
    }  # fmt: skip
    content["again"] = content["model"]
    path = tmp_path / "x.pth"
    torch.save(content, path)
    return str(path)


@pytest.fixture
def call(capsys, path):
    def run(command, *arguments, code=0):
        assert main([command, path, *arguments]) == code
        out, err = capsys.readouterr()
        if code:
            assert out == ""
            assert len(err.splitlines()) == 1
            assert err.startswith(f"ckpt-viewer: {path}: ")
            return err
        assert err == ""
        return out

    return run


class TestStatsJson:
    """One document with the fields that other programs rely on."""

    @pytest.fixture
    def tensors(self, call):
        return json.loads(call("stats", "--json"))

    def test_every_tensor_is_there(self, tensors):
        assert tensors["schema"] == 1
        paths = [tuple(each["path"]) for each in tensors["tensors"]]
        assert paths[:4] == [("model", name) for name in ("conv.weight", "tied", "half", "bad\x1b[31m")]
        assert ("more", 2) in paths
        assert ("sparse",) in paths

    def test_numbers(self, tensors):
        weight = torch.randn(4, 5, generator=torch.Generator().manual_seed(3)).double()
        first, second, *_ = tensors["tensors"]
        assert first["mean"] == pytest.approx(weight.mean().item(), rel=1e-12)
        assert first["std"] == pytest.approx(weight.std(correction=0).item(), rel=1e-12)
        assert len(first["histogram"]["counts"]) == 256
        assert {**second, "path": 0} == {**first, "path": 0}

    def test_what_has_no_values_says_why(self, tensors):
        (meta,) = [each for each in tensors["tensors"] if each["path"] == ["more", 2]]
        assert meta["note"].startswith("a meta tensor has no values")
        assert (meta["dtype"], meta["numel"], meta["finite"], meta["histogram"]) == ("float32", 2, None, None)
        (empty,) = [each for each in tensors["tensors"] if each["path"] == ["more", 1]]
        assert (empty["finite"], empty["mean"]) == (0, None)
        assert "note" not in empty

    def test_sparse_over_stored_values(self, tensors):
        (sparse,) = [each for each in tensors["tensors"] if each["path"] == ["sparse"]]
        assert (sparse["over"], sparse["numel"], sparse["mean"]) == ("stored values", 3, 1.0)


def test_pointers_choose(call):
    chosen = json.loads(call("stats", "/more/0", "/model", "/again/tied", "--json", "--bins", "2"))["tensors"]
    assert [each["path"] for each in chosen] == [
        ["more", 0], ["model", "conv.weight"], ["model", "tied"], ["model", "half"], ["model", "bad\x1b[31m"],
        ["again", "tied"],
    ]  # fmt: skip
    assert chosen[0]["histogram"] == {"edges": [0.0, 2.5, 5.0], "counts": [3, 3]}
    below_alias = json.loads(call("stats", "/again", "--json"))["tensors"]
    assert [each["path"][0] for each in below_alias] == ["again"] * 4


def test_the_table(call):
    lines = call("stats").splitlines()
    assert lines[0].split() == ["path", "shape", "dtype", "min", "max", "mean", "std", "zeros", "NaN", "Inf"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:]}
    assert rows["/flag"] == ["2", "bool", "0", "1", "0.5", "0.5", "1", "0", "0"]
    assert rows["/more/0"] == ["2x3", "int64", "0", "5", "2.5", repr(math.sqrt(35 / 12)), "1", "0", "0"]
    assert rows["/model/bad\\x1b[31m"] == ["2", "float32", "1.0", "1.0", "1.0", "0.0", "0", "1", "0"]
    assert rows["/more/2"] == ["2", "float32", *"-------"]
    assert any(line.startswith("note: /more/2: a meta tensor") for line in lines)
    assert "note: /sparse: over stored values" in lines


def test_one_tensor_gets_a_histogram_too(call):
    lines = call("stats", "/more/0", "--bins", "3").splitlines()
    assert lines[-3:] == [
        f"               0.0 to 1.6666666666666667  2  {'#' * 40}",
        f"1.6666666666666667 to 3.3333333333333335  2  {'#' * 40}",
        f"3.3333333333333335 to 5.0                 2  {'#' * 40}",
    ]
    assert "  50 %  2" in lines


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["/model/nope"], "there is no 'nope'"),
        (["/epoch"], "there is no tensor below '/epoch'; `ls` lists what there is"),
        (["--bins", "0"], "cannot have 0 bins; choose from 1 to 1000000"),
        (["--json", "--bins", "0"], "cannot have 0 bins; choose from 1 to 1000000"),
    ],
)
def test_what_cannot_be_counted(call, arguments, sentence):
    assert sentence in call("stats", *arguments, code=2)


def test_a_damaged_tensor_is_said_after_the_others_were_printed(tmp_path, capsys):
    path = tmp_path / "cut.pth"
    torch.save({"a": torch.zeros(5), "b": torch.zeros(50), "c": torch.ones(2)}, path)
    data = bytearray(path.read_bytes())
    header = data.index(b"cut/data/1") - 30
    data[header : header + 4] = b"gone"
    path.write_bytes(data)
    code = main(["stats", str(path), "--json"])
    out, err = capsys.readouterr()
    first, second, third = json.loads(out)["tensors"]
    assert (first["zeros"], second["zeros"], third["zeros"]) == (5, None, 0)
    assert second["note"]
    assert code == 2
    assert err.startswith(f"ckpt-viewer: {path}: 1 of 3 tensors cannot be read: ")
    assert len(err.splitlines()) == 1


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """How many scans read the file, with a cache folder of the test's own."""
    from ckpt_viewer.stats.scan import Scan

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    done, real = [], Scan._count_all
    monkeypatch.setattr(Scan, "_count_all", lambda self, *rest: (done.append(1), real(self, *rest))[1])
    return done


def test_the_second_time_the_numbers_come_from_the_cache(call, counted, path):
    first, document = call("stats"), json.loads(call("stats", "--json"))
    assert len(counted) == 1
    assert call("stats") == first
    assert len(counted) == 1
    torch.save({"other": torch.ones(3)}, path)
    assert "/other" in call("stats")
    assert len(counted) == 2
    rows = {line.split()[0]: line.split()[1:] for line in first.splitlines()[1:]}
    for entry in document["tensors"]:
        if entry["path"] in (["more", 0], ["array"], ["flag"], ["big"], ["sparse"], ["z"]):
            expected = [entry[name] for name in ("min", "max", "mean", "std", "zeros", "nan")]
            assert rows["/" + "/".join(map(str, entry["path"]))][2:8] == [repr(value) for value in expected]


def test_the_document_is_the_same_from_the_cache(call, counted):
    assert call("stats", "--json") == call("stats", "--json")
    assert len(counted) == 1


def test_chosen_tensors_get_the_same_numbers(call, counted):
    whole = {tuple(each["path"]): each for each in json.loads(call("stats", "--json"))["tensors"]}
    for pointer in ("/model", "/more/0", "/sparse"):
        for each in json.loads(call("stats", pointer, "--json"))["tensors"]:
            assert whole[tuple(each["path"])] == each


class Terminal(io.StringIO):
    """A standard error that says it is a terminal."""

    def isatty(self):
        return True


def test_progress_is_drawn_on_a_terminal_only(call, path, monkeypatch, capsys):
    monkeypatch.setattr("ckpt_viewer.cli_progress.REDRAW", 0)
    call("stats")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["stats", path, "--json"]) == 0
    assert "[" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")
    json.loads(capsys.readouterr().out)


class TestShow:
    """A value, or a slice."""

    @pytest.mark.parametrize(
        ("pointer", "text"),
        [("/epoch", "3"), ("/note", "two\\nlines"), ("/huge", str(1 << 80)), ("/lr", "inf"), ("/raw", "00 ff"),
         ("/none", "None"), ("/dtype", "torch.float16"), ("/0", "zero")],
    )  # fmt: skip
    def test_scalars(self, call, pointer, text):
        assert call("show", pointer) == text + "\n"

    def test_scalars_as_json(self, call):
        assert json.loads(call("show", "/epoch", "--json")) == {
            "schema": 1, "path": ["epoch"], "kind": "int", "type": "int", "value": 3,
        }  # fmt: skip
        assert json.loads(call("show", "/lr", "--json"))["value"] == "Infinity"
        assert json.loads(call("show", "/huge", "--json"))["value"] == str(1 << 80)
        assert json.loads(call("show", "/raw", "--json"))["value"] == "00ff"

    def test_a_long_string_is_shown_whole(self, tmp_path, capsys):
        torch.save({"s": "x" * 10_000}, tmp_path / "s.pth")
        assert main(["show", str(tmp_path / "s.pth"), "/s", "--json"]) == 0
        assert len(json.loads(capsys.readouterr().out)["value"]) == 10_000

    def test_containers(self, call):
        assert call("show", "/more").splitlines()[0] == "list, 3 entries"
        assert "  0  2x3 int64" in call("show", "/more").splitlines()
        assert json.loads(call("show", "/more", "--json"))["children"] == [0, 1, 2]

    def test_tensors(self, call):
        assert call("show", "/more/0") == "torch.Tensor, 2x3, int64\n[[0 1 2]\n [3 4 5]]\n"
        document = json.loads(call("show", "/more/0", "--json"))
        assert (document["kind"], document["shape"], document["slice"]) == ("tensor", [2, 3], None)
        assert document["values"] == [[0, 1, 2], [3, 4, 5]]

    @pytest.mark.parametrize(
        ("index", "values"),
        [
            ("1", [3, 4, 5]),
            ("1,2", 5),
            (":,1", [1, 4]),
            ("...,::-2", [[2, 0], [5, 3]]),
            ("-1, 0:2", [3, 4]),
            ("-1,::2", [3, 5]),
            ("9:", []),
        ],
    )
    def test_slices(self, call, index, values):
        document = json.loads(call("show", "/more/0", "--slice", index, "--json"))
        assert document["values"] == values
        assert document["slice"] == index

    def test_what_is_not_finite_or_real(self, call):
        assert json.loads(call("show", "/z", "--json"))["values"] == [[1.0, 2.0], ["NaN", "Infinity"]]
        assert json.loads(call("show", "/model/bad\x1b[31m", "--json"))["values"] == ["NaN", 1.0]
        assert json.loads(call("show", "/model/bad\\x1b[31m", "--json"))["values"] == ["NaN", 1.0]  # as it is printed
        assert json.loads(call("show", "/flag", "--json"))["values"] == [True, False]

    def test_bfloat16_in_full_precision(self, call):
        values = json.loads(call("show", "/model/half", "--slice", "0", "--json"))["values"]
        weight = torch.randn(4, 5, generator=torch.Generator().manual_seed(3))
        assert values == weight.bfloat16()[0].float().tolist()
        assert str(values[0])[:6] in call("show", "/model/half")

    def test_numpy_arrays(self, call):
        assert json.loads(call("show", "/array", "--json"))["values"] == [[1.5, "NaN"], [2.0, -1.0]]
        assert json.loads(call("show", "/array", "--slice", "1,0", "--json"))["values"] == 2.0
        assert "cannot be shown" in call("show", "/letters", code=2)
        assert "does not fit" in call("show", "/array", "--slice", "7", code=2)

    def test_a_large_tensor_shows_a_corner(self, call):
        lines = call("show", "/big").splitlines()
        assert lines[1] == 'only --slice ":6,:6" of it; choose another part with --slice'
        assert lines[2] == "[[0. 0. 0. 0. 0. 0.]"

    def test_sparse_tensors_show_their_parts(self, call):
        parts = json.loads(call("show", "/sparse", "--json"))["parts"]
        assert parts["indices"]["values"] == [[0, 1, 2], [0, 1, 2]]
        text = call("show", "/sparse")
        assert "look at its indices and values" in text
        assert "[1. 1. 1.]" in text

    def test_meta_tensors_say_why_not(self, call):
        assert json.loads(call("show", "/more/2", "--json"))["note"].startswith("a meta tensor")
        assert "a meta tensor has no values" in call("show", "/more/2")
        assert "a meta tensor has no values" in call("show", "/more/2", "--slice", "0", code=2)

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["/nope"], "there is no 'nope'"),
            (["/epoch", "--slice", "0"], "only tensors and arrays have slices"),
            (["/more/0", "--slice", "0,0,0"], "3 parts and the tensor 2 dimensions"),
            (["/more/0", "--slice", "5"], "outside a dimension of 2"),
            (["/more/0", "--slice", "a:b"], "'a:b' is no slice"),
        ],
    )
    def test_what_cannot_be_shown(self, call, arguments, sentence):
        assert sentence in call("show", *arguments, code=2)


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("", ()),
        ("0,:,3:7", (0, slice(None), slice(3, 7))),
        (" -1 , ::2 ", (-1, slice(None, None, 2))),
        ("...,1", (..., 1)),
        ("5:1:-1", (slice(5, 1, -1),)),
        (":3,4:", (slice(None, 3), slice(4, None))),
    ],
)
def test_what_a_slice_means(text, index):
    assert parse_slice(text) == index


@pytest.mark.parametrize("text", ["x", "1.5", "0,,1", "::0", "1:2:3:4", "...,...", "None", "1" * 30, "(0)"])
def test_what_is_no_slice(text):
    with pytest.raises(CheckpointError, match="write one part for each dimension"):
        parse_slice(text)
