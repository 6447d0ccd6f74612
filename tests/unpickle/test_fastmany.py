"""Reading hundreds of entries together gives exactly what the opcode loop gives."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opening import outcome, read_pickle
from test_shortcut import data_pickle

from ckpt_viewer.unpickle import fastmany

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True, scope="module")
def from_the_first_tensor_on():
    """Small files take the way of large ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fastmany, "WORTH", 0)
        patch.setattr(fastmany, "FEWEST", 2)
        patch.setattr(fastmany.Many, "until", property(lambda self: 0, lambda self, tensors: None), raising=False)
        yield


@cache
def files() -> dict[str, bytes]:
    """Pickles with long runs, by what is special about them."""
    shared, own = torch.zeros(500, 4), [torch.zeros(3) for _ in range(150)]
    scalar, pair = torch.zeros(()), torch.zeros(2, 3)
    return {
        "alike": data_pickle({f"layer.{n}.weight": torch.zeros(2, 3) for n in range(180)}),
        "of two kinds": data_pickle({f"layer.{n}.x": (pair if n % 60 else scalar).clone() for n in range(180)}),
        "by turns": data_pickle({f"layer.{n}.x": torch.zeros(2 + n % 2, 3) for n in range(180)}),
        "of one storage": data_pickle({f"layer.{n}.weight": shared[n] for n in range(180)}),
        "tied later": data_pickle({f"layer.{n % 150}.{n // 150}": each for n, each in enumerate(own + own[90:])}),
        "other letters": data_pickle({f"schicht.{n}.{'ü' * (n == 120)}": torch.zeros(2) for n in range(180)}),
        "names again": data_pickle({n: {m: torch.zeros(2, 3) for m in ("step", "avg")} for n in range(60)}),
        "names again by turns": data_pickle([{m: torch.zeros(2, 1 + n % 3) for m in "abcdef"} for n in range(30)]),
        "two thousand": data_pickle({f"layer.{n}.weight": torch.zeros(2, 3) for n in range(2300)}),
    }  # fmt: skip


@pytest.mark.parametrize("title", files())
def test_both_ways_read_the_same(title: str):
    assert outcome(files()[title], shortcut=True) == outcome(files()[title], shortcut=False)


def test_entries_are_read_together(monkeypatch: pytest.MonkeyPatch):
    """Otherwise the tests here would compare `fastrun` with the loop once more."""
    taken, take = [], fastmany.take_alike
    monkeypatch.setattr(fastmany, "take_alike", lambda *given: taken.append(take(*given)) or taken[-1])
    read_pickle(files()["two thousand"])
    assert sum(taken) > 1800


@pytest.mark.parametrize("title", ["alike", "of two kinds", "names again", "names again by turns"])
@settings(max_examples=200, deadline=None)
@given(draw=st.data())
def test_a_changed_byte_changes_both_alike(title: str, draw: st.DataObject):
    data = bytearray(files()[title])
    for _ in range(draw.draw(st.integers(1, 3))):
        at = draw.draw(st.integers(0, 199)) + draw.draw(st.sampled_from((len(data) // 3, len(data) * 2 // 3)))
        data[at] = draw.draw(st.sampled_from((0, 1, 0x28, 0x52, 0x58, 0x72, 0x75, 0xFF)) | st.integers(0, 255))
    assert outcome(bytes(data), shortcut=True) == outcome(bytes(data), shortcut=False)


@pytest.mark.parametrize("title", ["names again", "names again by turns"])
def test_entries_whose_names_came_before_are_read_in_runs(title: str):
    short, long = (read_pickle(files()[title], shortcut=shortcut) for shortcut in (True, False))
    assert short.opcodes < long.opcodes / 4


@pytest.mark.parametrize("slot", [*range(60), 300, 320, 331, 100_000, 0xFFFFFFFF])
@pytest.mark.parametrize("short", [True, False])
def test_a_name_may_stand_in_any_slot(slot: int, short: bool):
    """Also in one that is no name, that was not filled, or that is filled later."""
    data = files()["names again"]
    at = data.index(b"(h", len(data) // 2) + 1
    usual = data[at : at + 2]
    get = b"h" + bytes((slot % 256,)) if short else b"j" + slot.to_bytes(4, "little")
    assert data.count(b"(" + usual) > 20
    mixed = data[:at] + get + data[at + 2 :]
    assert outcome(mixed, shortcut=True) == outcome(mixed, shortcut=False)


@pytest.mark.parametrize("between", ["h\x04q\x05", "Nq\x09", "r", "0", "h\x10", "Nr\x40\x01\0\0", "(t", "q\x04", "u("])
@pytest.mark.parametrize("number", [80, 130, 131])
def test_what_stands_between_entries_counts_all_the_same(between: str, number: int):
    data = files()["alike"]
    at = data.index(b"layer.%d." % number) - 5
    mixed = data[:at] + between.encode("latin-1") + data[at:]
    assert outcome(mixed, shortcut=True) == outcome(mixed, shortcut=False)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\x01\0\0\x00100r", b"\x03\0\0\x00100r"),
        (b"\x03\0\0\x00100r", b"\x03\0\0\x00099r"),
        (b"\x10\0\0\0layer.100.weight", b"\x0f\0\0\0layer.100.weight"),
        (b"\x10\0\0\0layer.100.weight", b"\x10\0\0\0layer.099.weight"),
    ],
)
def test_keys_that_repeat_and_lengths_that_lie(old: bytes, new: bytes):
    data = files()["alike"].replace(old, new)
    assert outcome(data, shortcut=True) == outcome(data, shortcut=False)
