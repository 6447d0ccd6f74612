"""The kernels as machine code: compiled once on each computer, in the worker process, and kept in a file.

Importing numba and compiling take seconds and hold the interpreter up, so both happen in the worker process, which
answers with an object file; what is here loads it with llvmlite, about 50 ms on a thread. Until then, and where that is
not possible, `kernels.Plain` counts.
"""

from __future__ import annotations

import base64
import ctypes
import threading
from struct import Struct
from typing import Any

import numpy as np

from ckpt_viewer.core.strided import Array
from ckpt_viewer.stats.census import Census, census_of_integers
from ckpt_viewer.stats.compiler import llvm
from ckpt_viewer.stats.kernels import BLOCK, FLOAT32_CELLS, FLOAT32_COUNTERS, WIDE_BLOCK, Bins, Plain
from ckpt_viewer.stats.moments import ROWS, Moments, moments_of_integer_sums, moments_of_sums

_POINTER, _SIZE, _REAL = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_double
_ARGUMENTS = {
    "float32_census": (_POINTER, _SIZE, _POINTER),
    "float32_cells": (_POINTER, _SIZE, _POINTER, _POINTER, _POINTER),
    "float64_census": (_POINTER, _SIZE, _POINTER),
    "float64_cells": (_POINTER, _SIZE, _POINTER),
    "float64_sums": (_POINTER, _SIZE, _POINTER),
    "integer_sums": (_POINTER, _SIZE, _SIZE, _POINTER),
    "patterns8": (_POINTER, _SIZE, _POINTER),
    "patterns16": (_POINTER, _SIZE, _POINTER),
    "bins_float32": (_POINTER, _SIZE, _REAL, _REAL, _SIZE, _POINTER, _POINTER, _POINTER),
    "bins_float64": (_POINTER, _SIZE, _REAL, _REAL, _SIZE, _POINTER, _POINTER, _POINTER),
    "close_bins_float32": (_POINTER, _SIZE, _REAL, _REAL, _SIZE, _POINTER, _POINTER, _POINTER, _POINTER),
    "close_bins_float64": (_POINTER, _SIZE, _REAL, _REAL, _SIZE, _POINTER, _POINTER, _POINTER, _POINTER),
}
_OBJECT_FILES = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\x64\x86", b"\x64\xaa")
"""Beginnings of object files of Linux, macOS and Windows."""
SHORT = 1 << 13
"""Elements up to which a kernel takes a few microseconds: other threads may wait that long."""
_NOTHING = {
    4: np.array([0, 0, 0, 0, 0x7FFFFFFF, -0x80000000], np.int64),
    8: np.array([0, 0, 0, 0, (1 << 63) - 1, -(1 << 63)], np.int64),
}
"""By item size: zeros, NaN, +Inf, -Inf and, as ordered integers, extremes of no values."""
_FORMS = {4: (Struct("<i"), Struct("<f"), 0x7FFFFFFF), 8: (Struct("<q"), Struct("<d"), (1 << 63) - 1)}


class _Own(threading.local):
    """What each thread has of its own."""

    def __init__(self) -> None:
        self.plain = Plain()
        self.sums = np.zeros((2 * ROWS, 4), np.uint64)
        self.numbers, self.twice = np.empty(1 << 12, np.uint32), np.zeros(1 << 11, np.uint32)


class Native:
    """The kernels as machine code, for any number of threads: a call gives the interpreter up.

    Args:
        answer: what `native_source.compile_kernels` returned, in this process or another on this computer.

    Raises:
        ValueError, RuntimeError: it is no such thing.
    """

    block, wide_block = BLOCK, WIDE_BLOCK

    def __init__(self, answer: dict[str, Any]) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)  # owns the code
        code = base64.b64decode(answer["object"])
        if not code.startswith(_OBJECT_FILES):  # LLVM would end the process
            raise ValueError("that is no object file")
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        self._long: dict[str, Any] = {}
        self._short: dict[str, Any] = {}
        for name, arguments in _ARGUMENTS.items():
            address = self._engine.get_function_address(answer["names"][name])
            if not address:
                raise ValueError(f"there is no {name} in the compiled kernels")
            self._long[name] = ctypes.CFUNCTYPE(None, *arguments)(address)
            self._short[name] = ctypes.PYFUNCTYPE(None, *arguments)(address)
        self._own = _Own()

    def _call(self, name: str, block: Array, *arguments: Any) -> None:
        """Run a kernel; the interpreter is given up only where that takes less time than the kernel itself."""
        calls = self._short if block.size < SHORT else self._long
        calls[name](block.ctypes.data, block.size, *arguments)

    def patterns(self, block: Array, counts: Array) -> None:
        """See `Kernels`."""
        if block.itemsize == 2:
            self._call("patterns16", block, counts.ctypes.data)
            return
        tables = np.zeros((4, 256), np.int64)
        self._call("patterns8", block, tables.ctypes.data)
        counts += tables.sum(0)

    def float32(self, block: Array, counters: Array) -> Census:
        """See `Kernels`."""
        assert counters.size == FLOAT32_COUNTERS
        cells = counters.ctypes.data
        out = _nothing(block)
        self._call("float32_cells", block, cells, cells + counters.itemsize * FLOAT32_CELLS, out.ctypes.data)
        return _census(block, out)

    def census(self, block: Array) -> Census:
        """See `Kernels`."""
        out = _nothing(block)
        self._call(f"float{8 * block.itemsize}_census", block, out.ctypes.data)
        return _census(block, out)

    def float64(self, block: Array, counts: Array) -> tuple[Census, Moments]:
        """See `Kernels`."""
        self._call("float64_cells", block, counts.ctypes.data)
        census = self.census(block)
        return census, self.moments(block)._replace(size=census.finite)

    def moments(self, block: Array) -> Moments:
        """See `Kernels`; those of the finite values, whatever else is there."""
        sums = self._own.sums
        self._call("float64_sums", block, sums.ctypes.data)
        used = np.flatnonzero(sums[:, 0] | sums[:, 1] | sums[:, 2] | sums[:, 3])
        moments = moments_of_sums(block.size, sums, used)
        sums[used] = 0
        return moments

    def integers(self, block: Array, counts: Array) -> tuple[Census, Moments]:
        """See `Kernels`."""
        places = block.astype(np.float64)
        self._call("float64_cells", places, counts.ctypes.data)
        sums, signed = np.zeros(5, np.uint64), block.dtype.kind == "i"
        wide = block.astype(np.int64 if signed else np.uint64, copy=False)
        self._call("integer_sums", wide, signed, sums.ctypes.data)
        return census_of_integers(block), moments_of_integer_sums(block.size, sums)

    def bins(self, block: Array, bins: Bins, counts: Array) -> None:
        """See `Kernels`."""
        integers = block.dtype.kind in "iu"
        if bins.trust == 0 or (integers and bins.trust == 1):
            self._own.plain.bins(block, bins, counts)
            return
        if integers:
            block = block.astype(np.float64)
        room = self._own.numbers.ctypes.data, self._own.twice.ctypes.data
        parts, name = [bins.low, bins.scale, counts.size - 1, *room, counts.ctypes.data], f"bins_{block.dtype.name}"
        if bins.trust == 2:
            self._call(name, block, *parts)
        else:
            self._call(f"close_{name}", block, *parts, bins.starts.ctypes.data)


def _nothing(block: Array) -> Array:
    """Return what a kernel adds the census of a block to."""
    out: Array = _NOTHING[block.itemsize].copy()
    return out


def _census(block: Array, out: Array) -> Census:
    """Return what a kernel found."""
    zeros, nan, posinf, neginf, low, high = out.tolist()
    finite = block.size - nan - posinf - neginf
    if not finite:
        return Census(0, nan, posinf, neginf)
    return Census(finite, nan, posinf, neginf, zeros, _value(low, block.itemsize), _value(high, block.itemsize))


def _value(order: int, itemsize: int) -> float:
    """Return the float that is this one in their order as integers; no zero is negative."""
    integer, real, most = _FORMS[itemsize]
    found: float = real.unpack(integer.pack(order ^ most if order < 0 else order))[0]
    return found + 0.0
