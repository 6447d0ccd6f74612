"""The commands export and remap, as a user types them."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import builders
import numpy
import pytest
import torch

from ckpt_viewer.cli import main
from ckpt_viewer.core.text import bytes_text
from ckpt_viewer.errors import CannotExport
from ckpt_viewer.export.choice import parse_patterns, parse_size

pytestmark = pytest.mark.torch
ROOT = Path(__file__).resolve().parents[2]


TORCH = f"torch {torch.__version__.partition('+')[0]}"


@pytest.fixture
def source(tmp_path):
    value = {"model": torch.nn.Linear(3, 2).state_dict(), "epoch": 3}
    return builders.save(value, tmp_path / "model_3.pth", tag="cuda:1")


@pytest.fixture
def run(capsys):
    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_export(run, source, tmp_path):
    out = tmp_path / "weights.pth"
    code, text, errors = run("export", source, "-o", out)
    assert (code, errors) == (0, "")
    assert text == f"wrote {out}: {bytes_text(out.stat().st_size)}, 2 tensors, verified by {TORCH}\n"
    torch.nn.Linear(3, 2).load_state_dict(torch.load(out, weights_only=True), strict=True)


def test_an_export_of_several_files_counts_them(run, source, tmp_path):
    out = tmp_path / "set"
    out.mkdir()
    limit = ("--max-shard-size", "10")
    _, text, _ = run("export", source, "-o", out / "net.safetensors", *limit, "--dry-run")
    assert text.startswith(f"would write {out / 'net.safetensors.index.json'}: ")
    assert " in 3 files, 2 tensors" in text
    dry = json.loads(run("export", source, "-o", out / "net.safetensors", *limit, "--dry-run", "--json")[1])
    code, text, _ = run("export", source, "-o", out / "net.safetensors", *limit)
    assert code == 0
    assert len(list(out.iterdir())) == 3  # two tensors, and the index
    assert sum(path.stat().st_size for path in out.iterdir()) == dry["bytes"]
    assert text.startswith(f"wrote {out / 'net.safetensors.index.json'}: ")
    assert " in 3 files, 2 tensors, " in text


def test_files_of_an_earlier_set_are_told_and_stay(run, tmp_path):
    state = {f"l{number}.weight": torch.ones(4) for number in range(4)}
    source, out = builders.save({"model": state}, tmp_path / "x.pth"), tmp_path / "a-b.safetensors"
    (tmp_path / "a-00001-of-00002.safetensors").write_bytes(b"another one's")
    assert run("export", source, "-o", out, "--max-shard-size", "16")[2] == ""
    _, _, errors = run("export", source, "-o", out, "--max-shard-size", "32", "--force")
    names = [f"a-b-{number:05d}-of-00004.safetensors" for number in range(1, 5)]
    assert errors.endswith(f"another one of its name, which its index does not know: {', '.join(map(repr, names))}\n")
    assert all((tmp_path / name).exists() for name in names)


def test_remap_has_a_default_name(run, source):
    code, text, _ = run("remap", source, "--map-location", "cpu")
    target = source.with_name("model_3.cpu.pth")
    assert code == 0
    assert text.startswith(f"wrote {target}: ")
    assert torch.load(target, weights_only=True)["epoch"] == 3


@pytest.mark.parametrize("command", [("export",), ("remap", "--map-location", "cpu")])
def test_an_empty_name_is_no_default(run, source, command):
    code, out, errors = run(command[0], source, "-o", "", *command[1:])
    assert (code, out) == (2, "")
    assert errors == f"ckpt-viewer: {source}: '' names no file; give the name of a file\n"
    assert list(source.parent.iterdir()) == [source]


def test_json(run, source, tmp_path):
    out = tmp_path / "new.pth"
    for command in (["export", source], ["remap", source, "--map-location", "cpu"]):
        code, text, errors = run(*command, "-o", out, "--force", "--json")
        assert (code, errors) == (0, "")
        assert json.loads(text) == {
            "schema": 1, "written": str(out), "bytes": out.stat().st_size, "tensors": 2, "renamed": {}, "dropped": [],
            "cast": {}, "warnings": [], "verified": TORCH,
        }  # fmt: skip


@pytest.mark.parametrize(
    ("option", "by"),
    [
        ("--no-torch", "verified by ckpt-viewer"),
        ("--no-verify", "not verified\n"),
    ],
)
def test_verifying_can_be_left_out(run, source, tmp_path, option, by):
    code, text, errors = run("export", source, "-o", tmp_path / "new.pth", option)
    assert (code, errors) == (0, "")
    assert f" 2 tensors, {by}" in text


def test_why_torch_did_not_check_is_said(run, tmp_path):
    source = builders.save({"w": torch.ones(2)}, tmp_path / "x.pth", tag="cuda:1", protocol=4)
    remap = ("remap", source, "--map-location", "cpu", "--force")
    code, text, _ = run(*remap)
    assert code == 0
    assert "verified by ckpt-viewer; torch did not check because torch.load(weights_only=True) refuses it" in text
    document = json.loads(run(*remap, "--json")[1])
    assert document["verified"] == "ckpt-viewer"
    assert document["warnings"][-1].startswith("torch did not check the copy because")


def test_a_dry_run_writes_nothing(run, source, tmp_path):
    out = tmp_path / "new.pth"
    code, text, _ = run("export", source, "-o", out, "--dry-run")
    assert code == 0
    assert text.startswith(f"would write {out}: ")
    code, text, _ = run("remap", source, "--map-location", "cpu", "--dry-run", "--json")
    document = json.loads(text)
    assert (code, document["written"], document["verified"]) == (0, None, None)
    assert [path.name for path in tmp_path.iterdir()] == ["model_3.pth"]
    run("remap", source, "--map-location", "cpu", "-o", out)
    assert document["bytes"] == out.stat().st_size


def test_a_dry_run_fails_where_the_run_would(run, source, tmp_path):
    assert run("export", source, "-o", source, "--dry-run")[0] == 2
    assert run("export", source, "-o", tmp_path / "none" / "x", "--dry-run")[0] == 2


def test_no_verify(run, source, tmp_path):
    _, text, _ = run("export", source, "-o", tmp_path / "x", "--no-verify", "--json")
    assert json.loads(text)["verified"] is None
    _, text, _ = run("export", source, "-o", tmp_path / "y", "--no-verify")
    assert "2 tensors, not verified\n" in text


def test_nothing_to_do(run, source, tmp_path):
    for more in ([], ["--dry-run"]):
        code, text, errors = run("remap", source, "--map-location", "cuda:1", *more)
        assert (code, text, errors) == (0, "every tensor is on cuda:1 already, so there is nothing to remap\n", "")
    _, text, _ = run("remap", source, "--map-location", "cuda:1", "--json")
    document = json.loads(text)
    assert (document["written"], document["bytes"]) == (None, 0)
    assert document["warnings"] == ["every tensor is on cuda:1 already, so there is nothing to remap"]
    assert [path.name for path in tmp_path.iterdir()] == ["model_3.pth"]


def test_warnings_go_to_standard_error(run, tmp_path):
    value = {"model": {"a.weight": torch.arange(1000.0)[:10]}, "epoch": 1}
    source = builders.save(value, tmp_path / "x.pth")
    _, text, errors = run("export", source, "-o", tmp_path / "y.pth")
    assert "warning:" not in text
    assert errors.startswith("ckpt-viewer: warning: the storages hold 3.96 kB that no tensor of the model uses")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["export", "{}", "-o", "{}"], "the target is the very file that is read; choose another name"),
        (["remap", "{}", "-o", "{}", "--map-location", "cpu", "--force"], "the very file that is read"),
        (["remap", "{}", "--map-location", "banana"], "torch has no device 'banana'"),
        (["remap", "{}"], "the following arguments are required: --map-location"),
        (["export", "{}"], "the following arguments are required: -o"),
        (["export", "{}", "-o", "x", "--from", "/optimizer"], "there is no 'optimizer'"),
        (["export", "{}", "-o", "x", "--from", "/epoch"], "there is no tensor in what was chosen"),
        (["export", "{}", "-o", "x", "--from", "model"], "is no pointer"),
        (["export", "{}", "-o", "x", "--format", "banana"], "there is no writer for 'banana'"),
        (["export", "{}", "-o", "x", "--dtype", "int8"], "tensors are not cast to 'int8'; choose float32, float16 or"),
        (["export", "{}", "-o", "x", "--rename", "weight"], "'weight' is no rename rule; write OLD=NEW"),
        (["export", "{}", "-o", "x", "--rename", "weight=bias"], "'weight', 'bias' would all be called 'bias'; change"),
        (["export", "{}", "-o", "x", "--exclude", "*"], "nothing is left of the 2 tensors that were chosen"),
        (["export", "{}", "-o", "x", "--max-shard-size", "5 apples"], "'5 apples' is no size of a file; write it as"),
        (["remap", "{}", "--drop-optimizer"], "no optimizer was recognised at the root of this file"),
        (["export", "nothing.pth", "-o", "x"], "there is no such file"),
        (["export", "{}", "-o", "/dev/null", "--force"], "is no regular file and is not replaced"),
    ],
)
def test_a_sentence_for_everything_that_cannot_be(source, arguments, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = source.read_bytes()
    try:
        code = main([argument.format(source) for argument in arguments])
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert sentence in err
    assert [path.name for path in tmp_path.iterdir()] == ["model_3.pth"]
    assert source.read_bytes() == before


def test_an_existing_file_needs_force(run, source, tmp_path):
    out = tmp_path / "new.pth"
    out.write_bytes(b"old")
    code, _, errors = run("export", source, "-o", out)
    assert (code, out.read_bytes()) == (2, b"old")
    assert "exists already; choose another name, or allow replacing it (--force)" in errors
    assert run("export", source, "-o", out, "--force")[0] == 0


def test_a_bar_on_a_terminal_and_none_into_a_pipe(source, tmp_path):
    import pty

    # without torch: nobody reads the terminal meanwhile, and it holds little
    command = [sys.executable, "-m", "ckpt_viewer", "remap", str(source), "--map-location", "cpu", "--no-torch", "-o"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    piped = subprocess.run([*command, str(tmp_path / "a")], capture_output=True, env=env, check=True, timeout=60)
    assert piped.stderr == b""
    master, slave = pty.openpty()
    subprocess.run(
        [*command, str(tmp_path / "b")], stdout=subprocess.DEVNULL, stderr=slave, env=env, check=True, timeout=60
    )
    os.close(slave)
    drawn = b""
    with contextlib.suppress(OSError):  # how a terminal says that nobody writes to it any more
        while part := os.read(master, 100_000):
            drawn += part
    os.close(master)
    assert b"[==" in drawn
    assert b" %" in drawn
    assert drawn.endswith(b"\r\x1b[K")


@pytest.fixture
def wrapped(tmp_path):
    """A state_dict as DataParallel saves it, with tied weights and buffers."""
    net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 3))
    net[2].weight = net[0].weight
    value = {"model": torch.nn.DataParallel(net).state_dict(), "epoch": 3}
    return builders.save(value, tmp_path / "wrapped.pth")


def test_names_as_they_are_asked_for(run, wrapped, tmp_path):
    out = tmp_path / "new.pth"
    arguments = ["--strip-prefix", "auto", "--rename", "0=first", "--rename", "2=last", "--no-buffers"]
    code, text, errors = run("export", wrapped, "-o", out, *arguments, "--exclude", "*.bias", "--json")
    document = json.loads(text)
    assert (code, errors) == (0, "")
    assert list(torch.load(out, weights_only=True)) == ["first.weight", "1.weight", "last.weight"]
    assert document["renamed"]["module.0.weight"] == "first.weight"
    assert document["dropped"][0] == "module.0.bias"
    assert "module.1.running_mean" in document["dropped"]
    assert document["warnings"] == [
        "buffers left out, by their names, since the file does not say: 'module.1.running_mean', "
        "'module.1.running_var', 'module.1.num_batches_tracked'"
    ]


def test_the_plan_that_a_dry_run_prints(run, wrapped, tmp_path):
    out = tmp_path / "new.pth"
    code, text, errors = run(
        "export", wrapped, "-o", out, "--strip-prefix", "auto", "--include", "module.[02]", "--dry-run"
    )
    assert (code, errors, out.exists()) == (0, "", False)
    lines = text.splitlines()
    assert lines[0].startswith(f"would write {out}: ")
    assert lines[1] == "  module.0.weight -> 0.weight  3 x 3  float32  36 B"
    assert "  module.1.weight  left out: by the patterns" in lines
    assert lines[-1] == "  tied: 0.weight, 2.weight"


def test_the_plan_as_json(run, wrapped, tmp_path):
    out = tmp_path / "new.pth"
    arguments = ["--rename", "module.0=first", "--dtype", "float16", "--include", "module.0", "--exclude", "*.bias"]
    assert run("export", wrapped, "-o", out, *arguments)[0] == 0
    code, text, _ = run("export", wrapped, "-o", tmp_path / "plan.pth", *arguments, "--dry-run", "--json")
    document = json.loads(text)
    assert (code, document["written"], document["verified"]) == (0, None, None)
    assert document["bytes"] == out.stat().st_size
    assert document["cast"] == {"first.weight": "float16"}
    assert document["entries"] == [
        {"name": "module.0.weight", "new_name": "first.weight", "dtype": "float32", "new_dtype": "float16",
         "shape": [3, 3], "bytes": 36, "new_bytes": 18}
    ]  # fmt: skip
    assert {"name": "module.0.bias", "reason": "by the patterns"} in document["left_out"]
    assert document["tied"] == []


def test_tensors_in_plain_values_count(run, tmp_path):
    state = {"a": {"step": 3, "avg": torch.ones(2, 2)}, "b": {"avg": torch.ones(5)}}
    source, out = builders.save({"state": state}, tmp_path / "x.pth"), tmp_path / "y.pth"
    dry = json.loads(run("export", source, "--from", "/state", "-o", out, "--dry-run", "--json")[1])
    assert (dry["tensors"], [entry["bytes"] for entry in dry["entries"]]) == (2, [16, 20])
    _, text, errors = run("export", source, "--from", "/state", "-o", out)
    assert " 2 tensors, verified by " in text
    assert errors == "ckpt-viewer: warning: kept in their form, with the tensors in them: 'a', 'b'\n"
    assert "  a  a value with 1 tensor  16 B\n" in run("export", source, "--from", "/state", "-o", "n", "--dry-run")[1]


def test_several_places(run, source, tmp_path):
    out = tmp_path / "new.pth"
    assert run("export", source, "-o", out, "--from", "/model/bias", "--from", "/model/weight")[0] == 0
    assert list(torch.load(out, weights_only=True)) == ["weight", "bias"]


@pytest.mark.parametrize(
    ("text", "size"),
    [("", 0), ("4096", 4096), ("5GB", 5 * 10**9), ("500 MB", 5 * 10**8), ("1.5GiB", 3 << 29), ("10k", 10_000)],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["0", "-1", "GB", "5PB", "1e9", "5 G G", "9" * 30])
def test_texts_that_are_no_sizes(text):
    with pytest.raises(CannotExport, match="is no size of a file"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("", ()),
        (" layer1  *.weight ", ("layer1", "*.weight")),
        ('"my layer.*" \'it"s\' b#c', ("my layer.*", 'it"s', "b#c")),
        ("a\\b [ab]?;|&", ("a\\b", "[ab]?;|&")),
    ],
)
def test_patterns_in_a_line(text, patterns):
    assert parse_patterns(text) == patterns


def test_an_open_quote_is_a_sentence():
    with pytest.raises(CannotExport, match="a quote in 'x \"y' is not closed; close it"):
        parse_patterns('x "y')


@pytest.mark.parametrize("name", ["-", ""])
@pytest.mark.parametrize("command", [("export",), ("remap", "--map-location", "cpu")])
def test_no_file_is_called_as_standard_output_is(run, source, name, command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, text, errors = run(command[0], source, *command[1:], "-o", name)
    assert (code, text) == (2, "")
    assert "names no file" in errors
    assert [each.name for each in tmp_path.iterdir()] == [source.name]


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
@pytest.mark.parametrize("command", [("export", "--format", "pth"), ("remap", "--map-location", "cpu")])
def test_no_file_has_a_name_that_torch_takes_for_something_else(run, source, command, more, tmp_path):
    code, _, errors = run(command[0], source, *command[1:], "-o", tmp_path / "x.safetensors", *more)
    assert (code, "torch.load takes a file called 'x.safetensors' for one of safetensors" in errors) == (2, True)
    assert [each.name for each in tmp_path.iterdir()] == [source.name]


@pytest.mark.parametrize("command", [("export",), ("remap", "--map-location", "cpu")])
def test_no_file_is_called_as_a_folder_is(run, source, command, tmp_path):
    code, _, errors = run(command[0], source, *command[1:], "-o", f"{tmp_path / 'folder'}/")
    assert (code, "folder/' names a folder, and this makes a file; give" in errors) == (2, True)
    assert [each.name for each in tmp_path.iterdir()] == [source.name]


def test_a_file_that_is_one_tensor_needs_no_place(run, tmp_path):
    path, out = builders.save(torch.arange(4.0), tmp_path / "tensor.pth"), tmp_path / "t.npy"
    assert run("export", path, "-o", out)[0] == 0
    assert numpy.load(out).tolist() == [0, 1, 2, 3]
    path = builders.save({"x": [1, 2]}, tmp_path / "plain.pth")
    assert "or all of it with --from ''" in run("export", path, "-o", tmp_path / "o.pth")[2]
