"""Files as earlier versions of torch wrote them, byte by byte: the forms that no torch of today writes any more."""

from __future__ import annotations

import struct

import pytest
from builders import call, floats, integer, legacy_stream, many, name, pickled, text, zip_file
from opening import open_bytes

from ckpt_viewer.core.model import find_models

DATA = floats(0.5, -1.5, 2.0, 1e30)


def string(value: bytes) -> bytes:
    """SHORT_BINSTRING, as Python 2 wrote every str."""
    return b"U" + bytes([len(value)]) + value


def number(value: int) -> bytes:
    """INT, as Python 2 wrote what did not fit into four bytes."""
    return b"I%d\n" % value


def old_tensor(key: bytes, numel: int, *, python2: bool, legacy: bool) -> bytes:
    """`_rebuild_tensor_v2` without metadata, its strings and hooks as Python 2 or 3 wrote them."""
    word = string if python2 else (lambda raw: text(raw.decode()))
    pid = [word(b"storage"), name("torch", "FloatStorage"), word(key), word(b"cpu"), number(numel)]
    storage = many(*pid, *([b"N"] if legacy else [])) + b"Q"
    hooks = name("collections", "OrderedDict") + (b"]\x85R" if python2 else b")R")
    return call(name("torch._utils", "_rebuild_tensor_v2"), storage, integer(0), many(integer(numel)),
                many(integer(1)), b"\x89", hooks)  # fmt: skip


def ordered(*pairs: tuple[bytes, bytes]) -> bytes:
    """An OrderedDict as Python 2 pickled it: a call with a list of lists."""
    lists = b"".join(b"](" + key + value + b"e" for key, value in pairs)
    return name("collections", "OrderedDict") + b"](" + lists + b"e\x85R"


def test_pointer_keys_and_no_byte_order():
    """torch 1.6: keys are addresses, the version stands last, and no record tells the byte order."""
    pickle = pickled(many(old_tensor(b"94057203401", 4, python2=False, legacy=False)))
    data = zip_file({"m/data.pkl": pickle, "m/data/94057203401": DATA, "m/version": b"3\n"})
    assert open_bytes(data).root.children[0].numpy(copy=True).tolist()[:3] == [0.5, -1.5, 2.0]


def test_records_in_the_order_of_their_names_as_text():
    """torch 1.7 to 1.12: 0, 1, 10, 2 ..."""
    keys = sorted(str(n) for n in range(12))
    pickle = pickled(many(*(old_tensor(str(n).encode(), 1, python2=False, legacy=False) for n in range(12))))
    records = {f"m/data/{key}": struct.pack("<f", int(key)) for key in keys}
    checkpoint = open_bytes(zip_file({"m/data.pkl": pickle, **records, "m/version": b"3\n"}))
    assert [node.numpy(copy=True).tolist() for node in checkpoint.root.children] == [[n] for n in range(12)]
    assert [node.storage.key for node in checkpoint.root.children] == [str(n) for n in range(12)]


@pytest.mark.parametrize("legacy", [False, True], ids=["zip of 1.4", "legacy"])
def test_a_state_dict_of_python_2(legacy):
    weight = old_tensor(b"140", 4, python2=True, legacy=legacy)
    entries = ordered(
        (string(b"fc.weight"), weight), (string(b"fc.na\xefve"), number(7)), (string(b"raw"), b"L12L\n."[:-1])
    )
    pickle = pickled(entries)
    if legacy:
        data = legacy_stream(pickle, {"140": DATA})
    else:
        data = zip_file({"m/version": b"1\n", "m/data.pkl": pickle, "m/tensors/140": DATA})
    checkpoint = open_bytes(data)
    assert checkpoint["/fc.weight"].numpy(copy=True).tolist()[:3] == [0.5, -1.5, 2.0]
    assert checkpoint["/fc.na\xefve"].value == 7
    assert checkpoint["/raw"].value == 12
    assert checkpoint.contents.weights_only
    assert find_models(checkpoint.outline) == ()  # two of three entries are no tensors


def test_a_tensor_of_torch_0_3_in_a_legacy_stream():
    """A class that is called without arguments, filled from a state with the storage in it."""
    pid = many(text("storage"), name("torch", "FloatStorage"), text("7"), text("cuda:0"), integer(4), b"N") + b"Q"
    state = many(pid, integer(1), many(integer(3)), many(integer(1)))
    pickle = pickled(name("torch", "FloatTensor") + b")R" + state + b"b")
    node = open_bytes(legacy_stream(pickle, {"7": DATA})).root
    assert (node.dtype, node.shape, node.location) == ("float32", (3,), "cuda:0")
    assert node.numpy(copy=True).tolist()[:2] == [-1.5, 2.0]
