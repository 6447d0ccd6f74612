"""An ordinary zip with checkpoints inside (stable-baselines3, ``zip -r``): one tree with a child for each.

FORMATS section 1.2.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

from ckpt_viewer.core.progress import stepped
from ckpt_viewer.core.value import Mapping, Value
from ckpt_viewer.errors import CheckpointError, Damaged, NotACheckpoint, OverBudget
from ckpt_viewer.formats.base import InnerOpener, Inside, NestedOpener, Opened
from ckpt_viewer.formats.parts import Parts
from ckpt_viewer.formats.raw_pickle import RawPickle
from ckpt_viewer.formats.zip_directory import Record, ZipDirectory
from ckpt_viewer.formats.zip_members import Members
from ckpt_viewer.sources import MemorySource, backing
from ckpt_viewer.unpickle.budget import budget_for
from ckpt_viewer.unpickle.weights_only import ORDINARY_ZIP

MOST = 10_000
"""Members that are looked into."""
_SERIALIZED = ":serialized:"
"""The key under which stable-baselines3 keeps a pickle in its JSON, as base64; its `load` runs it."""


def read(archive: ZipDirectory, inside: Inside, inner: InnerOpener, nested: NestedOpener | None) -> Opened:
    """Read the checkpoints of an archive.

    Args:
        inner: opens a member that is a checkpoint. nested: opens one that lies inside a pickle as bytes.

    Raises:
        CheckpointError: there is none in it, or none that can be read.
    """
    if inside.depth > budget_for(0).nesting:
        raise OverBudget("archives are nested too deep in each other; unpack the outer ones")
    _check_kind(archive)
    reader = _Reader(archive, inside, inner, nested)
    root = reader.tree()
    if not reader.found:
        raise reader.parts.failure or _nothing(archive)
    return reader.parts.opened(root, ORDINARY_ZIP)


class _Reader:
    """Walks the members.

    Attributes:
        found: how many checkpoints were opened.
    """

    def __init__(self, archive: ZipDirectory, inside: Inside, inner: InnerOpener, nested: NestedOpener | None) -> None:
        self.archive, self.inside, self.inner, self.nested = archive, inside, inner, nested
        self.parts = Parts(backing(archive.source), archive.notes)
        self.members = Members(archive)
        self.found = 0

    def tree(self) -> Mapping:
        """Return a dict of member name -> what is in it."""
        root = Mapping()
        for number, record in stepped(enumerate(self.archive.records.values()), self.inside.context):
            if record.name.endswith("/"):
                continue
            if number == MOST:
                self.parts.note("warning", "not-listed", f"the archive has more members than the {MOST} that are shown")
                break
            root.pairs += (record.name, self._value(record))
        return root

    def _value(self, record: Record) -> Value:
        if record.name.startswith("__MACOSX/"):  # Finder's own notes, whose names look like the members'
            return Members.placeholder(record)
        try:
            opened = self._open(record)
        except CheckpointError as error:
            shown = Members.placeholder(record)
            self.parts.failed(record.name, record.size, error, shown)
            return shown
        if opened is not None:
            self.found += 1
            return self.parts.add(opened.unpickled, opened.notes)
        value = self.members.value(record)
        self._look_into(value)
        return value

    def _open(self, record: Record) -> Opened | None:
        if self.parts.full:
            raise OverBudget("the archive holds more than is read at once; unpack it and open this file by itself")
        return self.inner(self.members.source(record), self.inside.member(record.name))

    def _look_into(self, value: Value) -> None:
        """Name what pickles refer to that lie in a JSON text; the library that wrote it would run them."""
        count = 0
        for packed in _serialized(value):
            try:
                source = MemorySource(base64.b64decode(packed, validate=True))
                read = RawPickle(self.nested).open(source, self.inside.context, depth=self.inside.depth + 1)
            except (binascii.Error, ValueError, CheckpointError):
                continue
            count += 1
            self.parts.use(read.unpickled.globals)
        if count:
            message = f"{count} pickles lie in this JSON as text; loading it would run them, so their names are listed"
            self.parts.note("warning", "nested-pickle", message, value)


def _serialized(value: Value) -> Iterator[str]:
    stack = [value]
    while stack:
        each = stack.pop()
        if isinstance(each, list):
            stack += each
        elif isinstance(each, Mapping):
            stack += each.pairs[1::2]
            packed = each.get(_SERIALIZED)
            if isinstance(packed, str):
                yield packed


def _check_kind(archive: ZipDirectory) -> None:
    names = [name for name in archive.records if not name.endswith("/")]
    if names and all(name.endswith(".npy") for name in names):
        raise NotACheckpoint("this is a numpy .npz archive, no checkpoint; open it with numpy.load")
    if archive.get("version") is not None and archive.get(".data/version") is None:
        raise Damaged("the archive has the records of torch.save but no data.pkl; copy or download the file again")


def _nothing(archive: ZipDirectory) -> NotACheckpoint:
    count = sum(not name.endswith("/") for name in archive.records)
    return NotACheckpoint(f"this is an ordinary zip archive with {count} files, none of them a checkpoint; unpack it")
