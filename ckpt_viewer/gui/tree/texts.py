"""One lower-case text of all names and paths, to be searched at the speed of `bytes.find`. No Qt.

A row is ``"\\n" name "\\t" path``, in UTF-8: one search finds a path that contains something, and with a line feed in
front of it a name that begins with something.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from ckpt_viewer.core.path import Step
from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.text import escape_text
from ckpt_viewer.gui.tree.names import raw_name
from ckpt_viewer.gui.tree.table import EVERY, GROUP, RUN

LONGEST = 300
"""Characters of a name, and of the path before it, that can be found; with longer ones the text could grow with the
square of the file."""
MOST_FORMS = 10_000
"""Different forms of paths that are listed, of at most `LONGEST_FORM` characters."""
LONGEST_FORM = 2000
BUDGET = 250_000_000
"""Bytes of text after which only the names are kept."""
_NUMBER, _DIGITS = re.compile("[0-9]+"), re.compile(b"[0-9]")


def write_text(names: Sequence[Step], kinds: bytearray, ends: array[int], context: Context) -> PathText:
    """Return all names and paths of rows in pre-order.

    Args:
        names, kinds: see `table.Table`. ends: one past the last row below each.

    Raises:
        Cancelled: by `context`.
    """
    writer, total = _Writer(), len(names)
    for row in range(total):
        if not row & EVERY:
            context.step(3 * total + row, 4 * total)
            writer.flush()
        writer.write(row, names[row], kinds[row], ends[row])
    writer.flush()
    return writer.result()


class PathText(NamedTuple):
    """All names and paths of a tree.

    Attributes:
        text: see above. starts: where each row begins in it, and its length as the last entry.
        forms: the different paths with each number in them written 0; None where there are too many.
    """

    text: bytes
    starts: array[int]
    forms: tuple[bytes, ...] | None

    def may_match(self, words: list[bytes]) -> bool:
        """Whether one row might contain all words: ``q_proj norm`` is in no row of a million, found out without a look
        at them, since their paths differ in little but numbers. A word with a digit is left out of account.
        """
        plain = [word for word in words if not _DIGITS.search(word)]
        if self.forms is None or not plain:
            return True
        return any(all(word in form for word in plain) for form in self.forms)


class _Writer:
    def __init__(self) -> None:
        self._forms: dict[str, dict[str, None]] | None = {}
        self._count = 0
        self._known: dict[str, tuple[str, str, str]] = {}
        self.chunks: list[bytes] = []
        self.starts = array("q", [0])
        self._rows: list[str] = []
        self._above: list[tuple[int, str, str, dict[str, None]]] = []

    def write(self, row: int, name: object, kind: int, end: int) -> None:
        """Append one row; rows have to come in order."""
        above = self._above
        while above and above[-1][0] <= row:
            above.pop()
        if not above:  # the root has no name
            self._rows.append("\n\t")
            above.append((end, "/", "/", self._below("/")))
            return
        _, prefix, form, names = above[-1]
        if kind == RUN:  # the blocks in a run are found by their own names
            self._rows.append("\n\t" + prefix)
            above.append((end, prefix, form, names))
            return
        known = self._known.get(name) if type(name) is str else None
        head, text, name_form = known or self._known_form(name)
        self._rows.append(f"{head}{prefix}{text}")
        if name_form not in names:
            self._collect(name_form, names)
        if end > row + 1:
            path = prefix + text
            mark = "." if kind == GROUP else "/"
            budget = LONGEST if self.starts[-1] < BUDGET else 0
            form = form + name_form + mark if self._forms is not None else ""
            above.append((end, (path + mark)[-budget:] if budget else "", form, self._below(form)))

    def _known_form(self, name: object) -> tuple[str, str, str]:
        """Return of a name what a row begins with, the text that is searched, and its form."""
        text = name if type(name) is str else raw_name(name)  # type: ignore[arg-type]
        text = text[:LONGEST].lower()
        if not text.isprintable():
            text = escape_text(text)
        found = f"\n{text}\t", text, _NUMBER.sub("0", text)
        if type(name) is str and len(self._known) < MOST_FORMS:
            self._known[name] = found
        return found

    def _collect(self, form: str, names: dict[str, None]) -> None:
        self._count += 1
        if self._count > MOST_FORMS:
            self._forms = None
        if self._forms is not None:
            names[form] = None

    def _below(self, form: str) -> dict[str, None]:
        """Return where the names of what is below paths of a form are collected."""
        if len(form) > LONGEST_FORM:
            self._forms = None
        return {} if self._forms is None else self._forms.setdefault(form, {})

    def flush(self) -> None:
        """Encode what was written."""
        if not self._rows:
            return
        text = "".join(self._rows)
        data = text.encode("utf-8", "backslashreplace")
        lengths = (
            map(len, self._rows)
            if len(data) == len(text)
            else (len(row.encode("utf-8", "backslashreplace")) for row in self._rows)
        )
        starts = accumulate(lengths, initial=self.starts[-1])
        next(starts)
        self.starts.extend(starts)
        self.chunks.append(data)
        self._rows.clear()

    def result(self) -> PathText:
        """Return what was written and flushed."""
        forms: tuple[bytes, ...] | None = None
        if self._forms is not None:
            every = (above + name for above, names in self._forms.items() for name in ("", *names))
            forms = tuple(form.encode("utf-8", "backslashreplace") for form in every)
        return PathText(b"".join(self.chunks), self.starts, forms)


def search_words(text: str) -> list[bytes]:
    """Return what a person's filter text asks for: its words, lower case, as they would stand in the text.

    A text that begins with a slash is a copied JSON Pointer: its escapes are undone.
    """
    if text.startswith("/"):
        text = text.replace("~1", "/").replace("~0", "~")
    return [search_word(word) for word in text.lower().split()]


def search_word(word: str) -> bytes:
    """Return a lower-case word as it would stand in the text."""
    return escape_text(word).encode("utf-8", "backslashreplace")
