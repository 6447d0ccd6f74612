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

U32, I32, U64, I64 = np.uint32, np.int32, np.uint64, np.int64
ONE = U64(1)
LOW_16, LOW_32 = U64(0xFFFF), U64(0xFFFFFFFF)
COUNT_BIT = U64(1 << 40)
MAGNITUDE_32, INFINITE_32 = U32(0x7FFFFFFF), U32(0x7F800000)
MAGNITUDE_64, INFINITE_64 = U64((1 << 63) - 1), U64(0x7FF << 52)
HIDDEN, FRACTION, EXPONENT = U64(1 << 52), U64((1 << 52) - 1), U64(0x7FF)
S1, S2, S14, S16, S31, S32, S33, S45, S52, S63 = (U64(n) for n in (1, 2, 14, 16, 31, 32, 33, 45, 52, 63))


def float32_extremes(bits: Any, n: Any, out: Any) -> None:
    """Add zeros to out[0]; narrow out[4], out[5] to the extremes, as ordered integers, NaN and infinities included."""
    zeros = 0
    low, high = I32(0x7FFFFFFF), I32(-0x80000000)
    for i in range(n):
        b = bits[i]
        zeros += (b & MAGNITUDE_32) == U32(0)
        order = I32(b)
        order = I32(order ^ I32((order >> 31) & 0x7FFFFFFF))
        low = min(low, order)
        high = max(high, order)
    out[0] += zeros
    out[4] = min(out[4], low)
    out[5] = max(out[5], high)


def float32_census(bits: Any, n: Any, out: Any) -> None:
    """Add zeros, NaN, +Inf and -Inf to out[0:4]; narrow out[4], out[5] to the finite extremes, as ordered integers."""
    zeros = nan = posinf = neginf = 0
    low, high = I32(0x7FFFFFFF), I32(-0x80000000)
    for i in range(n):
        b = bits[i]
        magnitude = b & MAGNITUDE_32
        zeros += magnitude == U32(0)
        nan += magnitude > INFINITE_32
        posinf += b == INFINITE_32
        neginf += b == U32(0xFF800000)
        order = I32(b)
        order = I32(order ^ I32((order >> 31) & 0x7FFFFFFF))
        if magnitude < INFINITE_32:
            low = min(low, order)
            high = max(high, order)
    out[0] += zeros
    out[1] += nan
    out[2] += posinf
    out[3] += neginf
    out[4] = min(out[4], low)
    out[5] = max(out[5], high)


def float32_cells(bits: Any, n: Any, pairs: Any) -> None:
    """Add values to `pairs`: for each cell 2**40 a value plus its low half, and the low half's square."""
    for i in range(n):
        b = U64(bits[i])
        low = b & LOW_16
        at = (b >> S16) << S1
        pairs[at] += low | COUNT_BIT
        pairs[at + ONE] += low * low


def float64_census(bits: Any, n: Any, out: Any) -> None:
    """The same as `float32_census` for float64."""
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


def bins(block: Any, n: Any, low: Any, scale: Any, last: Any, counts: Any) -> None:
    """Count values in equal bins where the formula is right for every value."""
    for i in range(n):
        counts[min(U64((np.float64(block[i]) - low) * scale), last)] += 1


def close_bins(block: Any, n: Any, low: Any, scale: Any, last: Any, counts: Any, starts: Any) -> None:
    """The same where the formula may be one bin off; `starts` are the least values of the bins but the first."""
    for i in range(n):
        value = block[i]
        at = min(U64((np.float64(value) - low) * scale), last)
        if at > U64(0) and value < starts[at - ONE]:
            at -= ONE
        elif at < last and value >= starts[at]:
            at += ONE
        counts[at] += 1


def _kernels() -> dict[str, tuple[Callable[..., None], Any]]:
    """Return each kernel by its name, with the types of its arguments."""
    u8, u16, u32, u64, i64, f32, f64 = (
        types.CPointer(each)  # type: ignore[no-untyped-call]
        for each in (types.uint8, types.uint16, types.uint32, types.uint64, types.int64, types.float32, types.float64)
    )
    n, real = types.uint64, types.float64
    return {
        "float32_extremes": (float32_extremes, (u32, n, i64)),
        "float32_census": (float32_census, (u32, n, i64)),
        "float32_cells": (float32_cells, (u32, n, u64)),
        "float64_census": (float64_census, (u64, n, i64)),
        "float64_cells": (float64_cells, (u64, n, i64)),
        "float64_sums": (float64_sums, (u64, n, u64)),
        "integer_sums": (integer_sums, (u64, n, n, u64)),
        "patterns8": (patterns8, (u8, n, i64)),
        "patterns16": (patterns16, (u16, n, i64)),
        "bins_float32": (bins, (f32, n, real, real, n, i64)),
        "bins_float64": (bins, (f64, n, real, real, n, i64)),
        "close_bins_float32": (close_bins, (f32, n, real, real, n, i64, f32)),
        "close_bins_float64": (close_bins, (f64, n, real, real, n, i64, f64)),
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
