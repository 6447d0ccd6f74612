"""Reading tensors at one glance gives exactly what the opcode loop gives."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from functools import cache

import pytest
from builders import get, listed, many, mapped, pickled, put, tagged, tensor, text
from hypothesis import given, settings
from hypothesis import strategies as st
from opening import outcome, read_pickle

torch = pytest.importorskip("torch")


def data_pickle(value, tag=None, protocol: int = 2) -> bytes:
    out = io.BytesIO()
    with tagged(tag):
        torch.save(value, out, pickle_protocol=protocol)
    with zipfile.ZipFile(out) as archive:
        return archive.read("archive/data.pkl")


def legacy_pickle(value) -> bytes:
    """The pickle of a legacy stream: the fourth, behind magic number, protocol and facts about the machine."""
    out = io.BytesIO()
    torch.save(value, out, _use_new_zipfile_serialization=False)
    out.seek(0)
    for _ in range(3):
        pickle.load(out)
    return out.read()


def shapes():
    base = torch.arange(60.0)
    return {
        "plain": torch.zeros(3, 4), "scalar": torch.tensor(1.0), "empty": torch.zeros(0, 3), "view": base[5:17],
        "turned": base.view(6, 10).T, "expanded": torch.zeros(1).expand(5), "five": torch.zeros(1, 2, 1, 2, 1),
        "nine": torch.zeros(*[1] * 9), "large": torch.zeros(300, 2), "larger": torch.zeros(70_000), "step": base[::7],
    }  # fmt: skip


@cache
def files() -> dict[str, bytes]:
    """Pickles of all sorts, by what is special about them."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))
    optimizer = torch.optim.AdamW(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    resume = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
    one = torch.zeros(2, 2)
    return {
        "resume": data_pickle(resume),
        "resume on two devices": data_pickle(resume, tag=lambda n: f"cuda:{n % 2}"),
        "many": data_pickle({f"layer.{n}.weight": torch.zeros(2, 3) for n in range(120)}),
        "long": data_pickle({f"layer.{n}.{n % 3}.weight": torch.zeros(2, 3 + n % 3) for n in range(150)}),
        "shapes": data_pickle(shapes()),
        "tied": data_pickle([one, one, one.view(4), one[1:]]),
        "parameters": data_pickle({n: torch.nn.Parameter(torch.zeros(n, 2), n % 2 == 0) for n in range(4)}),
        "dtypes": data_pickle([torch.zeros(2, dtype=getattr(torch, name)) for name in
                               ("float64", "float16", "bfloat16", "int64", "bool", "complex64", "uint16")] * 2),
        "module": data_pickle(model),
        "user strings": data_pickle(OrderedDict([("storage", one), ("cpu", torch.ones(3)), ("0", torch.ones(2))])),
        "legacy": legacy_pickle({f"layer.{n}.{n % 3}.weight": torch.zeros(2, 3 + n % 3) for n in range(150)}),
        "legacy resume": legacy_pickle(resume),
        "protocol 4": data_pickle(resume, protocol=4),
        "protocol 0": data_pickle(shapes(), protocol=0),
    }  # fmt: skip


NAMES = ("resume", "resume on two devices", "many", "shapes", "tied", "parameters", "dtypes", "module", "user strings",
         "protocol 4", "protocol 0")  # fmt: skip


@pytest.mark.parametrize("title", NAMES)
def test_both_ways_read_the_same(title):
    data = files()[title]
    assert outcome(data, shortcut=True) == outcome(data, shortcut=False)


def test_the_shortcut_is_taken():
    """Otherwise the tests here would compare the loop with itself."""
    data = files()["many"]
    short, long = read_pickle(data), read_pickle(data, shortcut=False)
    assert short.opcodes < long.opcodes / 3


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_changed_byte_changes_both_alike(draw):
    data = bytearray(files()[draw.draw(st.sampled_from(("many", "shapes", "resume", "tied", "user strings")))])
    for _ in range(draw.draw(st.integers(1, 3))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    assert outcome(bytes(data), shortcut=True) == outcome(bytes(data), shortcut=False)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_cut_or_spliced_stream_too(draw):
    data = files()[draw.draw(st.sampled_from(("many", "shapes", "tied")))]
    first, last = sorted((draw.draw(st.integers(0, len(data))), draw.draw(st.integers(0, len(data)))))
    other = draw.draw(st.sampled_from((b"", b"h\x05", b"0", b"2", b"q\x07", b"K\x01", b"\x88", b"(", b"t", b"N")))
    mixed = data[:first] + other + data[last:]
    assert outcome(mixed, shortcut=True) == outcome(mixed, shortcut=False)


def test_a_slot_that_the_shortcut_did_not_fill_is_read_all_the_same():
    """Somebody refers to the persistent id or the hooks of a tensor once more: no writer that we know does."""
    pickle = files()["many"]
    whole = read_pickle(pickle, shortcut=False)
    assert whole.value
    slots = {}
    for slot in range(40):
        data = pickle[:-1] + b"0" + (b"h" + bytes([slot])) + b"."
        short, long = outcome(data, shortcut=True), outcome(data, shortcut=False)
        assert short == long, slot
        slots[slot] = short
    assert len({str(each) for each in slots.values()}) > 5


def test_storages_of_an_abandoned_reading_are_forgotten():
    """The file is read a second time without the shortcut; its storages must not be counted twice."""
    tensors = listed(*(tensor((2,), key=str(n)) for n in range(3)))
    data = files()["many"][:-1] + b"0" + tensors + b"0h\x1e."
    read = read_pickle(data)
    assert [storage.key for storage in read.storages.values()] == [str(number) for number in range(120)]


def test_the_same_key_with_another_size_is_told_by_both():
    body = mapped((text("a"), tensor((2,), key="0")), (text("b"), tensor((3,), key="0")))
    assert outcome(pickled(body), shortcut=True) == outcome(pickled(body), shortcut=False)
    assert "storage-described-twice" in [note.code for note in read_pickle(pickled(body)).notes]


def test_a_tensor_that_leaves_its_storage_is_told_by_both():
    pickle = files()["shapes"]
    lying = pickle.replace(b"K\x03K\x04\x86", b"K\x09K\x04\x86")
    assert lying != pickle
    assert outcome(lying, shortcut=True) == outcome(lying, shortcut=False)
    assert "bad-tensor" in [note.code for note in read_pickle(lying).notes]


def test_a_rebuild_function_under_a_slot_that_was_overwritten():
    """The memo slot of the storage class is filled anew between two tensors."""
    first, second = tensor((2,), key="0"), tensor((2,), key="1")
    body = many(first, text("LongStorage") + put(1), second, get(1))
    assert outcome(pickled(body), shortcut=True) == outcome(pickled(body), shortcut=False)


def test_runs_of_entries_are_taken_whole():
    """Once a form is known: of many tensors in two shapes only the first of each is read with the expression."""
    pickle = data_pickle({f"layer.{n}.{n % 2}": torch.zeros(3, 4) if n % 2 else torch.zeros(2) for n in range(400)})
    short, long = read_pickle(pickle), read_pickle(pickle, shortcut=False)
    assert short.opcodes < long.opcodes / 20
    assert outcome(pickle, shortcut=True) == outcome(pickle, shortcut=False)


def test_what_a_name_described_first_is_told_where_the_loop_never_called_it_before():
    data = bytearray(files()["long"])
    assert data[177:178] == b"R"
    data[177:178] = b"\x86"  # the first tensor is none
    assert outcome(bytes(data), shortcut=True) == outcome(bytes(data), shortcut=False)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_changed_byte_in_a_run_changes_both_alike(draw):
    data = bytearray(files()["long"])
    for _ in range(draw.draw(st.integers(1, 3))):
        at = draw.draw(st.integers(0, 199)) + draw.draw(st.sampled_from((0, len(data) // 2, len(data) - 1500)))
        data[at] = draw.draw(st.integers(0, 255))
    assert outcome(bytes(data), shortcut=True) == outcome(bytes(data), shortcut=False)


@pytest.mark.parametrize("between", ["h\x04q\x05", "Nq\x09", "r", "0", "h\x10", "Nr\x40\x01\0\0", "(t", "q\x04"])
def test_what_stands_between_entries_of_a_run_counts_all_the_same(between):
    """A memo slot that is filled anew, among others: what was learnt from it before no longer holds."""
    data = files()["long"]
    at = data.index(b"layer.80.") - 5
    mixed = data[:at] + between.encode("latin-1") + data[at:]
    assert outcome(mixed, shortcut=True) == outcome(mixed, shortcut=False)


def test_names_of_other_letters_keys_that_repeat_and_large_numbers():
    shared = torch.zeros(70_000)
    entries = {
        f"schicht.{n}.gewicht{'ü' * (n % 3)}": shared[n : n + 10] if n % 2 else torch.zeros(7, n) for n in range(200)
    }
    pickle = data_pickle(OrderedDict(entries), tag=lambda n: f"cuda:{n % 2}")
    assert outcome(pickle, shortcut=True) == outcome(pickle, shortcut=False)


@pytest.mark.parametrize("title", ["legacy", "legacy resume", "long", "resume"])
@pytest.mark.parametrize("legacy", [True, False])
def test_both_forms_of_persistent_ids_are_read_alike_by_both_ways(title, legacy):
    """Also where one stands in a container of the other kind, in which it names no storage."""
    data = files()[title]
    assert outcome(data, shortcut=True, legacy=legacy) == outcome(data, shortcut=False, legacy=legacy)


def test_the_shortcut_is_taken_in_a_legacy_stream():
    short, long = (read_pickle(files()["legacy"], shortcut=shortcut, legacy=True) for shortcut in (True, False))
    assert len(short.storages) == 150
    assert short.opcodes < long.opcodes / 3


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_changed_byte_in_a_legacy_stream_changes_both_alike(draw):
    data = bytearray(files()["legacy"])
    for _ in range(draw.draw(st.integers(1, 3))):
        at = draw.draw(st.integers(0, 199)) + draw.draw(st.sampled_from((0, len(data) // 3, len(data) * 2 // 3)))
        data[at] = draw.draw(st.sampled_from((0x28, 0x4B, 0x4E, 0x51, 0x58, 0x72, 0x74)) | st.integers(0, 255))
    assert outcome(bytes(data), shortcut=True, legacy=True) == outcome(bytes(data), shortcut=False, legacy=True)


def test_one_storage_under_both_forms_of_ids():
    """The second names no storage, though there is one of its key."""
    first, second = tensor((2,), key="0"), tensor((2,), key="0")
    body = pickled(many(first, second))
    at = body.rindex(b"tQ")
    mixed = body[:at] + b"N" + body[at:]
    for legacy in (True, False):
        assert outcome(mixed, shortcut=True, legacy=legacy) == outcome(mixed, shortcut=False, legacy=legacy)
