"""The parts in the data files of a distributed checkpoint, found only when their bytes are needed.

Each part is a whole torch.save zip at its place in the file. Where the writer was told to use safetensors, what begins
there is one safetensors file with all tensors of that data file (`filesystem._write_files_from_queue`).
"""

from __future__ import annotations

from math import prod
from threading import Lock
from typing import TYPE_CHECKING

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.progress import SILENT, Context, stepped
from ckpt_viewer.core.tensor import Extent, TensorSpec
from ckpt_viewer.core.text import shorten
from ckpt_viewer.core.value import Mapping, Value
from ckpt_viewer.errors import CheckpointError, Damaged, Lost, OverBudget, Truncated, Unreadable, Unsupported
from ckpt_viewer.formats.assembled import Assembled
from ckpt_viewer.formats.base import FileOpener, Opened
from ckpt_viewer.formats.distributed_entries import Entry, Grid, Item, TensorEntry
from ckpt_viewer.formats.zip_directory import ZipDirectory
from ckpt_viewer.sources import SliceSource
from ckpt_viewer.sources.folder import Folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ckpt_viewer.core.strided import View
    from ckpt_viewer.sources.pool import PooledFile

MOST_KEPT = 4096
"""Parts whose place is remembered once they have been opened."""
ZIP = b"PK\x03\x04"


class DataFiles:
    """The data files of a folder by their numbers, opened when they are needed."""

    def __init__(self, folder: Folder, names: list[str], open_file: FileOpener) -> None:
        self.folder, self.names, self._open_file = folder, names, open_file
        self._files: dict[int, PooledFile] = {}
        self._shared: dict[tuple[int, int], Opened] = {}

    def file(self, number: int) -> PooledFile:
        """Return a data file; raises CheckpointError."""
        file = self._files.get(number)
        if file is None:
            file = self._files[number] = self.folder.file(self.names[number])
        return file

    def open(self, item: Item, prefix: str) -> Opened:
        """Open what lies at a place; raises CheckpointError."""
        if item.transforms:
            raise Unsupported(
                f"it is packed by {', '.join(item.transforms)!a}, which this version does not read; "
                "save it without extensions"
            )
        whole = self.zip(item)
        if whole is not None:
            return self._open_file(whole, SILENT, prefix)
        file, name = self.file(item.file), shorten(self.names[item.file], 100)
        start = file.read_at(item.offset, min(len(ZIP), max(0, file.size - item.offset)))
        if start and not start.strip(b"\0"):  # neither a zip nor a safetensors file begins so
            raise Lost(f"{name!a} has zeros where the part at byte {item.offset} should begin; copy the folder again")
        at = item.file, item.offset
        if at not in self._shared:
            source = SliceSource(file, item.offset, max(0, file.size - item.offset), name)
            self._shared[at] = self._open_file(source, SILENT, prefix)
        return self._shared[at]

    def zip(self, item: Item) -> SliceSource | None:
        """Return what lies at a place, if it is a zip; raises CheckpointError."""
        file, name = self.file(item.file), shorten(self.names[item.file], 100)
        if item.transforms or item.offset + len(ZIP) > file.size or file.read_at(item.offset, len(ZIP)) != ZIP:
            return None
        if item.offset + item.length > file.size:
            raise Lost(f"{name!a} ends before the part at byte {item.offset} does; copy the folder again")
        return SliceSource(file, item.offset, item.length, name)


class Chunks:
    """The storages of the tensors of a distributed checkpoint: each is assembled from its parts while it is read.

    Attributes:
        known_losses: name of a tensor of which parts are not there -> why, a sentence.
    """

    def __init__(self, data: DataFiles, every: dict[str, Entry], prefix: str) -> None:
        """Take what the metadata describe, objects included, which are saved in the same way."""
        self.data, self.every, self.prefix = data, every, prefix
        self.entries = {name: entry for name, entry in every.items() if isinstance(entry, TensorEntry)}
        self.known_losses: dict[str, str] = {}
        self._views: dict[tuple[str, int], View] = {}
        self._lock = Lock()

    def is_distributed(self, key: str) -> bool:
        """Whether several ranks, or one of them in parts, hold a tensor."""
        return len(self.entries[key].places) > 1

    def archives(self, context: Context) -> Iterator[tuple[str, Item, ZipDirectory | CheckpointError]]:
        """Yield every part that is a zip: the name of its entry, its place, and its directory or why it has none.

        Parts that lie nowhere, or in files that are not there, are left out. Raises SourceChanged; Cancelled by
        `context`.
        """
        for key, entry in stepped(self.every.items(), context):
            for number in range(len(entry.places)):
                item = entry.places.get(number)
                try:
                    source = self.data.zip(item) if item is not None else None
                except (Unreadable, Truncated, Lost):
                    continue
                if item is None or source is None:
                    continue
                try:
                    yield key, item, ZipDirectory(source)
                except (Damaged, Truncated, OverBudget, Unsupported) as error:
                    yield key, item, error

    def extent(self, key: str) -> Extent:
        """Return where the bytes of a whole tensor are read, of which some may be lost; raises CheckpointError."""
        entry = self.entries[key]
        grid, row = entry.grid, DTYPES[entry.dtype]
        if grid.problem is not None:
            raise Damaged(f"the tensor {grid.problem[1]}; save the checkpoint again")
        if len(grid.boxes) == 1 or row.per_byte > 1:
            return self._only(key, grid)
        nbytes = prod(grid.shape) * row.itemsize
        name = shorten(key, 100)
        return Extent(Assembled(name, grid.shape, row.itemsize, grid.boxes, lambda n: self.view(key, n)), 0, nbytes)

    def _only(self, key: str, grid: Grid) -> Extent:
        """Return the bytes of a tensor that is not cut: those of its one part, which can be mapped from the file."""
        if len(grid.boxes) != 1:
            raise Unsupported("packed numbers that are cut into chunks cannot be read; load them with torch")
        view = self.view(key, 0)
        if view.contiguous:
            return Extent(view.source, view.start, view.numel * view.item, bool(view.swap))
        whole = Assembled(shorten(key, 100), grid.shape, view.item, grid.boxes, lambda n: self.view(key, n))
        return Extent(whole, 0, whole.size)

    def view(self, key: str, number: int) -> View:
        """Return the elements of one part; raises CheckpointError."""
        with self._lock:
            view = self._views.get((key, number))
        if view is None:
            view = self._find(key, number)
            with self._lock:
                if len(self._views) >= MOST_KEPT:
                    del self._views[next(iter(self._views))]
                self._views[key, number] = view
        return view

    def _find(self, key: str, number: int) -> View:
        from ckpt_viewer.core.stored import open_values

        entry = self.entries[key]
        item = entry.places.get(number)
        what = f"the part of {shorten(key, 60)!a} at {list(entry.grid.boxes[number].start)}"
        if item is None:
            raise Damaged(f"the metadata do not say where {what} lies; copy the folder again")
        try:
            opened = self.data.open(item, f"{self.prefix}{key}!")
        except (Unreadable, Truncated) as error:  # of that file alone
            raise Lost(f"{what} is lost, for {shorten(self.data.names[item.file], 100)!a}: {error}") from error
        tensor = _tensor(opened.unpickled.value, key)
        if any(use.status != "known" for use in opened.unpickled.globals):
            raise Damaged(f"{what} names {opened.unpickled.globals[0].name}, and no tensor does; do not trust the file")
        size = entry.grid.boxes[number].size
        if tensor is None or tensor.dtype != entry.dtype or tensor.shape != size:
            raise Damaged(f"{what} is no {entry.dtype} tensor of size {list(size)}; copy the folder again")
        extra = tensor.extra
        if extra is not None and (extra.conj or extra.neg or extra.quantization is not None):
            raise Unsupported(f"{what} has to be computed from what is stored; load it with torch")
        return open_values(tensor).view


def _tensor(value: Value, key: str) -> TensorSpec | None:
    """Return the tensor that a part holds: the whole of a torch.save zip, or an entry of a safetensors file."""
    if isinstance(value, Mapping):
        value = value.get(key)
    return value if isinstance(value, TensorSpec) else None
