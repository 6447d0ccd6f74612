"""One tensor as a .npy file, several as an .npz archive, written without numpy.

Sources: numpy/lib/_format_impl.py (format 1.0), numpy/lib/_npyio_impl.py (`savez`: a zip of stored ``NAME.npy``). No
pickles: what numpy has no type for is refused by name. Arrays are in row-major order and little-endian.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from zlib_ng.zlib_ng import crc32, crc32_combine

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.progress import SILENT, Context, drain, stepped
from ckpt_viewer.core.tensor import Bytes
from ckpt_viewer.errors import CannotExport
from ckpt_viewer.export.blocks import Meter
from ckpt_viewer.export.cargo import Cargo, CastCounts, Options
from ckpt_viewer.export.comparer import differs
from ckpt_viewer.export.copier import Copier
from ckpt_viewer.export.flat import Counted, Flat, flat_tensors
from ckpt_viewer.export.new_metadata import said_of_metadata
from ckpt_viewer.export.recipe import FileRecipe
from ckpt_viewer.export.shards import check_one_file
from ckpt_viewer.export.sharing import listed, shared
from ckpt_viewer.export.zip_writer import ZipWriter, zip_size
from ckpt_viewer.formats.zip_directory import ZipDirectory
from ckpt_viewer.sources import FileSource

DEFAULT = Options()
SUFFIX = ".npy"
ALIGNMENT = 64
"""Bytes; what numpy pads headers to, so that the array can be mapped."""
MOST_DIMS = 64
DESCR = {
    "bool": "|b1", "uint8": "|u1", "int8": "|i1", "uint16": "<u2", "int16": "<i2", "uint32": "<u4", "int32": "<i4",
    "uint64": "<u8", "int64": "<i8", "float16": "<f2", "float32": "<f4", "float64": "<f8", "complex64": "<c8",
    "complex128": "<c16",
}  # fmt: skip
"""dtype -> numpy's text for it."""


def npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """Return what stands before the elements of an array; raises CannotExport where that is too long."""
    text = f"{{'descr': '{DESCR[dtype]}', 'fortran_order': False, 'shape': {shape}, }}"
    padding = -(10 + len(text) + 1) % ALIGNMENT
    raw = text.encode("ascii") + b" " * padding + b"\n"
    return b"\x93NUMPY\1\0" + len(raw).to_bytes(2, "little") + raw


def _refusal(name: str, dtype: str) -> str:
    del name
    if dtype in DESCR:
        return ""
    advice = " (cast it: --dtype float32)" if DTYPES[dtype].kind == "float" else ""
    return f"is {dtype}, which numpy does not have{advice}"


class Npy(NamedTuple):
    """A .npy file.

    Attributes:
        flat: its tensor. header: what stands before it. counted: copies it. warnings, dropped: see `Recipe`.
    """

    flat: Flat
    header: bytes
    counted: Counted
    warnings: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        """Length of the file in bytes."""
        return len(self.header) + self.flat.nbytes

    @property
    def copied_bytes(self) -> int:
        """Bytes of the elements."""
        return self.flat.nbytes

    def files(self, target: Path) -> list[tuple[Path, FileRecipe]]:
        """Return the one file."""
        return [(target, self)]

    def counts(self) -> dict[str, CastCounts]:
        """Return what the cast did to the values."""
        return self.counted.counts

    def write(self, copier: Copier) -> None:
        """Append the whole file; raises SourceError, Damaged, WriteFailed, Cancelled."""
        copier.write(self.header)
        for _ in self.counted.copy_each([self.flat], copier):
            pass

    def claim(self) -> None:
        """No loader of tensors reads it."""

    def verify(self, path: Path, meter: Meter) -> None:
        """Read header and length again; raises WriteFailed where they differ."""
        source = FileSource(path)
        try:
            _check_array(source, 0, source.size, self.header, self.flat)
            meter(0)
        finally:
            source.close()

    def discard(self, context: Context) -> None:
        """Nothing here is large."""


class Npz(NamedTuple):
    """An .npz archive.

    Attributes:
        flats: its tensors, in order. headers: what stands before each. nbytes: length of the file in bytes.
        counted: copies them. warnings, dropped: see `Recipe`.
    """

    flats: list[Flat]
    headers: list[bytes]
    nbytes: int
    counted: Counted
    warnings: tuple[str, ...]
    dropped: tuple[str, ...]

    @property
    def copied_bytes(self) -> int:
        """Bytes of the elements."""
        return sum(flat.nbytes for flat in self.flats)

    def files(self, target: Path) -> list[tuple[Path, FileRecipe]]:
        """Return the one file."""
        return [(target, self)]

    def counts(self) -> dict[str, CastCounts]:
        """Return what casts did to the values, by name."""
        return self.counted.counts

    def write(self, copier: Copier) -> None:
        """Append the whole archive; raises SourceError, Damaged, WriteFailed, Cancelled."""
        writer = ZipWriter(copier.write)
        copied = self.counted.copy_each(self.flats, copier, checksum=True)
        for flat, header in zip(self.flats, self.headers, strict=True):
            writer.begin(_member(flat.name).encode(), len(header) + flat.nbytes)
            writer.append(header)
            crc = next(copied)
            writer.skip(flat.nbytes)
            writer.end(crc32_combine(crc32(header), crc, flat.nbytes))
        writer.finish()

    def claim(self) -> None:
        """No loader of tensors reads it."""

    def verify(self, path: Path, meter: Meter) -> None:
        """Compare what our reader of archives finds with what was planned; raises WriteFailed where it differs."""
        source = FileSource(path)
        try:
            archive = ZipDirectory(source)
            if list(archive.records) != [_member(flat.name) for flat in self.flats] or archive.notes:
                raise differs("the names of its entries")
            for flat, header, record in zip(self.flats, self.headers, archive.records.values(), strict=True):
                extent = archive.extent(record)
                if record.method:
                    raise differs(flat.name)
                _check_array(source, extent.offset, extent.nbytes, header, flat)
                meter(0)
        finally:
            source.close()

    def discard(self, context: Context) -> None:
        """Free the lists; raises Cancelled."""
        drain(self.flats, context)
        drain(self.headers, context)


def _check_array(source: Bytes, offset: int, nbytes: int, header: bytes, flat: Flat) -> None:
    if nbytes != len(header) + flat.nbytes or source.read_at(offset, len(header)) != header:
        raise differs(flat.name)


def plan_npy(cargo: Cargo, options: Options = DEFAULT, context: Context = SILENT) -> Npy:
    """Decide how to write the one tensor of a cargo.

    Raises:
        CannotExport: there are several, or numpy cannot hold it. Cancelled: by `context`.
    """
    check_one_file(options, "a .npy file")
    flats, others = flat_tensors(cargo, "a .npy file", _refusal, context)
    if len(flats) + len(others) != 1 or not flats:
        raise CannotExport(
            f"a .npy file holds one tensor, and these are {len(cargo.items)} entries; choose one, or write an .npz"
        )
    return Npy(flats[0], _header(flats[0]), Counted())


def plan_npz(cargo: Cargo, options: Options = DEFAULT, context: Context = SILENT) -> Npz:
    """Decide how to write a cargo.

    Raises:
        CannotExport: numpy cannot hold a tensor, or a zip its name (named in the message). Cancelled: by `context`.
    """
    check_one_file(options, "an .npz file")
    flats, others = flat_tensors(cargo, "an .npz file", _refusal, context)
    names = {flat.name for flat in flats}
    for flat in stepped(flats, context):
        problem = _name_problem(flat.name, names)
        if problem:
            raise CannotExport(f"{flat.name!r} {problem}, so it cannot be a member of an archive; rename it: --rename")
    headers = [_header(flat) for flat in stepped(flats, context)]
    sizes = [
        (_member(flat.name).encode(), len(header) + flat.nbytes) for flat, header in zip(flats, headers, strict=True)
    ]
    warnings = []
    same = shared(cargo, context)
    if same.twins or same.overlapping:
        tied = [*same.twins, *same.overlapping]
        warnings.append(f"tensors that share memory are written in full, each on its own: {listed(tied)}")
    if others:
        warnings.append(f"left out, being no tensors: {listed(others)}")
    warnings += said_of_metadata(cargo.metadata, "an .npz file")
    return Npz(flats, headers, zip_size(sizes, context), Counted(), tuple(warnings), tuple(others))


def _header(flat: Flat) -> bytes:
    if len(flat.shape) > MOST_DIMS:
        raise CannotExport(f"{flat.name!r} has {len(flat.shape)} dimensions, and numpy's arrays at most {MOST_DIMS}")
    return npy_header(flat.dtype, flat.shape)


def _member(name: str) -> str:
    return name + SUFFIX


def _name_problem(name: str, names: set[str]) -> str:
    """Return why an entry cannot have a name, as the end of a sentence; ``""`` if it can.

    Whoever unpacks the archive makes files of the names, so they must lead nowhere else.
    """
    try:
        if len(name.encode()) > 60_000:
            return "has a name that is too long"
    except UnicodeEncodeError:
        return "has a name that is no valid text"
    if name.startswith("/") or ".." in name.split("/") or "\\" in name or name[1:2] == ":":
        return "has a name that leads out of the folder it is unpacked in"
    if any(ord(character) < 32 or ord(character) == 127 for character in name):
        return "has a name with control characters"
    if name.endswith(SUFFIX) and name.removesuffix(SUFFIX) in names:
        return f"has a name that numpy takes for that of {name.removesuffix(SUFFIX)!r}"
    return ""
