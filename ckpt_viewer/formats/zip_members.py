"""Members of an archive that are no pickles: where their bytes lie, and the small ones as values of a tree."""

from __future__ import annotations

from ckpt_viewer.core.tensor import Bytes
from ckpt_viewer.core.value import Literal, Value
from ckpt_viewer.errors import CheckpointError, OverBudget
from ckpt_viewer.formats.json_values import json_value
from ckpt_viewer.formats.zip_directory import Record, ZipDirectory
from ckpt_viewer.sources import MemorySource, SliceSource, backing

TEXT_LIMIT = 1 << 16
"""Bytes of a text that is shown."""
TEXTS = 4 << 20
"""Bytes of all texts of one archive that are shown."""
INFLATED = 8_000_000
"""Bytes that the deflated members of a small archive may have in memory together, beside four times its size."""


class Members:
    """Reads members, and sees to it that together they stay in budget."""

    def __init__(self, archive: ZipDirectory) -> None:
        self.archive = archive
        self._texts = TEXTS
        self._inflated = INFLATED + 4 * backing(archive.source)

    def source(self, record: Record) -> Bytes:
        """Return a member's bytes: a part of the archive, or inflated into memory.

        Raises:
            OverBudget: the deflated members are too large together. CheckpointError: as `ZipDirectory.extent`.
        """
        if record.method:
            self._inflated -= record.size
            if self._inflated < 0:
                raise OverBudget(f"{record.name!r} is compressed and too large to be unpacked in memory; unpack it")
        extent = self.archive.extent(record)
        if record.method and isinstance(extent.source, MemorySource):
            return MemorySource(extent.source.data, record.name, backing=backing(self.archive.source))
        there = extent.source.size - extent.offset  # less than it should be where a salvaged file is cut off
        return SliceSource(extent.source, extent.offset, min(extent.nbytes, there), record.name)

    def text(self, record: Record) -> str | None:
        """Return a small member as text; None where it is none, or too much to be shown."""
        if record.size > min(TEXT_LIMIT, self._texts):
            return None
        try:
            text = self.archive.read(record).decode("utf-8")
        except (CheckpointError, UnicodeDecodeError):
            return None
        if any(not (character.isprintable() or character.isspace()) for character in text[:1024]):
            return None
        self._texts -= record.size
        return text

    def value(self, record: Record) -> Value:
        """Return what is shown of a member: entries of a small JSON object, a small text, or its size."""
        text = self.text(record)
        if text is None:
            return self.placeholder(record)
        if text.lstrip()[:1] == "{":
            try:
                return json_value(text.encode(), backing(self.archive.source))
            except CheckpointError:
                return text
        return text

    @staticmethod
    def placeholder(record: Record) -> Literal:
        """Return what stands for a member that is not shown: its size."""
        return Literal("object", "file", f"{record.size} bytes")
