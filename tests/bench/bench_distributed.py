"""A distributed checkpoint of about 1 TB, without its data: how long does its tree take, and how much memory?

Makes a folder of sparse data files whose ``.metadata`` describe TENSORS tensors, each cut into RANKS parts, as
torch.distributed.checkpoint pickles them. Measures ``ls`` and, for the metadata alone, ``pickle.load`` into torch's own
classes, which is what every torch program does first.

    python tests/bench/bench_distributed.py [--tensors 20000] [--ranks 64] [--runs 1] [--torch]
"""

from __future__ import annotations

import argparse
import struct
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from common import PROGRAM, figures, run_once

LOAD = "import pickle, sys, torch, torch.distributed.checkpoint; pickle.load(open(sys.argv[1], 'rb'))"
ROWS, COLUMNS, ITEM = 6400, 2048, 4
OVERHEAD = 1600
"""Bytes of the zip around each part."""


class Pickler:
    """Writes the opcodes of protocol 4 and counts the memo slots that they fill."""

    def __init__(self) -> None:
        self.slots = 0
        self.known: dict[object, int] = {}

    def memo(self, key: object = None) -> bytes:
        """MEMOIZE; `ref` finds it under `key`."""
        if key is not None:
            self.known[key] = self.slots
        self.slots += 1
        return b"\x94"

    def ref(self, key: object) -> bytes:
        """BINGET or LONG_BINGET."""
        slot = self.known[key]
        return b"h" + bytes([slot]) if slot < 256 else b"j" + struct.pack("<I", slot)

    def text(self, text: str, key: object = None) -> bytes:
        """A string, spelled out the first time that its key is used."""
        key = key if key is not None else ("text", text)
        if key in self.known:
            return self.ref(key)
        return b"\x8c" + bytes([len(text)]) + text.encode() + self.memo(key)

    def name(self, module: str, name: str) -> bytes:
        """STACK_GLOBAL."""
        if (module, name) in self.known:
            return self.ref((module, name))
        return self.text(module) + self.text(name) + b"\x93" + self.memo((module, name))

    def number(self, value: int) -> bytes:
        """BININT1, BININT2, BININT or LONG1."""
        if value < 256:
            return b"K" + bytes([value])
        if value < 65536:
            return b"M" + struct.pack("<H", value)
        if value < 1 << 31:
            return b"J" + struct.pack("<i", value)
        raw = value.to_bytes(value.bit_length() // 8 + 1, "little")
        return b"\x8a" + bytes([len(raw)]) + raw

    def size(self, *sizes: int) -> bytes:
        """torch.Size of two dimensions."""
        cls = self.name("torch", "Size")
        body = b"".join(map(self.number, sizes)) + b"\x86" + self.memo()
        return cls + body + b"\x85" + self.memo() + b"R" + self.memo()

    def made(self, module: str, name: str) -> bytes:
        """An object whose state follows."""
        return self.name(module, name) + b")\x81" + self.memo()


METADATA = "torch.distributed.checkpoint.metadata"
FILESYSTEM = "torch.distributed.checkpoint.filesystem"


def metadata(tensors: int, ranks: int) -> Iterator[bytes]:
    """Yield the pickle of a `Metadata`, piece by piece."""
    p = Pickler()
    names = [f"model.layers.{n // 10}.block.{n % 10}.weight" for n in range(tensors)]
    rows = ROWS // ranks
    yield b"\x80\x04" + p.made(METADATA, "Metadata") + b"}" + p.memo() + b"(" + p.text("state_dict_metadata")
    yield b"}" + p.memo()
    yield from batches(p.text(name) + tensor(p, ranks, rows) for name in names)
    yield p.text("planner_data") + b"}" + p.memo()
    yield from batches(p.ref(("text", name)) * 2 + b"\x85" + p.memo() for name in names)
    yield p.text("storage_data") + b"}" + p.memo()
    length = rows * COLUMNS * ITEM + OVERHEAD
    cells = ((rank, number, name) for rank in range(ranks) for number, name in enumerate(names))
    yield from batches(place(p, name, rank, rows, number * length, length) for rank, number, name in cells)
    yield p.text("version") + p.text("1.0.0") + b"ub."


def batches(pairs: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pairs of a dict, a thousand at a time, as pickle sets them."""
    for number, pair in enumerate(pairs):
        if number % 1000 == 0:
            yield b"u(" if number else b"("
        yield pair
    yield b"u"


def tensor(p: Pickler, ranks: int, rows: int) -> bytes:
    """Return a TensorStorageMetadata cut by rows."""
    out = [p.made(METADATA, "TensorStorageMetadata"), b"}", p.memo(), b"(", p.text("properties")]
    out += [p.made(METADATA, "TensorProperties"), b"(", p.name("torch", "float32")]
    if "layout" not in p.known:
        out += [p.name("torch.serialization", "_get_layout"), p.text("torch.strided"), b"\x85", p.memo(), b"R"]
        out += [p.memo("layout"), b"\x89", p.name(METADATA, "_MEM_FORMAT_ENCODING"), b"K\0\x85", p.memo(), b"R"]
        out += [p.memo("format")]
    else:
        out += [p.ref("layout"), b"\x89", p.ref("format")]
    out += [b"\x89t", p.memo(), b"b", p.text("size"), p.size(ROWS, COLUMNS), p.text("chunks"), b"]", p.memo(), b"("]
    for rank in range(ranks):
        out += [p.made(METADATA, "ChunkStorageMetadata"), b"}", p.memo(), b"(", p.text("offsets")]
        out += [p.size(rank * rows, 0), p.text("sizes"), p.size(rows, COLUMNS), b"ub"]
    return b"".join([*out, b"eub"])


def place(p: Pickler, name: str, rank: int, rows: int, offset: int, length: int) -> bytes:
    """Return a MetadataIndex and its _StorageInfo; the names of each rank are strings of their own."""
    key = p.made(METADATA, "MetadataIndex") + b"}" + p.memo() + b"(" + p.text("fqn") + p.text(name, (rank, name))
    key += p.text("index") + p.number(rank) + p.text("offset") + p.size(rank * rows, 0) + b"ub"
    info = p.made(FILESYSTEM, "_StorageInfo") + b"}" + p.memo() + b"(" + p.text("relative_path")
    info += p.text(f"__{rank}_0.distcp") + p.text("offset") + p.number(offset)
    return key + info + p.text("length") + p.number(length) + b"ub"


def make(folder: Path, tensors: int, ranks: int) -> int:
    """Make the folder; return the bytes of its data files."""
    with (folder / ".metadata").open("wb") as file:
        for piece in metadata(tensors, ranks):
            file.write(piece)
    length = tensors * (ROWS // ranks * COLUMNS * ITEM + OVERHEAD)
    for rank in range(ranks):
        with (folder / f"__{rank}_0.distcp").open("wb") as file:
            file.truncate(length)
    return length * ranks


def main() -> None:
    """Make the folder, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tensors", type=int, default=20_000)
    parser.add_argument("--ranks", type=int, default=64)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--torch", action="store_true", help="measure pickle.load as well; takes gigabytes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        size = make(Path(folder), options.tensors, options.ranks)
        pickle = Path(folder) / ".metadata"
        print(f"{options.tensors} tensors of {options.ranks} parts, {size / 1e12:.2f} TB")
        print(f"metadata of {pickle.stat().st_size / 1e6:.0f} MB")
        commands = {"ls": [*PROGRAM, "ls", folder], "ls --json": [*PROGRAM, "ls", folder, "--json"]}
        if options.torch:
            commands["pickle.load"] = [sys.executable, "-c", LOAD, str(pickle)]
        for name, command in commands.items():
            print(f"{name:12}", figures([run_once(command) for _ in range(options.runs)]))


if __name__ == "__main__":
    main()
