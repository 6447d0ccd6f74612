"""Files that ask for far more than they hold, by title: what `bench_attacks` measures.

Each is a function without arguments that returns the file; the costly ones are made only when they are wanted.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "formats"))

from archives import exported, package, script_module, tar_storage, tar_tensor, torch_tar, torchscript, weight_config
from builders import (
    HOOKS,
    call,
    entry,
    get,
    integer,
    legacy_stream,
    listed,
    many,
    mapped,
    name,
    pickled,
    put,
    safetensors_file,
    storage,
    tensor,
    text,
    zip_checkpoint,
    zip_file,
)

M = 1_000_000
HASHED = (1 << 61) - 1
"""Whole multiples of it have one hash in CPython, 0."""
REBUILD, FROM_BYTES = name("torch._utils", "_rebuild_tensor_v2"), name("torch.storage", "_load_from_bytes")


def u16(number: int) -> bytes:
    return struct.pack("<H", number % 65536)


def u32(number: int) -> bytes:
    return struct.pack("<I", number)


def series(count: int, make: Callable[[int], bytes]) -> bytes:
    """The opcodes of `count` objects, each made from its number."""
    return b"".join(make(number) for number in range(count))


def group(inner: bytes) -> bytes:
    """A list of everything that some opcodes push."""
    return b"(" + inner + b"l"


def again(function: bytes, arguments: bytes, times: int) -> bytes:
    """A list of what one function gives for the same arguments, again and again."""
    return function + put(1) + b"0" + arguments + put(2) + b"0" + group(b"h\1h\2R" * times)


def doubled(first: bytes, wrap: Callable[[bytes], bytes], levels: int) -> bytes:
    """A value in a value, each of which holds the one before it several times: exponential when written out."""
    body = first + put(0)
    for below, level in pairwise(range(levels)):
        body += b"0" + wrap(get(below)) + put(level)
    return body


def blob(pickle: bytes) -> bytes:
    """BINBYTES of a legacy stream."""
    inner = legacy_stream(pickle)
    return b"B" + u32(len(inner)) + inner


def nested_blobs(levels: int, times: int) -> bytes:
    """A blob that reads a blob many times, which reads another many times."""
    body = b"N"
    for _ in range(levels):
        body = blob(pickled(body, 3)) + put(5) + b"0" + group((FROM_BYTES + b"(" + get(5) + b"tR") * times)
    return pickled(body, 3)


def beside(count: int, make: Callable[[int], bytes], path: str = "a/{}.pkl") -> bytes:
    """An archive with many records beside its pickle."""
    records = {path.format(number): make(number) for number in range(count)}
    return zip_file({"a/data.pkl": pickled(b"N"), **records}, alignment=1)


def state_dict(count: int, shape: tuple[int, ...] = (1,)) -> bytes:
    """The pickle of many tensors in one storage."""
    geometry = many(*map(integer, shape)) + many(*map(integer, (*shape[1:], 1)))
    head = storage(numel=M) + put(9) + b"0" + HOOKS + put(8) + b"0" + REBUILD + put(7) + b"0}("
    one = get(7) + b"(" + get(9) + b"K\0" + geometry + b"\x89" + get(8) + b"tR"
    return pickled(head + series(count, lambda number: text(f"layer.{number}.weight") + one) + b"u")


def lists(count: int) -> bytes:
    return pickled(group(b"]" * count))


def names(first: int) -> bytes:
    return pickled(series(20_000, lambda n: name(f"m{first}.{n}", "x") + b"0") + b"N")


def scripts(count: int) -> bytes:
    inner = ((text(f"m{n}"), script_module(("__torch__", "Net"), (text("training"), b"\x88"))) for n in range(count))
    return pickled(script_module(("__torch__", "Net"), *inner))


def long(number: int) -> bytes:
    """LONG1 of a number."""
    raw = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def _many_stated(data: bytes) -> bytes:
    """A zip whose end record and its zip64 twin state as many records as fit into the field."""
    at = data.rindex(b"PK\6\6")
    return data[: at + 24] + b"\xff\xff\xff\x7f\0\0\0\0" * 2 + data[at + 40 :]


def _nested_zips(levels: int) -> bytes:
    data = zip_checkpoint(pickled(b"N"))
    for _ in range(levels):
        data = zip_file({"inner.pth": data, "beside.pth": data} if len(data) < 2 * M else {"inner.pth": data})
    return data


ATTACKS: dict[str, Callable[[], bytes]] = {
    # rows: the tree has a row for each byte or two
    "small integers": lambda: pickled(b"](" + b"K\1" * (2 * M) + b"e"),
    "one None again and again": lambda: pickled(group(b"N" * (2 * M))),
    "reads of one memo slot": lambda: pickled(b"Nq\0" + group(b"h\0" * (2 * M))),
    "DUP": lambda: pickled(group(b"N" + b"2" * (19 * M // 10))),
    "integers of 9 bytes": lambda: pickled(b"](" + (b"\x8a\x09" + b"\xff" * 8 + b"\0") * 400_000 + b"e"),
    "one integer of 5 MB": lambda: pickled(b"\x8b" + u32(5 * M) + b"\1" * (5 * M)),
    "integers of 100 KB": lambda: pickled(b"](" + (b"\x8b" + u32(100_000) + b"\1" * 100_000) * 50 + b"e"),
    "strings of a letter": lambda: pickled(b"](" + b"X\1\0\0\0a" * 700_000 + b"e", 3),
    "strings of 4 letters": lambda: pickled(b"](" + series(700_000, lambda n: b"\x8c\4%04x" % (n % 65536)) + b"e", 4),
    "Python 2 strings": lambda: pickled(group(b"U\2\xc3\xa9" * 900_000)),
    "floats": lambda: pickled(group((b"G" + struct.pack(">d", 0.1)) * 900_000)),
    "a dict of integers": lambda: pickled(b"}(" + series(900_000, lambda n: b"M" + u16(n) + b"N") + b"u"),
    "integers of one hash": lambda: pickled(b"}(" + series(100_000, lambda n: long(n * HASHED) + b"N") + b"u"),
    "integers of one hash in a set": lambda: pickled(
        b"\x8f(" + series(100_000, lambda n: long(n * HASHED)) + b"\x90", 4),
    "names of records in folders": lambda: beside(40_000, lambda n: b"", "a/" + "b/" * 20 + "{}"),
    "persistent ids again and again": lambda: zip_checkpoint(
        pickled(many(text("storage"), name("torch", "FloatStorage"), text("0"), text("cpu"), b"K\1") + put(3) + b"0"
                + group((get(3) + b"Q") * 400_000)), {"0": bytes(4)}),
    "a zip that states 2**32 records": lambda: _many_stated(zip_checkpoint(pickled(b"N"))),
    "zips in zips": lambda: _nested_zips(60),
    "a shape of 10**6 numbers": lambda: safetensors_file(
        {"w": entry("F32", (1,) * 1_000_000, 0, 4)}, bytes(4)),
    "huge sizes of a .pt2": lambda: exported(
        {f"w{n}": weight_config(f"weight_{n}", (1 << 62,) * 60, (1,) * 60) for n in range(2000)},
        {f"weight_{n}": bytes(4) for n in range(2000)}),
    "empty lists": lambda: lists(300_000),
    "empty lists at the budget": lambda: lists(600_000),
    "empty lists past it": lambda: lists(1_200_000),
    "empty dicts": lambda: pickled(group(b"}" * 450_000)),
    "empty sets": lambda: pickled(group(b"\x8f" * 600_000), 4),
    "tuples of one": lambda: pickled(group(b"N\x85" * 900_000)),
    "a set of tuples": lambda: pickled(b"\x8f(" + series(250_000, lambda n: b"K\1M" + u16(n) + b"\x86") + b"\x90", 4),
    "frozensets": lambda: pickled(group(b"(N\x91" * 250_000), 4),
    "tuples of scalars again and again": lambda: pickled(
        many(*[b"K\1"] * 3000) + put(0) + b"0" + group(get(0) * 300_000)),
    "wide shared tuples": lambda: pickled(doubled(many(b"K\1", b"K\2"), lambda it: many(it * 20), 4000)),
    "shared lists": lambda: pickled(doubled(listed(b"K\1"), lambda it: listed(it, it), 4000)),
    "one dict again and again": lambda: pickled(b"}" + put(0) + b"0" + group(b"h\0" * 900_000)),
    "one tensor again and again": lambda: zip_checkpoint(
        pickled(tensor() + put(0) + b"0" + group(b"h\0" * 900_000)), {"0": bytes(16)}),
    "references of a large pickle": lambda: pickled(b"}" + put(0) + b"0" + group(b"h\0" * 5 * M)),
    "nothing, ten million times": lambda: pickled(group(b"N" * 10 * M)),
    "small integers of a large pickle": lambda: pickled(group(b"K\1" * 5 * M)),
    "numpy objects": lambda: pickled(
        call(name("numpy.core.multiarray", "_reconstruct"), name("numpy", "ndarray"), b"(K\0t", b"N")
        + many(b"K\1", many(b"K\1"), call(name("numpy", "dtype"), text("O8")), b"\x89", listed(*[b"N"] * 900_000))
        + b"b"),
    # the machine
    "memo slots far away": lambda: pickled(b"N" + series(500_000, lambda n: put(2 * n + 9))),
    "memo slots": lambda: pickled(b"N" + series(900_000, put)),
    "tuples in tuples": lambda: pickled(b"N" + b"\x85" * 900_000),
    "lists in lists": lambda: pickled(b"](" * 300_000 + b"e" * 300_000),
    "marks": lambda: pickled(b"(" * 900_000),
    "names": lambda: pickled(series(200_000, lambda n: name(f"m{n}", "x") + b"0") + b"N"),
    "long names": lambda: pickled(series(1500, lambda n: name(f"m{n}" + "y" * 3000, "x") + b"0") + b"N"),
    "names from strings": lambda: pickled(series(150_000, lambda n: text(f"m{n}") + text("x") + b"\x930") + b"N", 4),
    "objects": lambda: pickled(name("a", "b") + put(0) + b"0" + group(b"h\0)\x81" * 250_000)),
    "states in states": lambda: pickled(name("a", "b") + b")\x81" + b"Nb" * 900_000),
    "calls of calls": lambda: pickled(name("a", "b") + b")R" * 400_000),
    "tensors of 60 dimensions": lambda: zip_checkpoint(pickled(again(
        REBUILD, many(storage(numel=1), b"K\0", many(*[b"K\1"] * 60), many(*[b"K\1"] * 60), b"\x89", HOOKS), 60_000)),
        {"0": bytes(4)}),
    "tensors of a state_dict": lambda: zip_checkpoint(state_dict(100_000), {"0": bytes(4 * M)}),
    "calls that are no tensors": lambda: pickled(again(REBUILD, b")", 180_000)),
    "storages of no class": lambda: zip_checkpoint(pickled(group(series(
        100_000, lambda n: many(text("storage"), b"N", text("0"), text("c"), b"N") + b"Q")))),
    "unknown persistent ids": lambda: zip_checkpoint(pickled(group((text("x") + b"Q") * 150_000))),
    "storages without a record": lambda: zip_checkpoint(pickled(group(series(60_000, lambda n: storage(key=str(n)))))),
    "escapes": lambda: pickled(b"V" + b"\\u00e9" * M + b"\n"),
    "quoted escapes": lambda: pickled(b"S'" + b"\\x41" * M + b"'\n"),
    "direction marks in a key": lambda: pickled(b"}" + text("\u202e" * 1_300_000) + b"Ns"),
    "surrogates": lambda: pickled(b"](" + text("\ud800" * 300_000) * 4 + b"e"),
    # pickles behind, beside and inside
    "values behind": lambda: pickled(b"N") + b"N." * (2 * M),
    "names behind": lambda: pickled(b"N") + series(200_000, lambda n: pickled(name("os", f"x{n}"))),
    "lists behind": lambda: pickled(b"N") + lists(150_000) * 30,
    "one blob again and again": lambda: pickled(again(
        FROM_BYTES, many(blob(pickled(listed(*map(integer, range(2000)))))), 20_000), 3),
    "blobs in blobs": lambda: nested_blobs(3, 40),
    "records": lambda: beside(60_000, lambda n: b"", "a/{}"),
    "pickles beside": lambda: beside(60_000, lambda n: pickled(b"N")),
    "names in pickles beside": lambda: beside(60_000, lambda n: pickled(name("os", f"s{n}"))),
    "lists beside": lambda: beside(20, lambda n: lists(1_200_000)),
    "bad names of records": lambda: beside(60_000, lambda n: b"", "a/../{}\1"),
    "long names of records": lambda: beside(80, lambda n: b"", "a/" + "x" * 60000 + "{}"),
    "files of an ordinary zip": lambda: zip_file({f"f{n}": pickled(b"N") for n in range(60_000)}, alignment=1),
    "checkpoints of an ordinary zip": lambda: zip_file(
        {f"f{n}.pth": zip_checkpoint(pickled(b"N"), alignment=1) for n in range(9000)}, alignment=1),
    "lists of an ordinary zip": lambda: zip_file({f"f{n}.pth": lists(600_000) for n in range(20)}),
    # what inflates
    "a list that inflates": lambda: zip_checkpoint(lists(60 * M), deflate=("data.pkl",)),
    "text that inflates": lambda: zip_checkpoint(pickled(b"X" + u32(60 * M) + b"a" * 60 * M), deflate=("data.pkl",)),
    "text that inflates and is wide": lambda: zip_checkpoint(
        pickled(b"X" + u32(60 * M) + "\U0001f600".encode() + b"a" * (60 * M - 4)), deflate=("data.pkl",)),
    "text that is wide": lambda: pickled(b"X" + u32(20 * M) + "\U0001f600".encode() + b"a" * (20 * M - 4)),
    "escaped text that is wide": lambda: pickled(b"V\\U0001f600" + b"a" * (20 * M) + b"\n"),
    "Python 2 text that is wide": lambda: pickled(
        b"T" + u32(20 * M) + "\U0001f600".encode() + b"a" * (20 * M - 4)),
    "opcodes that inflate": lambda: zip_checkpoint(pickled(b"N0" * 30 * M), deflate=("data.pkl",)),
    "pickles beside that inflate": lambda: zip_checkpoint(
        pickled(b"N"), extra={f"{n}.pkl": pickled(b"X" + u32(20 * M) + b"a" * 20 * M) for n in range(5)},
        deflate=tuple(f"{n}.pkl" for n in range(5))),
    # other containers
    "keys of a legacy stream": lambda: legacy_stream(
        pickled(b"N"), keys=listed(*(text(str(n)) for n in range(200_000)))),
    "a legacy stream that is cut off": lambda: legacy_stream(pickled(b"N"))[:-40] + b"(" + b"K\1" * (4 * M),
    "a name of 5 MB": lambda: b"\x80\2cx" + b"y" * 5 * M,
    "a package of lists": lambda: package({f"a/{n}.pkl": lists(1_300_000) for n in range(20)}, {}),
    "a package of lists at the budget": lambda: package({f"a/{n}.pkl": lists(550_000) for n in range(40)}, {}),
    "a package of integers": lambda: package({f"a/{n}.pkl": pickled(group(b"K\1" * 600_000)) for n in range(20)}, {}),
    "a package of names": lambda: package({f"a/{n}.pkl": names(n) for n in range(20)}, {}),
    "a package of small pickles": lambda: package({f"a/{n}.pkl": pickled(b"N") for n in range(40_000)}, {}),
    "tensors of a tar": lambda: torch_tar(
        pickled(group(series(100_000, lambda n: text(str(n + 1)) + b"Q"))),
        [tar_tensor(n + 1, 100_001, (1,), (1,)) for n in range(100_000)], [tar_storage(100_001, bytes(4))]),
    "storages of a tar": lambda: torch_tar(pickled(b"N"), [], [tar_storage(n + 1, bytes(4)) for n in range(100_000)]),
    "views of a tar": lambda: torch_tar(pickled(b"N"), [], [tar_storage(1, bytes(4))], views=listed(
        *(many(integer(n + 2), b"K\1", b"K\0", b"K\1") for n in range(100_000)))),
    "weights of a .pt2": lambda: exported(
        {f"layer.{n}.weight": weight_config(f"weight_{n}", (1,), (1,)) for n in range(50_000)},
        {f"weight_{n}": bytes(4) for n in range(50_000)}),
    "modules of TorchScript": lambda: torchscript(scripts(50_000), {}),
    "a safetensors header of tensors": lambda: safetensors_file(
        {f"layer.{n}.weight": entry("F32", (1,), 4 * n, 4 * n + 4) for n in range(60_000)}, bytes(240_000)),
    "a safetensors header of brackets": lambda: (5 * M).to_bytes(8, "little") + b'{"a":' + b"[" * (5 * M - 6) + b"}",
    "an index of shards": lambda: json.dumps({"weight_map": {f"w{n}": f"f{n}.bin" for n in range(100_000)}}).encode(),
    "a web page": lambda: b"<html>" + b"x" * 5 * M,
    "modules that share children": lambda: pickled(doubled(
        listed(b"N"), lambda it: name("a", "M") + b")\x81" + mapped(
            (text("_parameters"), b"}"), (text("_buffers"), b"}"),
            (text("_modules"), mapped((text("l"), it), (text("r"), it)))) + b"b", 3000)),
}  # fmt: skip
