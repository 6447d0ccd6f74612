"""A pickle that is the whole file."""

from __future__ import annotations

import pickle
import pickletools
import re
import zipfile
from collections import OrderedDict

import pytest
from builders import call, floats, integer, legacy_stream, mapped, name, pickled, storage, tensor, text
from contract import VALUES, FormatContract
from opening import open_bytes

from ckpt_viewer import open_checkpoint
from ckpt_viewer.cli import main
from ckpt_viewer.core.value import Instance, Mapping
from ckpt_viewer.errors import CheckpointError, Truncated
from ckpt_viewer.formats.raw_pickle import Nowhere
from ckpt_viewer.unpickle.reader import PickleReader


def blob(key: str = "7", data: bytes = floats(*VALUES)) -> bytes:
    """What torch.storage pickles of itself outside of torch.save: a legacy stream as bytes."""
    stream = legacy_stream(pickled(storage(key, len(data) // 4, legacy=True)), {key: data})
    assert len(stream) < 65536
    return call(name("torch.storage", "_load_from_bytes"), b"B" + len(stream).to_bytes(4, "little") + stream)


class TestRawPickle(FormatContract):
    name = "pickle"

    def file(self) -> bytes:
        return pickled(mapped((text("weight"), tensor(of=blob())), (text("epoch"), integer(3))), protocol=3)

    def long_file(self) -> bytes:
        return pickled(mapped(*((text(str(n)), integer(n)) for n in range(500))))


def test_torchs_own_raw_pickle_is_read_down_to_its_values():
    torch = pytest.importorskip("torch")
    given = {"a": torch.arange(5.0), "b": torch.arange(6).reshape(2, 3).T}
    for protocol in (2, 3, 4, 5):
        checkpoint = open_bytes(pickle.dumps(given, protocol))
        assert checkpoint.format == "pickle"
        assert checkpoint["/a"].numpy().tolist() == [0, 1, 2, 3, 4]
        assert checkpoint["/b"].numpy().tolist() == [[0, 3], [1, 4], [2, 5]]
        assert checkpoint["/b"].stride == (1, 3)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("value", [{"a": [1, 2.5, None, True, "x", b"y"]}, [], {}, (1, 2), 7, -1, "text", 2.5, True,
                                   None, [1] * 3000, {f"key {n}": n for n in range(2000)}],
                         ids=lambda value: str(value)[:20])  # fmt: skip
def test_plain_values_of_every_protocol_are_recognised(protocol, value):
    data = pickle.dumps(value, protocol)
    checkpoint = open_bytes(data)
    assert checkpoint.format == "pickle"
    below = checkpoint.root.children
    if isinstance(value, dict):
        assert [node.step for node in below] == list(value)
    elif isinstance(value, list | tuple):
        assert [node.value for node in below] == list(value)
    else:
        assert checkpoint.root.value == value


@pytest.mark.parametrize(
    "data",
    [b"checkpoint of the day.\nwith two lines and more.\n", b"(see the manual.)\n", b"Nothing here.\n", b"I think.\n",
     b"list of names.\na\nb\n", b"]\n", b"} // end.\n", b"1.5,2.5\n3.5,4.5\n", b"collections\nOrderedDict\n, more."],
)  # fmt: skip
def test_text_that_begins_like_a_pickle_is_called_text(data):
    with pytest.raises(CheckpointError, match="text file"):
        open_bytes(data)


def test_storages_of_two_blobs_with_one_key_stay_apart():
    first, second = blob("7", floats(1, 2, 3, 4)), blob("7", floats(5, 6, 7, 8))
    data = pickled(mapped((text("a"), tensor(of=first)), (text("b"), tensor(of=second))), protocol=3)
    checkpoint = open_bytes(data)
    assert checkpoint["/a"].numpy(copy=True).tolist() == [1, 2, 3, 4]
    assert checkpoint["/b"].numpy(copy=True).tolist() == [5, 6, 7, 8]
    keys = [checkpoint[pointer].storage.unique_key for pointer in ("/a", "/b")]
    assert len(set(keys)) == 2
    assert all("!" in key for key in keys)


def test_one_blob_read_twice_through_the_memo_is_shared():
    held = blob() + b"q\x09"
    data = pickled(mapped((text("a"), tensor(of=held)), (text("b"), tensor(of=b"h\x09"))), protocol=3)
    checkpoint = open_bytes(data)
    assert checkpoint["/a"].storage is checkpoint["/b"].storage


def test_names_inside_a_blob_are_listed_with_the_others():
    inner = legacy_stream(pickled(call(name("os", "system"), text("true")), protocol=2))
    data = pickled(call(name("torch.storage", "_load_from_bytes"), b"C" + bytes([len(inner)]) + inner), protocol=3)
    assert "os.system" in [op[1].replace(" ", ".") for op in pickletools.genops(data) if op[0].name == "GLOBAL"] or (
        b"os\nsystem" in data
    )
    statuses = {use.name: use.status for use in open_bytes(data).contents.globals}
    assert statuses["os.system"] == "dangerous"


def test_a_raw_pickle_has_no_storages_beside_itself():
    checkpoint = open_bytes(pickled(tensor()))
    with pytest.raises(CheckpointError, match="not in the file"):
        checkpoint.root.numpy()


# --- cut off ------------------------------------------------------------------------------------------------------

RESUME = {
    "epoch": 3, "names": ["a", "b", "c", "d"], "pairs": [(1, 2, 3, 4, 5), ("x", "y"), ()], "one": {"only": [1.5, None]},
    "optimizer": {"state": {}, "param_groups": [{"lr": 0.1, "betas": (0.9, 0.99), "params": [0, 1]}]},
    "long": {f"key {number}": [number] for number in range(1100)}, "deep": [[[{"x": "y"}]], b"bytes"],
}  # fmt: skip


def assert_part_of(left, whole, place: str = "") -> None:
    """Every value that is left stands where the whole has it; containers may end early."""
    if isinstance(left, Mapping):
        for key, value in zip(left.pairs[::2], left.pairs[1::2], strict=True):
            assert key in whole, place
            assert_part_of(value, whole[key], f"{place}/{key}")
    elif isinstance(left, list):
        assert len(left) <= len(whole), place
        for number, value in enumerate(left):
            assert_part_of(value, whole[number], f"{place}/{number}")
    elif not isinstance(left, Instance):  # how protocol 0 to 2 spell bytes
        assert left == whole, place


@pytest.mark.parametrize("protocol", range(6))
def test_what_is_left_of_a_pickle_that_is_cut_anywhere_stands_in_its_place(protocol):
    data, found = pickle.dumps(RESUME, protocol), 0
    for size in (*range(3, 700), *range(700, len(data), 37)):
        reader = PickleReader(data[:size], Nowhere())
        with pytest.raises(CheckpointError):
            reader.read(0)
        left = reader.left()
        if left is not None and left.notes:
            assert [note.code for note in left.notes] == ["place-unknown"]
            assert re.search("'only' lies in 'one'|'param_groups' lies in 'state'", left.notes[0].message)
        elif left is not None:
            assert_part_of(left.value, RESUME)
            found = max(found, len(left.value.pairs) // 2)
    assert found >= len(RESUME) - 1


@pytest.mark.parametrize("protocol", range(2, 6))
def test_the_model_behind_a_number_is_kept_and_the_doubt_is_told(protocol):
    whole = {"epoch": 3, "arch": "resnet", "model": OrderedDict((str(number), [number]) for number in range(9)), "z": 1}
    data = pickle.dumps(whole, protocol)
    reader = PickleReader(data[: data.index(b"\x01\x00\x00\x005" if protocol < 4 else b"\x8c\x015")], Nowhere())
    with pytest.raises(Truncated):
        reader.read(0)
    left = reader.left()
    assert [note.code for note in left.notes] == ["place-unknown"]
    assert "whether 'model' lies in 'arch' or beside it, where it is shown" in left.notes[0].message
    assert left.value.pairs[:5] == ["epoch", 3, "arch", "resnet", "model"]
    assert left.value.pairs[5].pairs == ["0", [0], "1", [1], "2", [2], "3", [3], "4", [4]]


@pytest.mark.parametrize("protocol", range(2, 6))
def test_whole_tensors_of_a_cut_pickle_can_be_salvaged(protocol, tmp_path, capsys):
    torch = pytest.importorskip("torch")
    tensors = {f"layer.{number}.weight": torch.arange(40.0) + number for number in range(9)}
    data = pickle.dumps({"model": tensors, "epoch": 3}, protocol)
    (tmp_path / "cut.pkl").write_bytes(data[: len(data) * 2 // 3])
    assert main(["ls", str(tmp_path / "cut.pkl")]) == 2
    said = capsys.readouterr().err
    assert "at least" in said
    assert "5 tensors that stand before its end (--salvage)" in said
    with open_checkpoint(tmp_path / "cut.pkl", salvage=True) as left:
        assert [node.step for node in left["/model"].children] == list(tensors)[:5]
        assert all(node.numpy().tolist() == tensors[node.step].tolist() for node in left["/model"].children)
        assert [finding.code for finding in left.findings][:1] == ["salvaged"]


def test_a_whole_pickle_that_is_refused_is_not_salvaged(tmp_path):
    """A zip behind a pickle: programs take different ones of them, and salvaging must not choose."""
    whole = tmp_path / "two.pth"
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
    whole.write_bytes(pickle.dumps({"a": 1}) + whole.read_bytes())
    with pytest.raises(CheckpointError) as plain:
        open_checkpoint(whole)
    with pytest.raises(CheckpointError) as salvaging:
        open_checkpoint(whole, salvage=True)
    assert plain.value.salvage == salvaging.value.salvage == ""
