"""Metadata taken in bulk are the same as those read one opcode after another, whatever is in the pickle."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable

import pytest
import torch
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)

from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.errors import CheckpointError, OverBudget
from ckpt_viewer.formats.distributed_entries import Described, TensorEntry
from ckpt_viewer.formats.distributed_metadata import MetadataReader
from ckpt_viewer.sources import MemorySource
from ckpt_viewer.unpickle import long_pickle, metadata_pickle
from ckpt_viewer.unpickle.metadata_pickle import MetadataBulk, MetadataPickle


class Nowhere:
    prefix = ""

    def extent(self, key):
        raise AssertionError


def chunks(shape: tuple[int, ...], parts: int) -> list[ChunkStorageMetadata]:
    if not shape:
        return [ChunkStorageMetadata(torch.Size(()), torch.Size(()))]
    rows = shape[0] // parts
    rest = shape[1:]
    return [
        ChunkStorageMetadata(torch.Size((n * rows, *(0 for _ in rest))), torch.Size((rows, *rest)))
        for n in range(parts)
    ]


def metadata(tensors: int = 300, parts: int = 4, copies: Callable[[str], str] = str) -> Metadata:
    """Tensors of zero to five dimensions and some objects, in several files; `copies` makes the names of the places."""
    shapes = [(8, 3), (300, 70_000), (), (16,), (4, 2, 2, 2, 2), (1 << 40, 2, 1)]
    entries: dict = {f"tensor.{n}.ä" if n % 50 == 7 else f"tensor.{n}": shapes[n % 6] for n in range(tensors)}
    described: dict = {
        name: TensorStorageMetadata(TensorProperties(torch.float32), torch.Size(shape), chunks(shape, parts))
        for name, shape in entries.items()
    }
    described.update({f"object.{n}": BytesStorageMetadata() for n in range(20)})
    places = {}
    for name, entry in described.items():
        starts = [chunk.offsets for chunk in entry.chunks] if isinstance(entry, TensorStorageMetadata) else [None]
        for number, start in enumerate(starts):
            key = MetadataIndex(copies(name), start, number)
            places[key] = _StorageInfo(f"__{number}_0.distcp", len(places) * 10_000_000_000, 300 + number)
    return Metadata(described, {name: tuple(name.split(".")) for name in described}, places)


def read(data: bytes) -> tuple[Described, tuple]:
    reader = MetadataReader(SILENT)
    source = MetadataPickle(MemorySource(data), Nowhere())
    read = source.read(0)
    assert reader.add(read.value, source.bulk)
    return reader.finish(), tuple(use.name for use in read.globals)


def plain(described: Described) -> tuple:
    """Everything that the metadata say, for comparing."""
    entries = [
        (
            name,
            (entry.dtype, entry.requires_grad, entry.grid.shape, entry.grid.boxes)
            if type(entry) is TensorEntry
            else (),
            [entry.places.get(n) for n in range(len(entry.places))],
        )
        for name, entry in described.entries.items()
    ]
    placed = [
        (name, kind, [item and (described.files[item.file], *item[1:]) for item in items])
        for name, kind, items in entries
    ]
    return placed, described.paths, [note.message for note in described.notes]


@pytest.fixture
def one_by_one(monkeypatch):
    """Call to switch taking in bulk off."""
    return lambda: monkeypatch.setattr(MetadataBulk, "take", lambda self, m, at: 0)


@pytest.fixture
def whole(monkeypatch) -> list[int]:
    """Counts how often a pickle had to be read once more."""
    counts: list[int] = []
    real = long_pickle.LongMachine._begin_again
    monkeypatch.setattr(long_pickle.LongMachine, "_begin_again", lambda self: counts.append(1) or real(self))
    return counts


def fresh(name: str) -> str:
    """A string of its own, as after a transfer between ranks."""
    return (name + ".")[:-1]


@pytest.mark.parametrize("copies", [str, fresh])
@pytest.mark.parametrize("parts", [1, 4])
@pytest.mark.parametrize("protocol", [4, 5])
def test_bulk_is_the_same(one_by_one, whole, copies, parts, protocol):
    data = pickle.dumps(metadata(300, parts, copies), protocol)
    taken = read(data)
    assert not whole
    one_by_one()
    slow = read(data)
    assert plain(taken[0]) == plain(slow[0])
    assert taken[1] == slow[1]
    assert not slow[0].notes
    assert all(not entry.places.missing for entry in slow[0].entries.values())


def test_nearly_everything_is_taken(monkeypatch):
    data = pickle.dumps(metadata(300, 4))
    source = MetadataPickle(MemorySource(data), Nowhere())
    opcodes = source.read(0).opcodes
    monkeypatch.setattr(MetadataBulk, "take", lambda self, m, at: 0)
    assert opcodes < MetadataPickle(MemorySource(data), Nowhere()).read(0).opcodes / 3
    assert len(source.bulk.name) > 0.9 * len(metadata(300, 4).storage_data)


def test_a_pickle_in_pieces_is_the_same(monkeypatch, whole):
    data = pickle.dumps(metadata(2000, 4))
    at_once = read(data)
    monkeypatch.setattr(metadata_pickle, "PIECE", 20_000)
    monkeypatch.setattr(long_pickle, "PIECE", 20_000)
    monkeypatch.setattr(long_pickle, "MARGIN", 15_000)
    in_pieces = read(data)
    assert not whole
    assert plain(in_pieces[0]) == plain(at_once[0])
    assert in_pieces[1] == at_once[1]


@pytest.mark.parametrize("protocol", [0, 2, 3])
def test_other_protocols_are_left_to_the_opcode_loop(protocol):
    data = pickle.dumps(metadata(20, 2), protocol)
    assert plain(read(data)[0]) == plain(read(pickle.dumps(metadata(20, 2)))[0])


def test_what_was_passed_over_can_be_referred_to(one_by_one, whole):
    made = metadata(30, 4)
    shared = made.state_dict_metadata["tensor.0"].chunks[1].offsets
    made.planner_data["tensor.0"] = ("tensor", shared)
    data = pickle.dumps(made)
    taken = plain(read(data)[0])
    assert whole == [1]
    one_by_one()
    assert taken == plain(read(data)[0])


def test_names_are_found_again_by_their_slots(whole):
    made = metadata(12, 4, fresh)
    made.planner_data = None
    made.storage_meta = next(iter(made.storage_data)).fqn  # type: ignore[assignment]
    data = pickle.dumps(made)
    source = MetadataPickle(MemorySource(data), Nowhere())
    assert source.read(0).value.attributes()["storage_meta"] == "tensor.0"
    assert not whole


@pytest.mark.parametrize("count", [1, 2, 1000, 1001])
def test_batches_of_one(whole, count):
    made = metadata(1, 1)
    made.state_dict_metadata = {f"t{n}": made.state_dict_metadata["tensor.0"] for n in range(count)}
    places = {MetadataIndex(f"t{n}", (0, 0), 0): _StorageInfo("a", n, 1) for n in range(count)}
    made.storage_data = places
    described = read(pickle.dumps(made))[0]
    assert len(described.entries) == count
    assert not whole
    assert [entry.places.get(0).offset for entry in described.entries.values()] == list(range(count))


def test_a_damaged_pickle_is_the_same_in_both_ways(one_by_one):
    random.seed(3)
    data = pickle.dumps(metadata(24, 3, fresh))
    broken = []
    for _ in range(400):
        changed = bytearray(data)
        changed[random.randrange(len(data))] = (
            random.choice(b"\0\x01h(.)ubK\x85\x94R\xff") if random.random() < 0.7 else 0
        )
        broken.append(bytes(changed))
    taken = [outcome(each) for each in broken]
    one_by_one()
    for data, first in zip(broken, taken, strict=True):
        assert outcome(data) == first


def outcome(data: bytes) -> object:
    try:
        return plain(read(data)[0])
    except (CheckpointError, AssertionError) as error:
        return type(error)


def test_the_budget_holds(monkeypatch):
    data = pickle.dumps(metadata(300, 4))
    monkeypatch.setattr(metadata_pickle, "_OBJECT_COST", 10_000_000)
    with pytest.raises(OverBudget):
        read(data)
