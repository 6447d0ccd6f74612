"""The compiler's library is loaded before it is imported, and is the one that is imported."""

import subprocess
import sys

import pytest

CODE = """
import sys, types
import llvmlite
def mapped():
    with open("/proc/self/maps") as maps:
        return {line.split()[-1] for line in maps if "libllvmlite" in line}
fake = llvmlite.binding = sys.modules["llvmlite.binding"] = types.ModuleType("llvmlite.binding")
assert not mapped()
from ckpt_viewer.stats import compiler
assert compiler.llvm is fake and len(mapped()) == 1
del llvmlite.binding, sys.modules["llvmlite.binding"]
import llvmlite.binding
llvmlite.binding.initialize_native_target()
assert len(mapped()) == 1
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_library_is_there_before_the_import():
    pytest.importorskip("llvmlite")
    run = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_without_it_the_import_says_so():
    code = """
import sys
class Gone:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "llvmlite":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Gone())
try:
    from ckpt_viewer.stats import compiler
except ImportError as error:
    assert error.name == "llvmlite", error
else:
    raise AssertionError
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
