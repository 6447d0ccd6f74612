"""The params-only state_dict of a model, as a plan and as a file.

What is kept: names and their order, dtype, shape, stride, shared memory, conjugate and negative bits, quantisation,
sparse layouts, `_metadata`, and entries that are plain values. What is not: Parameter and other classes,
requires_grad, devices, hooks. What cannot be written faithfully is refused by name if it is a tensor, and left out
with a warning if not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from zlib_ng.zlib_ng import crc32

from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.progress import SILENT, Context, stepped
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.text import bytes_text
from ckpt_viewer.core.value import Value
from ckpt_viewer.errors import CannotExport
from ckpt_viewer.export.blocks import Meter, StepBytes
from ckpt_viewer.export.cargo import Cargo, CastCounts, Options
from ckpt_viewer.export.casting import Recast
from ckpt_viewer.export.check_state_dict import check_state_dict
from ckpt_viewer.export.claim import Claim, claim_of
from ckpt_viewer.export.copier import Copier
from ckpt_viewer.export.emit import Emitter, obstacle, tensors_in
from ckpt_viewer.export.needs import Needs
from ckpt_viewer.export.pieces import Pieces
from ckpt_viewer.export.recipe import FileRecipe, reopened
from ckpt_viewer.export.shards import check_one_file
from ckpt_viewer.export.sharing import untied
from ckpt_viewer.export.zip_writer import ZipWriter, zip_size

DEFAULT = Options()
ROOT = b"archive/"
"""The folder inside the zip; torch gives it no meaning."""


class StateDict(NamedTuple):
    """A state_dict that can be written.

    Attributes:
        cargo: tensors and plain values by name, those that are cast replaced by `recast`. recast: counts what casts do.
        pickle: length of the new ``data.pkl`` in bytes. pieces: its storages.
        nbytes: length of the file in bytes.
        warnings: a sentence each. dropped: names that this target leaves out: none.
    """

    cargo: Cargo
    recast: Recast
    pickle: int
    pieces: Pieces
    nbytes: int
    warnings: tuple[str, ...]
    dropped: tuple[str, ...] = ()

    @property
    def copied_bytes(self) -> int:
        """Bytes that are copied from the source: those of the tensors."""
        return sum(piece.nbytes for piece in self.pieces.used)

    def write(self, copier: Copier) -> None:
        """Append the whole zip.

        Raises:
            SourceError, Damaged: the source cannot be read. WriteFailed. Cancelled.
        """
        writer = ZipWriter(copier.write)
        self._write_pickle(writer)
        _write_record(writer, b"byteorder", b"little")
        copied = copier.copy_each((piece.span() for piece in self.pieces.used), checksum=True)
        for piece in self.pieces.used:
            writer.begin(ROOT + b"data/" + piece.key.encode("ascii"), piece.nbytes)
            crc = next(copied)
            writer.skip(piece.nbytes)
            writer.end(crc)
        _write_record(writer, b"version", b"3\n")
        writer.finish()

    def _write_pickle(self, writer: ZipWriter) -> None:
        """Make the pickle anew, and write it part by part: of 100,000 tensors it has 10 MB."""
        crc = 0

        def write(part: bytearray) -> None:
            nonlocal crc
            crc = crc32(part, crc)
            writer.append(part)

        writer.begin(ROOT + b"data.pkl", self.pickle)
        _emit(self.cargo.items, self.cargo.metadata, self.pieces, SILENT, write)
        writer.end(crc)

    def files(self, target: Path) -> list[tuple[Path, FileRecipe]]:
        """Return the one file."""
        return [(target, self)]

    def counts(self) -> dict[str, CastCounts]:
        """Return what casts did to the values; tensors that share a storage are counted together, by the first."""
        return self.recast.counts()

    def verify(self, path: Path, meter: Meter) -> None:
        """Compare what our reader finds in the copy with the source; raises WriteFailed where they differ."""
        reopened(path, meter, self.check, outline=False)

    def check(self, copy: Checkpoint, step: StepBytes) -> None:
        """Compare what our reader finds in the copy with the source; raises WriteFailed where they differ."""
        check_state_dict(self.cargo.items, self.cargo.metadata, self.pieces, copy, step)

    def claim(self) -> Claim:
        """Return what torch has to find in the file."""
        return claim_of(self.recast.given, self.cargo.cast)

    def discard(self, context: Context) -> None:
        """Free the pieces, of which there are as many as tensors; raises Cancelled."""
        self.pieces.discard(context)


def _write_record(writer: ZipWriter, name: bytes, data: bytes) -> None:
    writer.begin(ROOT + name, len(data))
    writer.append(data)
    writer.end(crc32(data))


def plan_state_dict(cargo: Cargo, options: Options = DEFAULT, context: Context = SILENT) -> StateDict:
    """Decide how to write a cargo.

    Raises:
        CannotExport: a tensor cannot be written faithfully (named in the message).
        Cancelled: by `context`.
    """
    check_one_file(options, "a .pth")
    for name, value in stepped(cargo.items.items(), context):
        reason = obstacle(value) if isinstance(value, TensorSpec) else ""
        if reason:
            raise CannotExport(f"{name!r} {reason}, so it cannot be written into a plain state_dict")
    recast = Recast(cargo.items, cargo.cast, context)
    pieces = Pieces((tensor for value in recast.items.values() for tensor in tensors_in(value)), context)
    lengths = [0]
    needs = _emit(recast.items, cargo.metadata, pieces, context, lambda part: lengths.append(len(part)))
    pickle = sum(lengths)
    warnings = [*needs.said(), *untied(cargo, context)]
    if pieces.unused:
        warnings.append(
            f"the storages hold {bytes_text(pieces.unused)} that no tensor of the model uses; they are left out"
        )
    nbytes = zip_size(_records(pickle, pieces), context)
    return StateDict(cargo._replace(items=recast.items), recast, pickle, pieces, nbytes, tuple(warnings))


def _records(pickle: int, pieces: Pieces) -> Iterator[tuple[bytes, int]]:
    """Yield names and sizes of the records."""
    yield from ((ROOT + b"data.pkl", pickle), (ROOT + b"byteorder", 6))
    yield from ((ROOT + b"data/" + piece.key.encode("ascii"), piece.nbytes) for piece in pieces.used)
    yield ROOT + b"version", 2


def _emit(
    items: dict[str, Value],
    metadata: Value,
    pieces: Pieces,
    context: Context,
    take: Callable[[bytearray], object],
) -> Needs:
    """Hand the pickle to `take`, part by part, the same each time; return which torch can load it."""
    emitter = Emitter(pieces, context, take)
    emitter.pickler.ordered_dict()
    emitter.items(items)
    if metadata is not None:
        emitter.pickler.op(b"}")
        emitter.pairs(["_metadata", metadata])
        emitter.pickler.op(b"b")
    emitter.pickler.op(b".")
    emitter.pickler.hand_over(take)
    return emitter.needs
