"""The flat table: pre-order, what is met again, cycles."""

from __future__ import annotations

import pytest
from builders import call, get, integer, listed, many, mapped, name, pickled, put, tensor, text
from opening import look_at_all, open_bytes, within

from ckpt_viewer.core import outline as module
from ckpt_viewer.core.outline import build_outline
from ckpt_viewer.core.path import Arg, Item
from ckpt_viewer.errors import Cancelled


def paths(body: bytes, protocol: int = 4) -> list[tuple]:
    outline = open_bytes(pickled(body, protocol)).outline
    return [outline.path(row) for row in range(len(outline))]


def test_rows_are_in_pre_order_with_their_ends():
    body = mapped((text("a"), listed(b"K\x01", many(b"K\x02"))), (text("b"), b"N"))
    outline = open_bytes(pickled(body)).outline
    assert paths(body) == [(), ("a",), ("a", 0), ("a", 1), ("a", 1, 0), ("b",)]
    assert list(outline.parents) == [-1, 0, 1, 1, 3, 0]
    assert list(outline.ends) == [6, 5, 3, 5, 5, 6]
    assert list(outline.children(0)) == [1, 5]
    assert list(outline.children(1)) == [2, 3]


def test_a_container_met_again_is_described_once():
    body = mapped((text("a"), listed(b"K\x01") + put(0)), (text("b"), get(0)), (text("c"), listed(get(0))))
    checkpoint = open_bytes(pickled(body))
    outline = checkpoint.outline
    assert [outline.path(row) for row in range(len(outline))] == [(), ("a",), ("a", 0), ("b",), ("c",), ("c", 0)]
    assert {outline.path(row): outline.path(first) for row, first in outline.aliases.items()} == {
        ("b",): ("a",), ("c", 0): ("a",)
    }  # fmt: skip
    assert outline.find(("b", 0)) == 2  # paths through it resolve all the same
    assert checkpoint["/c/0/0"].value == 1


def test_tensors_and_tuples_of_scalars_are_repeated():
    body = many(
        tensor((2,)) + put(0), get(0), many(b"K\x01", b"K\x02") + put(1), get(1), many(listed()) + put(2), get(2)
    )
    outline = open_bytes(pickled(body)).outline
    assert [outline.path(row) for row in outline.aliases] == [(5,)]
    assert (3, 1) in paths(body)
    assert sum(1 for _ in outline.tensors()) == 2


def test_attributes_of_a_repeated_tensor_are_described_once():
    whole = call(name("torch._utils", "_rebuild_parameter_with_state"), tensor((1,)), b"\x88", b"N",
                 mapped((text("x"), b"]")))  # fmt: skip
    body = many(whole + put(0), get(0))
    assert paths(body) == [(), (0,), (0, "x"), (1,)]


def test_many_repeats_of_scalar_tuples_become_aliases(monkeypatch):
    monkeypatch.setattr(module, "REPEATS", 10)
    body = many(many(*[b"K\x01"] * 4) + put(0), *[get(0)] * 9)
    outline = open_bytes(pickled(body)).outline
    assert len(outline.aliases) == 6


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"]q\x00h\x00a", [(0,)]),
        (b"}q\x00" + text("me") + b"h\x00s", [("me",)]),
        (b"]q\x00(h\x00ta", [(0, 0)]),
        (b"]q\x00]h\x00aa", [(0, 0)]),
        (name("a", "B") + b")\x81q\x00" + mapped((text("self"), b"h\x00")) + b"b", [("self",)]),
        (name("a", "B") + b")\x81q\x00" + many(b"h\x00", b"N", b"N") + b"b", [("__state__", 0)]),
        (b"\x8fq\x00(h\x00\x90", [(Item(0),)]),
    ],
)
def test_a_value_that_contains_itself_is_met_again(body, expected):
    outline = open_bytes(pickled(body, 4)).outline
    assert [outline.path(row) for row in outline.aliases] == expected
    for row in outline.aliases:
        assert outline.values[row] is outline.values[outline.aliases[row]]


def test_children_come_as_arguments_state_items_pairs():
    body = name("a", "B") + many(text("argument")) + b"R" + mapped((text("s"), text("state"))) + b"b"
    body += text("item") + b"a" + text("k") + text("pair") + b"s"
    outline = open_bytes(pickled(body)).outline
    assert outline.values[1:] == ["argument", "state", "item", "pair"]
    assert outline.steps[1:] == [Arg(0), "s", 0, "k"]


def test_an_ordered_dict_has_its_attributes_first():
    body = call(name("collections", "OrderedDict")) + text("w") + b"K\x01s" + mapped((text("_metadata"), b"}")) + b"b"
    assert paths(body) == [(), ("_metadata",), ("w",)]


def test_a_default_dict_has_its_factory_as_an_argument():
    body = call(name("collections", "defaultdict"), name("builtins", "list")) + text("w") + b"K\x01s"
    assert paths(body) == [(), (Arg(0),), ("w",)]


def test_containers_are_entered_to_a_depth():
    body = b"]" * 1500 + b"a" * 1499
    checkpoint = open_bytes(pickled(body))
    outline = checkpoint.outline
    assert len(outline) == module.MAX_DEPTH + 2
    (finding,) = checkpoint.findings
    assert (finding.code, len(finding.path)) == ("too-deep", module.MAX_DEPTH + 1)


def test_building_can_be_cancelled():
    class Impatient:
        def step(self, done, total):
            if done > 3:
                raise Cancelled

    checkpoint = open_bytes(pickled(listed(*(listed(integer(n)) for n in range(10)))))
    with pytest.raises(Cancelled):
        build_outline(checkpoint.contents.root, Impatient())
    with pytest.raises(Cancelled):
        checkpoint.load_outline(Impatient())
    assert len(checkpoint.load_outline()) == 21


def test_find_knows_types():
    outline = open_bytes(pickled(mapped((integer(0), b"N"), (text("0"), b"K\x01")))).outline
    assert [outline.find(path) for path in ((), (0,), ("0",), ("x",), (0, 0))] == [0, 1, 2, None, None]


# --- how much is listed -------------------------------------------------------------------------------------------


def test_of_very_many_plain_values_some_are_left_out_and_counted(monkeypatch):
    monkeypatch.setattr(module, "MOST_LEAVES", 5)
    numbers = listed(*(integer(n) for n in range(20)))
    checkpoint = open_bytes(pickled(mapped((text("a"), numbers), (text("w"), tensor()), (text("b"), numbers))))
    listing = checkpoint.outline
    assert listing.unlisted == 40 - 5 - checkpoint.size // module.BYTES_A_LEAF
    paths = [listing.path(row) for row in range(len(listing))]
    assert ("a", 4) in paths
    assert ("w",) in paths  # tensors are always there
    assert ("b",) in paths
    assert ("b", 0) not in paths
    finding = next(each for each in checkpoint.findings if each.code == "too-many")
    assert finding.message.startswith(f"{listing.unlisted} entries are not listed")


def test_containers_met_again_count_as_well(monkeypatch):
    monkeypatch.setattr(module, "MOST_LEAVES", 5)
    shared = b"}" + put(0) + b"0"
    checkpoint = open_bytes(pickled(shared + listed(*[get(0)] * 100)))
    assert len(checkpoint.outline) == 2 + 5 + checkpoint.size // module.BYTES_A_LEAF
    assert len(checkpoint.outline.aliases) == 5 + checkpoint.size // module.BYTES_A_LEAF


def test_each_tensor_is_given_once_as_distinct():
    checkpoint = open_bytes(pickled(tensor() + put(0) + b"0" + listed(get(0), get(0), tensor(), get(0))))
    assert [row for row, _ in checkpoint.outline.tensors()] == [1, 2, 3, 4]
    assert [row for row, _ in checkpoint.outline.distinct_tensors()] == [1, 3]


@pytest.mark.parametrize("most", [0, 3, 9, 30])
def test_leaving_out_many_at_once_leaves_out_the_same(most, monkeypatch):
    """Numbers, tensors, new containers and those met again, mixed in lists and tuples."""
    monkeypatch.setattr(module, "MOST_LEAVES", most)
    numbers = many(*(integer(n) for n in range(9)))
    mixed = listed(integer(1), put(3), tensor(), listed(integer(2)), get(3), *[integer(5)] * 8, numbers)
    root = open_bytes(
        pickled(mapped((text("a"), mixed), (text("b"), listed(numbers, *[integer(7)] * 20))))
    ).contents.root
    found = []
    for at_once in (1, 2, 7, 1000):
        monkeypatch.setattr(module, "AT_ONCE", at_once)
        outline = build_outline(root)
        found.append(([outline.path(row) for row in range(len(outline))], list(outline.ends), outline.unlisted))
    assert all(each == found[0] for each in found)
    assert found[0][2] > 0


def test_integers_of_one_hash_are_listed_in_linear_time():
    """CPython's hash of an int is its rest by 2**61 - 1, so a file could make every set of its keys take for ever."""
    keys = [sign * number * ((1 << 61) - 1) for number in range(1, 15_000) for sign in (1, -1)]
    pairs = [(integer(key), b"N") for key in (*keys, keys[0])]
    with within(10):
        checkpoint = open_bytes(pickled(mapped(*pairs)))
        assert look_at_all(checkpoint) > 0
    steps = [checkpoint.outline.path(row)[0] for row in range(1, len(checkpoint.outline))]
    assert steps == [*keys, Item(len(keys))]
