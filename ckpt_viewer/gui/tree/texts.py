"""One lower-case text of all names and paths, to be searched at the speed of `bytes.find`. No Qt.

A row is ``"\\n" name "\\t" path``, in UTF-8: one search finds a path that contains something, and with a line feed in
front of it a name that begins with something.
"""

from __future__ import annotations

from array import array
from itertools import accumulate
from typing import NamedTuple

from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.text import escape_text
from ckpt_viewer.gui.tree.names import raw_name
from ckpt_viewer.gui.tree.table import EVERY, GROUP, RUN, Table

LONGEST = 300
"""Characters of a name, and of the path before it, that can be found; with longer ones the text could grow with the
square of the file."""
MOST_LEAVES = 10_000
"""Different names of leaves that are listed."""
BUDGET = 250_000_000
"""Bytes of text after which only the names are kept."""


def write_text(table: Table, ends: array[int], context: Context) -> PathText:
    """Return all names and paths.

    Raises:
        Cancelled: by `context`.
    """
    writer, total = _Writer(), len(table)
    names, kinds = table.names, table.kinds
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
        branches: the different names of rows that have others below them, one a line.
        leaves: the same for all other rows; None where there are more than `MOST_LEAVES`.
    """

    text: bytes
    starts: array[int]
    branches: bytes
    leaves: bytes | None

    def may_match(self, words: list[bytes]) -> bool:
        """Whether one row might contain all words. If none of them is in the name of a row that has others below it,
        one name has to contain them all: ``weight bias`` is in no row of a million, found out without a look at them.
        """
        if len(words) < 2 or self.leaves is None or any(mark in word for word in words for mark in (b".", b"/")):
            return True
        if any(word in self.branches for word in words):
            return True
        return any(all(word in name for word in words) for name in self.leaves.split(b"\n"))


class _Writer:
    def __init__(self) -> None:
        self._branches: set[str] = set()
        self._leaves: set[str] = set()
        self.chunks: list[bytes] = []
        self.starts = array("q", [0])
        self._rows: list[str] = []
        self._above: list[tuple[int, str]] = []

    def write(self, row: int, name: object, kind: int, end: int) -> None:
        """Append one row; rows have to come in order."""
        above = self._above
        while above and above[-1][0] <= row:
            above.pop()
        if not above:  # the root has no name
            self._rows.append("\n\t")
            above.append((end, "/"))
            return
        prefix = above[-1][1]
        if kind == RUN:  # the blocks in a run are found by their own names
            self._rows.append("\n\t" + prefix)
            above.append((end, prefix))
            return
        text = name if type(name) is str else raw_name(name)  # type: ignore[arg-type]
        text = text[:LONGEST].lower()
        if not text.isprintable():
            text = escape_text(text)
        path = prefix + text
        self._rows.append(f"\n{text}\t{path}")
        if end == row + 1:
            if len(self._leaves) <= MOST_LEAVES:
                self._leaves.add(text)
        else:
            self._branches.add(text)
            budget = LONGEST if self.starts[-1] < BUDGET else 0
            above.append((end, (path + ("." if kind == GROUP else "/"))[-budget:] if budget else ""))

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
        leaves = _lines(self._leaves) if len(self._leaves) <= MOST_LEAVES else None
        return PathText(b"".join(self.chunks), self.starts, _lines(self._branches), leaves)


def _lines(names: set[str]) -> bytes:
    return "\n".join(names).encode("utf-8", "backslashreplace")


def search_words(text: str) -> list[bytes]:
    """Return what a person's filter text asks for: its words, lower case, as they would stand in the text.

    A text that begins with a slash is a copied JSON Pointer: its escapes are undone.
    """
    if text.startswith("/"):
        text = text.replace("~1", "/").replace("~0", "~")
    return [escape_text(word).encode("utf-8", "backslashreplace") for word in text.lower().split()]
