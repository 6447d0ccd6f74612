"""The resources that the program ships, and the one way to them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ckpt_viewer import resources
from ckpt_viewer.errors import Unreadable


def test_the_sample_is_small_and_a_zip() -> None:
    sample = resources.sample_checkpoint()
    assert sample.stat().st_size < 500_000
    assert sample.read_bytes()[:4] == b"PK\x03\x04"


def test_every_icon_size_is_there_with_that_size() -> None:
    for size in resources.ICON_SIZES:
        header = Path(resources.app_icon(size)).read_bytes()[:24]
        assert header[:8] == b"\x89PNG\r\n\x1a\n"
        assert (int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")) == (size, size)


def test_a_missing_resource_says_so() -> None:
    with pytest.raises(Unreadable, match="install ckpt_viewer again"):
        resources.resource("icons", "no-such-icon.svg")


def test_a_wheel_has_them_inside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "ckpt_viewer" / "_resources" / "sample"
    inside.mkdir(parents=True)
    (inside / "model_3.pth").write_bytes(b"x")
    monkeypatch.setattr(resources, "_PACKAGE", str(tmp_path / "ckpt_viewer"))
    assert resources.sample_checkpoint() == inside / "model_3.pth"


@pytest.mark.torch
def test_the_sample_is_a_resume_checkpoint_from_another_gpu() -> None:
    torch = pytest.importorskip("torch")
    tags: set[str] = set()

    def note(storage: object, tag: str) -> object:
        tags.add(tag)
        return storage

    torch.load(resources.sample_checkpoint(), weights_only=True, map_location=note)
    checkpoint = torch.load(resources.sample_checkpoint(), weights_only=True, map_location="cpu")
    assert tags == {"cuda:1"}
    assert list(checkpoint) == ["model", "optimizer", "lr_scheduler", "epoch", "args"]
    assert checkpoint["epoch"] == 3
    assert isinstance(checkpoint["args"], dict)
    assert checkpoint["args"]["lr_scheduler"] == "steplr"
    assert checkpoint["lr_scheduler"]["step_size"] == 2
    assert "bn1.running_var" in checkpoint["model"]
    assert "momentum_buffer" in checkpoint["optimizer"]["state"][0]


def test_it_is_imported_without_pathlib() -> None:
    """The window's icon is found before the tree is painted; pathlib would cost several milliseconds there."""
    code = "import sys, ckpt_viewer.resources as r; r.app_icon(32); print('pathlib' in sys.modules)"
    root = Path(resources.__file__).parent.parent
    environ = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-S", "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
