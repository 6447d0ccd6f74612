"""The params-only state_dict of a model, as a plan and as a file.

What is kept: names and their order, dtype, shape, stride, shared memory, conjugate and negative bits, quantisation,
sparse layouts, `_metadata`, and entries that are plain values. What is not: Parameter and other classes,
requires_grad, devices, hooks. What cannot be written faithfully is refused by name if it is a tensor, and left out
with a warning if not.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.module import Entries
from ckpt_viewer.core.progress import SILENT, Context, drain, stepped
from ckpt_viewer.core.text import bytes_text
from ckpt_viewer.core.value import Mapping, Value
from ckpt_viewer.errors import CannotExport
from ckpt_viewer.export.blocks import StepBytes
from ckpt_viewer.export.check_state_dict import check_state_dict
from ckpt_viewer.export.copier import Copier
from ckpt_viewer.export.emit import PLAIN_TENSORS, Emitter, is_plain, obstacle, tensors_in
from ckpt_viewer.export.pieces import Pieces
from ckpt_viewer.export.zip_writer import ZipWriter, zip_size

ROOT = b"archive/"
"""The folder inside the zip; torch gives it no meaning."""


class StateDict(NamedTuple):
    """A state_dict that can be written.

    Attributes:
        items: tensors and plain values by name, in order. metadata: ``_metadata`` or None.
        pickle: the new ``data.pkl``. pieces: its storages.
        dropped: names of entries that are left out. warnings: a sentence each.
        nbytes: length of the file in bytes.
    """

    items: dict[str, Value]
    metadata: Value
    pickle: bytes
    pieces: Pieces
    dropped: tuple[str, ...]
    warnings: tuple[str, ...]
    nbytes: int

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
        for name, data in ((b"data.pkl", self.pickle), (b"byteorder", b"little")):
            _write_record(writer, name, data)
        for piece in self.pieces.used:
            source, offset, swap, crc = piece.place()
            writer.begin(ROOT + b"data/" + piece.key.encode("ascii"), piece.nbytes)
            # a checksum that the source states is taken over: should it be wrong, it goes on saying so
            computed = copier.copy(source, offset, piece.nbytes, swap=swap, checksum=not crc)
            writer.skip(piece.nbytes)
            writer.end(crc or computed)
        _write_record(writer, b"version", b"3\n")
        writer.finish()

    def check(self, copy: Checkpoint, step: StepBytes) -> None:
        """Compare what our reader finds in the copy with the source; raises WriteFailed where they differ."""
        check_state_dict(self.items, self.metadata, self.pieces, copy, step)

    def discard(self, context: Context) -> None:
        """Free the pieces, of which there are as many as tensors; raises Cancelled."""
        self.pieces.discard(context)


def _write_record(writer: ZipWriter, name: bytes, data: bytes) -> None:
    writer.begin(ROOT + name, len(data))
    writer.append(data)
    writer.end(zlib.crc32(data))


def plan_state_dict(entries: Entries, context: Context = SILENT) -> StateDict:
    """Decide what to write for a model's entries.

    Raises:
        CannotExport: there is no tensor, or one cannot be written faithfully (named in the message).
        Cancelled: by `context`.
    """
    items, dropped, warnings = _sort_out(entries, context)
    pieces = Pieces((tensor for value in items.values() for tensor in tensors_in(value)), context)
    emitter = Emitter(pieces, context)
    emitter.pickler.ordered_dict()
    emitter.pairs([part for item in items.items() for part in item])
    metadata = entries.metadata if isinstance(entries.metadata, Mapping) and is_plain(entries.metadata) else None
    if metadata is not None:
        emitter.pickler.op(b"}")
        emitter.pairs(["_metadata", metadata])
        emitter.pickler.op(b"b")
    elif entries.metadata is not None:
        warnings.append("_metadata (versions of the modules) holds more than plain values and is left out")
    emitter.pickler.op(b".")
    pickle = bytes(emitter.pickler.data)
    if pieces.unused:
        warnings.append(
            f"the storages hold {bytes_text(pieces.unused)} that no tensor of the model uses; they are left out"
        )
    records = [(b"data.pkl", len(pickle)), (b"byteorder", 6)]
    records += [(b"data/" + piece.key.encode("ascii"), piece.nbytes) for piece in pieces.used]
    records.append((b"version", 2))
    nbytes = zip_size(((ROOT + name, size) for name, size in records), context)
    drain(records, context)
    return StateDict(items, metadata, pickle, pieces, tuple(dropped), tuple(warnings), nbytes)


def _sort_out(entries: Entries, context: Context) -> tuple[dict[str, Value], list[str], list[str]]:
    """Return what is written, in order; the names left out; and warnings."""
    warnings = list(entries.notes)
    retyped: dict[str, int] = {}
    for name, tensor, _ in stepped(entries.entries, context):
        reason = obstacle(tensor)
        if reason:
            raise CannotExport(f"{name!r} {reason}, so it cannot be written into a plain state_dict")
        if tensor.type not in PLAIN_TENSORS:
            retyped[tensor.type] = retyped.get(tensor.type, 0) + 1
    if not entries.entries:
        raise CannotExport("there is no tensor in what was chosen; choose a model or a state_dict")
    kept = {name: value for name, value in entries.others.items() if is_plain(value)}
    dropped = [name for name in entries.others if name not in kept]
    warnings += [f"{count} tensors of class {name} become plain tensors" for name, count in retyped.items()]
    if kept:
        warnings.append(f"kept although no tensors: {_names(list(kept))}")
    if dropped:
        warnings.append(f"left out, being neither tensors nor plain values: {_names(dropped)}")
    written: dict[str, Value] = {entry.name: entry.tensor for entry in stepped(entries.entries, context)}
    written.update(kept)
    return {name: written[name] for name in stepped(entries.names, context) if name in written}, dropped, warnings


def _names(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(map(repr, names[:5])) + more
