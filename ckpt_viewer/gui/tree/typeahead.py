"""Type-ahead: to the next row whose name begins with what was typed, by one search through the index's text. No Qt."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from ckpt_viewer.core.text import escape_text

if TYPE_CHECKING:
    from ckpt_viewer.gui.tree.index import TreeIndex
    from ckpt_viewer.gui.tree.pages import Pages


class Opened(Protocol):
    """Whoever knows which rows are open."""

    def is_open(self, row: int) -> bool:
        """Whether what is below a row shows."""


class TypeAhead:
    """Keeps what was typed so far; a pause begins anew."""

    def __init__(self) -> None:
        self._typed = ""
        self._last = 0.0

    def find(self, key: str, pause: float, current: int, pages: Pages, opened: Opened) -> int | None:
        """Return the row to go to: one that shows, else any (without a filter), else None.

        One letter again and again goes from row to row; other letters narrow down from the current row on.

        Args:
            key: what was typed now. pause: seconds after which it begins anew. current: the row to start from, or -1.
        """
        now = time.monotonic()
        self._typed = key if now - self._last > pause else self._typed + key
        self._last = now
        typed = self._typed.lower()
        again = len(set(typed)) == 1
        text = escape_text(typed[0] if again else typed).encode("utf-8", "backslashreplace")
        start = current + 1 if again else max(current, 0)
        row = _showing(text, start, pages, opened)
        if row is None and len(typed) > 1 and again:  # "mm" may begin a name
            row = _showing(escape_text(typed).encode("utf-8", "backslashreplace"), max(current, 0), pages, opened)
        if row is None and pages.matches is None:
            index = pages.index
            row = index.named(text, start)
            row = row if row >= 0 else index.named(text, 0)
            return row if row >= 0 else None
        return row

    def clear(self) -> None:
        """Forget what was typed."""
        self._typed = ""


def _showing(text: bytes, start: int, pages: Pages, opened: Opened) -> int | None:
    for begin, end in ((start, len(pages.index)), (0, start)):
        row = pages.index.named(text, begin)
        while 0 <= row < end:
            following = _next_showing(row, pages, opened)
            if following == row:
                return row
            row = pages.index.named(text, following)
    return None


def _next_showing(row: int, pages: Pages, opened: Opened) -> int:
    """Return `row` if it shows, else the first row that may show after it: what is closed or left out is skipped."""
    index: TreeIndex = pages.index
    above = index.above(row)
    for parent, each in zip(above, [*above[1:], row], strict=True):
        if not opened.is_open(parent):
            return index.ends[parent]
        if pages.position(each) < 0:
            return pages.next_shown(parent, each)
    return row
