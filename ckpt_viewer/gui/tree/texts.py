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


def write_text(
    names: Sequence[Step], kinds: bytearray, ends: array[int], tensors: Sequence[int], context: Context
) -> PathText:
    """Return all names and paths of rows in pre-order.

    Args:
        names, kinds: see `table.Table`. ends: one past the last row below each. tensors: rows of tensors, ascending.

    Raises:
        Cancelled: by `context`.
    """
    writer, total = _Writer(), len(names)
    following = iter(tensors)
    tensor = next(following, -1)
    for row in range(total):
        if not row & EVERY:
            context.step(3 * total + row, 4 * total)
            writer.flush()
        if row == tensor:
            tensor = next(following, -1)
            writer.write(row, names[row], kinds[row], ends[row], True)
        else:
            writer.write(row, names[row], kinds[row], ends[row], False)
    writer.flush()
    return writer.result()


class PathText(NamedTuple):
    """All names and paths of a tree.

    Attributes:
        text: see above. starts: where each row begins in it, and its length as the last entry.
        forms: the different paths with each number in them written 0; None where there are too many.
        tensor_forms: those of tensors among them.
    """

    text: bytes
    starts: array[int]
    forms: tuple[bytes, ...] | None
    tensor_forms: tuple[bytes, ...] | None

    def may_match(self, words: list[bytes]) -> bool:
        """Whether one row might contain all words: ``q_proj norm`` is in no row of a million, found out without a look
        at them, since their paths differ in little but numbers. A word with a digit is left out of account.
        """
        plain = [word for word in words if not _DIGITS.search(word)]
        if self.forms is None or not plain:
            return True
        return any(all(word in form for word in plain) for form in self.forms)

    def may_leave(self, words: list[bytes], without: list[bytes]) -> bool:
        """Whether a tensor might contain all words and none of the others: the same for what is to be left out."""
        if self.tensor_forms is None:
            return True
        wanted, unwanted = ([word for word in each if not _DIGITS.search(word)] for each in (words, without))
        return any(
            all(word in form for word in wanted) and not any(word in form for word in unwanted)
            for form in self.tensor_forms
        )


class _Writer:
    def __init__(self) -> None:
        self._forms: dict[str, dict[str, bool]] | None = {}
        """Beginnings of forms -> how they go on -> whether any that does is of a tensor."""
        self._count = 0
        self._known: dict[str, tuple[str, str, str]] = {}
        self.chunks: list[bytes] = []
        self.starts = array("q", [0])
        self._rows: list[str] = []
        self._above: list[tuple[int, str, str, dict[str, bool]]] = []

    def write(self, row: int, name: object, kind: int, end: int, is_tensor: bool) -> None:
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
        if name_form not in names or (is_tensor and not names[name_form]):
            self._collect(name_form, names, is_tensor)
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

    def _collect(self, form: str, names: dict[str, bool], is_tensor: bool) -> None:
        self._count += form not in names
        if self._count > MOST_FORMS:
            self._forms = None
        if self._forms is not None:
            names[form] = is_tensor

    def _below(self, form: str) -> dict[str, bool]:
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
        text = b"".join(self.chunks)
        if self._forms is None:
            return PathText(text, self.starts, None, None)
        every = [(above + name, is_tensor) for above, names in self._forms.items() for name, is_tensor in names.items()]
        forms = [*self._forms, *(form for form, _ in every)]
        of_tensors = [form for form, is_tensor in every if is_tensor]
        return PathText(text, self.starts, *(tuple(map(_encoded, each)) for each in (forms, of_tensors)))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def search_words(text: str) -> list[bytes]:
    """Return what a person's filter text asks for: its words, lower case, as they would stand in the text.

    A text that begins with a slash is a copied JSON Pointer: its escapes are undone.
    """
    if text.startswith("/"):
        text = text.replace("~1", "/").replace("~0", "~")
    return [search_word(word) for word in text.lower().split()]


def search_word(word: str) -> bytes:
    """Return a lower-case word as it would stand in the text."""
    return _encoded(escape_text(word))
