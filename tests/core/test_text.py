"""How numbers and text from a file are written for people."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckpt_viewer.core.text import (
    bytes_text,
    count_text,
    csv_cell,
    escape_text,
    grouped,
    parameters_text,
    python_literal,
    shape_text,
    shorten,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"), ("ünïcödé 模型", "ünïcödé 模型"), ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\x00\x7f\x9b", "\\x00\\x7f\\x9b"), ("\u202egnp.exe", "\\u202egnp.exe"), ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("a\u200bb", "a\\u200bb"), ("\ud800", "\\ud800"), ("\ufeffx", "\\ufeffx"), ("\u2028", "\\u2028"),
        ("soft\xadhyphen", "soft\\xadhyphen"), ("👍", "👍"),
    ],
)  # fmt: skip
def test_what_a_terminal_could_obey_is_escaped(text, shown):
    assert escape_text(text) == shown


@given(st.text())
def test_escaped_text_controls_nothing_and_can_be_encoded(text):
    shown = escape_text(text)
    shown.encode("utf-8")
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in shown)


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (1, "1 B"), (999, "999 B"), (1000, "1 kB"), (1234, "1.23 kB"), (37_632, "37.6 kB"),
     (999_499, "999 kB"), (999_500, "1 MB"), (134_000_000, "134 MB"),
     (4_021_201_623, "4.02 GB"), (10**12, "1 TB"), (10**15, "1 PB")],
)  # fmt: skip
def test_bytes_in_three_digits(count, shown):
    assert bytes_text(count) == shown


def test_sizes_that_no_float_can_hold():
    assert bytes_text(10**400).endswith("PB")
    assert count_text(1 << 5000).endswith("T")


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 parameters"), (1, "1 parameter"), (512, "512 parameters"), (11_200_000, "11.2 M parameters"),
     (6_500_000_000, "6.5 B parameters"), (1_000, "1 K parameters")],
)  # fmt: skip
def test_parameters(count, shown):
    assert parameters_text(count) == shown


def test_counts_and_groups():
    assert [count_text(n) for n in (7, 999, 1000, 11_234_567)] == ["7", "999", "1K", "11.2M"]
    assert grouped(1234567) == "1\u202f234\u202f567"
    assert grouped(-12345) == "-12\u202f345"


def test_shapes():
    assert [shape_text(shape) for shape in ((64, 3), (5,), (), None, (0, 2))] == ["64 × 3", "5", "scalar", "?", "0 × 2"]
    assert shape_text((2, 3), "x") == "2x3"


@given(st.text(max_size=50), st.integers(3, 20))
def test_shortened_text_is_short_and_keeps_both_ends(text, limit):
    short = shorten(text, limit)
    assert len(short) <= limit
    if len(text) <= limit:
        assert short == text
    else:
        assert "…" in short
        assert short[0] == text[0]


@given(st.text())
def test_a_literal_means_the_text_and_nothing_else(text):
    literal = python_literal(text)
    assert literal.isascii()
    assert eval(literal) == text


def test_a_literal_prefers_double_quotes():
    assert [python_literal(text) for text in ("a", "it's", 'say "x"')] == ['"a"', '"it\'s"', "'say \"x\"'"]


@given(st.text(alphabet=st.characters(blacklist_categories=("Cs",), blacklist_characters="\0")))
def test_a_csv_cell_is_read_back(text):
    (row,) = list(csv.reader(io.StringIO(csv_cell(text) + ",x\n", newline="")))
    assert row[0] in (text, "'" + text)
    assert row[1] == "x"


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "+1"),
        ("-2.5e3", "-2.5e3"),
        ("@x", "'@x"),
        ("-x", "'-x"),
        ("a,b", '"a,b"'),
        ("\tx", "'\tx"),
    ],
)
def test_no_cell_is_a_formula(text, cell):
    assert csv_cell(text) == cell


def test_printable_text_holds_nothing_that_is_escaped():
    escaped = [code for code in range(0x10000) if escape_text(f"a{chr(code)}\0") != f"a{chr(code)}\\x00"]
    assert len(escaped) > 2000
    assert not any(chr(code).isprintable() for code in escaped)
