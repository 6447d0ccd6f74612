"""Whoever stops a command is told what there is: nothing new, or all of it."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import builders
import pytest
import torch

from ckpt_viewer import cli
from ckpt_viewer.cli import INTERRUPTED, NOT_DONE, main
from ckpt_viewer.errors import Cancelled
from ckpt_viewer.export import atomic, folder

pytestmark = pytest.mark.torch
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def source(tmp_path):
    return builders.save({"model": {f"l{n}.weight": torch.ones(2) for n in range(3)}}, tmp_path / "x.pth", tag="cuda:1")


def stopping(reason):
    def stop(*of, **more):
        raise reason

    return stop


@pytest.mark.parametrize("reason", [KeyboardInterrupt(), Cancelled("signal 15")], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("more", [[], ["--max-shard-size", "9"]], ids=["one", "set"])
def test_before_the_result_has_its_name(source, tmp_path, monkeypatch, capsys, reason, more):
    out = tmp_path / "set" / "y.safetensors"
    out.parent.mkdir()
    monkeypatch.setattr(atomic, "put_in_place", stopping(reason))
    assert main(["export", str(source), "-o", str(out), "--no-torch", *more]) == INTERRUPTED
    assert capsys.readouterr().err == f"ckpt-viewer: {source}: stopped before it was done; nothing was written\n"
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize("reason", [KeyboardInterrupt(), Cancelled("signal 15")], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("force", [False, True], ids=["new", "replaced"])
def test_when_the_result_has_its_name(source, tmp_path, monkeypatch, capsys, reason, force):
    out = tmp_path / "y.pth"
    if force:
        out.write_bytes(b"old")
    monkeypatch.setattr(atomic, "sync_folder", stopping(reason))
    assert main(["export", str(source), "-o", str(out), "--no-torch", *["--force"] * force]) == INTERRUPTED
    assert (
        capsys.readouterr().err == f"ckpt-viewer: {source}: stopped when {str(out)!r} had been written; it is whole\n"
    )
    assert len(torch.load(out, weights_only=True)) == 3


def test_when_a_set_has_its_folder(tmp_path, monkeypatch, capsys):
    shards = tmp_path / "model"
    shards.mkdir()
    builders.save({"a.weight": torch.ones(2)}, shards / "pytorch_model-00001-of-00001.bin", tag="cuda:1")
    index = shards / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": {"a.weight": "pytorch_model-00001-of-00001.bin"}}))
    monkeypatch.setattr(
        folder, "sync_folder", lambda path: [] if path.name.startswith(".") else stopping(Cancelled())()
    )
    out = tmp_path / "new"
    assert main(["remap", str(index), "--map-location", "cpu", "-o", str(out), "--no-torch"]) == INTERRUPTED
    assert f"stopped when {str(out)!r} had been written; it is whole" in capsys.readouterr().err
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in shards.iterdir())


def test_while_arguments_are_read(monkeypatch, capsys):
    monkeypatch.setattr(cli, "_parser", stopping(KeyboardInterrupt()))
    assert main(["export", "x.pth", "-o", "y.pth"]) == 128 + signal.SIGINT
    assert capsys.readouterr().err == "ckpt-viewer: stopped before it was done; nothing was written\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is full")
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_report_that_cannot_be_written_is_no_failed_export(source, tmp_path, more):
    command = [sys.executable, "-m", "ckpt_viewer", "export", source, "-o", tmp_path / "y.pth", "--no-torch", *more]
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert f"{str(tmp_path / 'y.pth')!r} is written, but this could not be reported" in ended.stderr
        assert ended.returncode == NOT_DONE
        assert len(torch.load(tmp_path / "y.pth", weights_only=True)) == 3
        ended = subprocess.run([*command[:4], "none.pth"], cwd=ROOT, stderr=full, check=False)
        assert ended.returncode == NOT_DONE  # and not 1, by which other commands say something
