"""What the text in the filter asks for, between one keystroke and the next. No Qt."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ckpt_viewer.gui.tree.compared import WORDS
from ckpt_viewer.gui.tree.index import QUICK

if TYPE_CHECKING:
    from ckpt_viewer.gui.tree.index import TreeIndex
    from ckpt_viewer.gui.tree.query import Query

_MAY_BE_WORD = r'[:<>="]|(^|\s)-|(^|\s)(nan|inf)(\s|$)'
"""Finds, without regard to case, what is not just parts of names; compiled when something is typed."""


class Asking:
    """What is asked of one index.

    Attributes:
        query: the last that made sense; a text where it asks for parts of names only.
    """

    def __init__(self) -> None:
        self.query: str | Query = ""
        self._no_name = ""

    def parse(self, text: str, index: TreeIndex) -> None:
        """Understand a text; raises WrongWord."""
        compared = WORDS if index.compared.rows else ()
        if not compared and not re.search(_MAY_BE_WORD, text, re.IGNORECASE):
            self.query = text
            return
        from ckpt_viewer.gui.tree.query import parse_query

        self.query = parse_query(text, lambda word: self._is_name(word, index), compared, index.totals.tags)

    def _is_name(self, word: str, index: TreeIndex) -> bool:
        """Whether a word is a part of a name; of one that goes on from one that is none it is known."""
        if self._no_name and self._no_name in word:
            return False
        found = index.has_name(word)
        if not found:
            self._no_name = word
        return found

    @property
    def is_blank(self) -> bool:
        """Whether everything is to be shown."""
        return not (self.query.split() if isinstance(self.query, str) else self.query)

    @property
    def needs_scan(self) -> bool:
        """Whether only a scan of the values can tell."""
        return not isinstance(self.query, str) and self.query.needs_scan

    def is_quick(self, index: TreeIndex, *, is_sorted: bool) -> bool:
        """Whether the answer takes milliseconds: where rows are few, and for parts of names, of rows as saved."""
        plain = isinstance(self.query, str) or self.query.is_plain
        return len(index) <= QUICK or (plain and not is_sorted)


def nothing_words(text: str, end: str) -> str:
    """Return what to say where the filter leaves nothing; `end` says why that may change."""
    if end:
        return f"Nothing matches “{text}” {end}."
    return f"Nothing matches “{text}”.\nEsc shows everything again."
