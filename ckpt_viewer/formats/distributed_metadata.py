"""What the ``.metadata`` of a distributed checkpoint says: tensors, how they are cut, and where each part lies.

Source: torch/distributed/checkpoint/metadata.py and filesystem.py (`_StorageInfo`), FORMATS section 1.11.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.finding import Note
from ckpt_viewer.core.progress import Context, stepped
from ckpt_viewer.core.regions import Box
from ckpt_viewer.core.text import shorten
from ckpt_viewer.core.value import Instance, Literal, Mapping, Value
from ckpt_viewer.errors import Damaged
from ckpt_viewer.formats.distributed_entries import LARGEST, Described, Grid, Item, ObjectEntry, Places, TensorEntry
from ckpt_viewer.unpickle.geometry import MAX_ELEMENTS, sizes
from ckpt_viewer.unpickle.metadata_pickle import ROWS, MetadataBulk

NOWHERE = "lies at no place that can be understood"
MOST_SAID = 100
"""Sentences about descriptions that make no sense."""


class MetadataReader:
    """Collects what the metadata of all ranks say; one file as a rule, one for each rank where ranks did not talk."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.described = Described({}, {}, [], [])
        self._grids: dict[tuple[tuple[int, ...], tuple[Box, ...]], Grid] = {}
        self._files: dict[str, int] = {}
        self._runs: dict[int, tuple[tuple[Box, ...], tuple[Box, ...]]] = {}
        self._unplaced = self._wrong = 0

    def add(self, root: Value, bulk: MetadataBulk) -> bool:
        """Take one pickled `Metadata`; False where it is none. What makes no sense in it is left out and noted.

        Args:
            bulk: the places that were taken out of the value.
        """
        parts = root.attributes() if _is(root, "Metadata") else {}  # type: ignore[union-attr]
        entries, data = parts.get("state_dict_metadata"), parts.get("storage_data")
        if not isinstance(entries, Mapping) or not isinstance(data, Mapping):
            return False
        for name, value in stepped(_pairs(entries), self.context):
            self._checked(self._entry, name, value)
        rows = self._rows(bulk)
        for index, info in stepped(_pairs(data), self.context):
            if type(index) is Literal and index.type == ROWS:
                rows(*index.inner)  # type: ignore[misc]
            else:
                self._checked(self._place, index, info)
        self._paths(parts.get("planner_data"))
        return True

    def _rows(self, bulk: MetadataBulk) -> Callable[[int, int], None]:
        """Return a function that takes the places of some rows."""
        entries = [self.described.entries.get(name) for name in bulk.names.texts]
        files = [self.file(path) for path in bulk.files.texts]

        def take(begin: int, end: int) -> None:
            part = slice(begin, end)
            columns = (bulk.name[part], bulk.start[part], bulk.file[part], bulk.offset[part], bulk.length[part])
            for name, start, file, offset, length in stepped(zip(*columns, strict=True), self.context):
                entry = entries[name]
                number = entry.number(bulk.starts[start]) if entry is not None else None
                if entry is None or number is None:
                    self._unplaced += 1
                elif offset < 0 or length < 0:
                    self._left_out(_wrong(bulk.names.texts[name], NOWHERE))
                else:
                    entry.places.put(number, files[file], offset, length)

        return take

    def _checked(self, take: Callable[[Value, Value], None], key: Value, value: Value) -> None:
        try:
            take(key, value)
        except Damaged as error:
            self._left_out(error)

    def _left_out(self, error: Damaged) -> None:
        self._wrong += 1
        if self._wrong <= MOST_SAID:
            self.described.notes.append(Note("error", "bad-metadata", None, str(error)))

    def finish(self) -> Described:
        """Return everything, with a finding for what fits nowhere."""
        if self._wrong > MOST_SAID:
            message = f"{self._wrong - MOST_SAID} more descriptions make no sense and are left out"
            self.described.notes.append(Note("error", "bad-metadata", None, message))
        if self._unplaced:
            message = f"{self._unplaced} places in the metadata belong to no part of a tensor"
            self.described.notes.append(Note("warning", "unused-storage", None, message))
        return self.described

    def _entry(self, name: Value, value: Value) -> None:
        if type(name) is not str:
            raise _wrong("?", "has no name")
        if _is(value, "BytesStorageMetadata"):
            self.described.entries.setdefault(name, ObjectEntry(Places(1)))
            return
        if not _is(value, "TensorStorageMetadata"):
            raise _wrong(name, "is neither a tensor nor an object")
        fields = value.attributes()  # type: ignore[union-attr]
        dtype, grad = _properties(name, fields.get("properties"))
        shape, chunks = sizes(fields.get("size")), fields.get("chunks")
        if shape is None or prod(shape) >= MAX_ELEMENTS or not isinstance(chunks, list):
            raise _wrong(name, "has no usable size")
        boxes = self._boxes(name, chunks)
        known = self.described.entries.get(name)
        if isinstance(known, TensorEntry):
            boxes = tuple(dict.fromkeys((*known.grid.boxes, *boxes)))
            entry = TensorEntry(dtype, grad, self._grid(shape, boxes), _more(known.places, len(boxes)))
        else:
            entry = TensorEntry(dtype, grad, self._grid(shape, boxes), Places(len(boxes)))
        self.described.entries[name] = entry

    def _boxes(self, name: str, chunks: list[Value]) -> tuple[Box, ...]:
        """Return the parts, each once; runs of them are tuples already, one for all tensors that are cut alike."""
        if len(chunks) == 1 and type(chunks[0]) is tuple:
            run: tuple[Box, ...] = chunks[0]  # type: ignore[assignment]
            known = self._runs.get(id(run))
            if known is None:
                known = self._runs[id(run)] = run, tuple(dict.fromkeys(run))
            return known[1]
        boxes: dict[Box, None] = {}
        for chunk in chunks:
            boxes.update(dict.fromkeys(chunk if type(chunk) is tuple else (_box(name, chunk),)))  # type: ignore[arg-type]
        return tuple(boxes)

    def _grid(self, shape: tuple[int, ...], boxes: tuple[Box, ...]) -> Grid:
        grid = self._grids.get((shape, boxes))
        if grid is None:
            grid = self._grids[shape, boxes] = Grid(shape, boxes)
        return grid

    def _place(self, index: Value, info: Value) -> None:
        fields = index.attributes() if isinstance(index, Instance) else {}
        name, start = fields.get("fqn"), fields.get("offset")
        entry = self.described.entries.get(name) if type(name) is str else None
        item = self._item(str(name), info)
        number = entry.number(sizes(start) if start is not None else None) if entry is not None else None
        if entry is None or number is None:
            self._unplaced += 1
        else:
            entry.places.put(number, *item)

    def _item(self, name: str, info: Value) -> Item:
        fields = info.attributes() if isinstance(info, Instance) else {}
        path, offset, length = fields.get("relative_path"), fields.get("offset"), fields.get("length")
        transforms = fields.get("transform_descriptors") or []
        if type(path) is not str or type(offset) is not int or type(length) is not int:
            raise _wrong(name, NOWHERE)
        if not 0 <= offset < LARGEST or not 0 <= length < LARGEST or not isinstance(transforms, list | tuple):
            raise _wrong(name, NOWHERE)
        return Item(self.file(path), offset, length, tuple(shorten(str(each), 60) for each in transforms))

    def file(self, path: str) -> int:
        """Return the number of a data file."""
        number = self._files.get(path)
        if number is None:
            number = self._files[path] = len(self._files)
            self.described.files.append(path)
        return number

    def _paths(self, planner: Value) -> None:
        for name, path in stepped(_pairs(planner), self.context) if isinstance(planner, Mapping) else ():
            steps = path if isinstance(path, tuple | list) else ()
            if type(name) is str and steps and all(type(step) in (str, int) for step in steps):
                self.described.paths[name] = tuple(steps)  # type: ignore[arg-type]


def _is(value: Value, name: str) -> bool:
    """Whether a value is an object of a class of the metadata, wherever that version of torch had it."""
    return isinstance(value, Instance) and value.type.rpartition(".")[2] == name


def _wrong(name: str, problem: str) -> Damaged:
    return Damaged(f"in the .metadata {shorten(name, 100)!a} {problem}")


def _pairs(mapping: Mapping) -> list[tuple[Value, Value]]:
    return list(zip(mapping.pairs[::2], mapping.pairs[1::2], strict=False))


def _properties(name: str, properties: Value) -> tuple[str, bool]:
    """Return dtype and requires_grad of TensorProperties: the first and the third of a tuple, or by name."""
    state = properties.state if isinstance(properties, Instance) else None
    if type(state) is tuple and len(state) > 2:
        dtype, grad = state[0], state[2]
    else:
        fields = properties.attributes() if isinstance(properties, Instance) else {}
        dtype, grad = fields.get("dtype"), fields.get("requires_grad")
    text = dtype.text.removeprefix("torch.") if isinstance(dtype, Literal) else ""
    if text not in DTYPES:
        raise _wrong(name, "has no dtype that is known")
    return text, grad is True


def _box(name: str, chunk: Value) -> Box:
    fields = chunk.attributes() if isinstance(chunk, Instance) else {}
    start, size = sizes(fields.get("offsets")), sizes(fields.get("sizes"))
    if start is None or size is None:
        raise _wrong(name, "has a chunk without offsets and sizes")
    return Box(start, size)


def _more(places: Places, count: int) -> Places:
    """Return the places with room for more parts."""
    larger = Places(count)
    for number in range(len(places)):
        item = places.get(number)
        if item is not None:
            larger.put(number, *item)
    return larger
