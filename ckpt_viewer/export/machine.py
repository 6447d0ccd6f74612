"""Machine code for what happens to every number of an export that casts.

LLVM makes it from a few lines of its own language (`machine_source`) in some 20 ms, once llvmlite is imported, which
takes less time than numpy does. Where that is not worth it or not possible `cast_kernels` casts.
"""

from __future__ import annotations

import ctypes
import threading
from typing import TYPE_CHECKING, Any

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.export.blocks import swapped
from ckpt_viewer.export.cargo import CastCounts
from ckpt_viewer.export.machine_source import LANES, SOURCES, cast_source

if TYPE_CHECKING:
    from collections.abc import Callable

    from ckpt_viewer.export.blocks import Block

WORTH = 128 << 20
"""Bytes to be written from which machine code pays; llvmlite also takes 45 MB more memory than numpy."""
BLOCK = 1 << 16
"""Numbers that are cast at once: they and what becomes of them stay in the second cache."""
LINE = 64
"""Bytes of a line of the cache."""
_NEEDED = {"x86_64": "f16c"}
"""By processor: the feature without which it has no instruction for float16."""
_ALL_HAVE = ("aarch64", "arm64")
"""Processors that have one without saying so."""


_CAST = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p)
"""Numbers, where to, how many, where to count."""


class _Code:
    """Functions of machine code, made when they are first wanted. Any thread may call."""

    def __init__(self) -> None:
        from ckpt_viewer.stats.compiler import llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self._llvm: Any = llvm
        self._features = llvm.get_host_cpu_features()
        self._lock = threading.Lock()
        self._made: dict[str, Callable[..., None] | None] = {}
        self._engines: list[Any] = []  # they own the code

    def cast(self, dtype: str, target: str) -> Callable[..., None] | None:
        """Return what casts numbers, see `machine_source`; None where this processor has no instructions for it."""
        if dtype not in SOURCES or ("float16" in (dtype, target) and not self._has_float16()):
            return None
        name = f"{dtype}_{target}"
        with self._lock:
            if name not in self._made:
                self._made[name] = self._make(name, cast_source(name, dtype, target))
            return self._made[name]

    def _has_float16(self) -> bool:
        machine = self._llvm.get_process_triple().partition("-")[0]
        return bool(self._features.get(_NEEDED.get(machine))) or machine in _ALL_HAVE

    def _make(self, name: str, source: str) -> Callable[..., None] | None:
        llvm = self._llvm
        try:
            machine = llvm.Target.from_default_triple().create_target_machine(
                cpu=llvm.get_host_cpu_name(), features=self._features.flatten(), opt=2, jit=True
            )
            engine = llvm.create_mcjit_compiler(llvm.parse_assembly(source), machine)
            engine.finalize_object()
        except RuntimeError as error:
            _log(f"no machine code for {name}: {error}")
            return None
        self._engines.append(engine)
        made: Callable[..., None] = _CAST(engine.get_function_address(name))
        return made


def _log(what: str) -> None:
    import logging  # takes 6 ms, which a small export does without

    logging.getLogger(__name__).info("%s", what)


_code: _Code | None = None


def prepare(nbytes: int) -> None:
    """Use machine code from now on, where writing `nbytes` is worth it and llvmlite is installed."""
    global _code
    if _code is None and nbytes >= WORTH:
        try:
            _code = _Code()
        except (ImportError, OSError, RuntimeError) as error:
            _log(f"casting in numpy: {error}")


def caster(dtype: str, target: str) -> MachineCaster | None:
    """Return what casts from one dtype to another for one thread; None where there is no machine code for it."""
    call = _code.cast(dtype, target) if _code is not None else None
    return MachineCaster(call, dtype, target) if call is not None else None


def _address(block: Block) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(block))


class MachineCaster:
    """Casts blocks by machine code, as `cast_kernels.Caster` does. For one thread.

    Attributes:
        block: numbers that it takes at once.
    """

    block = BLOCK

    def __init__(self, call: Callable[..., None], dtype: str, target: str) -> None:
        """Prepare to cast by `call`, from dtype `dtype` to `target`."""
        self._call = call
        self._wide, self._item = DTYPES[dtype].itemsize, DTYPES[target].itemsize
        # what the kernel copies to 16 bytes behind the start of a page, where malloc has it, takes 13 % more time
        raw = bytearray((BLOCK + LANES) * self._wide + LINE)
        self._before = memoryview(raw)[-_address(raw) % LINE :]
        self._last = bytearray(LANES * self._item)
        self._found = (ctypes.c_uint32 * 3)()

    def room(self, count: int) -> memoryview:
        """Return where `count` numbers are to be put before they are cast."""
        return self._before[: count * self._wide]

    def cast(self, after: memoryview, swap: int = 1) -> CastCounts:
        """Fill `after` with what that many of the numbers become; return what that did to the values.

        Args:
            swap: their width if they are big-endian, else 1.
        """
        count = len(after) // self._item
        if swap > 1:
            self.room(count)[:] = swapped(self.room(count), swap)
        whole = count // LANES * LANES
        found = self._run(0, after, whole) if whole else CastCounts()
        if whole == count:
            return found
        rest = self._before[count * self._wide : (whole + LANES) * self._wide]
        rest[:] = bytes(len(rest))  # zeros, which casting does nothing to
        more = self._run(whole, memoryview(self._last), LANES)
        after[whole * self._item :] = self._last[: (count - whole) * self._item]
        return CastCounts(*map(sum, zip(found, more, strict=True)))

    def _run(self, first: int, after: memoryview, count: int) -> CastCounts:
        self._call(_address(self._before) + first * self._wide, _address(after), count, self._found)
        return CastCounts(*self._found)
