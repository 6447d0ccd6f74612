"""Which rows a filter text finds, found only as far as somebody looks. No Qt."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from ckpt_viewer.core.progress import SILENT, Context
from ckpt_viewer.gui.tree.texts import PathText, search_words


class Matches:
    """The rows whose path contains every word; each row below a match is one too.

    The search runs from row to row over one text, and each stretch of it is searched once.

    Attributes:
        words: what is looked for, in UTF-8. context: is told how far a long search is, and may end it.
    """

    __slots__ = ("_found", "_from", "_inherited", "_parents", "_starts", "_text", "context", "words")

    def __init__(self, paths: PathText, parents: array[int], words: str | list[bytes]) -> None:
        self._text, self._starts, self._parents = paths.text, paths.starts, parents
        self.words = sorted(search_words(words) if isinstance(words, str) else words, key=len, reverse=True)
        nothing = not paths.may_match(self.words)
        self._from = [0] if nothing else []
        self._found = [len(paths.starts) - 1] if nothing else []
        self._inherited: dict[int, bool] = {}
        self.context: Context = SILENT

    def hit(self, row: int) -> bool:
        """Whether the row's own text contains every word."""
        low, high = self._starts[row], self._starts[row + 1]
        for word in self.words:  # noqa: SIM110 - half the time of all() with a generator
            if self._text.find(word, low, high) < 0:
                return False
        return True

    def inherited(self, row: int) -> bool:
        """Whether the row or one above it is a match, so that everything below the row is."""
        below: list[int] = []
        inherited = False
        while row >= 0:
            known = self._inherited.get(row)
            if known is not None:
                inherited = known
                break
            below.append(row)
            if self.hit(row):
                inherited = True
                break
            row = self._parents[row]
        self._inherited.update(dict.fromkeys(below, inherited))
        return inherited

    def next(self, row: int) -> int:
        """Return the first row from `row` on whose own text contains every word; the number of rows if none does."""
        at = bisect_right(self._from, row) - 1
        if at >= 0 and self._found[at] >= row:
            return self._found[at]
        found = self._search(row)
        at = bisect_left(self._found, found)
        if at < len(self._found) and self._found[at] == found:  # the stretch before a known row grows downwards
            self._from[at] = min(self._from[at], row)
        else:
            self._from.insert(at, row)
            self._found.insert(at, found)
        return found

    def _search(self, row: int) -> int:
        text, starts = self._text, self._starts
        rows = len(starts) - 1
        if row >= rows or not self.words:
            return min(row, rows)
        find, rfind, at = text.find, text.rfind, starts[row]
        first, *others = self.words
        while (hit := find(first, at)) >= 0:
            at = start = rfind(b"\n", at, hit + 1)
            for word in others:
                hit = find(word, start)
                if hit < 0:
                    return rows
                at = rfind(b"\n", start, hit + 1)
                if at != start:  # the row that starts here is the next one that can have all words
                    break
            else:
                return bisect_right(starts, start) - 1
        return rows

    def is_other(self, other: Matches) -> bool:
        """Whether another search finds other rows."""
        return self.words != other.words

    def rows(self) -> Iterator[int]:
        """Yield every match whose own text contains all words, ascending."""
        last, row = len(self._starts) - 1, self.next(0)
        while row < last:
            yield row
            row = self.next(row + 1)
