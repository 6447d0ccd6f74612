"""`ls` as a user calls it: what it prints, what it says of what it cannot read, and its exit codes."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from builders import call, floats, integer, legacy_stream, listed, mapped, name, pickled, tensor, text, zip_checkpoint
from payloads import PAYLOADS, containers

from ckpt_viewer import __version__
from ckpt_viewer import cli as cli_module
from ckpt_viewer.cli import main

PICKLE = pickled(mapped((text("w"), tensor(location="cuda:1")), (text("epoch"), integer(3))))
GOOD = zip_checkpoint(PICKLE, {"0": floats(1, 2, 3, 4)})


@pytest.fixture
def ls(capsys, tmp_path):
    """Run `ls` on some bytes; return (exit code, standard output, standard error)."""

    def run(data: bytes, *options: str, name: str = "x.pth"):
        path = tmp_path / name
        path.write_bytes(data)
        code = main(["ls", str(path), *options])
        return (code, *capsys.readouterr())

    return run


def test_the_tree(ls):
    code, out, err = ls(GOOD)
    assert (code, err) == (0, "")
    assert out.splitlines()[2:] == ["(root)  dict of 2", "  w  4 float32 cuda:1 16 B", "  epoch  3  [progress]"]


def test_the_document(ls):
    code, out, err = ls(GOOD, "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["schema"] == 1
    assert [entry["path"] for entry in document["entries"]] == [[], ["w"], ["epoch"]]
    assert document["bytes"] == len(GOOD)


def test_the_file_is_named_as_it_was_given(ls, tmp_path, monkeypatch, capsys):
    (tmp_path / "x.pth").write_bytes(GOOD)
    monkeypatch.chdir(tmp_path)
    assert main(["ls", "x.pth", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file"] == "x.pth"


@pytest.mark.parametrize(
    ("spec", "device", "shown"),
    [("cpu", "cpu", "cpu"), ("as-saved", "cuda:1", "as-saved"), ("storage", "cpu", "storage"), ("mps", "mps", "mps"),
     ("cuda:1=cuda:0,cuda:2=cpu", "cuda:0", "cuda:1=cuda:0,cuda:2=cpu"), ("cuda=cpu", "cuda:1", "cuda=cpu")],
)  # fmt: skip
def test_map_location(ls, spec, device, shown):
    _, out, _ = ls(GOOD, "--json", "--map-location", spec)
    document = json.loads(out)
    assert document["map_location"] == shown
    assert document["entries"][1]["device"] == device


@pytest.mark.parametrize("spec", ["gpu", "cuda:1=", "=cpu", "cpu:0", "cuda:1=gpu"])
def test_a_map_location_that_no_torch_knows(ls, spec):
    code, out, err = ls(GOOD, "--map-location", spec)
    assert (code, out) == (2, "")
    assert_sentence(err)


def assert_sentence(err: str) -> None:
    assert len(err.splitlines()) == 1
    assert err.startswith("ckpt-viewer: ")
    assert "Traceback" not in err
    assert err.isprintable() or err[:-1].isprintable()


NO_CHECKPOINTS = {
    "empty": (b"", "the file is empty"),
    "zeros": (bytes(5000), "5000 bytes of zeros"),
    "text": (b"just some text\nin two lines\n", "this is a text file"),
    "JSON": (b'{"model": "x"}', "this is a JSON file"),
    "a web page": (b"<!DOCTYPE html><html></html>", "this is a web page"),
    "XML": (b"  <?xml version='1.0'?><Error/>", "this is a web page"),
    "an API's answer": (b'{"error":"Repository not found"}', "answer of a web service"),
    "gzip": (gzip.compress(b"words"), "this is a text file"),
    "broken gzip": (b"\x1f\x8b\x08\x00" + bytes(50), "gzip file"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(50), "zstd file"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(50), "7z archive"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
    "npy": (b"\x93NUMPY\x01\x00" + bytes(50), "numpy.load"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(50), "HDF5"),
    "GGUF": (b"GGUF" + bytes(50), "GGUF"),
    "tar": (b"x" * 257 + b"ustar" + bytes(300), "tar archive"),
    "TorchScript mobile": (b"\x3c\0\0\0PTMF" + bytes(50), "flatbuffer"),
    "ExecuTorch": (b"\x3c\0\0\0ET12" + bytes(50), "ExecuTorch"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(50), "PNG picture"),
    "noise": (bytes(range(256)), "torch.save did not write this file"),
    "cut zip": (GOOD[:-30], "30 are missing"),
    "cut at the start": (GOOD[:10], "the file is cut off after 10 bytes"),
    "cut legacy": (legacy_stream(PICKLE)[:60], "is cut off"),
    "cut pickle": (b"\x80\x02}q\x00X\xff\xff\x00\x00", "is cut off"),
    "an empty zip": (b"PK\5\6" + bytes(18), "empty zip"),
}


@pytest.mark.parametrize("title", NO_CHECKPOINTS)
@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
def test_what_is_no_checkpoint_is_named_in_one_sentence(ls, title, options):
    data, words = NO_CHECKPOINTS[title]
    code, out, err = ls(data, *options)
    assert (code, out) == (2, "")
    assert_sentence(err)
    assert words in err
    assert "x.pth: " in err


def test_missing_folder_fifo_and_strange_names(capsys, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path, words in ((tmp_path / "absent.pth", "no such file"), (tmp_path, "a folder"), (fifo, "no regular file"),
                        (tmp_path / ("n" * 300), "cannot be opened"), ("a\0b", "no usable file name"),
                        (tmp_path / "x" / "y.pth", "no such file")):  # fmt: skip
        assert main(["ls", str(path)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert_sentence(err)
        assert words in err


def test_names_with_controls_are_escaped_in_errors(capsys, tmp_path):
    assert main(["ls", str(tmp_path / "a\x1b[31m\nb.pth")]) == 2
    err = capsys.readouterr().err
    assert_sentence(err)
    assert "a\\x1b[31m\\nb.pth" in err


def test_text_from_the_file_is_escaped(ls):
    _, out, _ = ls(zip_checkpoint(pickled(mapped((text("\x1b[2J\u202e"), text("\x07"))))))
    assert "\x1b" not in out
    assert "\\x1b[2J\\u202e" in out


@pytest.mark.parametrize("title", PAYLOADS)
def test_a_hostile_file_is_listed_and_nothing_runs(ls, tmp_path, title):
    protocol, dangerous, payload = PAYLOADS[title]
    data = containers(pickled(payload(str(tmp_path / "canary")), protocol))
    code, out, err = ls(data["zip"], "--json")
    assert (code, err) == (0, "")
    assert (dangerous, "dangerous") in [(use["name"], use["status"]) for use in json.loads(out)["globals"]]
    code, out, err = ls(data["legacy"])
    assert code == 0
    assert "which could run code; nothing was run" in out
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["ls"],
        ["ls", "a", "b"],
        ["ls", "x", "--frobnicate"],
        ["ls", "--map-location"],
        ["ls", "x", "--json=1"],
        ["check", "x", "--json", "--code"],
    ],
)
def test_wrong_words_are_one_sentence_and_code_2(capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert_sentence(err)
    assert "--help" in err


@pytest.mark.parametrize("arguments", [[""], ["view", ""], ["x.pth", ""], ["ls", ""]])
def test_no_name_is_no_file_and_never_the_folder_one_is_in(capsys, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert capsys.readouterr().err == "ckpt-viewer: '': there is no such file; check the path\n"


@pytest.mark.parametrize("arguments", [["--help"], ["ls", "--help"], ["-h"]])
def test_help(capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 0
    assert "usage: ckpt-viewer" in capsys.readouterr().out


def test_help_names_what_a_window_takes(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "[--screenshot PNG] [--size WxH] [FILE ...]" in capsys.readouterr().out


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    for word in cli_module.COMMANDS:
        assert f"\n    {word} " in out


def test_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"ckpt-viewer {__version__}\n"


def test_an_error_of_the_program_is_a_sentence_too(ls, monkeypatch):
    import ckpt_viewer.analysis.tree_text as tree_text

    monkeypatch.setattr(tree_text, "tree_lines", lambda checkpoint: 1 / 0)
    code, _, err = ls(GOOD)
    assert code == 2
    assert_sentence(err)
    assert "please report it" in err


def test_the_trace_is_there_for_who_asks(ls, monkeypatch):
    monkeypatch.setenv("CKPT_VIEWER_DEBUG", "1")
    code, _, err = ls(b"")
    assert code == 2
    assert err.startswith("Traceback")
    assert err.splitlines()[-1].startswith("ckpt-viewer: ")


def test_an_interruption(ls, monkeypatch):
    import ckpt_viewer.analysis.tree_text as tree_text

    def interrupted(checkpoint):
        raise KeyboardInterrupt

    monkeypatch.setattr(tree_text, "tree_lines", interrupted)
    code, _, err = ls(GOOD)
    assert code == 130
    assert_sentence(err)


# --- the real process ---------------------------------------------------------------------------------------------

PROGRAM = [sys.executable, "-m", "ckpt_viewer"]
ROOT = Path(__file__).resolve().parents[1]


def process(*arguments: str, **options) -> subprocess.CompletedProcess:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([*PROGRAM, *arguments], env=env, timeout=120, **options)


def test_exit_codes_and_streams_of_the_real_process(tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(GOOD)
    good = process("ls", str(path), "--json", capture_output=True)
    assert (good.returncode, good.stderr) == (0, b"")
    assert json.loads(good.stdout)["format"] == "torch-zip"
    bad = process("ls", str(tmp_path / "absent"), capture_output=True)
    assert (bad.returncode, bad.stdout) == (2, b"")
    assert_sentence(bad.stderr.decode())


def test_a_reader_that_has_enough(tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(zip_checkpoint(pickled(listed(*(text(f"entry {n}" * 9) for n in range(20_000))))))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen([*PROGRAM, "ls", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    child.stdout.readline()
    child.stdout.close()
    assert child.stderr.read() == b""
    child.stderr.close()
    assert child.wait(120) == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_standard_output(tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(GOOD)
    with Path("/dev/full").open("wb") as full:
        done = process("ls", str(path), stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert_sentence(done.stderr.decode())


def test_without_any_standard_streams(tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(GOOD)
    line = f"exec {' '.join(PROGRAM)} ls '{path}' >&- 2>&-"
    done = subprocess.run(["sh", "-c", line], env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=120, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("locale", ["C", "POSIX", "C.UTF-8"])
def test_any_locale(tmp_path, locale):
    path = tmp_path / "x.pth"
    path.write_bytes(zip_checkpoint(pickled(mapped((text("schlüssel 模"), call(name("a", "B"), text("\ud800")))))))
    env = {**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([*PROGRAM, "ls", str(path)], env=env, capture_output=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_file_name_that_is_no_text(tmp_path):
    path = os.fsencode(tmp_path) + b"/bad\xff.pth"
    Path(os.fsdecode(path)).write_bytes(GOOD)
    done = subprocess.run([*PROGRAM, "ls", "--json", path], env={**os.environ, "PYTHONPATH": str(ROOT)},
                          capture_output=True, timeout=120, check=False)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert os.fsencode(json.loads(done.stdout)["file"]) == path
