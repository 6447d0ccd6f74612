"""Steps, paths and pointers: what is printed leads back to the node that it was printed for."""

from __future__ import annotations

import struct

import pytest
from builders import get, integer, listed, many, mapped, name, pickled, put, tensor, text
from hypothesis import given, settings
from hypothesis import strategies as st
from opening import open_bytes

from ckpt_viewer.core.outline import Pointers
from ckpt_viewer.core.path import Arg, Item, Repr, escape_token, python_repr, step_json, step_text, unescape_token
from ckpt_viewer.core.value import Global, Literal, Mapping, Sequence
from ckpt_viewer.errors import NoSuchNode

KEYS = (
    st.sampled_from(["", "0", "1", "-1", "~", "~1", "~20", "~21", "/", "a/b", "weight", "True", "\ud800"]).map(text)
    | st.text(max_size=4).map(text)
    | st.integers(-2, 3).map(integer)
    | st.sampled_from([b"N", b"\x88", b"\x89", b"G?\xf8\0\0\0\0\0\0", b"G\x7f\xf8\0\0\0\0\0\0", integer(1 << 70),
                       b"C\x01x", many(b"K\x01", text("x")), name("a", "B"), tensor((1,)), b"]", integer(1 << 9000)])
)  # fmt: skip
LEAVES = st.sampled_from([b"N", b"K\x01", text("x"), tensor((2,)), b"]", b"}", b")", b"\x8f(K\x01K\x02\x90"])
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(st.tuples(KEYS, inner), max_size=5).map(lambda pairs: mapped(*pairs))
        | st.lists(inner, max_size=3).map(lambda parts: listed(*parts))
        | st.lists(inner, max_size=3).map(lambda parts: many(*parts))
        | st.lists(inner, max_size=3).map(lambda parts: b"\x8f(" + b"".join(parts) + b"\x90")
        | st.tuples(st.lists(inner, max_size=2), st.lists(st.tuples(KEYS, inner), max_size=3)).map(
            lambda both: name("a", "B") + many(*both[0]) + b"R" + mapped(*both[1]) + b"b"
        )
    ),
    max_leaves=15,
)


@settings(max_examples=200, deadline=None)
@given(TREES)
def test_every_pointer_leads_back_to_its_node(body):
    checkpoint = open_bytes(pickled(body, 4))
    outline, pointers = checkpoint.outline, Pointers(checkpoint.outline)
    seen = set()
    stack = [(checkpoint.root, 0)]
    while stack:
        node, row = stack.pop()
        assert checkpoint[node.pointer].value is node.value
        assert pointers.of(row) == node.pointer
        assert outline.values[row] is node.value
        assert node.pointer not in seen
        seen.add(node.pointer)
        below = node.children
        rows = list(outline.children(row))
        assert [child.step for child in below] == [outline.steps[each] for each in rows]
        assert [child.path for child in below] == [outline.path(each) for each in rows]
        stack.extend(zip(below, rows, strict=True))
    assert len(seen) == len(outline)


@settings(max_examples=200, deadline=None)
@given(TREES)
def test_every_path_leads_to_its_row(body):
    """But for keys that have the same step on purpose: tensors, which only their position tells apart."""
    checkpoint = open_bytes(pickled(body, 4))
    outline = checkpoint.outline
    for row in range(len(outline)):
        path = outline.path(row)
        if any(step == Repr("<tensor>") for step in path):
            continue
        assert outline.find(path) == row
        assert checkpoint.node(path).value is outline.values[row]


@given(st.text())
def test_tokens_escape_and_unescape(text_):
    token = escape_token(text_)
    assert "/" not in token
    assert unescape_token(token) == text_


def keyed(*keys: bytes):
    return open_bytes(pickled(mapped(*((key, integer(number)) for number, key in enumerate(keys))), 4))


def test_a_string_and_a_number_stay_apart():
    checkpoint = keyed(integer(0), text("0"))
    assert [node.step for node in checkpoint.root.children] == [0, "0"]
    assert [node.pointer for node in checkpoint.root.children] == ["/~20", "/0"]
    assert checkpoint["/0"].value == 1  # the string first
    assert checkpoint["/~20"].value == 0
    assert checkpoint.node((0,)).value == 0
    assert checkpoint.node(("0",)).value == 1


def test_a_name_with_control_characters_is_found_by_what_is_printed_of_it():
    checkpoint = keyed(text("a\nb"), text("rtl\u202e/x"), text("c\td"), text("c\\td"))
    for printed, value in (("/a\\nb", 0), ("/rtl\\u202e~1x", 1), ("/a\nb", 0)):
        assert checkpoint[printed].value == value
    assert checkpoint["/c\\td"].value == 3  # the very name first
    for nowhere in ("/a\\tb", "/a\\", "/\\n"):
        assert nowhere not in checkpoint


def test_a_number_alone_is_found_by_its_digits():
    checkpoint = keyed(integer(7), integer(-3))
    assert [node.pointer for node in checkpoint.root.children] == ["/7", "/-3"]
    assert checkpoint["/-3"].value == 1


def test_true_is_not_one():
    checkpoint = keyed(integer(1), b"\x88", b"G?\xf0\0\0\0\0\0\0")
    assert [node.step for node in checkpoint.root.children] == [1, Repr("True"), Repr("1.0")]
    assert checkpoint.node((Repr("True"),)).value == 1


def test_repeated_keys_keep_both_values_and_differ():
    checkpoint = keyed(text("a"), text("a"), b"G\x7f\xf8\0\0\0\0\0\0", b"G\x7f\xf8\0\0\0\0\0\0")
    assert [node.step for node in checkpoint.root.children] == ["a", Item(1), Repr("nan"), Item(3)]
    assert [checkpoint[node.pointer].value for node in checkpoint.root.children] == [0, 1, 2, 3]


def test_tensors_as_keys_have_one_step_and_pointers_of_their_own():
    checkpoint = open_bytes(pickled(mapped((tensor((1,)) + put(0), b"K\0"), (get(0), b"K\1"))))
    assert [node.step for node in checkpoint.root.children] == [Repr("<tensor>")] * 2
    assert [checkpoint[node.pointer].value for node in checkpoint.root.children] == [0, 1]


def test_the_empty_key_and_the_root_are_two_things():
    checkpoint = keyed(text(""))
    assert checkpoint[""].kind == "dict"
    assert checkpoint["/"].value == 0
    assert checkpoint.root.children[0].pointer == "/"


@pytest.mark.parametrize(
    "pointer", ["x", "/x", "/a/b", "/~29", "/~2", "/~2x", "/~2999999999999999999999999", "//", "/A", "/a/", "/~2²"]
)
def test_pointers_that_lead_nowhere_say_so(pointer):
    checkpoint = keyed(text("a"))
    with pytest.raises(NoSuchNode) as refused:
        checkpoint[pointer]
    assert ";" in str(refused.value)


def test_a_path_that_leads_nowhere_says_so():
    with pytest.raises(NoSuchNode, match="no 7 below the root"):
        keyed(text("a")).node((7,))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "None"), (True, "True"), (1.5, "1.5"), (float("nan"), "nan"), (float("-inf"), "-inf"), ((), "()"),
        ((1,), "(1,)"), ((1, "x"), "(1, 'x')"), ([1, [2]], "[1, [2]]"), (b"\x00", r"b'\x00'"), (1 + 2j, "(1+2j)"),
        (Global("a", "B"), "<a.B>"), (Literal("dtype", "torch.dtype", "torch.float32"), "torch.float32"),
        (((((1,),),),), "((((…),),),)"), (1 << 5000, "<int of 5001 bits>"),
        (Sequence("torch.Size", "tuple", [2]), "Size([2])"),
        (Mapping(), "<dict of 0>"),
    ],
)  # fmt: skip
def test_keys_are_shown_as_python_writes_them(value, expected):
    assert python_repr(value) == expected


def test_long_keys_are_cut():
    assert len(python_repr("x" * 1000)) == 200
    assert len(python_repr(tuple(range(1000)))) == 200
    assert python_repr(tuple(range(1000))).endswith("…")


def test_steps_as_text_and_as_json():
    assert [step_text(step) for step in ("a", 3, Repr("None"), Item(2), Arg(0))] == ["a", "3", "None", "#2", "#0"]
    assert [step_json(step) for step in ("a", 3, Repr("None"), Item(2), Arg(0))] == [
        "a", 3, {"repr": "None"}, {"item": 2}, {"arg": 0}
    ]  # fmt: skip


def test_an_int_key_that_no_json_parser_would_print():
    checkpoint = keyed(integer(1 << 20_000), integer(1 << 62))
    assert [node.step for node in checkpoint.root.children] == [Repr("<int of 20001 bits>"), 1 << 62]
    assert struct.calcsize("q") == 8
