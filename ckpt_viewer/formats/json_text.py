"""JSON from a file, read member by member: of safetensors headers and of the indexes of sharded sets.

Python's `json` would make objects of the whole document first, 20 bytes and more for each byte of it, hold the
interpreter for seconds, and let through what other readers refuse. This reader hands out one member after another,
and its rules are those of serde_json, which the reference reader of safetensors uses: UTF-8 without lone surrogates,
no NaN, no number that a float cannot hold, no nesting beyond `DEPTH`. Names that come twice in an object are refused,
since readers disagree on which of the two counts.
"""

from __future__ import annotations

import json
import json.decoder
import re
from collections.abc import Callable, Iterator
from math import isinf
from typing import Any

from ckpt_viewer.core.text import shorten
from ckpt_viewer.errors import Damaged, OverBudget

DEPTH = 127
"""Levels of lists and objects inside each other, as in serde_json."""
VALUE_LIMIT = 16 << 20
"""Characters of one value that is read as a whole."""
_FIRST_LOOK = 512
_BLANK = re.compile(r"[ \t\n\r]*")
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_scan_string: Callable[[str, int, bool], tuple[str, int]] = json.decoder.scanstring  # type: ignore[attr-defined]
_SURROGATE = re.compile("[\ud800-\udfff]")


class JsonText:
    """A place in a JSON document.

    Attributes:
        text: the document. at: index of the next character. what: the document's name in errors.
    """

    def __init__(self, text: str, what: str, at: int = 0) -> None:
        self.text, self.what, self.at = text, what, at

    @classmethod
    def decoded(cls, data: bytes, what: str) -> JsonText:
        """Begin with bytes; raises Damaged where they are not UTF-8."""
        try:
            return cls(data.decode("utf-8"), what)
        except UnicodeDecodeError as error:
            raise Damaged(
                f"{what} is not UTF-8 at byte {error.start}, so it is damaged; copy or download it again"
            ) from error

    def problem(self, said: str) -> Damaged:
        """Return the error for what was found here, or for the end of a document that is cut off."""
        written = self.text.rstrip(" \t\n\r")
        if self.at >= len(written) or not written.endswith("}"):
            return Damaged(f"{self.what} is cut off after {len(self.text)} characters; copy or download it again")
        return Damaged(f"{self.what} {said} at character {self.at}, so it is damaged; copy or download it again")

    def peek(self) -> str:
        """Skip blanks and return the next character without taking it; ``""`` at the end."""
        match = _BLANK.match(self.text, self.at)
        assert match is not None
        self.at = match.end()
        return self.text[self.at : self.at + 1]

    def members(self) -> Iterator[str]:
        """Yield the names of the object that begins here; the caller takes the value of each. Raises Damaged."""
        if self.peek() != "{":
            raise self.problem("has no JSON object")
        self.at += 1
        if self.peek() == "}":
            self.at += 1
            return
        while True:
            name = self.string()
            if self.peek() != ":":
                raise self.problem(f"has no ':' after {shorten(name, 60)!a}")
            self.at += 1
            yield name
            if not self.more():
                return

    def more(self) -> bool:
        """Take the comma or the brace behind a member; whether another member follows. Raises Damaged."""
        found = self.peek()
        self.at += 1
        if found == "}":
            return False
        if found != ",":
            self.at -= 1
            raise self.problem("is no JSON")
        return True

    def string(self) -> str:
        """Take a string; raises Damaged."""
        if self.peek() != '"':
            raise self.problem("has no JSON string")
        try:
            found, end = _scan_string(self.text, self.at + 1, True)
        except ValueError as error:
            raise self.problem("has a broken string") from error
        if _SURROGATE.search(found):
            raise self.problem("has half a character (a lone surrogate)")
        self.at = end
        return found

    def value(self) -> Any:
        """Take any value, as Python's `json` gives it; raises Damaged or OverBudget."""
        self.peek()
        size = _FIRST_LOOK
        while True:
            piece = self.text[self.at : self.at + size]
            try:
                found, end = _DECODER.raw_decode(piece)
            except (ValueError, RecursionError) as error:
                if self.at + size >= len(self.text) or isinstance(error, RecursionError | _Refused):
                    raise self.problem("is no JSON that readers agree on") from error
            else:
                # a number may go on behind the piece
                if end < len(piece) or self.at + size >= len(self.text):
                    break
            if size >= VALUE_LIMIT:
                raise OverBudget(f"{self.what} has a value of more than {VALUE_LIMIT} characters, which no writer made")
            size *= 8
        if _depth(piece[:end]) > DEPTH:
            raise self.problem(f"is nested more than {DEPTH} deep")
        self.at += end
        return found

    def finish(self) -> None:
        """Check that only blanks follow; raises Damaged."""
        if self.peek():
            raise self.problem("goes on behind its end")


class _Refused(ValueError):
    """What Python's `json` would let through."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Refused("a name comes twice in an object")
    if any(_SURROGATE.search(text) for pair in pairs for text in pair if isinstance(text, str)):
        raise _Refused("a lone surrogate")
    return found


def _integer(digits: str) -> int | float:
    """Integers beyond 64 bits and -0 are floats to serde_json."""
    return int(digits) if len(digits) <= 20 and digits != "-0" else _number(digits)


def _number(digits: str) -> float:
    found = float(digits)
    if isinf(found):
        raise _Refused("a number out of range")
    return found


def _constant(name: str) -> Any:
    raise _Refused(name)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_number, parse_constant=_constant
)


def _depth(text: str) -> int:
    depth = deepest = 0
    for match in _BRACKETS.finditer(text):
        mark = match.group()
        if mark in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif mark in "]}":
            depth -= 1
    return deepest
