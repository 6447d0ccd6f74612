"""PySide is compiled at the first start only, and what is kept of that can be missing, stale or broken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

START = """
import builtins, sys
genuine_import, genuine = builtins.__import__, builtins.compile
compiled = []
def watched(source, name, *args, **options):
    compiled.append("shibokensupport" + name.partition("shibokensupport")[2].replace("/", "."))
    return genuine(source, name, *args, **options)
from ckpt_viewer.gui.bring_qt import bring_qt
builtins.compile = watched
bring_qt()
assert builtins.compile is watched and builtins.__import__ is genuine_import
builtins.compile = genuine
from PySide6.QtCore import QPoint
try:
    QPoint("a")
except TypeError as error:
    assert "Supported signatures" in str(error), error  # those modules write this sentence
else:
    raise AssertionError
print(*[name for name in compiled if name != "shibokensupport"])
"""


def start(prefix: Path, **environ: str) -> list[str]:
    """Return the modules of PySide that a start compiled."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(prefix), **environ}
    run = subprocess.run([sys.executable, "-c", START], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


def kept(prefix: Path) -> list[Path]:
    return [file for file in prefix.rglob("*.pyc") if file.name.startswith("shibokensupport.")]


def test_compiles_at_the_first_start_only(tmp_path):
    first = start(tmp_path)
    assert len(first) >= 10
    assert len(kept(tmp_path)) == len(first)
    assert start(tmp_path) == []


@pytest.mark.parametrize("damage", [b"", b"garbage", None, "text"])
def test_what_is_kept_may_be_broken(tmp_path, damage):
    start(tmp_path)
    victim = next(file for file in kept(tmp_path) if ".feature." in file.name)
    good = victim.read_bytes()
    if damage is None:
        victim.unlink()
    elif damage == "text":  # of another version of PySide: its checksum differs
        victim.write_bytes(good[:8] + bytes([good[8] ^ 1]) + good[9:])
    else:
        victim.write_bytes(damage)
    assert start(tmp_path) == ["shibokensupport.feature.py"]
    assert victim.read_bytes() == good
    assert start(tmp_path) == []


def test_bytecode_that_is_cut_off_is_not_used(tmp_path):
    start(tmp_path)
    victim = next(file for file in kept(tmp_path) if ".feature." in file.name)
    victim.write_bytes(victim.read_bytes()[:200])
    assert start(tmp_path) == ["shibokensupport.feature.py"]


def test_needs_no_place_to_keep_it(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    assert len(start(blocked)) >= 10
    assert blocked.read_text() == "no folder"


def test_keeps_nothing_where_python_may_not(tmp_path):
    start(tmp_path, PYTHONDONTWRITEBYTECODE="1")
    assert kept(tmp_path) == []


def test_what_writes_stubs_comes_once_it_is_asked_for():
    code = """
import sys
from ckpt_viewer.gui.bring_qt import LateModule, bring_qt
bring_qt()
from PySide6.support.signature.lib import pyi_generator
assert type(pyi_generator) is LateModule and "argparse" not in sys.modules
assert pyi_generator.generate_pyi.__module__ == "shibokensupport.signature.lib.pyi_generator"
assert "argparse" in sys.modules and not hasattr(pyi_generator, "no_such_thing")
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_the_choice_of_a_display_brings_qt_the_same_way():
    code = """
import builtins, sys
genuine = builtins.__import__
from ckpt_viewer.gui.display import choose_platform
assert choose_platform({"QT_QPA_PLATFORM": "minimal"}, screenshot=False, system="linux") == "minimal"
assert "PySide6.QtCore" in sys.modules and builtins.__import__ is genuine and "argparse" not in sys.modules
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
