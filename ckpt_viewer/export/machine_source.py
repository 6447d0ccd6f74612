"""The loops of `machine` in LLVM's language, in vectors of `LANES` numbers; LLVM makes those of the processor of them.

Rounding is to nearest, ties to even, by way of float32, as torch's on a CPU; see `cast_kernels` for its NaN.
"""

from __future__ import annotations

LANES = 16
"""Numbers that are cast at once; a call takes a multiple of them, and at least these."""

_BITS = {"float64": 64, "float32": 32, "float16": 16, "bfloat16": 16}
SOURCES = frozenset(_BITS)
"""The dtypes that are cast from; 8-bit ones are left to a table."""
_INFINITY = {"float64": 0x7FF << 52, "float32": 0x7F800000, "float16": 0x7C00, "bfloat16": 0x7F80}
_LIMITS = {"float32": (0x7F800000, 0), "float16": (0x477FF000, 0x33000000), "bfloat16": (0x7F7F8000, 0x8000)}
"""As float32: the least magnitude that becomes infinite, and the greatest that becomes zero."""


def _all(width: int, number: int) -> str:
    return f"<{', '.join([f'i{width} {number}'] * LANES)}>"


_AS_FLOAT32 = {
    "float64": """
  %d = bitcast <16 x i64> %x to <16 x double>
  %f = fptrunc <16 x double> %d to <16 x float>
  %b = bitcast <16 x float> %f to <16 x i32>""",
    "float32": """
  %b = or <16 x i32> %x, zeroinitializer
  %f = bitcast <16 x i32> %x to <16 x float>""",
    "float16": """
  %h = bitcast <16 x i16> %x to <16 x half>
  %f = fpext <16 x half> %h to <16 x float>
  %b = bitcast <16 x float> %f to <16 x i32>""",
    "bfloat16": f"""
  %w = zext <16 x i16> %x to <16 x i32>
  %b = shl <16 x i32> %w, {_all(32, 16)}
  %f = bitcast <16 x i32> %b to <16 x float>""",
}
"""From the patterns %x to the float32 %f and its patterns %b."""

_ROUNDED = {
    "float32": """
  %r = or <16 x i32> %b, zeroinitializer""",
    "float16": """
  %g = fptrunc <16 x float> %f to <16 x half>
  %r = bitcast <16 x half> %g to <16 x i16>""",
    "bfloat16": f"""
  %high = lshr <16 x i32> %b, {_all(32, 16)}
  %odd = and <16 x i32> %high, {_all(32, 1)}
  %half = add <16 x i32> %odd, {_all(32, 0x7FFF)}
  %up = add <16 x i32> %b, %half
  %cut = lshr <16 x i32> %up, {_all(32, 16)}
  %known = select <16 x i1> %nan, <16 x i32> NAN, <16 x i32> %cut
  %r = trunc <16 x i32> %known to <16 x i16>""",
}
"""From there to the patterns %r of the result."""


def cast_source(name: str, dtype: str, target: str) -> str:
    """Return a function `name` (numbers, where to, how many, where to count) that casts from `dtype` to `target`.

    It counts, in three 32-bit numbers, what `CastCounts` says of the values.
    """
    before, after = f"i{_BITS[dtype]}", f"i{_BITS[target]}"
    most, least = _LIMITS[target]
    nan = _all(32, 0xFFFF if dtype in ("float64", "float32") else 0x7FC0)
    counters = ("over", "under", "nan")
    return f"""
declare i32 @llvm.vector.reduce.add.v16i32(<16 x i32>)
define void @{name}(ptr %from, ptr %to, i64 %n, ptr %counts) {{
entry:
  br label %loop
loop:
  %k = phi i64 [0, %entry], [%k.next, %loop]
{"".join(_begin(each) for each in counters)}
  %source = getelementptr {before}, ptr %from, i64 %k
  %x = load <16 x {before}>, ptr %source, align 1
{_AS_FLOAT32[dtype]}
  %size = and <16 x i32> %b, {_all(32, 0x7FFFFFFF)}
  %given = and <16 x {before}> %x, {_all(_BITS[dtype], (1 << (_BITS[dtype] - 1)) - 1)}
  %nan = icmp ugt <16 x i32> %size, {_all(32, 0x7F800000)}
  %large = icmp uge <16 x i32> %size, {_all(32, most)}
  %finite = icmp ult <16 x {before}> %given, {_all(_BITS[dtype], _INFINITY[dtype])}
  %over = and <16 x i1> %large, %finite
  %small = icmp ule <16 x i32> %size, {_all(32, least)}
  %some = icmp ne <16 x {before}> %given, zeroinitializer
  %under = and <16 x i1> %small, %some
{_ROUNDED[target].replace("NAN", nan)}
  %target = getelementptr {after}, ptr %to, i64 %k
  store <16 x {after}> %r, ptr %target, align 1
{"".join(_count(each) for each in counters)}
  %k.next = add i64 %k, {LANES}
  %more = icmp ult i64 %k.next, %n
  br i1 %more, label %loop, label %done
done:
{"".join(_sum(number, each) for number, each in enumerate(counters))}
  ret void
}}
"""


def _begin(each: str) -> str:
    return f"""
  %{each}s = phi <16 x i32> [zeroinitializer, %entry], [%{each}s.next, %loop]"""


def _count(each: str) -> str:
    return f"""
  %{each}.wide = zext <16 x i1> %{each} to <16 x i32>
  %{each}s.next = add <16 x i32> %{each}s, %{each}.wide"""


def _sum(number: int, each: str) -> str:
    return f"""
  %{each}s.all = call i32 @llvm.vector.reduce.add.v16i32(<16 x i32> %{each}s.next)
  %{each}s.place = getelementptr i32, ptr %counts, i64 {number}
  store i32 %{each}s.all, ptr %{each}s.place"""
