"""Machine code for what happens to every number of an export: casting it, and the CRC-32 of what is written.

LLVM makes it from a few lines of its own language (`machine_source`) in some 20 ms, once llvmlite is imported, which
takes less time than numpy does. Where that is not worth it or not possible `cast_kernels` casts and zlib sums.
"""

from __future__ import annotations

import ctypes
import threading
import zlib
from typing import TYPE_CHECKING, Any

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.export.blocks import swapped
from ckpt_viewer.export.cargo import CastCounts
from ckpt_viewer.export.machine_source import FOLDED, LANES, SOURCES, cast_source, fold_source

if TYPE_CHECKING:
    from collections.abc import Callable

    from ckpt_viewer.export.blocks import Block

WORTH = 128 << 20
"""Bytes to be written from which machine code pays; llvmlite also takes 45 MB more memory than numpy."""
BLOCK = 1 << 16
"""Numbers that are cast at once: they and what becomes of them stay in the second cache."""
LINE = 64
"""Bytes of a line of the cache."""
SHORT = 1 << 14
"""Bytes below which zlib is as fast."""
_NEEDED = {"x86_64": {"float16": "f16c", "crc32": "pclmul"}}
"""By processor: the feature without which it has no instruction for something."""
_HAVE = {"aarch64": ("float16",), "arm64": ("float16",)}
"""By processor: what all of its kind have instructions for."""


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
        if dtype not in SOURCES or ("float16" in (dtype, target) and not self._has("float16")):
            return None
        arguments = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p
        return self._get(f"{dtype}_{target}", lambda name: cast_source(name, dtype, target), arguments)

    def fold(self) -> Callable[..., None] | None:
        """Return what folds bytes into `FOLDED` of the same CRC-32; None as above."""
        if not self._has("crc32"):
            return None
        return self._get("fold", fold_source, (ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p))

    def _has(self, what: str) -> bool:
        machine = self._llvm.get_process_triple().partition("-")[0]
        feature = _NEEDED.get(machine, {}).get(what)
        return bool(self._features.get(feature)) if feature else what in _HAVE.get(machine, ())

    def _get(self, name: str, source: Callable[[str], str], arguments: tuple[Any, ...]) -> Callable[..., None] | None:
        with self._lock:
            if name not in self._made:
                self._made[name] = self._make(name, source(name), arguments)
            return self._made[name]

    def _make(self, name: str, source: str, arguments: tuple[Any, ...]) -> Callable[..., None] | None:
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
        made: Callable[..., None] = ctypes.CFUNCTYPE(None, *arguments)(engine.get_function_address(name))
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


def crc32(block: Block, crc: int = 0) -> int:
    """Return the CRC-32 of bytes whose predecessors have `crc`, as `zlib.crc32` does; it does not hold the GIL."""
    whole = len(block) // FOLDED * FOLDED
    call = _code.fold() if _code is not None and whole >= SHORT else None
    if call is None:
        return zlib.crc32(block, crc)
    folded = ctypes.create_string_buffer(FOLDED)
    call(_address(block), whole, crc ^ 0xFFFFFFFF, folded)
    crc = zlib.crc32(folded, 0xFFFFFFFF)  # as if nothing came before: that is in there already
    return zlib.crc32(memoryview(block)[whole:], crc) if whole < len(block) else crc


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
