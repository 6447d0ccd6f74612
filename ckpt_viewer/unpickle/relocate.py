"""Rewrite the device tags of a pickle, and nothing else in it.

A tag is the fourth item of a storage's persistent id. Replacing its bytes would be wrong: torch.save writes a string
once and refers to it by memo slot afterwards, so a dictionary key ``"cuda:1"`` may be the very string that a storage
is tagged with. `origins` tells which opcode pushed each string and which of those pushes ended up as a tag. A literal
that is a tag gets the new text and keeps its memo slot; whoever reads that slot and means the old text gets a literal
of its own, and the other way round. FORMATS 4.1, way A.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Callable
from itertools import accumulate
from typing import NamedTuple, TypeAlias

from ckpt_viewer.core.progress import SILENT, Context, stepped
from ckpt_viewer.errors import CannotExport
from ckpt_viewer.unpickle.origins import STRINGS, Origins, Push, trace
from ckpt_viewer.unpickle.origins_table import FRAME_HEAD

Retag: TypeAlias = Callable[[str, str], str]
"""Given a storage's key and tag, the tag that it shall have."""


class Relocated(NamedTuple):
    """A rewritten pickle.

    Attributes:
        data: the new bytes; whatever followed STOP is still there.
        references: persistent ids whose tag differs now.
    """

    data: bytes
    references: int


class _Edit(NamedTuple):
    start: int
    end: int
    text: bytes


def relocate(data: bytes, retag: Retag, context: Context = SILENT) -> Relocated:
    """Return `data`, one pickle, with other device tags.

    Raises:
        Damaged: it is no whole pickle.
        CannotExport: a tag is entangled with something else, as no writer that we know would do it.
        Cancelled: by `context`.
    """
    origins = trace(data, context)
    wanted: dict[Push, str] = {}
    of_tensors: list[str] = []
    tags: dict[Push, str] = {}
    references = 0
    for pid in stepped(origins.references(), context):
        old = tags.get(pid.tag.literal)
        if old is None:
            old = tags[pid.tag.literal] = origins.text(pid.tag)
        new = retag(origins.text(pid.key), old)
        if pid.number == len(of_tensors):
            of_tensors.append(new)
        before = wanted.setdefault(pid.tag, new) if pid.number < 0 else of_tensors[pid.number]
        if before != new or (new != old and pid.uses):
            raise CannotExport(
                "a device tag in this pickle is also used as something else; load it with map_location instead"
            )
        references += new != old
    wanted = {push: new for push, new in wanted.items() if new != tags[push.literal]}
    edits = _edits(origins, wanted, context)
    for number, new in enumerate(stepped(of_tensors, context)):
        source = origins.tensors.source(number)
        text = None if new == tags[source.literal] else new
        if text != wanted.get(source):
            edits.append(_Edit(*origins.tensors.tag(number), _pushing(data, source, text)))
    edits.sort()
    frames = origins.frames
    del origins, wanted, of_tensors
    return Relocated(_apply(data, edits, frames), references)


def _edits(origins: Origins, wanted: dict[Push, str], context: Context) -> list[_Edit]:
    """What has to change so that every push in `wanted` pushes that text and every other one what it did before.

    The tags of `origins.tensors` are left to the caller.
    """
    data = origins.data
    edits = [
        _Edit(push.start, push.end, _literal(data, push, new)) for push, new in wanted.items() if push.source is None
    ]
    reads = origins.reads
    for number in stepped(range(len(reads)), context):
        source, push = reads.source(number), reads.made(number)
        text = wanted.get(push) if push is not None else None
        if text != wanted.get(source):  # the slot does not hold what this read is after
            edits.append(_Edit(*reads.place(number), _pushing(data, source, text)))
    return edits


def _pushing(data: bytes, source: Push, text: str | None) -> bytes:
    """An opcode that pushes `text`, or what `source` pushed if that is None."""
    literal = source.literal
    return data[literal.start : literal.end] if text is None else _literal(data, literal, text)


def _literal(data: bytes, like: Push, text: str) -> bytes:
    """An opcode that pushes `text`, of the family that `like` is written in (a Python 2 str stays one)."""
    if not text.isascii() or not text.isprintable() or set(text) & set("\\'\"") or len(text) > 255:
        raise CannotExport(f"{text!r} cannot be written as a device tag; use a plain name such as cuda:0")
    code, raw = data[like.start : like.start + 1], text.encode("ascii")
    if code == b"V":
        return b"V" + raw + b"\n"
    if code == b"S":
        return b"S'" + raw + b"'\n"
    width = STRINGS[code]
    return code + struct.pack({1: "<B", 4: "<I", 8: "<Q"}[width], len(raw)) + raw


def _apply(data: bytes, edits: list[_Edit], frames: list[tuple[int, int]]) -> bytes:
    """Replace the edited ranges, and correct the lengths of the frames around them (protocol 4 and up)."""
    starts = [edit.start for edit in edits]
    grown = [0, *accumulate(len(edit.text) - (edit.end - edit.start) for edit in edits)]
    for start, length in frames:
        body = start + FRAME_HEAD
        delta = grown[bisect_left(starts, body + length)] - grown[bisect_left(starts, body)]
        edits = [*edits, _Edit(start + 1, body, struct.pack("<Q", length + delta))] if delta else edits
    parts: list[memoryview | bytes] = []
    view, at = memoryview(data), 0
    for edit in sorted(edits):
        parts += (view[at : edit.start], edit.text)
        at = edit.end
    parts.append(view[at:])
    return b"".join(parts)
