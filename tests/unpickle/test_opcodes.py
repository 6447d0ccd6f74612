"""Every opcode, held against Python's own unpickler on values that need no class."""

from __future__ import annotations

import io
import pickle
import struct
from typing import Any

import pytest
from builders import STOP, integer, listed, mapped, name, pickled, text
from hypothesis import given, settings
from hypothesis import strategies as st
from opening import open_bytes, read_pickle

from ckpt_viewer.core.value import Global, Instance, Literal, Mapping, Sequence
from ckpt_viewer.errors import CheckpointError, Damaged, Truncated, Unsupported


def plain(value: Any, done: dict[int, Any] | None = None) -> Any:
    """A neutral value as the Python object that it describes."""
    done = {} if done is None else done
    if id(value) in done:
        return done[id(value)]
    if type(value) is tuple:
        return tuple(plain(item, done) for item in value)
    if type(value) is list:
        made: Any = []
        done[id(value)] = made
        made.extend(plain(item, done) for item in value)
        return made
    if isinstance(value, Mapping):
        made = {}
        done[id(value)] = made
        for index in range(0, len(value.pairs), 2):
            made[plain(value.pairs[index], done)] = plain(value.pairs[index + 1], done)
        return made
    if isinstance(value, Sequence):
        kind = {"set": set, "frozenset": frozenset}[value.type]
        return kind(plain(item, done) for item in value.items)
    return value


def canonical(value: Any, seen: dict[int, int] | None = None) -> Any:
    """A form in which NaN equals NaN, 1 is not True, and a cycle ends."""
    seen = {} if seen is None else seen
    if isinstance(value, list | dict):
        if id(value) in seen:
            return "again", seen[id(value)]
        seen[id(value)] = len(seen)
    if isinstance(value, list | tuple):
        return type(value).__name__, [canonical(item, seen) for item in value]
    if isinstance(value, set | frozenset):
        return type(value).__name__, sorted(repr(canonical(item, seen)) for item in value)
    if isinstance(value, dict):
        return "dict", [(canonical(key, seen), canonical(item, seen)) for key, item in value.items()]
    return type(value).__name__, repr(value)


class Reference(pickle._Unpickler):  # type: ignore[misc]
    """Python's unpickler in Python, without any names."""

    def find_class(self, module: str, attribute: str) -> Any:
        raise pickle.UnpicklingError("no names here")


KEYS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5)
HASHABLE = st.recursive(KEYS, lambda inner: st.tuples(inner) | st.frozensets(inner, max_size=2), max_leaves=4)
VALUES = st.recursive(
    KEYS | st.integers(-(1 << 300), 1 << 300),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(HASHABLE, inner, max_size=4)
        | st.sets(HASHABLE, max_size=3)
    ),
    max_leaves=20,
)


@settings(max_examples=100, deadline=None)
@given(VALUES, st.integers(0, 5))
def test_what_pickle_writes_is_read_back(value, protocol):
    read = read_pickle(pickle.dumps(value, protocol))
    assert canonical(plain(read.value)) == canonical(value)
    assert read.notes == []


def u32(number: int) -> bytes:
    return struct.pack("<I", number)


BYTE = st.integers(0, 3).map(lambda n: bytes([n]))
SOUP = st.lists(
    st.sampled_from(
        [b"N", b"\x88", b"\x89", b"K\x07", b"M\x01\x02", b"J\xff\xff\xff\xff", b"G?\xf0\0\0\0\0\0\0",
         b"\x8a\x02\xff\x7f", b"\x8b\x01\0\0\0\x80", b"I12\n", b"I01\n", b"L3L\n",
         b"F0.5\n", b"S'a\\tb'\n", b"V\\u20ac\n", b"X\x01\0\0\0a",
         b"U\x02hi", b"T\x01\0\0\0z", b"\x8c\x02ok", b"\x8d\x01\0\0\0\0\0\0\0y", b"C\x02\x01\x02", b"B\x01\0\0\0\xff",
         b"\x8e\x01\0\0\0\0\0\0\0\xfe", b"]", b"}", b")", b"(", b"(", b"(", b"t", b"\x85", b"\x86", b"\x87", b"l", b"d",
         b"a", b"e", b"s", b"u", b"0", b"1", b"2", b"\x8f", b"\x90", b"\x91", b"\x94", b"\x94", b"\x80\x02",
         b"\x80\x04"]
    )
    | BYTE.map(lambda n: b"q" + n)
    | BYTE.map(lambda n: b"h" + n)
    | BYTE.map(lambda n: b"r" + n + b"\0\0\0")
    | BYTE.map(lambda n: b"j" + n + b"\0\0\0")
    | BYTE.map(lambda n: b"p%d\n" % n[0])
    | BYTE.map(lambda n: b"g%d\n" % n[0]),
    max_size=40,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(SOUP)
def test_any_order_of_opcodes_means_what_it_means_to_python(parts):
    """A scanner that reads a stream otherwise than the unpickler would be blind where it matters."""
    data = b"".join(parts) + STOP
    try:
        expected = Reference(io.BytesIO(data), encoding="utf-8").load()
    except Exception:
        expected = pickle.UnpicklingError
    try:
        found = read_pickle(data).value
    except CheckpointError as error:
        found, refused = None, str(error)
    else:
        refused = ""
    if refused:
        # list[0] = x is possible in Python, but no writer does so
        assert expected is pickle.UnpicklingError or "sets keys of a list" in refused
    elif expected is not pickle.UnpicklingError:
        assert canonical(plain(found)) == canonical(expected)


def test_memoize_counts_filled_slots_as_python_does():
    """MEMOIZE after slots were filled out of turn: another count would give names to the wrong values."""
    parts = b"K\x0aq\x05" + b"K\x0bq\x00" + b"K\x0c\x94" + b"K\x0dq\x03q\x01q\x04" + b"K\x0eq\x05" + b"K\x0f\x94"
    for slot in (0, 1, 2, 3, 4, 5, 6):
        data = parts + b"h" + bytes([slot]) + STOP
        try:
            expected = Reference(io.BytesIO(data)).load()
        except Exception:
            with pytest.raises(CheckpointError):
                read_pickle(data)
        else:
            assert read_pickle(data).value == expected, slot


# --- names and objects --------------------------------------------------------------------------------------------


def value_of(body: bytes, protocol: int = 2) -> Any:
    return read_pickle(pickled(body, protocol)).value


@pytest.mark.parametrize(
    ("body", "arguments"),
    [
        (name("a", "B") + b"(K\x01tR", (1,)),
        (name("a", "B") + b"(K\x01t\x81", (1,)),
        (b"(K\x01ia\nB\n", (1,)),
        (b"(" + name("a", "B") + b"K\x01o", (1,)),
        (name("a", "B") + b"(K\x01t}\x92", (1,)),
        (text("a") + text("B") + b"\x93(K\x01tR", (1,)),
        (name("a", "B") + b"](K\x01eR", (1,)),
    ],
)
def test_all_ways_to_make_an_object_give_one_that_names_its_class(body, arguments):
    made = value_of(body, 4)
    assert isinstance(made, Instance)
    assert (made.type, made.arguments) == ("a.B", arguments)


def test_keyword_arguments_are_kept():
    body = name("a", "B") + b")" + mapped((text("x"), b"K\x07")) + b"\x92"
    assert value_of(body, 4).keywords.pairs == ["x", 7]
    assert [node.step for node in open_bytes(pickled(body, 4)).root.children] == ["x"]


def test_state_items_and_pairs_of_an_unknown_object_are_its_children_in_order():
    body = name("a", "B") + b"(K\x01tR" + mapped((text("s"), b"K\x02")) + b"b" + b"K\x03a" + text("k") + b"K\x04s"
    checkpoint = open_bytes(pickled(body))
    assert [node.value for node in checkpoint.root.children] == [1, 2, 3, 4]
    assert checkpoint.root.length == 4


def test_a_second_state_does_not_hide_the_first():
    body = name("a", "B") + b")\x81" + mapped((text("one"), b"N")) + b"b" + mapped((text("two"), b"N")) + b"b"
    assert [node.name for node in open_bytes(pickled(body)).root.children] == ["one", "two"]


@pytest.mark.parametrize(("opcode", "number"), [(b"\x82\x07", 7), (b"\x83\x01\x02", 513), (b"\x84\1\0\0\0", 1)])
def test_extensions_are_inert(opcode, number):
    found = value_of(opcode)
    assert isinstance(found, Global)
    assert found.qualified == f"copyreg.extension {number}"


@pytest.mark.parametrize("opcode", [b"\x97", b"N\x98"])
def test_buffers_outside_of_the_file_are_not_supported(opcode):
    with pytest.raises(Unsupported, match="buffers outside"):
        value_of(opcode, 5)


@pytest.mark.parametrize("body", [b"a", b"Na", b"s", b"NNs", b"R", b"NR", b"b", b"Nb", b"t", b"u", b"}(Nu", b"}(NNNu",
                                  b"o", b"(o", b"\x93", b"\x81", b"h\x00", b"0", b"\x91", b"]K\1K\2s",
                                  b"N(NNu", b"\xff",
                                  b"S'x\n", b"Sx\n", b"S\n", b"Fx\n", b"Ix\n", b"\x80\x06", b"N(Ne", b"Q"])  # fmt: skip
def test_nonsense_is_damaged_or_cut_off(body):
    with pytest.raises((Damaged, Truncated), match="pickle"):
        read_pickle(b"\x80\x02" + body + STOP)


def test_a_python2_string_is_text_where_it_can_be():
    assert value_of(b"U\x02\xc3\xa9") == "é"
    assert value_of(b"U\x01\xe9") == "é"


def test_an_escape_that_python_complains_about_is_read():
    assert value_of(b"S'a\\qb'\n", 0) == "a\\qb"


def test_surrogates_survive():
    assert value_of(b"X\x03\0\0\0\xed\xa0\x80") == "\ud800"


def test_globals_are_listed_once_in_order_of_appearance():
    body = listed(name("b", "X"), name("a", "Y"), name("b", "X"), name("torch", "float32"))
    read = read_pickle(pickled(body))
    assert [use.name for use in read.globals] == ["b.X", "a.Y", "torch.float32"]
    assert read.value[0] is read.value[2]
    assert isinstance(read.value[3], Literal)


@pytest.mark.parametrize(
    ("body", "protocol", "words"),
    [
        (b"N", 2, ""),
        (listed(integer(300), text("x"), b"G?\xf0\0\0\0\0\0\0"), 2, ""),
        (b"C\x01x", 3, "pickle opcode 67"),
        (b"\x8c\x01x\x94", 4, "pickle opcode 140"),
        (name("os", "system"), 2, "it names os.system"),
        (b"I5\n", 2, "pickle opcode 73"),
        (name("collections", "OrderedDict") + b")R", 2, ""),
    ],
)
def test_why_weights_only_would_refuse(body, protocol, words):
    assert read_pickle(pickled(body, protocol)).refused.startswith(words)
    assert bool(read_pickle(pickled(body, protocol)).refused) == bool(words)
