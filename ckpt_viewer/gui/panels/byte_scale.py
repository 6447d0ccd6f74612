"""Which bytes of a file a strip of some width shows, and at which pixel each stands. No Qt."""

from __future__ import annotations


class Scale:
    """A stretch of a file on so many pixels; at least a byte for each of them.

    Attributes:
        size: bytes of the file. start, end: first byte that is shown, and the one behind the last. width: in pixels.
    """

    def __init__(self, size: int = 0, width: int = 1) -> None:
        self.size, self.width = size, max(width, 1)
        self.start, self.end = 0, max(size, 1)

    @property
    def span(self) -> int:
        """Bytes that are shown."""
        return self.end - self.start

    @property
    def is_zoomed(self) -> bool:
        """Whether not the whole file is shown."""
        return self.span < self.size

    def look(self, start: int, span: int) -> bool:
        """Show another stretch, as far as there is one; return whether it is another one."""
        before = self.start, self.end
        span = max(1, min(self.size, self.width), min(span, max(self.size, 1)))
        self.start = max(0, min(start, self.size - span))
        self.end = self.start + span
        return (self.start, self.end) != before

    def zoom(self, factor: float, x: float) -> bool:
        """Show `factor` times as few bytes, keeping the one at a position; return whether anything changed."""
        held = self.position(x)
        span = max(min(round(self.span / factor), self.size), 1, min(self.size, self.width))
        return self.look(round(held - span * x / self.width), span)

    def position(self, x: float) -> int:
        """Return the byte at a horizontal position."""
        share = min(max(x / self.width, 0.0), 1.0)
        return min(self.start + int(self.span * share), max(self.end - 1, 0))

    def stretch(self, x: float) -> tuple[int, int]:
        """Return the bytes of one column of pixels, at least one."""
        column = min(max(int(x), 0), self.width - 1)
        start = self.start + self.span * column // self.width
        return start, max(start + 1, self.start + self.span * (column + 1) // self.width)

    def x(self, position: int) -> float:
        """Return where a byte stands; outside of the strip for one that is not shown."""
        return (position - self.start) * self.width / self.span
