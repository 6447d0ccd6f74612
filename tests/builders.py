"""Makers of checkpoints: pickles opcode by opcode, zips and legacy streams byte by byte, and files written by torch.

Nothing here imports torch until a function that needs it is called.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STOP = b"."
LEGACY_MAGIC = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
ITEM_SIZES = {"FloatStorage": 4, "DoubleStorage": 8, "ByteStorage": 1, "LongStorage": 8, "ComplexFloatStorage": 8,
              "HalfStorage": 2, "UntypedStorage": 1, "ShortStorage": 2}  # fmt: skip


# --- opcodes ------------------------------------------------------------------------------------------------------


def text(value: str) -> bytes:
    """BINUNICODE."""
    raw = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(raw)) + raw


def integer(value: int) -> bytes:
    """The shortest opcode that pickle would choose."""
    if 0 <= value < 256:
        return b"K" + bytes([value])
    if 0 <= value < 65536:
        return b"M" + struct.pack("<H", value)
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw if len(raw) < 256 else b"\x8b" + struct.pack("<i", len(raw)) + raw


def name(module: str, attribute: str) -> bytes:
    """GLOBAL."""
    return b"c" + module.encode() + b"\n" + attribute.encode() + b"\n"


def many(*parts: bytes) -> bytes:
    """A tuple."""
    return b"(" + b"".join(parts) + b"t"


def listed(*parts: bytes) -> bytes:
    """A list."""
    return b"](" + b"".join(parts) + b"e"


def mapped(*pairs: tuple[bytes, bytes]) -> bytes:
    """A dict of (key, value), both as opcodes."""
    return b"}(" + b"".join(key + value for key, value in pairs) + b"u"


def call(function: bytes, *arguments: bytes) -> bytes:
    """REDUCE."""
    return function + many(*arguments) + b"R"


def put(slot: int) -> bytes:
    """LONG_BINPUT."""
    return b"r" + struct.pack("<I", slot)


def get(slot: int) -> bytes:
    """LONG_BINGET."""
    return b"j" + struct.pack("<I", slot)


def pickled(body: bytes, protocol: int = 2) -> bytes:
    """A whole pickle around a body; protocols 0 and 1 state none."""
    return (b"\x80" + bytes([protocol]) if protocol >= 2 else b"") + body + STOP


HOOKS = call(name("collections", "OrderedDict"))


def storage(
    key: str = "0",
    numel: int = 4,
    cls: str = "FloatStorage",
    location: str = "cpu",
    *,
    legacy: bool = False,
    view: tuple[str, int, int] | None = None,
    module: str = "torch",
) -> bytes:
    """A storage's persistent id; of the legacy stream, with its view, where `legacy`."""
    parts = [text("storage"), name(module, cls), text(key), text(location), integer(numel)]
    if legacy:
        parts.append(b"N" if view is None else many(text(view[0]), integer(view[1]), integer(view[2])))
    return many(*parts) + b"Q"


def tensor(
    shape: tuple[int, ...] = (4,),
    stride: tuple[int, ...] | None = None,
    offset: int = 0,
    *,
    grad: bool = False,
    metadata: bytes = b"",
    of: bytes | None = None,
    **where: Any,
) -> bytes:
    """`_rebuild_tensor_v2` of a storage, contiguous unless a stride is given; `where` goes to `storage`."""
    if stride is None:
        stride = contiguous(shape)
    numel = where.pop("numel", offset + 1 + sum((n - 1) * s for n, s in zip(shape, stride, strict=True)))
    held = of if of is not None else storage(numel=numel, **where)
    sizes = (many(*map(integer, shape)), many(*map(integer, stride)))
    rest = [metadata] if metadata else []
    flag = b"\x88" if grad else b"\x89"
    return call(name("torch._utils", "_rebuild_tensor_v2"), held, integer(offset), *sizes, flag, HOOKS, *rest)


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides in elements."""
    stride, step = [], 1
    for size in reversed(shape):
        stride.insert(0, step)
        step *= size
    return tuple(stride)


def floats(*values: float, order: str = "<") -> bytes:
    """Bytes of float32 numbers."""
    return struct.pack(f"{order}{len(values)}f", *values)


# --- the zip container --------------------------------------------------------------------------------------------


def zip_file(
    records: Mapping[str, bytes],
    *,
    alignment: int = 64,
    deflate: tuple[str, ...] = (),
    crc: bool = True,
    zip64_end: bool = True,
    comment: bytes = b"",
) -> bytes:
    """A zip as torch's writer lays it out: data descriptors, records aligned by an "FB" extra, zip64 end records.

    Args:
        deflate: names of records that are compressed. crc: whether checksums are stated (else zero).
    """
    out = bytearray()
    entries = []
    for path, data in records.items():
        raw, method = path.encode(), 8 if path in deflate else 0
        packed = _deflated(data) if method else data
        header, check = len(out), zlib.crc32(data) if crc else 0
        pad = -(header + 30 + len(raw) + 4) % alignment
        extra = b"FB" + struct.pack("<H", pad) + b"Z" * pad
        flags = 0x0808 if data else 0x0800
        out += struct.pack("<4s5H3I2H", b"PK\3\4", 0, flags, method, 0, 0, 0, 0, 0, len(raw), len(extra)) + raw + extra
        out += packed + (struct.pack("<4s3I", b"PK\7\x08", check, len(packed), len(data)) if data else b"")
        entries.append(
            struct.pack("<4s6H3I5H2I", b"PK\1\2", 0, 0, flags, method, 0, 0, check, len(packed), len(data), len(raw),
                        0, 0, 0, 0, 0, header) + raw
        )  # fmt: skip
    start, directory = len(out), b"".join(entries)
    out += directory
    if zip64_end:
        out += struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 0, 0, 0, 0, len(entries), len(entries), len(directory), start)
        out += struct.pack("<4sIQI", b"PK\6\7", 0, start + len(directory), 1)
    counts = (min(len(entries), 65535),) * 2
    out += struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, *counts, len(directory), start, len(comment)) + comment
    return bytes(out)


def _deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def zip_checkpoint(
    pickle: bytes,
    storages: Mapping[str, bytes] | None = None,
    *,
    root: str = "archive",
    folder: str = "data",
    byteorder: str | None = "little",
    version: bytes = b"3\n",
    extra: Mapping[str, bytes] | None = None,
    deflate: tuple[str, ...] = (),
    **layout: Any,
) -> bytes:
    """What torch.save writes: data.pkl, byteorder, one record for each storage, version.

    Args:
        folder: ``tensors`` for the zip of torch 1.4. extra: further records. deflate: paths below the root.
    """
    inner = {"data.pkl": pickle}
    if byteorder is not None:
        inner["byteorder"] = byteorder.encode()
    inner.update({f"{folder}/{key}": data for key, data in (storages or {}).items()})
    inner.update({"version": version, **(extra or {})})
    paths = {f"{root}/{path}": data for path, data in inner.items()}
    return zip_file(paths, deflate=tuple(f"{root}/{path}" for path in deflate), **layout)


# --- the legacy stream --------------------------------------------------------------------------------------------


def legacy_stream(
    pickle: bytes,
    storages: Mapping[str, bytes] | None = None,
    *,
    item: int = 4,
    keys: bytes | None = None,
    magic: bytes = LEGACY_MAGIC,
    version: int = 1001,
    little_endian: bool = True,
) -> bytes:
    """The five pickles and the storages behind them.

    Args:
        storages: key -> bytes, all of elements of `item` bytes. keys: opcodes of the fourth list, if not the usual.
    """
    storages = storages or {}
    info = mapped((text("protocol_version"), integer(1001)),
                  (text("little_endian"), b"\x88" if little_endian else b"\x89"))  # fmt: skip
    names = keys if keys is not None else listed(*(text(key) for key in sorted(storages)))
    head = pickled(magic) + pickled(integer(version)) + pickled(info) + pickle + pickled(names)
    return head + b"".join(struct.pack("<q", len(data) // item) + data for _, data in sorted(storages.items()))


# --- safetensors --------------------------------------------------------------------------------------------------


def entry(dtype: str, shape: tuple[int, ...] | list[int], begin: int, end: int) -> dict[str, Any]:
    """What a safetensors header says of one tensor."""
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def safetensors_file(header: bytes | str | Mapping[str, Any], data: bytes = b"") -> bytes:
    """A safetensors file around a header: a JSON text as it is, or what makes one that is padded as by writers."""
    if isinstance(header, Mapping):
        text_of = json.dumps(header, separators=(",", ":"))
        header = text_of.ljust(-(-len(text_of) // 8) * 8)
    raw = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(raw)) + raw + data


# --- files written by torch ---------------------------------------------------------------------------------------


@contextmanager
def tagged(tag: str | Callable[[int], str] | None) -> Iterator[None]:
    """While it lasts, torch.save writes this device tag; a function is asked with the number of the storage."""
    import torch

    if tag is None:
        yield
        return
    numbers: dict[int, int] = {}
    usual = torch.serialization.location_tag

    def location_tag(held: Any) -> str:
        number = numbers.setdefault(held._cdata, len(numbers))
        return tag if isinstance(tag, str) else tag(number)

    torch.serialization.location_tag = location_tag
    try:
        yield
    finally:
        torch.serialization.location_tag = usual


def save(
    value: Any,
    path: Path,
    *,
    legacy: bool = False,
    protocol: int = 2,
    tag: str | Callable[[int], str] | None = None,
) -> Path:
    """torch.save, in either container, with device tags of your choice; return the path."""
    import torch

    with tagged(tag):
        torch.save(value, path, pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)
    return path
