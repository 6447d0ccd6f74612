"""Paints a row of the tree at once: a name with its note behind it, a mark, less important text in a muted colour.

Qt's own way asks the model some seven times a cell through Python, and a scrolled page took three times as long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from PySide6.QtCore import QRect, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter, QPalette, QPixmap
from PySide6.QtWidgets import QStyleOptionViewItem

from ckpt_viewer.gui.theme import theme
from ckpt_viewer.gui.tree.cells import (
    COLUMNS,
    DEVICE,
    DTYPE,
    FIGURES,
    NAME,
    PARAMETERS,
    SHAPE,
    SIZE,
    TYPE,
    UNSOUND,
    RowTexts,
)
from ckpt_viewer.gui.tree.cells import PICTURE as PICTURE_COLUMN
from ckpt_viewer.gui.tree.compared import SIGNS
from ckpt_viewer.gui.tree.lost import LOST
from ckpt_viewer.gui.tree.marks import SIZE as PICTURE
from ckpt_viewer.gui.tree.marks import picture
from ckpt_viewer.gui.tree.model import AnyIndex, CheckpointTreeModel, TreeRole

if TYPE_CHECKING:
    from ckpt_viewer.gui.tree.view import CheckpointTreeView

MARGIN = 4
GAP = 8
"""Pixels between a name and its note."""
LEAST_NOTE = 24
"""Pixels below which a note is left out."""
BAR_WIDTH, LEVELS = 4, 9
"""Pixels of a bar of a small histogram, and heights that it can have; see `sparks`."""
REMEMBERED = 4000
"""Texts whose width, or whose shorter form, is remembered."""

_MIDDLE, _LEFT, _RIGHT = Qt.TextElideMode.ElideMiddle, Qt.TextElideMode.ElideLeft, Qt.TextElideMode.ElideRight
_ELIDED = dict.fromkeys(FIGURES, _RIGHT) | {
    NAME: _MIDDLE,
    TYPE: _LEFT,
    SHAPE: _RIGHT,
    DTYPE: _RIGHT,
    DEVICE: _RIGHT,
    PARAMETERS: _RIGHT,
    SIZE: _RIGHT,
}
_NUMBERS = (PARAMETERS, SIZE, *FIGURES)
_PLAIN = ("", LOST, UNSOUND, *SIGNS)
"""Marks whose rows are not bold."""
_EMPTY = ("",) * len(COLUMNS)
_ACTIVE, _INACTIVE = QPalette.ColorGroup.Active, QPalette.ColorGroup.Inactive


class _Colours(NamedTuple):
    """Colours of a row. `bar` is drawn behind a selected one: a pixel, since `fillRect` has PySide load every gradient
    that Qt knows, 6 ms at start-up.
    """

    text: QColor
    muted: QColor
    link: QColor
    bar: QPixmap
    highlighted: QColor
    bars: QColor

    @property
    def selected(self) -> _Colours:
        """The colours on a selected row."""
        return self._replace(
            text=self.highlighted, muted=self.highlighted, link=self.highlighted, bars=self.highlighted
        )


class _Look(NamedTuple):
    """How a row is to be painted: `rect` on the viewport, `depth` below the root, its state and colours."""

    rect: QRect
    depth: int
    has_children: bool
    is_open: bool
    colours: _Colours


class _Fitted:
    """Texts cut to a width in one font; what was measured is remembered."""

    def __init__(self, font: QFont) -> None:
        self.font, self._metrics = font, QFontMetrics(font)
        self.ascent, self.height = self._metrics.ascent(), self._metrics.height()
        self._widths: dict[str, int] = {}
        self._cut: dict[tuple[str, int], str] = {}

    def width(self, text: str) -> int:
        width = self._widths.get(text)
        if width is None:
            if len(self._widths) > REMEMBERED:
                self._widths.clear()
            width = self._widths[text] = self._metrics.horizontalAdvance(text)
        return width

    def cut(self, text: str, width: int, mode: Qt.TextElideMode) -> str:
        """Return `text`, elided if it is wider than `width` pixels."""
        if self.width(text) <= width:
            return text
        cut = self._cut.get((text, width))
        if cut is None:
            if len(self._cut) > REMEMBERED:
                self._cut.clear()
            cut = self._cut[text, width] = self._metrics.elidedText(text, mode, width)
        return cut


class RowPainter:
    """Paints rows of one view. Make a new one when the view's font, palette or style changes."""

    def __init__(self, view: CheckpointTreeView, model: CheckpointTreeModel) -> None:
        self._view, self._model, self._header = view, model, view.header()
        self._plain = _Fitted(view.font())
        bold = QFont(view.font())
        bold.setBold(True)
        self._bold = _Fitted(bold)
        self._indent = view.indentation()
        self._colours = {
            group: _colours(view.palette(), group)
            for group in (QPalette.ColorGroup.Active, QPalette.ColorGroup.Inactive)
        }

    def draw(self, painter: QPainter, options: QStyleOptionViewItem, index: AnyIndex) -> None:
        """Paint one row of the model, as Qt's `drawRow` would."""
        cells, row = self._model.cells, self._model.row_of(index)
        if cells is None:
            return
        # not `options.state`: the one use of QStyle at start-up, and loading that class costs 11 ms
        colours = self._colours[_ACTIVE if self._view.isActiveWindow() else _INACTIVE]
        selected = self._view.selectionModel().isSelected(index)
        if selected:
            painter.drawPixmap(options.rect, colours.bar)
            colours = colours.selected
        has_children = self._model.hasChildren(index)
        is_open = has_children and self._view.isExpanded(index)
        look = _Look(options.rect, self._model.depth(index), has_children, is_open, colours)
        if look.has_children and look.depth:
            self._handle(painter, look)
        if row >= 0:
            texts = cells.painted(row, figures=self._view.columns.shows_figures)
            self._cells(painter, look, texts)
            self._name(painter, look, texts)
        else:
            self._more(painter, look, self._model.data(index), self._model.data(index, TreeRole.NOTE))

    def _cells(self, painter: QPainter, look: _Look, texts: RowTexts) -> None:
        painter.setFont(self._plain.font)
        for column in range(1, len(texts.cells)):
            text = texts.cells[column]
            if text and not self._header.isSectionHidden(column):
                if column == PICTURE_COLUMN:
                    self._spark(painter, look, text)
                    continue
                faint = column == TYPE or (column == SHAPE and look.has_children)
                self._cell(painter, look, column, text, look.colours.muted if faint else look.colours.text)

    def _more(self, painter: QPainter, look: _Look, text: str, note: str) -> None:
        rect = self._name_rect(look, _EMPTY)
        used = self._text(painter, rect, self._plain, text, look.colours.link)
        self._note(painter, rect.adjusted(used + GAP, 0, 0, 0), note, look.colours.muted)

    def _handle(self, painter: QPainter, look: _Look) -> None:
        left = self._header.sectionViewportPosition(NAME) + (look.depth - 1) * self._indent
        shown = picture("open" if look.is_open else "closed", look.colours.muted.name(), self._view.devicePixelRatioF())
        painter.drawPixmap(left, look.rect.center().y() - PICTURE // 2 + 1, shown)

    def _cell(self, painter: QPainter, look: _Look, column: int, text: str, colour: QColor) -> None:
        left = self._header.sectionViewportPosition(column) + MARGIN
        width = self._header.sectionSize(column) - 2 * MARGIN
        text = self._plain.cut(text, width, _ELIDED[column])
        if column in _NUMBERS:
            left += width - self._plain.width(text)
        painter.setPen(colour)
        painter.drawText(left, self._baseline(look.rect, self._plain), text)

    def _spark(self, painter: QPainter, look: _Look, heights: str) -> None:
        """Draw a small histogram: a digit each for the height of a bar."""
        room = self._header.sectionSize(PICTURE_COLUMN) - 2 * MARGIN
        wide = min(room, BAR_WIDTH * len(heights))
        left = self._header.sectionViewportPosition(PICTURE_COLUMN) + MARGIN + (room - wide) // 2
        bottom, tall = look.rect.bottom() - 2, look.rect.height() - 6
        for number, digit in enumerate(heights):
            start, stop = (left + wide * at // len(heights) for at in (number, number + 1))
            height = max(1, tall * int(digit) // LEVELS) if digit != "0" else 0
            if height:
                painter.fillRect(start, bottom - height, max(1, stop - start - 1), height, look.colours.bars)

    def _name_rect(self, look: _Look, cells: tuple[str, ...]) -> QRect:
        """Return the place of a name and its note: they may run on where the next columns are empty."""
        header, left = self._header, look.depth * self._indent + MARGIN
        width = header.sectionSize(NAME) - left - MARGIN
        for column in range(1, len(cells) if not header.sectionsMoved() else 0):
            if cells[column] and not header.isSectionHidden(column):
                break
            width += header.sectionSize(column)  # 0 for a hidden one
        return QRect(header.sectionViewportPosition(NAME) + left, look.rect.top(), max(0, width), look.rect.height())

    def _name(self, painter: QPainter, look: _Look, texts: RowTexts) -> None:
        rect, name, note, colours = self._name_rect(look, texts.cells), texts.cells[NAME], texts.note, look.colours
        painter.setClipRect(rect)  # stacked accents reach far into other rows
        if texts.mark:
            shown = picture(texts.mark, colours.text.name(), self._view.devicePixelRatioF())
            painter.drawPixmap(rect.left(), rect.center().y() - PICTURE // 2 + 1, shown)
            rect.setLeft(rect.left() + PICTURE + 5)
        fitted = self._bold if texts.mark not in _PLAIN or not look.depth else self._plain
        room, needed = max(0, rect.width()), GAP + min(self._plain.width(note), LEAST_NOTE)
        if note and fitted.width(name) > room >= 3 * needed:  # a name that has to be cut anyway leaves its note a part
            room -= min(GAP + self._plain.width(note), room // 3)
        faint = colours.muted if texts.mark == LOST else colours.text
        used = self._text(painter, QRect(rect.left(), rect.top(), room, rect.height()), fitted, name, faint)
        colour = colours.link if texts.is_link else colours.muted
        self._note(painter, rect.adjusted(used + GAP, 0, 0, 0), note, colour)
        painter.setClipping(False)

    def _text(self, painter: QPainter, rect: QRect, fitted: _Fitted, text: str, colour: QColor) -> int:
        """Draw a name and return the pixels that it takes."""
        cut = fitted.cut(text, rect.width(), _MIDDLE)
        painter.setFont(fitted.font)
        painter.setPen(colour)
        painter.drawText(rect.left(), self._baseline(rect, fitted), cut)
        return min(fitted.width(cut), rect.width())

    def _note(self, painter: QPainter, rect: QRect, note: str, colour: QColor) -> None:
        if note and rect.width() >= min(LEAST_NOTE, self._plain.width(note)):
            painter.setFont(self._plain.font)
            painter.setPen(colour)
            painter.drawText(
                rect.left(), self._baseline(rect, self._plain), self._plain.cut(note, rect.width(), _RIGHT)
            )

    def _baseline(self, rect: QRect, fitted: _Fitted) -> int:
        return rect.top() + (rect.height() - fitted.height) // 2 + fitted.ascent


def _colours(palette: QPalette, group: QPalette.ColorGroup) -> _Colours:
    role = QPalette.ColorRole
    bar = QPixmap(1, 1)
    bar.fill(palette.color(group, role.Highlight))
    text, muted, link = (palette.color(group, each) for each in (role.Text, role.PlaceholderText, role.Link))
    return _Colours(text, muted, link, bar, palette.color(group, role.HighlightedText), QColor(theme().series[0]))
