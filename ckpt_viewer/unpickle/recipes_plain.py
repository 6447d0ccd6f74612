"""What Python's own and numpy's reduce calls describe."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, TypeAlias

from ckpt_viewer.core.value import Global, Instance, Literal, Mapping, NdArray, Sequence, Value
from ckpt_viewer.unpickle.geometry import sizes
from ckpt_viewer.unpickle.machine import NOT_KNOWN, NotKnown

if TYPE_CHECKING:
    from ckpt_viewer.unpickle.machine import Machine, Recipe

Arguments = tuple[Value, ...]
Answer: TypeAlias = "Value | NotKnown"


def as_bytes(m: Machine, value: Value) -> bytes | None:
    """Return the bytes that were meant: bytes, or a Python 2 `str` that the machine took for text."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        return None
    kept = m.raw.get(id(value))
    if kept is not None:
        return kept[1]
    m.charged += len(value)
    return value.encode("latin-1") if value.isascii() else None


def mapping(type_name: str) -> Recipe:
    """OrderedDict(), OrderedDict([[key, value], ...]), Counter({...})."""

    def recipe(m: Machine, args: Arguments) -> Answer:
        made = Mapping(type_name)
        if not args:
            return made
        given = args[0]
        if isinstance(given, Mapping):
            made.pairs.extend(given.pairs)
            m.charged += 8 * len(given.pairs)
            return made
        if not isinstance(given, list) or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in given):
            return NOT_KNOWN
        for pair in given:
            made.pairs.extend(pair)  # type: ignore[arg-type]
        m.charged += 16 * len(given)
        return made

    return recipe


def default_dict(m: Machine, args: Arguments) -> Answer:
    """collections.defaultdict(factory)."""
    return Mapping("collections.defaultdict", args[:1])


def many(type_name: str, kind: str) -> Recipe:
    """set([..]), frozenset([..]), deque([..][, maxlen])."""

    def recipe(m: Machine, args: Arguments) -> Answer:
        given = args[0] if args else []
        if isinstance(given, Sequence):
            given = given.items
        if not isinstance(given, list | tuple):
            return NOT_KNOWN
        m.charged += 8 * len(given)
        return Sequence(type_name, kind, list(given))

    return recipe


def encode(m: Machine, args: Arguments) -> Answer:
    """_codecs.encode(text, "latin1"): how protocol 2 writes bytes."""
    if args and type(args[0]) is str and (len(args) == 1 or args[1] in ("latin1", "latin-1", "utf-8")):
        try:
            data = args[0].encode("utf-8" if len(args) == 1 or args[1] == "utf-8" else "latin-1")
        except UnicodeEncodeError:
            return NOT_KNOWN
        m.charged += len(data)
        return data
    return NOT_KNOWN


def byte_string(m: Machine, args: Arguments) -> Answer:
    """bytes(), bytearray(data), bytearray(text, "latin-1")."""
    if not args:
        return b""
    if len(args) == 2 and type(args[0]) is str:
        return encode(m, args)
    data = as_bytes(m, args[0])
    return data if data is not None else NOT_KNOWN


def complex_number(m: Machine, args: Arguments) -> Answer:
    """complex(real, imag)."""
    if len(args) == 2 and all(type(part) in (int, float) for part in args):
        return complex(float(args[0]), float(args[1]))  # type: ignore[arg-type]
    return NOT_KNOWN


def literal(type_name: str) -> Recipe:
    """range, slice: shown as Python prints them."""

    def recipe(m: Machine, args: Arguments) -> Answer:
        if all(arg is None or type(arg) is int for arg in args):
            return Literal("object", type_name, f"{type_name}({', '.join(map(repr, args))})")
        return NOT_KNOWN

    return recipe


def path(type_name: str) -> Recipe:
    """pathlib.PosixPath(*parts)."""

    def recipe(m: Machine, args: Arguments) -> Answer:
        if args and all(type(arg) is str for arg in args):
            parts = [str(arg) for arg in args]
            m.charged += 2 * sum(map(len, parts))
            text = parts[0] + "/".join(parts[1:]) if parts[0].endswith("/") else "/".join(parts)
            return Literal("object", type_name, f"{type_name.rpartition('.')[2]}({text!r})")
        return NOT_KNOWN

    return recipe


def date(m: Machine, args: Arguments) -> Answer:
    """datetime.datetime(ten bytes): the packed form of CPython's datetime.__reduce__."""
    data = as_bytes(m, args[0]) if args else None
    if data is None or len(data) != 10 or len(args) > 1:
        return NOT_KNOWN
    year, micro = data[0] << 8 | data[1], int.from_bytes(data[7:10], "big")
    fraction = f".{micro:06d}" if micro else ""
    text = f"{year:04d}-{data[2] & 127:02d}-{data[3]:02d} {data[4]:02d}:{data[5]:02d}:{data[6]:02d}{fraction}"
    return Literal("object", "datetime.datetime", text)


def reconstructor(m: Machine, args: Arguments) -> Answer:
    """copyreg._reconstructor(cls, base, state): an object of protocol 0 and 1."""
    if len(args) != 3 or not isinstance(args[0], Global | Instance):
        return NOT_KNOWN
    if isinstance(args[1], Global) and args[1].qualified != "object" and args[2] is not None:
        return _of_base(m, args[0], args[2])
    return m.call(args[0], (), new=True)


def _of_base(m: Machine, cls: Value, content: Value) -> Value:
    made = Instance(cls, (), new=True)
    if isinstance(content, Mapping):
        made.pairs.extend(content.pairs)
    elif isinstance(content, list | tuple):
        made.items.extend(content)
    else:
        made.items.append(content)
    m.charged += 200 + 8 * (len(made.pairs) + len(made.items))
    return made


# --- numpy --------------------------------------------------------------------------------------------------------


def np_dtype(m: Machine, args: Arguments) -> Answer:
    """numpy.dtype(text, align, copy); its byte order follows in a BUILD."""
    if not args or type(args[0]) is not str or len(args[0]) > 100:
        return NOT_KNOWN
    return Literal("dtype", "numpy.dtype", args[0])


def build_dtype(m: Machine, target: Value, state: Value) -> bool:
    """numpy.dtype.__setstate__((version, byte order, subdtype, names, ...))."""
    if not isinstance(target, Literal) or target.type != "numpy.dtype" or type(state) is not tuple or len(state) < 2:
        return False
    if type(state[1]) is str and state[1] in ("<", ">") and target.text[:1] not in "<>|=":
        target.text = state[1] + target.text
    return True


def np_reconstruct(m: Machine, args: Arguments) -> Answer:
    """numpy.core.multiarray._reconstruct(class, (0,), b"b"): empty until its BUILD."""
    name = args[0].qualified if args and isinstance(args[0], Global) else "numpy.ndarray"
    return NdArray("<u1", (0,), b"", type=name)


def build_ndarray(m: Machine, target: Value, state: Value) -> bool:
    """numpy.ndarray.__setstate__((version, shape, dtype, fortran, data))."""
    if not isinstance(target, NdArray) or type(state) is not tuple or len(state) < 4:
        return False
    shape, dtype, fortran, data = state[-4:]
    size = sizes(shape)
    if size is None or not isinstance(dtype, Literal):
        return False
    if isinstance(data, list):
        target.data = data
    else:
        raw = as_bytes(m, data)
        if raw is None or not _fits(dtype.text, size, raw):
            return False
        target.data = raw
    target.shape, target.dtype, target.fortran = size, dtype.text, fortran is True
    return True


def _fits(dtype: str, shape: tuple[int, ...], data: bytes) -> bool:
    digits = "".join(c for c in dtype if c.isdigit())
    width = int(digits) if digits and len(digits) < 10 else 1
    width *= 4 if "U" in dtype else 1
    return prod(shape) * width <= len(data)


def np_scalar(m: Machine, args: Arguments) -> Answer:
    """numpy.core.multiarray.scalar(dtype, bytes)."""
    raw = as_bytes(m, args[1]) if len(args) > 1 else None
    if not args or not isinstance(args[0], Literal) or raw is None or not _fits(args[0].text, (), raw):
        return NOT_KNOWN
    return NdArray(args[0].text, (), raw, type="numpy.generic")


def np_frombuffer(m: Machine, args: Arguments) -> Answer:
    """numpy._core.numeric._frombuffer(buffer, dtype, shape, order)."""
    raw = as_bytes(m, args[0]) if args else None
    size = sizes(args[2]) if len(args) > 2 else None
    if raw is None or size is None or not isinstance(args[1], Literal) or not _fits(args[1].text, size, raw):
        return NOT_KNOWN
    return NdArray(args[1].text, size, raw, fortran=len(args) > 3 and args[3] == "F")


RECIPES: dict[tuple[str, str], Recipe] = {
    ("collections", "OrderedDict"): mapping("collections.OrderedDict"),
    ("collections", "Counter"): mapping("collections.Counter"),
    ("collections", "defaultdict"): default_dict,
    ("collections", "deque"): many("collections.deque", "list"),
    ("builtins", "set"): many("set", "set"),
    ("builtins", "frozenset"): many("frozenset", "set"),
    ("builtins", "dict"): mapping("dict"),
    ("builtins", "list"): many("list", "list"),
    ("builtins", "bytes"): byte_string,
    ("builtins", "bytearray"): byte_string,
    ("builtins", "complex"): complex_number,
    ("builtins", "range"): literal("range"),
    ("builtins", "slice"): literal("slice"),
    ("_codecs", "encode"): encode,
    ("copyreg", "_reconstructor"): reconstructor,
    ("datetime", "datetime"): date,
    **{
        (module, name): path(f"pathlib.{name}")
        for module in ("pathlib", "pathlib._local")
        for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path")
    },
    ("numpy", "dtype"): np_dtype,
    **{(module, "_reconstruct"): np_reconstruct for module in ("numpy.core.multiarray", "numpy._core.multiarray")},
    **{(module, "scalar"): np_scalar for module in ("numpy.core.multiarray", "numpy._core.multiarray")},
    **{(module, "_frombuffer"): np_frombuffer for module in ("numpy.core.numeric", "numpy._core.numeric")},
}
