"""The direction of the arrows, and what may be imported on the way from a path to a painted tree."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from builders import floats, mapped, pickled, tensor, text, zip_checkpoint

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "ckpt_viewer"
BELOW_GUI = ("errors.py", "core", "sources", "unpickle", "formats", "analysis", "stats", "export", "desktop",
             "resources.py", "torch_bridge", "__init__.py")  # fmt: skip
HEAVY = {"torch", "numpy", "PySide6", "pyqtgraph", "ml_dtypes"}
LIST = """
import json, sys
before = set(sys.modules)
sys.argv = ["ckpt-viewer", *sys.argv[1:]]
from ckpt_viewer.cli import main
code = main() if len(sys.argv) > 1 else 0
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})), file=sys.stderr)
sys.exit(code)
"""


def run(code: str, *arguments: str) -> subprocess.CompletedProcess:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env=env, capture_output=True, text=True, timeout=120, check=True
    )


def imported(*arguments: str) -> set[str]:
    return set(json.loads(run(LIST, *arguments).stderr.splitlines()[-1]))


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("arrows") / "x.pth"
    weights = mapped((text("conv.weight"), tensor()))
    path.write_bytes(zip_checkpoint(pickled(mapped((text("model"), weights))), {"0": floats(1, 2, 3, 4)}))
    return str(path)


@pytest.mark.parametrize("options", [(), ("--json",), ("--map-location", "cpu")])
def test_listing_a_file_imports_nothing_heavy(small, options):
    assert imported("ls", small, *options) & HEAVY == set()


def test_listing_imports_no_reader_of_other_containers(small):
    code = (
        "import sys\nfrom ckpt_viewer.cli import main\nmain(['ls', sys.argv[1]])\n"
        "print(*[m for m in sys.modules if m.startswith('ckpt_viewer.formats.')])"
    )
    names = {name.rpartition(".")[2] for name in run(code, small).stdout.splitlines()[-1].split()}
    assert "torch_zip" in names
    assert names & {"torchscript", "torch_package", "torch_export", "torch_tar", "ordinary_zip", "zip_members"} == set()


def test_importing_the_package_imports_nothing_heavy():
    assert imported() & HEAVY == set()
    names = run("import sys, ckpt_viewer; print(*sorted(m for m in sys.modules if m.startswith('ckpt_viewer')))").stdout
    assert names.split() == ["ckpt_viewer", "ckpt_viewer.errors"]


def test_opening_from_python_imports_nothing_heavy(small):
    code = (
        "import sys, ckpt_viewer\n"
        "with ckpt_viewer.open_checkpoint(sys.argv[1]) as checkpoint:\n"
        "    checkpoint['/model/conv.weight'].shape, checkpoint.state_dict(), checkpoint.findings\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    assert set(run(code, small).stdout.split()) & HEAVY == set()


def test_no_room_below_the_window_imports_qt():
    """All of their modules together, in one process."""
    modules = []
    for each in BELOW_GUI:
        files = (PACKAGE / each).rglob("*.py") if (PACKAGE / each).is_dir() else [PACKAGE / each]
        for file in files:
            parts = file.relative_to(ROOT).with_suffix("").parts
            modules.append(".".join(part for part in parts if part != "__init__"))
    assert len(modules) > 40
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\nprint(*sys.modules)"
    names = {name.partition(".")[0] for name in run(code, *modules).stdout.split()}
    assert names & {"PySide6", "pyqtgraph", "shiboken6"} == set()


def test_only_the_bridge_imports_torch():
    """Read in the sources: also where an import hides in a function."""
    found = {file.relative_to(PACKAGE).as_posix() for file in PACKAGE.rglob("*.py") if "torch" in imports_of(file)}
    assert {each.partition("/")[0] for each in found} == {"torch_bridge"}


def test_only_the_window_imports_qt():
    for file in PACKAGE.rglob("*.py"):
        if imports_of(file) & {"PySide6", "pyqtgraph"}:
            assert file.relative_to(PACKAGE).parts[0] == "gui", file


def test_nothing_unpickles():
    """The readers know neither pickle nor any way to import by name."""
    forbidden = {"pickle", "_pickle", "importlib", "runpy", "marshal", "shelve"}
    for room in ("core", "sources", "unpickle", "formats", "analysis"):
        for file in (PACKAGE / room).rglob("*.py"):
            assert imports_of(file) & forbidden == set(), file
            called = {node.func.id for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)
                      and isinstance(node.func, ast.Name)}  # fmt: skip
            assert called & {"eval", "exec", "__import__", "compile"} == set(), file


@cache
def imports_of(file: Path) -> set[str]:
    """Top-level names that a source file imports anywhere, but for those that only the type checker sees."""
    tree = ast.parse(file.read_text())
    hidden = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    names: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def test_lint_imports():
    program = Path(sys.executable).with_name("lint-imports")
    if not program.exists():
        pytest.skip("import-linter is not installed")
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
