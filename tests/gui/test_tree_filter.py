from __future__ import annotations

from itertools import pairwise

import pytest
from hand_made import mapping
from hypothesis import given, settings
from hypothesis import strategies as st
from tree_samples import checkpoint_of, large_checkpoint, mapping_of, shown_names, state_dict, training_checkpoint

from ckpt_viewer.core.value import Sequence
from ckpt_viewer.gui.tree import build_index, texts
from ckpt_viewer.gui.tree.matches import Matches
from ckpt_viewer.gui.tree.pages import FIRST_FOUND, Pages


def found(index, query):
    return [index.pointer(row) for row in index.match(query)]


@pytest.fixture
def index():
    return build_index(training_checkpoint())


def test_a_part_of_a_name_is_found_with_all_that_is_below(index):
    assert found(index, "layer1.0") == [
        "/model/layer1.0.", "/model/layer1.0.conv1.", "/model/layer1.0.conv1.weight", "/model/layer1.0.bn1.",
        "/model/layer1.0.bn1.weight",
    ]  # fmt: skip


def test_case_does_not_matter(index):
    assert found(index, "BN1.Bias") == ["/model/bn1.bias"]


def test_blanks_mean_and_in_any_order(index):
    expected = ["/model/layer1.0.bn1.weight", "/model/layer1.1.bn1.weight"]
    assert found(index, "weight bn1 layer1") == expected
    assert found(index, "  layer1   bn1 weight ") == expected
    assert found(index, "layer1 momentum_buffer") == []


def test_a_copied_pointer_is_found(index):
    assert found(index, "/model/fc.bias") == ["/model/fc.bias"]
    odd = build_index(checkpoint_of(mapping_of({"a/b~c": 1})))
    assert found(odd, odd.pointer(1)) == ["/a~1b~0c"]


def test_keys_that_are_no_strings_are_found_without_their_brackets(index):
    assert found(index, "state/3/mom") == ["/optimizer/state/3/momentum_buffer"]
    assert found(index, "params/8") == ["/optimizer/param_groups/0/params/8"]


def test_a_blank_text_finds_nothing_to_filter_by(index):
    assert index.match("") == index.match("  ") == []


def test_names_of_all_scripts_are_found():
    index = build_index(checkpoint_of(mapping_of({"Größe": 1, "ΕΠΟΧΗ": 2, "形": mapping(x=3), "İ": 4, "\ud800x": 5})))
    assert found(index, "größe") == ["/Größe"]
    assert found(index, "εποχη") == ["/ΕΠΟΧΗ"]
    assert found(index, "形/X") == ["/形/x"]
    assert found(index, "İ") == ["/İ"]


def test_what_is_shown_escaped_is_found_as_it_is_shown():
    index = build_index(checkpoint_of(mapping_of({"a\nb\tc": 1, "d": 2})))
    assert found(index, "a\\nb\\tc") == ["/a\nb\tc"]


def test_members_of_sets_are_found():
    index = build_index(checkpoint_of(mapping(chosen=Sequence("set", "set", ["x", "y"]))))
    assert found(index, "chosen/#1") == ["/chosen/~21"]


def test_a_run_of_equal_blocks_is_opened_for_what_is_in_it():
    index = build_index(checkpoint_of(state_dict(*(f"h.{n}.{part}" for n in range(5) for part in ("a", "b")))))
    pages = Pages(index, index.matches("h.3.b"))
    assert pages.opened(300) == [0, index.find("/h."), index.find("/h.") + 1, index.find("/h.3.")]


def test_paths_of_absurd_length_do_not_multiply(monkeypatch):
    deep = inner = mapping_of({})
    for _ in range(300):
        below = mapping_of({})
        inner.pairs += ["x" * 300, below]
        inner = below
    inner.pairs += ["end", 1]
    index = build_index(checkpoint_of(deep))
    assert len(index.paths.text) < 302 * 4 * 303
    assert found(index, "end") == [index.pointer(len(index) - 1)]
    monkeypatch.setattr(texts, "BUDGET", 1000)
    index = build_index(large_checkpoint(2000))
    assert len(index.paths.text) < 200 * 100 + 2000 * 40
    assert len(index.match("part3")) >= 500
    pages = Pages(index, index.matches("layers.77"))
    assert pages.opened(300)[-1] == index.find("/model/encoder.layers.")


def expected_rows(index, query):
    words = query.lower().split()
    texts = [index.paths.text[a:b].decode() if a else "" for a, b in pairwise(index.paths.starts)]
    return [row for row, text in enumerate(texts) if words and all(word in text for word in words)]


letters = st.sampled_from(["a", "b", "ab", "ba", "c", "a1b", "27"])
trees = st.recursive(
    st.just(1), lambda below: st.dictionaries(letters, below, max_size=4).map(mapping_of), max_leaves=25
)
queries = st.lists(
    st.sampled_from(["a", "b", "ab", "a/b", "/c", "ba/a", "b/2", "1", "7/a"]), min_size=1, max_size=3
).map(" ".join)


@settings(deadline=None)
@given(trees, queries)
def test_matches_are_the_rows_whose_text_has_every_word(root, query):
    index = build_index(checkpoint_of(root))
    assert index.match(query) == expected_rows(index, query)


@settings(deadline=None)
@given(trees, queries, st.lists(st.integers(0, 30), max_size=12))
def test_the_next_match_does_not_depend_on_what_was_asked_before(root, query, rows):
    index = build_index(checkpoint_of(root))
    matches, expected = index.matches(query), expected_rows(index, query)
    for row in rows:
        if row < len(index):
            assert matches.next(row) == next((each for each in expected if each >= row), len(index))


@settings(deadline=None)
@given(trees, queries)
def test_a_filter_leaves_matches_what_is_above_and_what_is_below(root, query):
    index = build_index(checkpoint_of(root))
    hits = expected_rows(index, query)
    above = {each for hit in hits for each in [*index.above(hit), hit]}
    below = {row for hit in hits for row in range(hit, index.ends[hit])}
    pages = Pages(index, index.matches(query))
    shown, waiting = set(), [0]
    while waiting:
        row = waiting.pop()
        shown.add(row)
        waiting.extend(pages.ids(row))
    assert shown == above | below | {0}
    assert set(pages.opened(10**6)) <= above


def test_words_that_no_row_can_have_together_are_known_without_a_search(index, monkeypatch):
    assert len(index.match("wei ght")) == 7  # one name has both
    assert len(index.match("bias fc")) == 1  # one is in the name of what holds it
    monkeypatch.setattr(Matches, "_search", lambda self, row: pytest.fail("searched"))
    assert index.match("weight bias") == []
    assert index.match("conv bn") == []  # modules, beside each other only


def test_too_many_forms_of_paths_are_not_listed(monkeypatch):
    monkeypatch.setattr(texts, "MOST_FORMS", 3)
    index = build_index(checkpoint_of(mapping_of(dict.fromkeys(("a", "b", "c", "d", "ef"), 1))))
    assert index.paths.forms is None
    assert [index.pointer(row) for row in index.match("e f")] == ["/ef"]


def test_a_filter_shows_the_first_matches_only():
    index = build_index(large_checkpoint(5000))
    pages = Pages(index, index.matches("part"))
    opened = pages.opened(300)
    shown = sum(len(pages.ids(row)) for row in opened)
    assert FIRST_FOUND <= shown <= 300 + FIRST_FOUND + 1
    layers = index.find("/model/encoder.layers.")
    assert len(pages.ids(layers)) == FIRST_FOUND + 1
    more = pages.ids(layers)[-1]
    assert pages.is_more(more)
    assert pages.hidden(more) is None
    change = pages.more(more)
    pages.apply(change)
    assert len(pages.ids(layers)) == FIRST_FOUND + 1001


def test_what_is_below_a_match_shows_when_it_is_opened(index):
    pages = Pages(index, index.matches("layer1"))
    assert pages.opened(300) == [0, index.find("/model")]
    assert shown_names(index, pages, index.find("/model")) == ["layer1"]
    assert shown_names(index, pages, index.find("/model/layer1.")) == ["0", "1"]


def test_nothing_is_left_where_nothing_matches(index):
    pages = Pages(index, index.matches("no such thing"))
    assert pages.opened(300) == []
    assert list(pages.ids(0)) == []
