"""Pickles that ask for far more than they hold: refused, or opened in bounded memory, never with a RecursionError."""

from __future__ import annotations

import io
import pickle
import struct

import pytest
from builders import (
    HOOKS,
    STOP,
    call,
    get,
    integer,
    legacy_stream,
    listed,
    many,
    mapped,
    name,
    pickled,
    put,
    storage,
    tensor,
    text,
    zip_checkpoint,
)
from opening import look_at_all, memory, open_and_look, open_bytes, read_pickle, within

from ckpt_viewer.core import module as modules
from ckpt_viewer.core.module import state_dict_entries
from ckpt_viewer.errors import CheckpointError, Damaged, OverBudget, Truncated
from ckpt_viewer.formats import torch_zip
from ckpt_viewer.unpickle import reader
from ckpt_viewer.unpickle.budget import budget_for

MB = 1_000_000


def u32(number: int) -> bytes:
    return struct.pack("<I", number)


def u64(number: int) -> bytes:
    return struct.pack("<Q", number)


# --- numbers that lie ---------------------------------------------------------------------------------------------

LIES = {
    "BINUNICODE of 4 GB": b"X" + u32(0xFFFFFFFF) + b"abc",
    "BINUNICODE8 of 8 EB": b"\x8d" + u64(1 << 63) + b"abc",
    "BINBYTES of 4 GB": b"B" + u32(0xFFFFFFFF),
    "BINBYTES8 of 16 EB": b"\x8e" + u64((1 << 64) - 1),
    "BYTEARRAY8 of 16 EB": b"\x96" + u64((1 << 64) - 1),
    "BINSTRING of 2 GB": b"T" + u32(0x7FFFFFFF),
    "LONG1 beyond the end": b"\x8a\xff\x01",
    "LONG4 of 2 GB": b"\x8b" + struct.pack("<i", 0x7FFFFFFF),
    "LONG4 of negative length": b"\x8b" + struct.pack("<i", -1),
    "SHORT_BINUNICODE beyond the end": b"\x8c\xffabc",
    "a text line without an end": b"c" + b"x" * 1000,
    "an integer of megabytes": b"I" + b"1" * (3 * MB) + b"\n",
    "a long of megabytes": b"L" + b"9" * (3 * MB) + b"L\n",
    "a memo slot of megabytes": b"Np" + b"9" * (3 * MB) + b"\n",
    "a negative memo slot": b"Np-1\n",
    "a negative memo slot that is read": b"Nq\x000g-1\n",
    "a memo slot that was never written": b"j" + u32(0xFFFFFFFF),
    "protocol 6": b"\x80\x06N",
}


@pytest.mark.parametrize("title", LIES)
def test_a_lying_length_is_refused_at_once(title):
    data = pickled(LIES[title], protocol=4)
    with memory() as peak, within(20), pytest.raises((Truncated, Damaged)):
        open_bytes(zip_checkpoint(data))
    assert peak.nbytes < MB + 12 * len(data)


@pytest.mark.parametrize("slot", [268_435_455, (1 << 32) - 1])
def test_a_huge_memo_slot_costs_nothing(slot):
    """Nine bytes that make Python's own unpickler take 4 GB."""
    with memory() as peak:
        checkpoint = open_bytes(pickled(integer(7) + put(slot) + b"0" + get(slot)))
    assert checkpoint.root.value == 7
    assert peak.nbytes < MB


def test_a_memo_slot_as_text_may_be_huge():
    assert open_bytes(pickled(b"K\x07p99999999999999999999\n0g99999999999999999999\n")).root.value == 7


@pytest.mark.parametrize("length", [0, 1, 1 << 40, (1 << 64) - 1])
def test_a_frame_that_lies_is_ignored(length):
    assert open_bytes(b"\x80\x04\x95" + u64(length) + integer(3) + STOP).root.value == 3


# --- many objects for few bytes -----------------------------------------------------------------------------------

BLOCK = text("x" * 200_000) + put(0) + b"0"
PAIRS = mapped(*((integer(n), b"N") for n in range(20_000))) + put(0) + b"0"
LIST = listed(*(integer(n) for n in range(20_000))) + put(0) + b"0"
BLOB = legacy_stream(pickled(listed(*(integer(n) for n in range(2000)))))


def again(function: bytes, arguments: bytes, times: int) -> bytes:
    """Call one thing over and over with the same arguments, all by memo."""
    return function + put(1) + b"0" + arguments + put(2) + b"0(" + (b"h\x01h\x02R") * times + b"l"


BOMBS = {
    "empty lists": b"(" + b"]" * 200_000 + b"l",
    "marks": b"(" * 200_000,
    "empty dicts": b"(" + b"}" * 100_000 + b"l",
    "empty sets": b"(" + b"\x8f" * 100_000 + b"l",
    "tuples": b"N" + b"\x85" * 200_000,
    "calls of what calls returned": name("a", "b") + b")R" * 100_000,
    "objects": name("a", "b") + put(0) + b"0(" + b"h\x00)\x81" * 100_000 + b"l",
    "OrderedDicts": name("collections", "OrderedDict") + put(0) + b"0(" + b"h\x00)R" * 100_000 + b"l",
    "far memo slots": b"N" + b"".join(put(2 * n + 9) for n in range(100_000)),
    "names": b"".join(name(str(n), "") for n in range(40_000)),
    "Python 2 strings": b"(" + b"U\x02\xc3\xa9" * 100_000 + b"l",
    "text turned into bytes": BLOCK + again(name("_codecs", "encode"), many(get(0), text("latin1")), 3000),
    "text turned into bytearrays": BLOCK + again(name("builtins", "bytearray"), many(get(0), text("latin1")), 3000),
    "ASCII turned into bytes": BLOCK + again(name("builtins", "bytes"), many(get(0)), 3000),
    "dicts copied": PAIRS + again(name("collections", "OrderedDict"), many(get(0)), 3000),
    "lists copied into sets": LIST + again(name("builtins", "set"), many(get(0)), 3000),
    "lists copied into sizes": LIST + again(name("torch", "Size"), many(get(0)), 3000),
    "lists copied into arguments": LIST + again(name("some", "function"), get(0), 3000),
    "lists copied into objects": LIST + again(name("copyreg", "_reconstructor"),
                                              many(name("a", "B"), name("builtins", "list"), get(0)), 3000),
    "paths": BLOCK + again(name("pathlib", "PosixPath"), many(get(0), get(0)), 3000),
    "devices": again(name("torch", "device"), many(text("cuda"), b"K\x01"), 100_000),
    "bad tensors": again(name("torch._utils", "_rebuild_tensor_v2"), b")", 50_000),
    "tensors": again(name("torch._utils", "_rebuild_tensor_v2"),
                     many(storage(numel=1), b"K\0", many(*[b"K\1"] * 60), many(*[b"K\1"] * 60), b"\x89", HOOKS),
                     20_000),
    "parameters": again(name("torch._utils", "_rebuild_parameter"), many(tensor((1,)), b"\x88", HOOKS), 150_000),
    "persistent ids that are none": b"(" + (text("x") + b"Q") * 50_000 + b"l",
    "bound methods": again(name("builtins", "getattr"), many(name("a", "B") + b")\x81", text("f" * 900)), 40_000),
    "blobs read again": again(name("torch.storage", "_load_from_bytes"), many(b"B" + u32(len(BLOB)) + BLOB), 3000),
}  # fmt: skip


@pytest.mark.parametrize("title", BOMBS)
def test_what_is_made_is_charged(title, monkeypatch):
    """With a twentieth of the fixed part of the budget, to be quick."""
    monkeypatch.setattr(reader, "budget_for", lambda size: budget_for(size)._replace(memory=5 * MB + 15 * size))
    data = pickled(BOMBS[title], protocol=3)
    with memory() as peak, within(60), pytest.raises(OverBudget, match="damaged or hostile"):
        open_bytes(data)
    assert peak.nbytes < 10 * MB + 20 * len(data)


def test_blobs_in_blobs_end_somewhere():
    body = b"N"
    for _ in range(8):
        blob = legacy_stream(pickled(body, protocol=3))
        body = call(name("torch.storage", "_load_from_bytes"), b"B" + u32(len(blob)) + blob)
    with pytest.raises(OverBudget, match="nested"):
        open_bytes(pickled(body, protocol=3))


def test_many_hidden_pickles_are_not_all_inflated(monkeypatch):
    monkeypatch.setattr(torch_zip, "INFLATE_BASE", 2 * MB)
    hidden = {f"{n}.pkl": pickled(b"N0" * 100_000) for n in range(20)}
    checkpoint = open_bytes(zip_checkpoint(pickled(b"N"), extra=hidden, deflate=tuple(hidden)))
    refused = [finding for finding in checkpoint.findings if "more pickles than are looked into" in finding.message]
    assert 5 < len(refused) < 15


@pytest.mark.parametrize(
    ("title", "count"), [("state_dict", 200_000), ("optimizer", 50_000), ("plain lists", 500_000)], ids=str
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_honest_files_stay_within_the_budget(title, count, protocol):
    """Counted without the shortcut, which is cheaper, on a hundredth of the file and multiplied."""
    some = count // 100
    if title == "plain lists":
        data = pickle.dumps([n % 1000 for n in range(some)], protocol)
    elif title == "optimizer":
        state = {n: {"step": float(n), "lr": 0.1, "betas": (0.9, 0.999), "name": f"p{n}"} for n in range(some)}
        data = pickle.dumps({"state": state}, protocol)
    else:
        data = honest_state_dict(some, protocol)
    read = read_pickle(data, shortcut=False)
    allowed = budget_for(len(data) * 100)
    assert (read.cost + 8 * read.opcodes) * 100 < allowed.memory
    assert read.opcodes * 100 < allowed.opcodes


def honest_state_dict(count: int, protocol: int) -> bytes:
    """The data.pkl of what torch.save writes."""
    import zipfile

    torch = pytest.importorskip("torch")
    out = io.BytesIO()
    tensors = {f"layer.{n}.weight": torch.zeros(2, 2) for n in range(count)}
    torch.save(tensors, out, pickle_protocol=protocol)
    with zipfile.ZipFile(out) as archive:
        return archive.read("archive/data.pkl")


# --- shared and deep ----------------------------------------------------------------------------------------------


def shared(wrap, levels: int = 60) -> bytes:
    """A value that holds the one below twice, which holds the one below twice... 2**levels when written out."""
    body = wrap(b"K\x01", b"K\x02") + put(0)
    for level in range(1, levels):
        body += b"0" + wrap(get(level - 1), get(level - 1)) + put(level)
    return body


def module(*children: bytes) -> bytes:
    """A pickled torch.nn.Module with these children."""
    modules = mapped(*((text(str(n)), child) for n, child in enumerate(children)))
    state = mapped((text("_parameters"), b"}"), (text("_buffers"), b"}"), (text("_modules"), modules))
    return name("my", "Net") + b")\x81" + state + b"b"


SHARED = {
    "lists": shared(lambda a, b: listed(a, b)),
    "tuples": shared(lambda a, b: many(a, b)),
    "dicts": shared(lambda a, b: mapped((text("a"), a), (text("b"), b))),
    "sets": shared(lambda a, b: b"\x8f(" + a + b + b"\x90"),
    "objects": shared(lambda a, b: name("a", "B") + many(a, b) + b"R"),
    "dict keys": b"}" + shared(lambda a, b: many(a, b)) + b"Ns",
    "frozenset keys": b"}" + shared(lambda a, b: b"(" + a + b + b"\x91") + b"Ns",
    "many dict keys": shared(lambda a, b: many(a, b)) + b"0}(" + (get(59) + b"N") * 300 + b"u",
    "wide dict keys": many(*[b"K\x01"] * 300) + put(0) + b"0" + many(*[get(0)] * 300) + put(1) + b"0"
                      + many(*[get(1)] * 300) + put(2) + b"0}(" + (get(2) + b"N") * 300 + b"u",
    "layouts": call(name("torch.serialization", "_get_layout"), shared(lambda a, b: listed(a, b))),
    "numpy dtypes": call(name("numpy", "dtype"), shared(lambda a, b: listed(a, b))),
    "devices": call(name("torch", "device"), shared(lambda a, b: listed(a, b))),
    "quantised": call(name("torch._utils", "_rebuild_qtensor"), storage(), b"K\0", b")", b")",
                      many(shared(lambda a, b: listed(a, b)), b"K\1", b"K\0"), b"\x89", HOOKS),
    "storage keys": many(text("storage"), name("torch", "FloatStorage"), shared(lambda a, b: listed(a, b)),
                         text("cpu"), b"K\1") + b"Q",
    "storage classes": many(text("storage"), shared(lambda a, b: listed(a, b)), text("0"), text("cpu"), b"K\1") + b"Q",
    "persistent ids": shared(lambda a, b: many(a, b)) + b"Q",
    "states": name("a", "B") + b")\x81" + shared(lambda a, b: many(a, b)) + b"b",
}  # fmt: skip


@pytest.mark.parametrize("title", SHARED)
def test_what_is_shared_is_walked_once(title):
    data = pickled(SHARED[title], protocol=4)
    with memory() as peak, within(30):
        open_and_look(data)
        open_and_look(zip_checkpoint(data))
    assert peak.nbytes < 30 * MB


def test_modules_that_share_their_children_have_an_end(monkeypatch):
    monkeypatch.setattr(modules, "MOST_ENTRIES", 20_000)
    checkpoint = open_bytes(pickled(shared(lambda a, b: module(a, b))))
    with within(10):
        assert look_at_all(checkpoint) > 0
        entries = state_dict_entries(checkpoint.root.value)
    assert any("more entries than" in note for note in entries.notes)
    assert len(entries.notes) < 1000


def test_a_shared_legacy_header_does_not_explode():
    exploding = shared(lambda a, b: listed(a, b))
    magic = legacy_stream(pickled(b"N"))[:15]
    with within(20):
        for header in (exploding, b"K\x01"):
            with pytest.raises(CheckpointError):
                open_bytes(magic + pickled(header) + pickled(exploding) + pickled(exploding))


DEEP = {
    "lists": b"]" * 200_000 + b"a" * 199_999,
    "tuples": b"N" + b"\x85" * 200_000,
    "dicts": b"N" + b"".join([b"}N"] * 0) + b"0" + b"}" + (text("k") + b"}") * 100_000 + b"s" * 100_000,
    "calls": name("a", "B") + b")R" * 100_000,
    "arguments": b"N" + b"".join([b"\x85"] * 1) + (b"0" + name("a", "B") + b"N\x85R") + b"".join(
        b"\x85" + put(n) + b"0" + name("a", "B") + get(n) + b"R" for n in range(40_000)),
    "states": name("a", "B") + b")\x81" + b"".join(
        put(n) + b"0" + name("a", "B") + b")\x81" + mapped((text("x"), get(n))) + b"b" for n in range(30_000)),
    "modules": module() + b"".join(put(n) + b"0" + module(get(n)) for n in range(5000)),
    "rebuilt types": many(name("a", "f"), name("b", "T"), b")", b"N") + b"".join(
        put(n) + b"0" + many(name("torch._tensor", "_rebuild_from_type_v2"), name("b", "T"), get(n), b"N")
        for n in range(20_000)) + put(99_999) + b"0" + name("torch._tensor", "_rebuild_from_type_v2")
        + get(99_999) + b"R",
    "sets": b"\x8f" * 100_000 + b"".join([b"(" + b"N" + b"\x90"]) + b"0" * 99_999,
}  # fmt: skip


@pytest.mark.parametrize("title", DEEP)
def test_deep_nesting_is_no_recursion(title):
    data = pickled(DEEP[title], protocol=4)
    with within(60):
        checkpoint = open_and_look(data)
    if checkpoint is not None and title in ("lists", "tuples", "dicts", "states"):
        assert "too-deep" in {finding.code for finding in checkpoint.findings}


# --- long, with few distinct things -------------------------------------------------------------------------------

WIDE = {
    "one list under many keys": listed(b"K\1", b"]") + put(0) + b"0}("
                                + b"".join(text(f"k{n}") + get(0) for n in range(6000)) + b"u",
    "one wide object under many keys": name("a", "B") + b")\x81(" + b"K\1" * 6000 + b"e" + put(0) + b"0}("
                                       + b"".join(text(f"k{n}") + get(0) for n in range(6000)) + b"u",
    "one wide tuple under many keys": many(*[b"K\1"] * 6000, b"]") + put(0) + b"0}("
                                      + b"".join(text(f"k{n}") + get(0) for n in range(6000)) + b"u",
    "a log with an epoch in each entry": listed(*(mapped((text("epoch"), integer(n))) for n in range(6000))),
    "many schedulers": listed(*(mapped((text("last_epoch"), integer(n))) for n in range(6000))),
    "many models": listed(*(mapped((text("weight"), tensor((1,), key="0"))) for n in range(1000))),
    "many equal keys": b"}(" + (text("k") + b"N") * 6000 + b"u",
    "many NaN keys": b"}(" + (b"G" + struct.pack(">d", float("nan")) + b"N") * 6000 + b"u",
    "many tensors as keys": b"}(" + tensor((1,)) + put(0) + b"N" + (get(0) + b"N") * 6000 + b"u",
    "many int keys": b"}(" + b"".join(integer(n) + b"N" for n in range(6000)) + b"u",
}  # fmt: skip


@pytest.mark.parametrize("title", WIDE)
def test_wide_files_are_listed_in_linear_time(title):
    with within(15):
        assert open_and_look(zip_checkpoint(pickled(WIDE[title]), {"0": bytes(4)})) is not None


def test_the_sizes_that_a_tensor_claims_are_only_numbers():
    sizes = many(*[integer(1 << 61)] * 64)
    zeros = many(*[b"K\0"] * 64)
    dtype = name("torch", "float32")
    meta = call(name("torch._utils", "_rebuild_meta_tensor_no_storage"), dtype, sizes, zeros, b"\x89")
    held = call(name("torch._utils", "_rebuild_tensor_v2"), storage(numel=1), b"K\0", sizes, zeros, b"\x89", HOOKS)
    checkpoint = open_bytes(zip_checkpoint(pickled(many(meta, held)), {"0": bytes(4)}))
    assert look_at_all(checkpoint) > 0
    assert "bad-tensor" in {finding.code for finding in checkpoint.findings}


def test_a_key_with_too_many_digits_to_print():
    huge = 1 << 100_000
    checkpoint = open_bytes(pickled(mapped((integer(huge), b"N"), (integer(-huge), b"K\1"), (integer(7), b"K\2"))))
    assert look_at_all(checkpoint) > 0
    assert [checkpoint[node.pointer].value for node in checkpoint.root.children] == [None, 1, 2]
