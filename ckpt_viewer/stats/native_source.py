"""The loops of `kernels`, written for numba: compiled to machine code by the worker process, see `native`.

Each function takes pointers and sizes, calls nothing and raises nothing, so that its machine code stands by itself. All
arithmetic is that of unsigned 64-bit integers, which numba keeps exact only where every operand is one: hence the names
for small numbers. Loops are as plain as can be: the compiler turns the first ones into vector instructions.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from numba import types

from ckpt_viewer.stats import native_float32
from ckpt_viewer.stats.native_float32 import inlined

U32, I32, U64, I64 = np.uint32, np.int32, np.uint64, np.int64
ONE = U64(1)
PART, TWICE = U64(1 << 12), U64(1 << 10)
"""Values whose bins are worked out before they are counted; bins up to which there are two tables of them."""
CLOSE, TO_CLOSE = U64((1 << 20) - 1), 2.0**32
"""The bits behind the point that tell how close to an edge a value lies, and what leaves no more of them."""
LOW_32 = U64(0xFFFFFFFF)
MAGNITUDE_64, INFINITE_64 = U64((1 << 63) - 1), U64(0x7FF << 52)
HIDDEN, FRACTION, EXPONENT = U64(1 << 52), U64((1 << 52) - 1), U64(0x7FF)
S1, S2, S14, S20, S31, S32, S33, S45, S52, S63 = (U64(n) for n in (1, 2, 14, 20, 31, 32, 33, 45, 52, 63))


def float64_census(bits: Any, n: Any, out: Any) -> None:
    """The same as `native_float32.float32_census` for float64."""
    zeros = nan = posinf = neginf = 0
    low, high = I64((1 << 63) - 1), I64(-(1 << 63))
    for i in range(n):
        b = bits[i]
        magnitude = b & MAGNITUDE_64
        zeros += magnitude == U64(0)
        nan += magnitude > INFINITE_64
        posinf += b == INFINITE_64
        neginf += b == INFINITE_64 | U64(1 << 63)
        order = I64(b)
        order = order ^ ((order >> 63) & I64((1 << 63) - 1))
        if magnitude < INFINITE_64:
            low = min(low, order)
            high = max(high, order)
    out[0] += zeros
    out[1] += nan
    out[2] += posinf
    out[3] += neginf
    out[4] = min(out[4], low)
    out[5] = max(out[5], high)


def float64_cells(bits: Any, n: Any, counts: Any) -> None:
    """Count finite values in cells numbered by magnitude, the sign in the lowest bit."""
    for i in range(n):
        b = bits[i]
        magnitude = b & MAGNITUDE_64
        if magnitude < INFINITE_64:
            counts[((magnitude >> S45) << S1) | (b >> S63)] += 1


def float64_sums(bits: Any, n: Any, sums: Any) -> None:
    """Add finite significands and their squares to sums[4 * (sign and exponent):], 128 bits each, low half first.

    There are two such tables: neighbours of the same exponent need not wait for each other.
    """
    for i in range(n):
        b = bits[i]
        if b & MAGNITUDE_64 < INFINITE_64:
            f = b & FRACTION
            if (b >> S52) & EXPONENT != U64(0):
                f |= HIDDEN
            at = ((b >> S52) << S2) | ((U64(i) & ONE) << S14)
            total = sums[at] + f
            sums[at] = total
            if total < f:
                sums[at + ONE] += ONE
            a, d = f >> S32, f & LOW_32
            middle = a * d
            square = d * d
            low = square + (middle << S33)
            high = a * a + (middle >> S31)
            if low < square:
                high += ONE
            total = sums[at + U64(2)] + low
            sums[at + U64(2)] = total
            if total < low:
                high += ONE
            sums[at + U64(3)] += high


def integer_sums(numbers: Any, n: Any, signed: Any, sums: Any) -> None:
    """Add 64-bit integers to sums[0:2], squares to sums[2:5], low words first; the former in two's complement."""
    first, carried, low_sum, high_sum, top = sums[0], sums[1], sums[2], sums[3], sums[4]
    for i in range(n):
        b = numbers[i]
        minus = (b >> S63) & signed
        first += b
        if first < b:
            carried += ONE
        carried -= minus
        m = (U64(0) - b) if minus != U64(0) else b
        a, d = m >> S32, m & LOW_32
        middle = a * d
        square = d * d
        low = square + (middle << S33)
        high = a * a + (middle >> S31)
        if low < square:
            high += ONE
        low_sum += low
        if low_sum < low:
            if high == U64(0xFFFFFFFFFFFFFFFF):
                top += ONE
            high += ONE
        high_sum += high
        if high_sum < high:
            top += ONE
    sums[0], sums[1], sums[2], sums[3], sums[4] = first, carried, low_sum, high_sum, top


def patterns8(block: Any, n: Any, counts: Any) -> None:
    """Count bytes, in four tables of 256: neighbours that are equal need not wait for each other."""
    whole = n >> S2
    for i in range(whole):
        at = U64(i) << S2
        counts[U64(block[at])] += 1
        counts[U64(block[at + ONE]) + U64(256)] += 1
        counts[U64(block[at + U64(2)]) + U64(512)] += 1
        counts[U64(block[at + U64(3)]) + U64(768)] += 1
    for i in range(whole << S2, n):
        counts[U64(block[i])] += 1


def patterns16(block: Any, n: Any, counts: Any) -> None:
    """Count uint16."""
    for i in range(n):
        counts[U64(block[i])] += 1


@inlined
def _count(numbers: Any, size: Any, last: Any, twice: Any, counts: Any) -> None:
    """Count bins by number; neighbours that are equal need not wait for each other where two tables have room."""
    if last >= TWICE:
        for i in range(size):
            counts[U64(numbers[i])] += 1
        return
    for i in range(size >> S1):
        at = U64(i) << S1
        twice[U64(numbers[at]) << S1] += U32(1)
        twice[U64(numbers[at + ONE]) << S1 | ONE] += U32(1)
    if size & ONE:
        twice[U64(numbers[size - ONE]) << S1] += U32(1)


@inlined
def _empty(last: Any, twice: Any, counts: Any) -> None:
    """Move what is in the two tables to `counts`."""
    for i in range(min(last + ONE, TWICE)):
        at = U64(i) << S1
        counts[i] += twice[at] + twice[at + ONE]
        twice[at] = twice[at + ONE] = U32(0)


def bins(block: Any, n: Any, low: Any, scale: Any, last: Any, numbers: Any, twice: Any, counts: Any) -> None:
    """Count values in equal bins where the formula is right for every value.

    `numbers` is room for `PART` of them, `twice` for two tables of `TWICE`, all 0 before and afterwards.
    """
    start = U64(0)
    while start < n:
        size = min(n - start, PART)
        for i in range(size):
            numbers[i] = U32(min(I32((np.float64(block[start + U64(i)]) - low) * scale), I32(last)))
        _count(numbers, size, last, twice, counts)
        start += size
    if last < TWICE:
        _empty(last, twice, counts)


def close_bins(
    block: Any, n: Any, low: Any, scale: Any, last: Any, numbers: Any, twice: Any, counts: Any, starts: Any
) -> None:
    """The same where the formula may be one bin off close to an edge; `starts` are the least values but of the first.

    To add 2**32 rounds what the formula gives to 20 bits behind the point. Where those are 0 for any value of a part,
    all of them are compared with the edges.
    """
    start = U64(0)
    while start < n:
        size, least = min(n - start, PART), CLOSE
        for i in range(size):
            place = np.float64((np.float64(block[start + U64(i)]) - low) * scale + TO_CLOSE).view(np.uint64)
            least = min(least, place & CLOSE)
            numbers[i] = U32(min(I32(place >> S20), I32(last)))
        if least == U64(0):
            for i in range(size):
                value, at = block[start + U64(i)], U64(numbers[i])
                if at > U64(0) and value < starts[at - ONE]:
                    numbers[i] = U32(at - ONE)
                elif at < last and value >= starts[at]:
                    numbers[i] = U32(at + ONE)
        _count(numbers, size, last, twice, counts)
        start += size
    if last < TWICE:
        _empty(last, twice, counts)


def _kernels() -> dict[str, tuple[Callable[..., None], Any]]:
    """Return each kernel by its name, with the types of its arguments."""
    u8, u16, u32, u64, i64, f32, f64 = (
        types.CPointer(each)  # type: ignore[no-untyped-call]
        for each in (types.uint8, types.uint16, types.uint32, types.uint64, types.int64, types.float32, types.float64)
    )
    n, real = types.uint64, types.float64
    return {
        "float32_census": (native_float32.float32_census, (u32, n, i64)),
        "float32_cells": (native_float32.float32_cells, (u32, n, u64, u64, i64)),
        "float64_census": (float64_census, (u64, n, i64)),
        "float64_cells": (float64_cells, (u64, n, i64)),
        "float64_sums": (float64_sums, (u64, n, u64)),
        "integer_sums": (integer_sums, (u64, n, n, u64)),
        "patterns8": (patterns8, (u8, n, i64)),
        "patterns16": (patterns16, (u16, n, i64)),
        "bins_float32": (bins, (f32, n, real, real, n, u32, u32, i64)),
        "bins_float64": (bins, (f64, n, real, real, n, u32, u32, i64)),
        "close_bins_float32": (close_bins, (f32, n, real, real, n, u32, u32, i64, f32)),
        "close_bins_float64": (close_bins, (f64, n, real, real, n, u32, u32, i64, f64)),
    }


def compile_kernels() -> dict[str, Any]:
    """Return machine code for this computer's processor: ``object``, a file as base64, and ``names``, its symbols.

    Raises:
        RuntimeError: this numba makes code that needs numba to run.
    """
    module, names = llvm.parse_assembly(""), {}
    for name, (function, arguments) in _kernels().items():
        compiled = numba.cfunc(types.void(*arguments), error_model="numpy", forceinline=True)(function)
        code = compiled.inspect_llvm()
        outside = re.findall(r"^declare .*@(?!llvm\.)(\S+)\(", code, re.MULTILINE)
        if outside:
            raise RuntimeError(f"this numba leaves {outside[0]} in the code of {name}")
        module.link_in(llvm.parse_assembly(code))
        names[name] = compiled.native_name
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3, reloc="pic"
    )
    return {"object": base64.b64encode(machine.emit_object(module)).decode(), "names": names}
