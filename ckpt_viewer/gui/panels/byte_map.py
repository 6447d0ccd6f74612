"""The byte maps of a checkpoint's files: a strip for each, what is pointed at in words, and what the looks mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QScrollArea, QToolButton, QVBoxLayout, QWidget

from ckpt_viewer.core.text import bytes_text, grouped
from ckpt_viewer.gui.elided import ElidedLabel
from ckpt_viewer.gui.labels import label, plain
from ckpt_viewer.gui.layouts import empty
from ckpt_viewer.gui.panels.byte_colours import ByteLegend
from ckpt_viewer.gui.panels.byte_strip import STEP, ByteStrip
from ckpt_viewer.gui.panels.byte_words import stretch_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ckpt_viewer.gui.ledger_watch import Accounts

MOST_STRIPS = 64
"""Files that get a strip."""
VISIBLE = 3
"""Strips that are visible without scrolling."""
HINT = "Point at it, or walk over it with the arrow keys; + and - zoom."


class ByteMapView(QWidget):
    """Shows the maps of `Accounts`."""

    chosen = Signal(int)
    """The line of the ledger whose region was chosen."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("byteMap")
        self.strips: list[ByteStrip] = []
        self._accounts: Accounts | None = None
        self._resting = HINT
        self.words = ElidedLabel(muted=True, mode=Qt.TextElideMode.ElideRight)
        self.words.setObjectName("byteMapWords")
        self.legend = ByteLegend()
        self._inside = QWidget()
        self._column = QVBoxLayout(self._inside)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(4)
        self._area = QScrollArea()
        self._area.setWidget(self._inside)
        self._area.setWidgetResizable(True)
        self._area.setFrameShape(QFrame.Shape.NoFrame)
        self._area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._area.setAccessibleName("Maps of the files")
        self._zoom_in, self._zoom_out, self._all = self._buttons()
        line = QHBoxLayout()
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.words, 1)
        for button in (self._zoom_in, self._zoom_out, self._all):
            line.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self._area)
        layout.addLayout(line)
        layout.addWidget(self.legend)

    def _buttons(self) -> tuple[QToolButton, QToolButton, QToolButton]:
        made = []
        for text, words, call in (
            ("+", "Zoom into the map", lambda: self._strip.zoom(STEP)),
            ("\N{MINUS SIGN}", "Zoom out of the map", lambda: self._strip.zoom(1 / STEP)),
            ("All", "Show the whole file", lambda: self._strip.show_all()),
        ):
            button = QToolButton()
            button.setText(text)
            button.setAutoRaise(True)
            button.setAccessibleName(words)
            button.setToolTip(words)
            button.clicked.connect(call)
            made.append(button)
        return made[0], made[1], made[2]

    @property
    def _strip(self) -> ByteStrip:
        """The strip that the buttons are for."""
        return next((strip for strip in self.strips if strip.hasFocus()), self.strips[0])

    def show_accounts(
        self, accounts: Accounts, files: Sequence[int], marked: tuple[int, int] | None = None, *, legend: bool = True
    ) -> None:
        """Show some files by their numbers, with a region (number of its file, its own) marked."""
        shown = [number for number in files[:MOST_STRIPS] if accounts.maps.files[number].size]
        self._accounts = accounts
        self._make_strips(len(shown))
        totals: dict[int, int] = {}
        for strip, number in zip(self.strips, shown, strict=True):
            file = accounts.maps.files[number]
            strip.show_file(file, marked[1] if marked is not None and marked[0] == number else None)
            for kind, nbytes in file.totals.items():
                totals[kind] = totals.get(kind, 0) + nbytes
        self._name_files(accounts, shown, len(files))
        self.legend.show_totals(dict(sorted(totals.items())) if legend else {})
        self._rest()
        self._refresh_buttons()
        self._fit()

    def _make_strips(self, count: int) -> None:
        empty(self._column)
        self.strips = []
        for _ in range(count):
            strip = ByteStrip()
            strip.wheel_zooms = count == 1
            strip.pointed.connect(lambda stretch, strip=strip: self._point(strip, stretch))
            strip.chosen.connect(lambda stretch, strip=strip: self._choose(strip, stretch))
            strip.zoomed.connect(self._refresh_buttons)
            self.strips.append(strip)

    def _name_files(self, accounts: Accounts, shown: Sequence[int], count: int) -> None:
        """Put the strips under the names of their files, where there are several."""
        for strip, number in zip(self.strips, shown, strict=True):
            if count > 1:
                file = accounts.maps.files[number]
                self._column.addWidget(label(f"{plain(file.name, 60)}   {bytes_text(file.size)}", muted=True))
            self._column.addWidget(strip)
        if count > len(shown):
            self._column.addWidget(label(f"and {grouped(count - len(shown))} more files", muted=True))
        self._column.addStretch()

    def _fit(self) -> None:
        """Be as high as the strips, up to a few of them."""
        self.setVisible(bool(self.strips))
        heights = [strip.sizeHint().height() for strip in self.strips[:VISIBLE]]
        name = self.fontMetrics().height() + 8 if len(self.strips) > 1 else 0
        self._area.setFixedHeight(sum(height + name for height in heights) + 2)

    def _refresh_buttons(self) -> None:
        zoomed = any(strip.is_zoomed for strip in self.strips)
        self._zoom_out.setEnabled(zoomed)
        self._all.setEnabled(zoomed)

    def _rest(self) -> None:
        marked = next((strip for strip in self.strips if strip.current is not None), None)
        if marked is not None and self._accounts is not None and marked.current is not None:
            region = marked.file.region(marked.current)
            self._resting = self._say(marked, (region.start, region.start + region.nbytes))
            marked.describe(self._resting)
        else:
            self._resting = HINT
        self.words.setText(self._resting)

    def _say(self, strip: ByteStrip, stretch: tuple[int, int]) -> str:
        assert self._accounts is not None
        return plain(stretch_words(self._accounts.book, strip.file, *stretch), 600)

    def _point(self, strip: ByteStrip, stretch: tuple[int, int] | None) -> None:
        if stretch is None:
            self.words.setText(self._resting)
            return
        words = self._say(strip, stretch)
        self.words.setText(words)
        if strip.current is not None and strip.hasFocus():
            self._resting = words
            strip.describe(words)

    def _choose(self, strip: ByteStrip, stretch: tuple[int, int]) -> None:
        number = strip.file.largest(*stretch)
        for each in self.strips:
            each.mark(number if each is strip else None)
        self._rest()
        line = strip.file.region(number).line
        if line >= 0:
            self.chosen.emit(line)
