"""A pickle that is the whole file."""

from __future__ import annotations

import pickle
import pickletools

import pytest
from builders import call, floats, integer, legacy_stream, mapped, name, pickled, storage, tensor, text
from contract import VALUES, FormatContract
from opening import open_bytes

from ckpt_viewer.errors import CheckpointError


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
