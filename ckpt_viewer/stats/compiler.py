"""llvmlite's binding of LLVM, brought in without holding up the window.

Its library has over 100 MB. Python keeps the interpreter to itself while it loads one, for 150 ms and more where the
file still has to come from the disk; the system's own call, made through ctypes, does not.

Raises:
    ImportError: llvmlite is not installed.
"""

from __future__ import annotations

import ctypes
import os
from importlib.util import find_spec
from pathlib import Path


def _load_library() -> None:
    """Have the library in the process before it is imported; where that fails, the import says why."""
    spec = find_spec("llvmlite")
    if os.name != "posix" or spec is None or spec.origin is None:
        return
    load = ctypes.CDLL(None).dlopen
    load.restype, load.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_int)
    for path in Path(spec.origin).parent.glob("binding/libllvmlite.*"):
        load(os.fsencode(path), os.RTLD_NOW)


_load_library()

import llvmlite.binding as llvm  # noqa: E402  # after its library

__all__ = ["llvm"]
