"""The whole checkpoint with other device tags: they are rewritten in the pickle, all else is copied. FORMATS 4.1."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.location import MapLocation
from ckpt_viewer.core.progress import SILENT, Context
from ckpt_viewer.core.tensor import Bytes, StorageSpec
from ckpt_viewer.errors import CannotExport
from ckpt_viewer.export.blocks import Meter, StepBytes
from ckpt_viewer.export.cargo import CastCounts
from ckpt_viewer.export.checksums import Checksums, mismatch
from ckpt_viewer.export.claim import Claim
from ckpt_viewer.export.comparer import differs
from ckpt_viewer.export.copier import Copier
from ckpt_viewer.export.parts import Parts, Range
from ckpt_viewer.export.reading import Span
from ckpt_viewer.export.recipe import FileRecipe, reopened
from ckpt_viewer.export.remap_legacy import remap_legacy, slim_legacy
from ckpt_viewer.export.remap_zip import remap_zip
from ckpt_viewer.export.retag import Retagger, in_container, storages
from ckpt_viewer.export.verify import Pairing, compare_places, compare_trees
from ckpt_viewer.formats.legacy_tail import Tail
from ckpt_viewer.formats.zip_directory import ZipDirectory
from ckpt_viewer.sources import MemorySource

if TYPE_CHECKING:
    from ckpt_viewer.export.slim import Slim


class Remap(NamedTuple):
    """A checkpoint with other tags that can be written.

    Attributes:
        checkpoint: the source. retagger: holds the new tags. parts: of the new file.
        references: persistent ids whose tag changes; 0 if the copy would equal the source.
        warnings: a pickle that does not match its checksum; `plan_remap` warns of what tags do not reach.
        dropped: nothing.
    """

    checkpoint: Checkpoint
    retagger: Retagger
    parts: Parts
    references: int
    warnings: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        """Length of the new file in bytes."""
        return self.parts.nbytes

    @property
    def copied_bytes(self) -> int:
        """Bytes that are copied, and compared: all of the file."""
        return self.parts.nbytes

    @property
    def tags(self) -> frozenset[str]:
        """The tags that storages have in the new file."""
        return frozenset(self.retagger.tags.values())

    def write(self, copier: Copier) -> None:
        """Append the whole file.

        Raises:
            SourceError: the source cannot be read, or has changed. WriteFailed. Cancelled.
        """
        parts = self.parts
        checksums = Checksums(parts.stated())
        for _, part in parts.placed():
            if isinstance(part, Range):
                copier.copy(Span(parts.source, part.offset, part.nbytes), checksums)
            else:
                copier.copy(Span(MemorySource(part), 0, len(part)))
        copier.carried += parts.packed + checksums.missed
        copier.wrong += checksums.wrong

    def files(self, target: Path) -> list[tuple[Path, FileRecipe]]:
        """Return the one file."""
        return [(target, self)]

    def counts(self) -> dict[str, CastCounts]:
        """Nothing is cast."""
        return {}

    def verify(self, path: Path, meter: Meter) -> None:
        """Compare what our reader finds in the copy with the source; raises WriteFailed where they differ."""
        reopened(path, meter, self.check)

    def check(self, copy: Checkpoint, step: StepBytes) -> None:
        """Compare what our reader finds in the copy with the source; raises WriteFailed where they differ."""
        if copy.format != self.checkpoint.format:
            raise differs("its format")
        pairing = Pairing(self._tag_of)
        compare_trees(self.checkpoint.outline, copy.outline, pairing, step)
        compare_places(self.parts, pairing.pairs.items(), step)

    def claim(self) -> Claim:
        """Return what torch has to find in the file: what it finds in the source."""
        return Claim(self.checkpoint.contents.root, source=self.checkpoint.path)

    def discard(self, context: Context) -> None:
        """Nothing here is large."""

    def _tag_of(self, storage: StorageSpec) -> str | None:
        return self.retagger.tags.get(storage.key) if in_container(storage) else storage.location


def plan_tags(
    checkpoint: Checkpoint,
    map_location: MapLocation,
    context: Context = SILENT,
    tags: Mapping[str, str] = MappingProxyType({}),
    slim: Slim | None = None,
) -> Remap:
    """Rewrite the tags, in memory.

    Args:
        tags: key of a storage -> what `map_location` was already found to answer.
        slim: what is left out; `checkpoint` is that without it.

    Raises:
        BadMapLocation: torch.load would refuse `map_location`. CannotExport: there are no tags, or none to get at.
        SourceError, Damaged: the file cannot be read any more. Cancelled: by `context`.
    """
    retagger = Retagger(checkpoint, map_location)
    retagger.tags.update(tags)
    source = checkpoint.contents.source
    if source is None:
        raise CannotExport("a folder is not remapped as a whole; remap the files in it, or the index of a set")
    if checkpoint.format not in ("torch-zip", "torch-legacy"):
        raise CannotExport(
            f"a file of format {checkpoint.format} cannot be copied with other device tags, only one of torch.save; "
            "export its state_dict instead"
        )
    if checkpoint.format == "torch-zip":
        left_out = slim.keys if slim is not None else ()
        referred = (one.key for one in storages(slim.whole) if in_container(one)) if slim is not None else ()
        parts, references = remap_zip(source, retagger, context, left_out, referred, _directory(checkpoint, source))
    else:
        parts, references = _legacy(checkpoint, source, retagger, slim, context)
    missed = retagger.missed()
    if missed:
        raise CannotExport(
            f"{missed} storages are named in a way that torch.load does not take either (as text, pickle "
            "protocol 0); export the state_dict instead"
        )
    warnings = (mismatch(parts.wrong),) if parts.wrong else ()
    return Remap(checkpoint, retagger, parts, references, warnings)


def _directory(checkpoint: Checkpoint, source: Bytes) -> ZipDirectory | None:
    """Return the directory that was read when the file was opened; None where no storage leads to it."""
    first = next((one for one in storages(checkpoint) if in_container(one)), None)
    directory = getattr(first.home, "directory", None) if first is not None else None
    return directory if isinstance(directory, ZipDirectory) and directory.source is source else None


def _legacy(
    checkpoint: Checkpoint, source: Bytes, retagger: Retagger, slim: Slim | None, context: Context
) -> tuple[Parts, int]:
    whole = checkpoint if slim is None else slim.whole
    there = [one for one in storages(whole) if in_container(one)]
    first = min((one.extent().offset for one in there), default=None)
    if slim is None:
        return remap_legacy(source, first, retagger, context)
    homes = [one.home for one in there if one.home is not None]
    place = homes[0].extent if homes else Tail(source, "").extent
    return slim_legacy(source, first, place, slim.keys, retagger, context)
