"""A compressed file around a checkpoint: one layer is taken off in memory, nothing is written anywhere."""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from ckpt_viewer.core.finding import Note
from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.tensor import Bytes
from ckpt_viewer.core.text import bytes_text
from ckpt_viewer.errors import Damaged, NotACheckpoint, Truncated
from ckpt_viewer.formats.base import PACKED
from ckpt_viewer.formats.broken import cut_short
from ckpt_viewer.formats.kinds import TAR_MEMBERS
from ckpt_viewer.sources import MemorySource

LIMIT = 64 << 20
"""Bytes that are unpacked into memory; a larger file is to be unpacked by its own program."""
_LEAST = 16
"""Bytes that must have been unpacked of a file that is cut off for looking at what they are."""
_BLOCK = 1 << 16
_XZ_MEMORY = 80 << 20
"""What xz may use besides: the dictionary of its highest level takes 64 MiB."""
_ZSTD_WINDOW = 26


class _Unpacker(Protocol):
    """What bz2, lzma and compression.zstd provide alike."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    """zlib's reader of gzip members in the manner of the others."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(31)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)


class _Zstd:
    """Python's reader of zstd frames, or its backport, with errors like those of the others."""

    def __init__(self, zstd: Any) -> None:
        self._error = zstd.ZstdError
        self._reader = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW})

    @property
    def eof(self) -> bool:
        return bool(self._reader.eof)

    @property
    def needs_input(self) -> bool:
        return bool(self._reader.needs_input)

    @property
    def unused_data(self) -> bytes:
        unused: bytes = self._reader.unused_data
        return unused

    def decompress(self, data: bytes, max_length: int) -> bytes:
        try:
            out: bytes = self._reader.decompress(data, max_length)
        except self._error as error:
            raise ValueError(str(error)) from error
        return out


def _zstd() -> _Unpacker | None:
    """Return Python's own reader, which it has since 3.14, or its backport; None where there is neither."""
    try:
        import compression.zstd as zstd  # type: ignore[import-not-found]
    except ImportError:
        try:
            import backports.zstd as zstd
        except ImportError:
            return None
    return _Zstd(zstd)


class _Kind(NamedTuple):
    """One way of packing: its name with an article, the command that undoes it, how torch reads it, and an unpacker."""

    name: str
    command: str
    python: str
    make: Callable[[], _Unpacker | None]


_GZIP = _Kind("a gzip file", "gunzip", "gzip.open", _Gzip)
_BZIP2 = _Kind("a bzip2 file", "bunzip2", "bz2.open", bz2.BZ2Decompressor)
_XZ = _Kind("an xz file", "unxz", "lzma.open", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY))
_ZSTD = _Kind("a zstd file", "unzstd", "compression.zstd.open", _zstd)
_KINDS = tuple(zip(PACKED, (_GZIP, _BZIP2, _XZ, _ZSTD), strict=True))


class Unwrapped(NamedTuple):
    """What is inside of a compressed file, in memory.

    Attributes:
        notes: that it was compressed, and what was left out. problem: why it may not be all, a clause; ``""`` if it is.
    """

    source: Bytes
    notes: tuple[Note, ...]
    problem: str


def unwrap(source: Bytes, context: Context) -> Unwrapped:
    """Take one layer of compression off a file that begins with one of `PACKED`.

    Of a file that is cut off as much is unpacked as can be.

    Raises:
        NotACheckpoint: it is too large for that, or packed more than once, or its packer is not at hand.
        Truncated: it is cut off before anything can be unpacked. Damaged: the compressed data are broken.
        Cancelled: by `context`.
    """
    head = source.read_at(0, min(source.size, 16))
    magic, kind = next((magic, kind) for magic, kind in _KINDS if head.startswith(magic))
    layer = _Layer(source, magic, kind, context)
    data = layer.unpacked()
    again = next((inner for magic, inner in _KINDS if data.startswith(magic)), None)
    if again is not None:
        raise NotACheckpoint(f"this is {kind.name} around {again.name}; unpack both and open the result")
    if data[257:262] == b"ustar" and data[:100].rstrip(b"\0") not in TAR_MEMBERS:
        raise NotACheckpoint(f"this is a tar archive in {kind.name}; unpack it with tar xf and open what is inside")
    message = (
        f"the file is {kind.name} around a checkpoint of {bytes_text(len(data))}, which torch.load would refuse by its "
        f"path; give it {kind.python}(path), or unpack it with {kind.command}"
    )
    notes = [Note("warning", "compressed", None, message)]
    if layer.behind:
        message = f"{layer.behind} bytes that are not compressed follow {kind.name}, and were left out"
        notes.append(Note("warning", "trailing-bytes", None, message))
    problem = "" if layer.whole else f"{kind.name} is cut off, and it is unknown how many bytes are missing"
    return Unwrapped(MemorySource(data, f"the content of {kind.name}", source.size), tuple(notes), problem)


class _Layer:
    """One layer of compression: members, with padding between and behind them.

    Attributes:
        whole: whether it was not cut off. behind: bytes behind the last member that begin no other.
    """

    def __init__(self, source: Bytes, magic: bytes, kind: _Kind, context: Context) -> None:
        self._source, self._magic, self._kind, self._context = source, magic, kind, context
        self._out, self._at = io.BytesIO(), 0
        self.whole, self.behind = True, 0

    def unpacked(self) -> bytes:
        """Return what is inside; raises as `unwrap`."""
        kind = self._kind
        try:
            following: bytes | None = self._read()
            while following is not None:
                following = self._following(self._member(following))
        except (zlib.error, OSError, EOFError, lzma.LZMAError, ValueError) as error:
            if "limit" in str(error) or "memory" in str(error):  # lzma's word, and zstd's
                raise NotACheckpoint(
                    f"this is {kind.name} that takes much memory; unpack it with {kind.command} and open the result"
                ) from error
            raise Damaged(
                f"this is {kind.name} that cannot be unpacked ({error}); copy or download it again"
            ) from error
        return self._out.getvalue()

    def _read(self) -> bytes:
        data = self._source.read_at(self._at, min(_BLOCK, self._source.size - self._at))
        self._at += len(data)
        return data

    def _member(self, data: bytes) -> bytes:
        """Unpack a member that begins with `data`; return what was read behind it."""
        kind, unpacker = self._kind, self._kind.make()
        if unpacker is None:
            raise NotACheckpoint(f"this is {kind.name}; unpack it with {kind.command} and open the result")
        while not unpacker.eof:
            self._context.step(self._at, self._source.size)
            if not data and unpacker.needs_input:
                data = self._read()
                if not data:
                    self._cut_off()
                    return b""
            self._out.write(unpacker.decompress(data, LIMIT + 1 - self._out.tell()))
            data = b""
            if self._out.tell() > LIMIT:
                raise NotACheckpoint(
                    f"this is {kind.name} with more than {bytes_text(LIMIT)} inside; unpack it with {kind.command} and "
                    "open the result"
                )
        return unpacker.unused_data

    def _cut_off(self) -> None:
        self.whole = False
        if self._out.tell() < _LEAST:
            error = Truncated(self._kind.name, wanted=self._at + 1, found=self._at, offset=0)
            error.args = (cut_short(self._source, self._kind.name),)
            raise error

    def _following(self, data: bytes) -> bytes | None:
        """Return the beginning of the next member behind `data` and padding; None where there is none."""
        data = data.lstrip(b"\0")
        while len(data) < len(self._magic) and self._at < self._source.size:
            self._context.step(self._at, self._source.size)
            data = (data + self._read()).lstrip(b"\0")
        if data.startswith(self._magic):
            return data
        self.behind = len(data) + self._source.size - self._at
        return None
