"""Which association a platform gets, which program it starts, and that it needs no Qt."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ckpt_viewer.desktop import backend, program_command
from ckpt_viewer.desktop.linux import FreedesktopBackend


@pytest.mark.parametrize("platform", ["linux", "freebsd14"])
def test_unix_follows_freedesktop(platform: str) -> None:
    assert isinstance(backend(platform), FreedesktopBackend)


def test_macos_says_why_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    mac = backend("darwin")
    report = mac.install(["/usr/local/bin/ckpt-viewer"])
    assert not report.ok
    assert not report.installed
    assert "bundle" in report.lines[0]
    assert mac.uninstall().ok
    assert not mac.status().installed
    assert list(tmp_path.iterdir()) == []


def make_script(folder: Path) -> Path:
    script = folder / "ckpt-viewer"
    folder.mkdir(parents=True, exist_ok=True)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    return script


def test_the_running_script_is_the_one_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = make_script(tmp_path / "here")
    make_script(tmp_path / "python")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["here/ckpt-viewer", "desktop", "install"])
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python/python3"))
    assert program_command() == [str(script)]


def test_else_the_script_beside_python_then_the_path_then_the_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["-m"])
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python/python3"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    assert program_command() == [str(tmp_path / "python/python3"), "-m", "ckpt_viewer"]
    on_path = make_script(tmp_path / "path")
    assert program_command() == [str(on_path)]
    beside = make_script(tmp_path / "python")
    assert program_command() == [str(beside)]


def test_no_platform_imports_qt_torch_or_numpy() -> None:
    code = (
        "import sys, ckpt_viewer.desktop.linux, ckpt_viewer.desktop.windows, ckpt_viewer.desktop.macos\n"
        "print([name for name in ('PySide6', 'torch', 'numpy', 'pyqtgraph', 'winreg') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
