"""Entries taken out of the outermost dict of a pickle; what is left is judged by Python's own unpickler."""

import collections
import datetime
import pickle
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckpt_viewer.errors import CannotExport, Damaged
from ckpt_viewer.unpickle.cut import cut

LEAVES = st.one_of(st.none(), st.integers(), st.text(max_size=4), st.binary(max_size=4), st.floats(allow_nan=False))
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.tuples(inner, inner), st.dictionaries(st.text(max_size=3), inner, max_size=3),
        st.sets(st.integers(), max_size=3), st.builds(lambda pairs: collections.OrderedDict(pairs),
                                                      st.lists(st.tuples(st.text(max_size=3), inner), max_size=3)),
    ),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.text(min_size=1, max_size=3), VALUES, min_size=1, max_size=5), st.integers(0, 5), st.data())
def test_what_is_left_is_equal(value, protocol, data):
    """Values share their parts: each is there a second time, in a list, under another key."""
    root = {**value, "all": list(value.values()), "tail": (value, "x")}
    keys = data.draw(st.sets(st.sampled_from(list(root)), min_size=1))
    wanted = {key: each for key, each in root.items() if key not in keys}
    assert pickle.loads(cut(pickle.dumps(root, protocol), keys)) == wanted


@pytest.mark.parametrize("protocol", range(6))
def test_what_is_shared_stays_one_thing(protocol):
    shared = [1, [2]]
    root = {"gone": {"a": shared, "b": shared[1]}, "first": shared[1], "second": shared, "third": (shared, shared[1])}
    left = pickle.loads(cut(pickle.dumps(root, protocol), {"gone"}))
    assert left == {"first": [2], "second": [1, [2]], "third": ([1, [2]], [2])}
    assert left["second"] is left["third"][0]
    assert left["first"] is left["second"][1] is left["third"][1]


@pytest.mark.parametrize("protocol", range(6))
def test_an_only_entry_and_objects(protocol):
    assert pickle.loads(cut(pickle.dumps({"gone": [1]}, protocol), {"gone"})) == {}
    when = datetime.date(2020, 1, 2)
    root = collections.OrderedDict(gone=[when, when], kept=when, more=collections.Counter("aab"))
    left = pickle.loads(cut(pickle.dumps(root, protocol), {"gone"}))
    assert left == {"kept": when, "more": {"a": 2, "b": 1}}


def test_something_that_contains_itself():
    loop = []
    loop.append(loop)
    left = pickle.loads(cut(pickle.dumps({"gone": loop, "kept": loop}, 2), {"gone"}))
    assert left["kept"] is left["kept"][0]


def test_what_follows_the_pickle_is_kept():
    data = pickle.dumps({"a": 1, "b": 2}, 2) + b"rest"
    assert cut(data, {"a"}).endswith(b".rest")


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (pickle.dumps({"a": 1}, 2)[:-1], Damaged),
        (b"\x80\x02}q\x00(X\x01\x00\x00\x00ah\x07u.", Damaged),
        (b"\x80\x02u.", Damaged),
        (pickle.dumps({"b": 1}, 2), CannotExport),
        (pickle.dumps([{"a": 1}], 2), CannotExport),
        (b"\x80\x02}(X\x01\x00\x00\x00aN2u.", CannotExport),
        (b"\x80\x02}q\x00q\x00.", CannotExport),
        (b"\x80\x02}r\xff\xff\xff\x0f.", CannotExport),
    ],
)
def test_pickles_from_which_nothing_is_taken(data, error):
    with pytest.raises(error):
        cut(data, {"a"})


@given(st.binary(max_size=60))
def test_bytes_that_are_anything(data):
    with suppress(Damaged, CannotExport):
        cut(b"\x80\x02}(X\x01\x00\x00\x00a" + data + b"u.", {"a"})


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_long_keys(protocol):
    root = {"x" * 100_000: 1, "kept": "x" * 100_000, "y" * 70_000: [2]}
    assert pickle.loads(cut(pickle.dumps(root, protocol), {"x" * 100_000})) == {
        "kept": "x" * 100_000,
        "y" * 70_000: [2],
    }


def test_slots_that_begin_at_one():
    """As Python 2 numbers them."""
    data = b"}q\x01(U\x04goneq\x02]q\x03U\x04keptq\x04h\x03u."
    assert pickle.loads(cut(data, {"gone"})) == {"kept": []}


def test_what_is_remembered_is_small():
    """Objects would take ten times as much."""
    root = {"gone": [(str(number), [number]) for number in range(20_000)], "kept": 1}
    data = pickle.dumps(root, 2)
    tracemalloc.start()
    try:
        left = cut(data, {"gone"})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert pickle.loads(left) == {"kept": 1}
    assert peak < 5_000_000
