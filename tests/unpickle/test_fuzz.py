"""Whatever the bytes are: a checkpoint, or a CheckpointError with a sentence."""

from __future__ import annotations

from functools import cache

from builders import (
    LEGACY_MAGIC,
    call,
    floats,
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
    zip_file,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from opening import open_and_look

from ckpt_viewer.unpickle.recipes import RECIPES

HEAD = legacy_stream(pickled(b"N"))
HEAD = HEAD[: HEAD.index(pickled(b"N"), len(pickled(LEGACY_MAGIC)))]
QUICK = settings(max_examples=150, deadline=None)


@QUICK
@given(st.binary(max_size=200))
def test_any_bytes(data):
    open_and_look(data)


@QUICK
@given(st.sampled_from([b"\x80\x02", b"\x80\x04\x95", b"\x80\x05", b"(", b"}", b"]q\x00", b"c", HEAD, b"PK\3\4"]),
       st.binary(max_size=120))  # fmt: skip
def test_any_bytes_behind_a_good_beginning(prefix, data):
    open_and_look(prefix + data)


@QUICK
@given(st.binary(max_size=120), st.booleans())
def test_any_bytes_as_the_pickle_of_a_container(data, zipped):
    open_and_look(zip_checkpoint(data, {"0": floats(1)}) if zipped else HEAD + data)


@QUICK
@given(st.binary(max_size=64), st.sampled_from(["data.pkl", "byteorder", "version", "other.pkl", "constants.pkl"]))
def test_any_bytes_as_a_record(data, record):
    records = {"a/data.pkl": pickled(tensor()), "a/data/0": floats(1, 2, 3, 4), f"a/{record}": data}
    open_and_look(zip_file(records))


NUMBERS = st.sampled_from([-(1 << 70), -1, 0, 1, 2, 7, 255, 65536, 1 << 31, (1 << 62) - 1, 1 << 62, 1 << 63, 1 << 400])
TEXTS = st.sampled_from(["", "a", "0", "storage", "module", "cpu", "cuda:0", "\ud800", "x\ny", "latin1", "b", "<f4",
                         "O8", "params", "param_groups", "state", "_metadata", "_parameters", "_modules", "_buffers",
                         "é" * 9])  # fmt: skip
KNOWN = st.sampled_from([*sorted(RECIPES), ("torch", "FloatStorage"), ("torch", "float32"), ("torch", "QInt8Storage"),
                         ("torch.storage", "UntypedStorage"), ("a", "B"), ("os", "system"), ("torch", "quint4x2"),
                         ("torch", "QUInt4x2Storage"), ("collections", "OrderedDict")])  # fmt: skip
LEAVES = (
    NUMBERS.map(integer)
    | TEXTS.map(text)
    | KNOWN.map(lambda pair: name(*pair))
    | st.sampled_from([b"N", b"\x88", b"\x89", b"G\x7f\xf8\0\0\0\0\0\0", b")", b"]", b"}", b"\x8f", b"C\x03abc", get(0),
                       storage(), storage(legacy=True), storage(numel=0), storage(cls="QInt8Storage"),
                       storage(cls="UntypedStorage"), tensor((2, 2)), tensor((0,)), tensor(()), HEAD])
)  # fmt: skip
BODIES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda parts: many(*parts))
        | st.lists(inner, max_size=4).map(lambda parts: listed(*parts))
        | st.lists(st.tuples(inner, inner), max_size=4).map(lambda pairs: mapped(*pairs))
        | st.tuples(KNOWN, st.lists(inner, max_size=9)).map(lambda both: call(name(*both[0]), *both[1]))
        | st.tuples(KNOWN, st.lists(inner, max_size=3)).map(lambda both: name(*both[0]) + many(*both[1]) + b"\x81")
        | st.tuples(inner, inner).map(lambda both: b"".join(both) + b"b")
        | st.tuples(inner, inner).map(lambda both: b"".join(both) + b"a")
        | inner.map(lambda body: body + put(0))
        | inner.map(lambda body: body + b"Q")
    ),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(BODIES, st.sampled_from([2, 3, 4]), st.sampled_from(["zip", "legacy", "raw"]))
def test_calls_of_all_that_we_know_with_all_sorts_of_arguments(body, protocol, kind):
    pickle = pickled(body, protocol)
    data = {"storage": bytes(64), "0": bytes(16)}
    made = {"zip": zip_checkpoint(pickle, data), "legacy": legacy_stream(pickle, {"0": bytes(16)}), "raw": pickle}
    open_and_look(made[kind])


@cache
def small_files() -> tuple[bytes, ...]:
    """Real small files, as torch writes them."""
    import io

    import torch

    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    value = {
        "model": model.state_dict(),
        "optimizer": torch.optim.SGD(model.parameters(), 0.1).state_dict(),
        "epoch": 1,
    }
    files = []
    for options in ({}, {"_use_new_zipfile_serialization": False}, {"pickle_protocol": 4}):
        out = io.BytesIO()
        torch.save(value, out, **options)
        files.append(out.getvalue())
    out = io.BytesIO()
    torch.save(model, out)
    return (*files, out.getvalue())


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 3), st.data())
def test_flipped_bytes_of_real_files(which, draw):
    data = bytearray(small_files()[which])
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(0, len(data) - 1))] ^= draw.draw(st.integers(1, 255))
    open_and_look(bytes(data))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 3), st.floats(0, 1), st.floats(0, 1))
def test_pieces_cut_out_of_real_files(which, start, end):
    data = small_files()[which]
    first, last = sorted((int(start * len(data)), int(end * len(data))))
    open_and_look(data[:last])
    open_and_look(data[:first] + data[last:])
