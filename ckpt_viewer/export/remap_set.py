"""A sharded set with other device tags: a new folder of files with the same names, the index as it is.

Each shard is a checkpoint of its own to torch.load, and is remapped as one. Only one of them is open at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import get_ident
from types import MappingProxyType
from typing import NamedTuple

from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.location import MapLocation
from ckpt_viewer.core.progress import SILENT, Context
from ckpt_viewer.errors import CannotExport, CheckpointError, SourceChanged
from ckpt_viewer.export.blocks import Meter
from ckpt_viewer.export.cargo import CastCounts
from ckpt_viewer.export.claim import Claim
from ckpt_viewer.export.comparer import differs
from ckpt_viewer.export.copier import Copier
from ckpt_viewer.export.reading import Span
from ckpt_viewer.export.recipe import FileRecipe
from ckpt_viewer.export.remap import Remap, plan_tags
from ckpt_viewer.export.retag import out_of_reach
from ckpt_viewer.formats import open_checkpoint
from ckpt_viewer.formats.shard_index import INDEX_LIMIT, read_index
from ckpt_viewer.formats.shard_names import is_index_name
from ckpt_viewer.sources import FileSource, Identity
from ckpt_viewer.sources.folder import Folder

MISSING = ("missing-shard", "unreadable-shard", "unsafe-name")
"""Notes on a set that say that a file of it is not there."""


class RemapSet(NamedTuple):
    """A sharded set that can be written with other tags.

    Attributes:
        names, shards: its files in order, the index last if there is one.
        tags: that storages have in the new files. references: persistent ids whose tag changes.
        warnings: what is to be said of single shards, a sentence each. dropped: nothing.
    """

    names: tuple[str, ...]
    shards: tuple[FileRecipe, ...]
    tags: frozenset[str]
    references: int
    warnings: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        """Length of all files in bytes."""
        return sum(shard.nbytes for shard in self.shards)

    @property
    def copied_bytes(self) -> int:
        """Bytes that are copied, and compared: all."""
        return sum(shard.copied_bytes for shard in self.shards)

    def files(self, target: Path) -> Sequence[tuple[Path, FileRecipe]]:
        """Return the files in the folder `target`."""
        return [(target / name, shard) for name, shard in zip(self.names, self.shards, strict=True)]

    def counts(self) -> dict[str, CastCounts]:
        """Nothing is cast."""
        return {}

    def discard(self, context: Context) -> None:
        """Close the shard that was written last."""
        del context
        for shard in self.shards:
            if isinstance(shard, ShardRemap):
                shard.close()


class ShardRemap:
    """One shard. It is opened when it is written, and stays open until the next one is; see `_Opened`.

    Attributes:
        path: of the source. nbytes: length of the new file.
    """

    def __init__(self, path: Path, remap: Remap, opened: _Opened) -> None:
        """Remember what was planned, but not what that needs."""
        self.path, self.nbytes = path, remap.nbytes
        self._tags, self._identity = dict(remap.retagger.tags), _identity(remap.checkpoint)
        self._opened = opened

    @property
    def copied_bytes(self) -> int:
        """Bytes that are copied, and compared: all."""
        return self.nbytes

    def write(self, copier: Copier) -> None:
        """Append the whole file; raises as `Remap.write`, and SourceChanged where it is not what was planned."""
        self._remap().write(copier)

    def verify(self, path: Path, meter: Meter) -> None:
        """Compare what our reader finds in the copy with the source; raises WriteFailed where they differ."""
        self._remap().verify(path, meter)

    def claim(self) -> Claim:
        """Return what torch has to find in the file."""
        return self._remap().claim()

    def close(self) -> None:
        """Give the file back."""
        self._opened.close()

    def _remap(self) -> Remap:
        remap = self._opened.get(self.path, None, tags=self._tags)
        if _identity(remap.checkpoint) != self._identity or remap.nbytes != self.nbytes:
            raise SourceChanged(f"{self.path.name!a} was changed since the copy was planned; open the set again")
        return remap


class Verbatim:
    """A file that is copied as it is.

    Attributes:
        path: of the source. nbytes: its length.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.nbytes = path.stat().st_size

    @property
    def copied_bytes(self) -> int:
        """Bytes that are copied, and compared: all."""
        return self.nbytes

    def write(self, copier: Copier) -> None:
        """Append all of it; raises SourceError, WriteFailed, Cancelled."""
        source = FileSource(self.path)
        try:
            if source.size != self.nbytes:
                raise SourceChanged(f"{self.path.name!a} was changed since the copy was planned; open the set again")
            copier.copy(Span(source, 0, source.size))
            copier.settle()
        finally:
            source.close()

    def verify(self, path: Path, meter: Meter) -> None:
        """Its bytes were compared while they were written; raises WriteFailed where it has others."""
        meter(0)
        if path.stat().st_size != self.nbytes:
            raise differs(f"the length of {self.path.name!a}")

    def claim(self) -> None:
        """No loader of tensors reads it."""


class _Opened:
    """The one shard that is open in each thread that plans or writes."""

    def __init__(self) -> None:
        self._of_thread: dict[int, tuple[Path, Remap]] = {}

    def get(
        self,
        path: Path,
        map_location: MapLocation,
        context: Context = SILENT,
        tags: Mapping[str, str] = MappingProxyType({}),
    ) -> Remap:
        """Return what is to be written of a shard, and close the one before; raises as `plan_tags` does."""
        thread = get_ident()
        before = self._of_thread.get(thread)
        if before is not None and before[0] == path:
            return before[1]
        self._close(thread)
        checkpoint = open_checkpoint(path, context=context)
        try:
            remap = plan_tags(checkpoint, map_location, context, tags)
        except BaseException:
            checkpoint.close()
            raise
        self._of_thread[thread] = path, remap
        return remap

    def close(self) -> None:
        """Give back what any thread has open."""
        for thread in list(self._of_thread):
            self._close(thread)

    def _close(self, thread: int) -> None:
        opened = self._of_thread.pop(thread, None)
        if opened is not None:
            opened[1].checkpoint.close()


def _identity(checkpoint: Checkpoint) -> Identity:
    identity: Identity = getattr(checkpoint.contents.source, "identity", (0, 0, 0, 0, 0))
    return identity


def plan_set(checkpoint: Checkpoint, map_location: MapLocation, context: Context = SILENT) -> RemapSet:
    """Rewrite the tags of all shards of a set, one after another.

    Raises:
        BadMapLocation: torch.load would refuse `map_location`.
        CannotExport: a shard has no tags, or none to get at, or files of the set are missing.
        SourceError, Damaged: a shard cannot be read any more. Cancelled: by `context`.
    """
    for note in checkpoint.contents.notes:
        if note.code in MISSING:
            raise CannotExport(f"the set is not whole, and a copy would not be: {note.message}")
    folder = Path(checkpoint.path).parent
    names, shards, opened = [*checkpoint.contents.files], list[FileRecipe](), _Opened()
    tags: set[str] = set()
    said: dict[str, None] = {}
    references = 0
    try:
        for name in names:
            remap = opened.get(folder / name, map_location, context)
            shards.append(ShardRemap(folder / name, remap, opened))
            references += remap.references
            tags |= remap.tags
            notes = (*remap.warnings, *out_of_reach(remap.checkpoint, remap.retagger.locator))
            said.update(dict.fromkeys(f"{name!a}: {each}" for each in notes))
    finally:
        opened.close()
    for index in _indexes(checkpoint, folder, context):
        names.append(index)
        shards.append(Verbatim(folder / index))
    return RemapSet(tuple(names), tuple(shards), frozenset(tags), references, tuple(said))


def _indexes(checkpoint: Checkpoint, folder: Path, context: Context) -> Iterator[str]:
    """Yield the names of the indexes that name files of a set: what was opened, else what lies beside them."""
    given = Path(checkpoint.path)
    if given.name not in checkpoint.contents.files:
        yield given.name
        return
    listed = Folder(folder)
    try:
        for name in filter(is_index_name, listed.files):
            try:
                source = listed.file(name)
                named = read_index(source, context).files.values() if source.size <= INDEX_LIMIT else ()
            except CheckpointError:  # it is an index of something else, or of nothing
                continue
            if set(named) & set(checkpoint.contents.files):
                yield name
    finally:
        listed.close()
