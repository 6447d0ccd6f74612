"""Tags change and nothing else does: judged by Python's own unpickler and by torch."""

import io
import pickle
import struct
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckpt_viewer.errors import CannotExport, CheckpointError, Damaged
from ckpt_viewer.unpickle import origins_table
from ckpt_viewer.unpickle.origins import trace
from ckpt_viewer.unpickle.relocate import relocate

CLASS = b"ctorch\nFloatStorage\n"


class Storage:
    """Pickled by reference, as torch pickles a storage."""

    def __init__(self, key, tag, numel=4, extra=()):
        self.pid = ("storage", float, key, tag, numel, *extra)


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj):
        return obj.pid if isinstance(obj, Storage) else None


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, pid):
        return ("loaded", pid)


def dump(value, protocol=2):
    out = io.BytesIO()
    _Pickler(out, protocol).dump(value)
    return out.getvalue()


def load(data):
    return _Unpickler(io.BytesIO(data)).load()


def to(new):
    return lambda key, tag: new


def loaded(key, tag, numel=4, extra=()):
    return ("loaded", ("storage", float, key, tag, numel, *extra))


@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
class TestEveryProtocol:
    def test_changes_every_tag(self, protocol):
        data = dump([Storage("0", "cuda:1"), Storage("1", "cuda:1"), "other"], protocol)
        new = relocate(data, to("cpu"))
        assert load(new.data) == [loaded("0", "cpu"), loaded("1", "cpu"), "other"]
        assert new.references == 2

    def test_legacy_ids_have_six_items(self, protocol):
        data = dump([Storage("0", "cuda:1", extra=(None,))], protocol)
        assert load(relocate(data, to("cpu")).data) == [loaded("0", "cpu", extra=(None,))]

    def test_leaves_an_equal_string_that_comes_first(self, protocol):
        tag = "cuda:1"  # one object, so that the pickle writes it once and refers to it afterwards
        data = dump({tag: "weights", "first": Storage("0", tag), "name": tag, "second": Storage("1", tag)}, protocol)
        assert load(relocate(data, to("cpu")).data) == {
            "cuda:1": "weights",
            "first": loaded("0", "cpu"),
            "name": "cuda:1",
            "second": loaded("1", "cpu"),
        }

    def test_leaves_an_equal_string_that_comes_later(self, protocol):
        tag = "cuda:1"
        data = dump([Storage("0", tag), tag, [tag], {tag: tag}], protocol)
        assert load(relocate(data, to("cpu")).data) == [loaded("0", "cpu"), tag, [tag], {tag: tag}]

    def test_the_new_tag_may_be_a_key_already(self, protocol):
        tag = "cpu"
        data = dump({tag: 1, "x": Storage("0", "cuda:0"), "y": Storage("1", tag)}, protocol)
        new = load(relocate(data, to("cuda:7")).data)
        assert new == {"cpu": 1, "x": loaded("0", "cuda:7"), "y": loaded("1", "cuda:7")}

    def test_a_key_may_be_the_same_string_as_the_tag(self, protocol):
        text = "cuda:1"
        data = dump([Storage(text, text)], protocol)
        assert load(relocate(data, to("cpu")).data) == [loaded("cuda:1", "cpu")]

    def test_storages_that_share_a_tag_may_part(self, protocol):
        tag = "cuda:1"
        data = dump([Storage(str(n), tag) for n in range(6)], protocol)
        new = relocate(data, lambda key, tag: "cpu" if int(key) % 2 else "cuda:0")
        assert [pid[3] for _, pid in load(new.data)] == ["cuda:0", "cpu"] * 3

    def test_some_tags_may_stay(self, protocol):
        data = dump([Storage("0", "cuda:0"), Storage("1", "cuda:1"), Storage("2", "cuda:0")], protocol)
        new = relocate(data, lambda key, tag: {"cuda:1": "cpu"}.get(tag, tag))
        assert [pid[3] for _, pid in load(new.data)] == ["cuda:0", "cpu", "cuda:0"]
        assert new.references == 1

    def test_one_id_may_be_used_twice(self, protocol):
        storage = Storage("0", "cuda:1")
        again = Storage("0", "cuda:1")
        again.pid = storage.pid  # the very tuple: the second one is a read of its memo slot
        data = dump([storage, again], protocol)
        assert load(relocate(data, to("cpu")).data) == [loaded("0", "cpu")] * 2

    def test_many_frames_keep_their_lengths_right(self, protocol):
        value = [(Storage(str(n), "cuda:1"), "x" * 3000) for n in range(200)]
        new = load(relocate(dump(value, protocol), to("xpu:12")).data)
        assert new == [(loaded(str(n), "xpu:12"), "x" * 3000) for n in range(200)]

    def test_the_same_tags_give_the_same_bytes(self, protocol):
        data = dump({"cuda:1": [Storage("0", "cuda:1")]}, protocol)
        same = relocate(data, lambda key, tag: tag)
        assert (same.data, same.references) == (data, 0)

    def test_what_follows_the_pickle_stays(self, protocol):
        data = dump([Storage("0", "cuda:1")], protocol)
        assert relocate(data + b"tail", to("cpu")).data.endswith(b".tail")


# --- opcodes that today's writers do not use ------------------------------------------------------------------------


def test_python2_strings_stay_python2_strings():
    data = b"\x80\x02(U\x07storageq\x01" + CLASS + b"U\x010U\x06cuda:1q\x02K\x04tQh\x02\x86."
    new = relocate(data, to("cpu")).data
    assert b"U\x03cpuq\x02" in new
    assert new.endswith(b"QU\x06cuda:1\x86.")


def test_long_python2_strings():
    data = b"\x80\x02(T\x07\0\0\0storage" + CLASS + b"T\x01\0\0\x000T\x06\0\0\0cuda:1K\x04tQ."
    assert b"T\x03\0\0\0cpuK\x04" in relocate(data, to("cpu")).data


def test_text_opcodes_of_protocol_0():
    data = b"(S'storage'\np1\n" + CLASS + b"V0\nVcuda:1\np2\nI4\ntQg2\n\x86."
    assert relocate(data, to("cpu")).data == b"(S'storage'\np1\n" + CLASS + b"V0\nVcpu\np2\nI4\ntQVcuda:1\n\x86."


def test_quoted_text_tag():
    data = b"(S'storage'\n" + CLASS + b"S'0'\nS'cuda:1'\nI4\ntQ."
    assert b"S'cpu'\nI4" in relocate(data, to("cpu")).data


def test_eight_byte_length():
    tag = b"\x8d" + struct.pack("<Q", 6) + b"cuda:1"
    data = b"\x80\x04(\x8c\x07storage" + CLASS + b"\x8c\x010" + tag + b"K\x04tQ."
    assert b"\x8d" + struct.pack("<Q", 3) + b"cpuK" in relocate(data, to("cpu")).data


def test_dup_is_a_read_like_any_other():
    # the list [tag] and the tag of the storage come from one literal
    data = b"\x80\x02](X\x06\0\0\0cuda:12q\x010(X\x07\0\0\0storage" + CLASS + b"X\x01\0\0\x000h\x01K\x04tQe."
    assert load_names(relocate(data, to("cpu")).data) == ["cuda:1", ("storage", "0", "cpu")]


def load_names(data):
    class Loader(pickle.Unpickler):
        def find_class(self, module, name):
            return name

        def persistent_load(self, pid):
            return pid[0], pid[2], pid[3]

    return Loader(io.BytesIO(data)).load()


def test_a_slot_that_is_filled_from_another_slot():
    tag = b"X\x06\0\0\0cuda:1q\x01"
    data = b"\x80\x02](" + tag + b"(X\x07\0\0\0storage" + CLASS + b"X\x01\0\0\x000h\x01q\x05K\x04tQh\x05h\x01e."
    new = relocate(data, to("cpu")).data
    assert load_names(new) == ["cuda:1", ("storage", "0", "cpu"), "cuda:1", "cuda:1"]


def test_refuses_an_id_that_is_also_a_value():
    data = b"\x80\x02](" + b"(X\x07\0\0\0storage" + CLASS + b"X\x01\0\0\x000X\x06\0\0\0cuda:1K\x04tq\x01Qh\x01e."
    with pytest.raises(CannotExport, match="also used as something else"):
        relocate(data, to("cpu"))
    assert relocate(data, lambda key, tag: tag).data == data


def test_an_id_that_is_only_a_value_is_no_tag():
    data = b"\x80\x02(X\x07\0\0\0storage" + CLASS + b"X\x01\0\0\x000X\x06\0\0\0cuda:1K\x04t."
    assert relocate(data, to("cpu")).data == data


@pytest.mark.parametrize("tag", ["a'b", "back\\slash", "new\nline", "gerät", "x" * 300, "\x1b[31m"])
def test_refuses_tags_that_no_torch_has(tag):
    with pytest.raises(CannotExport, match="cannot be written as a device tag"):
        relocate(dump(Storage("0", "cuda:0")), to(tag))


# --- damage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        b"\x80\x02",
        b"Q.",
        b"t.",
        b"h\x07.",
        b"X\xff\0\0\0abc.",
        b"\xff",
        b"\x95\0\0",
        b"g99999999999999999999999\n.",
    ],
)
def test_damage_is_one_sentence(data):
    with pytest.raises(Damaged, match="device tags cannot be rewritten"):
        relocate(data, to("cpu"))


def test_a_huge_memo_slot_costs_nothing():
    data = b"\x80\x02Nr\xff\xff\xff\x0fj\xff\xff\xff\x0f."
    tracemalloc.start()
    try:
        assert relocate(data, to("cpu")).data == data
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_deep_nesting_does_not_recurse():
    data = b"(" * 100_000 + b"t" * 100_000 + b"."
    assert relocate(data, to("cpu")).data == data


PREFIXES = [b"", b"\x80\x02", dump([Storage("0", "cuda:1"), {"cuda:1": 1}])[:-3], dump([Storage("0", "c")], 4)[:-3]]


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(PREFIXES), st.binary(max_size=80))
def test_only_checkpoint_errors_escape(prefix, rest):
    with suppress(CheckpointError):
        relocate(prefix + rest, to("cpu"))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 400), st.integers(0, 255))
def test_a_flipped_byte_never_raises_anything_else(at, byte):
    data = bytearray(dump({"cuda:1": [Storage(str(n), "cuda:1") for n in range(5)]}, 4))
    data[at % len(data)] = byte
    with suppress(CheckpointError):
        relocate(bytes(data), to("cpu"))


# --- the shortcut for whole tensors ---------------------------------------------------------------------------------


@pytest.mark.torch
@pytest.mark.parametrize("legacy", [False, True])
def test_the_shortcut_does_what_the_opcodes_do(monkeypatch, legacy):
    import zipfile

    import torch

    shapes = [(), (3,), (2, 3), (2, 3, 4), (2, 3, 4, 5), (0,), (300, 2)]
    value = {f"w{n}": torch.zeros(shapes[n % 7]) for n in range(300)} | {"cpu": 1, "tail": ["cpu"]}
    out = io.BytesIO()
    torch.save(value, out, _use_new_zipfile_serialization=not legacy)
    data = out.getvalue() if legacy else zipfile.ZipFile(out).read("archive/data.pkl")
    if legacy:
        data = data[data.index(b"\x80\x02}q\x00(X\x02\x00\x00\x00w0") :]
    shortcuts = []
    real = origins_table._tensor

    def counted(o, at):
        shortcuts.append(real(o, at))
        return shortcuts[-1]

    monkeypatch.setattr(origins_table, "_tensor", counted)
    quick = relocate(data, to("cuda:3"))
    assert sum(map(bool, shortcuts)) > 250
    monkeypatch.setattr(origins_table, "_tensor", lambda o, at: 0)
    assert relocate(data, to("cuda:3")) == quick
    assert quick.references == 300


READS = {
    "its key": [(0, b"j%b")],
    "its key as the tag of another storage": [(0, b"(X\7\0\0\0storage" + CLASS + b"X\3\0\0\0newj%bK\4tQ")],
    "its id": [(1, b"j%b")],
    "its id as an id": [(1, b"j%bQ")],
    "its id as an id, and put anew": [(1, b"j%bQ"), (1, b"X\1\0\0\0xr%b"), (1, b"j%b")],
    "its key's slot, put anew": [(0, b"X\1\0\0\0xr%b"), (0, b"j%b")],
    "its key twice": [(0, b"j%b"), (0, b"j%b")],
    "the slot behind them": [(2, b"j%b")],
}
"""What else a pickle may do with what a usual tensor has put into the memo: how far behind its first slot, and how."""


@pytest.mark.torch
@pytest.mark.parametrize("tag", ["cuda:3", "cpu"])
@pytest.mark.parametrize("reads", READS.values(), ids=READS)
def test_what_a_usual_tensor_left_in_the_memo(monkeypatch, reads, tag):
    import zipfile

    import torch

    out = io.BytesIO()
    torch.save({f"w{n}": torch.zeros(3) for n in range(9)}, out)
    data = zipfile.ZipFile(out).read("archive/data.pkl")
    slots = trace(data).tensors._slots
    assert len(slots) > 5
    more = b"".join(how % (slots[4] + behind).to_bytes(4, "little") for behind, how in reads)
    data = b"\x80\2](" + data[2:-1] + more + b"e."

    def outcome():
        try:
            return relocate(data, to(tag))
        except CannotExport as error:
            return str(error)

    quick = outcome()
    monkeypatch.setattr(origins_table, "_tensor", lambda o, at: 0)
    assert quick == outcome()
    assert isinstance(quick, str) == (reads in (READS["its id"],) and tag != "cpu")


@pytest.mark.torch
def test_a_tensor_takes_little():
    """As an optimizer's state has it, whose keys are read from the memo; what is returned is 90 bytes of it."""
    import zipfile

    import torch

    count, out = 8000, io.BytesIO()
    torch.save({n: {"exp_avg": torch.zeros(3), "exp_avg_sq": torch.zeros(3)} for n in range(count // 2)}, out)
    data = zipfile.ZipFile(out).read("archive/data.pkl")
    tracemalloc.start()
    try:
        relocate(data, to("cuda:3"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200 * count
