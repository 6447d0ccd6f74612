"""A distributed checkpoint saved by all ranks as safetensors, without metadata: each file says where its parts belong.

Source: `HuggingFaceStorageReader.read_metadata` in torch/distributed/checkpoint/hf_storage.py, FORMATS section 1.11.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ckpt_viewer.core.finding import Note
from ckpt_viewer.core.progress import Context, stepped
from ckpt_viewer.core.regions import Box
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.text import shorten
from ckpt_viewer.core.value import Mapping, Value
from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.formats.base import FileOpener
from ckpt_viewer.formats.distributed_entries import Described, Grid, Item, Places, TensorEntry
from ckpt_viewer.formats.json_values import json_value
from ckpt_viewer.sources.folder import Folder
from ckpt_viewer.unpickle.geometry import sizes

SHARD = re.compile(r"shard-([0-9]+)-model-[0-9]+-of-[0-9]+\.safetensors")


MOST_RANKS = 1_000_000


def describe_shards(folder: Folder, open_file: FileOpener, context: Context) -> Described:
    """Read the headers of all shards; what cannot be read is left out and noted."""
    described = Described({}, {}, [], [])
    parts: dict[str, dict[Box, tuple[TensorSpec, Item]]] = {}
    for name in stepped([name for name in folder.files if SHARD.fullmatch(name)], context):
        described.files.append(name)
        try:
            file = folder.file(name)
            item = Item(len(described.files) - 1, 0, file.size)
            root = open_file(file, context, "").unpickled.value
            starts = _starts(root)
            for key, tensor in stepped(root.string_items().items() if isinstance(root, Mapping) else (), context):
                if isinstance(tensor, TensorSpec) and tensor.shape is not None:
                    box = Box(starts.get(key, (0,) * len(tensor.shape)), tensor.shape)
                    parts.setdefault(key, {}).setdefault(box, (tensor, item))
        except CheckpointError as error:
            described.notes.append(Note("error", "unreadable-file", None, f"{shorten(name, 100)!a}: {error}"))
    grids: dict[tuple[Box, ...], Grid] = {}
    described.notes.extend(_of_ranks(described.files))
    for key, boxes in stepped(parts.items(), context):
        described.entries[key] = _entry(boxes, grids)
    return described


def _of_ranks(names: list[str]) -> Iterator[Note]:
    """Yield a note where the files of a rank are missing, as far as the others tell: nothing states how many ranks."""
    ranks = {int(found[1]) for name in names if (found := SHARD.fullmatch(name))}
    last = max(ranks, default=0)
    missing = sorted(set(range(1, min(last, MOST_RANKS))) - ranks)
    if missing:
        count, first = len(missing), missing[0]
        message = f"the files of {count} ranks are missing, and the parts of tensors in them; the first is {first}"
        yield Note("error", "missing-shard", None, message)
    elif ranks:
        message = f"files of {last} ranks are here; nothing in them states that there were no more"
        yield Note("info", "unstated-ranks", None, message)


def _starts(root: Value) -> dict[str, tuple[int, ...]]:
    """Return the index of the first element of each tensor of a file in the whole of it."""
    state = root.state if isinstance(root, Mapping) else None
    metadata = state.get("__metadata__") if isinstance(state, Mapping) else None
    text = metadata.get("DCP_SHARDING_INFO") if isinstance(metadata, Mapping) else None
    info = json_value(text.encode()) if isinstance(text, str) else None
    starts: dict[str, tuple[int, ...]] = {}
    for key, value in info.string_items().items() if isinstance(info, Mapping) else ():
        start = sizes(value.get("saved_offsets")) if isinstance(value, Mapping) else None
        if start is not None:
            starts[key] = start
    return starts


def _entry(parts: dict[Box, tuple[TensorSpec, Item]], grids: dict[tuple[Box, ...], Grid]) -> TensorEntry:
    """Return a tensor of parts; nothing states its shape, so it reaches as far as they do."""
    boxes, places = tuple(parts), Places(len(parts))
    for number, (_, item) in enumerate(parts.values()):
        places.put(number, *item)
    grid = grids.get(boxes)
    if grid is None:
        dimensions = range(min(len(box.start) for box in boxes))
        shape = tuple(max(box.start[d] + box.size[d] for box in boxes if d < len(box.size)) for d in dimensions)
        grid = grids[boxes] = Grid(shape, boxes)
    dtype = next(iter(parts.values()))[0].dtype
    return TensorEntry(dtype, False, grid, places)
