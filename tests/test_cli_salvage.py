"""``--salvage`` on the command line: what is left of a broken file is listed, counted, shown and exported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from builders import floats, integer, legacy_stream, mapped, pickled, tensor, text, zip_checkpoint

from ckpt_viewer.cli import main

NAMES = ("a.weight", "a.bias", "b.weight", "b.bias")


def model(*, legacy: bool = False) -> bytes:
    pairs = [(text(name), tensor(key=str(n), legacy=legacy)) for n, name in enumerate(NAMES)]
    return pickled(mapped((text("model"), mapped(*pairs)), (text("epoch"), integer(3))))


DATA = {str(n): floats(n, n + 1, n + 2, n + 3) for n in range(4)}


@pytest.fixture(params=["zip", "legacy"])
def broken(request, tmp_path) -> Path:
    """A file of which two tensors of four are left."""
    whole = zip_checkpoint(model(), DATA) if request.param == "zip" else legacy_stream(model(legacy=True), DATA)
    path = tmp_path / "model.pth"
    path.write_bytes(whole[: whole.index(DATA["2"]) + 5])
    return path


@pytest.fixture
def run(capsys):
    def call(*arguments: object) -> tuple[int, str, str]:
        code = main([str(each) for each in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_without_the_option_the_error_offers_it(run, broken):
    code, out, err = run("ls", broken)
    assert (code, out) == (2, "")
    assert "or salvage 2 of its 4 tensors (--salvage)" in err
    assert len(err.splitlines()) == 1


def test_the_listing_has_every_entry_and_names_what_is_lost(run, broken):
    code, out, err = run("ls", broken, "--salvage", "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert [entry["path"] for entry in document["entries"] if entry["kind"] == "tensor"] == [
        ["model", name] for name in NAMES
    ]
    lost = [each for each in document["findings"] if each["code"] == "tensor-lost"]
    assert [(each["severity"], each["path"]) for each in lost] == [
        ("error", ["model", "b.weight"]),
        ("error", ["model", "b.bias"]),
    ]
    assert [each["severity"] for each in document["findings"] if each["code"] == "salvaged"] == ["warning"]


def test_the_tree_marks_what_is_lost(run, broken):
    code, out, _ = run("ls", broken, "--salvage")
    assert code == 0
    rows = {line.split()[0]: "LOST" in line for line in out.splitlines() if ".weight" in line or ".bias" in line}
    assert rows == {"a.weight": False, "a.bias": False, "b.weight": True, "b.bias": True}
    assert "2 of its 4 tensors" in out


def test_many_lost_tensors_are_not_all_told_above_the_tree(run, tmp_path):
    pairs = [(text(f"w{n}"), tensor(key=str(n))) for n in range(100)]
    whole = zip_checkpoint(pickled(mapped(*pairs)), {str(n): floats(1, 2, 3, 4) for n in range(100)})
    path = tmp_path / "model.pth"
    path.write_bytes(whole[: whole.index(b"data/0")])
    _, out, _ = run("ls", path, "--salvage")
    assert out.count("\nerror: ") <= 6
    assert out.count("LOST") == 100


def test_statistics_of_what_is_left(run, broken):
    code, out, err = run("stats", broken, "--salvage", "--json")
    assert (code, err) == (0, "")
    tensors = json.loads(out)["tensors"]
    assert [each["max"] for each in tensors] == [3.0, 4.0, None, None]
    assert "note" in tensors[2]


def test_a_value_that_is_left_and_one_that_is_not(run, broken):
    code, out, _ = run("show", broken, "/model/a.bias", "--salvage", "--json")
    assert code == 0
    assert json.loads(out)["values"] == [1.0, 2.0, 3.0, 4.0]
    code, out, err = run("show", broken, "/model/b.bias", "--salvage")
    assert (code, out) == (2, "")
    assert "storage" in err


def test_the_export_leaves_out_what_is_lost_and_names_it(run, broken, tmp_path):
    out_path = tmp_path / "out.pth"
    code, out, err = run("export", broken, "-o", out_path, "--salvage", "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["dropped"] == ["b.weight", "b.bias"]
    assert any("b.weight, b.bias" in warning for warning in document["warnings"])
    code, out, _ = run("ls", out_path, "--json")
    entries = json.loads(out)["entries"]
    assert [entry["path"] for entry in entries if entry["kind"] == "tensor"] == [["a.weight"], ["a.bias"]]


def test_nothing_is_exported_where_nothing_is_left(run, tmp_path):
    whole = zip_checkpoint(model(), DATA)
    path, out_path = tmp_path / "model.pth", tmp_path / "out.pth"
    path.write_bytes(whole[: whole.index(b"data/0")])
    code, _, err = run("export", path, "-o", out_path, "--salvage")
    assert code == 2
    assert "no tensor of the model is left" in err
    assert not out_path.exists()


def test_a_salvaged_file_is_not_remapped(broken):
    import ckpt_viewer
    from ckpt_viewer.errors import CannotExport
    from ckpt_viewer.export.plan import plan_remap

    with ckpt_viewer.open_checkpoint(broken, salvage=True) as checkpoint, pytest.raises(CannotExport, match="broken"):
        plan_remap(checkpoint, "cpu")
