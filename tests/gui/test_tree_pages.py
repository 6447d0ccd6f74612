from __future__ import annotations

import pytest
from hand_made import mapping
from hypothesis import given, settings
from hypothesis import strategies as st
from tree_samples import checkpoint_of, flat_checkpoint, large_checkpoint, mapping_of, training_checkpoint

from ckpt_viewer.gui.tree import build_index
from ckpt_viewer.gui.tree.opening import MOST_AT_START, rows_to_open, subtree_to_open
from ckpt_viewer.gui.tree.pages import FIRST, Pages
from ckpt_viewer.gui.tree.table import PAGE


def pages_of(entries):
    index = build_index(flat_checkpoint(entries, last=1))
    return index, Pages(index), index.find("/many")


def carry_out(pages, change):
    pages.apply(change)
    if change.removed:
        pages.remove(change)


def check(index, pages, parent):
    """What is shown and what each "show more" stands for make up all children, in order."""
    children, ids, at = list(index.children(parent)), pages.ids(parent), 0
    for position, key in enumerate(ids):
        assert pages.position(key) == position
        assert pages.parent_of(key) == parent
        if pages.is_more(key):
            hidden = pages.hidden(key)
            assert hidden > 0
            at += hidden
        else:
            assert children[at] == key
            at += 1
    assert at == len(children)


@pytest.mark.parametrize("entries", [1, PAGE])
def test_up_to_a_thousand_children_show_at_once(entries):
    index, pages, many = pages_of(entries)
    assert not pages.must_fetch(many)
    assert len(pages.ids(many)) == entries
    check(index, pages, many)


def test_more_children_come_a_thousand_at_a_time():
    index, pages, many = pages_of(2 * PAGE + 1)
    assert pages.must_fetch(many)
    assert len(pages.ids(many)) == 0
    carry_out(pages, pages.fetch(many))
    assert not pages.must_fetch(many)
    for shown in (PAGE, 2 * PAGE):
        check(index, pages, many)
        more = pages.ids(many)[-1]
        assert pages.is_more(more)
        assert len(pages.ids(many)) == shown + 1
        carry_out(pages, pages.more(more))
    check(index, pages, many)
    assert len(pages.ids(many)) == 2 * PAGE + 1


def test_a_jump_loads_the_page_around_its_target():
    index, pages, many = pages_of(100_000)
    target = index.find("/many/key54321")
    carry_out(pages, pages.reveal(target))
    check(index, pages, many)
    assert len(pages.ids(many)) < 2 * PAGE + 3
    assert pages.position(target) >= 0
    assert pages.reveal(target) is None


def test_a_gap_closes_from_its_front():
    index, pages, many = pages_of(4000)
    carry_out(pages, pages.reveal(index.find("/many/key3500")))
    (gap,) = (key for key in pages.ids(many) if key >= 2 * len(index))
    assert pages.hidden(gap) == 3500 - 50 - PAGE
    for _ in range(3):
        assert pages.position(gap) >= 0
        carry_out(pages, pages.more(gap))
        check(index, pages, many)
    assert pages.position(gap) == -1
    assert list(pages.ids(many)) == list(index.children(many))


@settings(max_examples=25, deadline=None)
@given(st.integers(1001, 4500), st.lists(st.tuples(st.booleans(), st.integers(0, 10**6)), max_size=8))
def test_any_order_of_jumps_and_pages_keeps_the_rows_in_order(entries, moves):
    index, pages, many = pages_of(entries)
    carry_out(pages, pages.fetch(many))
    for is_jump, number in moves:
        mores = [key for key in pages.ids(many) if pages.is_more(key)]
        if is_jump:
            row = many + 1 + number % entries
            change = pages.reveal(row)
            if change:
                carry_out(pages, change)
            assert pages.position(row) >= 0
        elif mores:
            carry_out(pages, pages.more(mores[number % len(mores)]))
        check(index, pages, many)


# what is open at the start


def shown_at_start(index):
    pages, opened = Pages(index), rows_to_open(index)
    return 1 + sum(len(pages.fetch(row).new if pages.must_fetch(row) else pages.ids(row)) for row in opened)


def test_a_tree_opens_with_the_model_that_was_recognised():
    checkpoint = training_checkpoint()
    model = checkpoint.outline.find(("model",))
    index = build_index(checkpoint, marks={model: "model"})
    assert rows_to_open(index) == [0, index.find("/model")]


def test_a_tree_opens_the_way_to_a_model_further_down():
    checkpoint = checkpoint_of(mapping(a=mapping(x=1), state=mapping(model=mapping(w=1))))
    index = build_index(checkpoint, marks={checkpoint.outline.find(("state", "model")): "model"})
    assert rows_to_open(index) == [0, index.find("/state"), index.find("/state/model")]


def test_a_tree_without_a_model_opens_to_where_there_is_something_to_see():
    index = build_index(checkpoint_of(mapping(a=mapping(b=mapping(c=1, d=2)))))
    assert rows_to_open(index) == [0, index.find("/a"), index.find("/a/b")]


@pytest.mark.parametrize("entries", [1, FIRST, FIRST + 1, FIRST + 2, 500, 5000])
def test_a_tree_opens_with_at_most_forty_rows(entries):
    root = mapping_of({f"key{n}": 1 for n in range(entries)})
    for checkpoint in (checkpoint_of(root), checkpoint_of(mapping(a=root)), checkpoint_of([root] * 30)):
        assert shown_at_start(build_index(checkpoint)) <= MOST_AT_START
    index = build_index(checkpoint_of(root))
    pages = Pages(index)
    if pages.must_fetch(0):
        carry_out(pages, pages.fetch(0))
    check(index, pages, 0)


def test_expanding_a_subtree_ends_before_its_limit_and_says_so():
    index = build_index(large_checkpoint(5000))
    rows, complete = subtree_to_open(Pages(index), 0, 2000)
    shown = sum(index.count(row) if row not in index.large else PAGE + 1 for row in rows)
    assert not complete
    assert 1500 < shown <= 2000
    rows, complete = subtree_to_open(Pages(index), index.find("/model/encoder.layers.3."), 2000)
    assert complete
    assert rows[-1] == index.find("/model/encoder.layers.3.part3.")
    rows, complete = subtree_to_open(Pages(build_index(flat_checkpoint(1500))), 1, 2000)
    assert not complete
    assert rows == [1]
