"""How a heat map is drawn: pixels, hatching, tiles, marks of the axes and the colour bar."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from PySide6.QtCore import QPointF, QRect, QRectF, QSizeF, Qt
from PySide6.QtGui import QBrush, QColor, QImage, QLinearGradient, QPainter, QPen

from ckpt_viewer.gui.panels.colouring import INF, NAN, colours
from ckpt_viewer.gui.panels.digits import six_digits
from ckpt_viewer.gui.panels.ticks import nice_values
from ckpt_viewer.gui.theme import Theme, theme

if TYPE_CHECKING:
    from ckpt_viewer.gui.panels.colouring import Picture
    from ckpt_viewer.gui.panels.heat_map import HeatMap

BAR_WIDTH = 104
"""Pixels at the right: the colour bar, and the words for hatching."""
BAR = 14
SMALLEST = 9.0
"""Pixels of a hatched mark at least, where there are few of them."""
HATCHES = {NAN: Qt.BrushStyle.BDiagPattern, INF: Qt.BrushStyle.FDiagPattern, NAN | INF: Qt.BrushStyle.DiagCrossPattern}
TILE_GAP = 5.0
"""Pixels of a tile from which on tiles are set apart."""


class Frame(NamedTuple):
    """Where the cells of a plane lie: `picture` is the place of all of them, `area` the part that is seen."""

    area: QRectF
    picture: QRectF
    rows: int
    columns: int

    def place(self, point: QPointF) -> tuple[float, float]:
        """Return row and column of a point, with fractions."""
        return (
            (point.y() - self.picture.top()) * self.rows / self.picture.height(),
            (point.x() - self.picture.left()) * self.columns / self.picture.width(),
        )

    def cell(self, point: QPointF) -> tuple[int, int]:
        """Return the cell nearest to a point."""
        row, column = self.place(point)
        return min(max(int(row), 0), self.rows - 1), min(max(int(column), 0), self.columns - 1)

    def rect(self, top: float, bottom: float, left: float, right: float) -> QRectF:
        """Return the place of some rows and columns."""
        down, across = self.picture.height() / self.rows, self.picture.width() / self.columns
        corner = QPointF(self.picture.left() + left * across, self.picture.top() + top * down)
        return QRectF(corner, QSizeF((right - left) * across, (bottom - top) * down))


def draw(painter: QPainter, widget: HeatMap) -> None:
    """Draw a heat map; nothing of a plane that was not read yet."""
    shown, frame = theme(), widget.frame
    painter.fillRect(widget.rect(), QColor(shown.base))
    if widget.whole is None:
        return
    painter.save()
    painter.setClipRect(frame.area.intersected(frame.picture))
    for picture in (widget.whole, widget.detail):
        if picture is not None:
            _draw_picture(painter, frame, picture, shown)
    _draw_tiles(painter, frame, widget.tile, shown)
    painter.restore()
    _draw_mark(painter, frame, widget)
    _draw_axes(painter, frame, shown)
    _draw_bar(painter, frame, widget.whole, shown)


def _draw_picture(painter: QPainter, frame: Frame, picture: Picture, shown: Theme) -> None:
    raster, (height, width) = picture.raster, picture.pixels.shape
    window = raster.window
    place = frame.rect(  # blocks at the end may reach beyond the plane: the clip cuts them
        window.top, window.top + height * raster.down, window.left, window.left + width * raster.across
    )
    seen = place.intersected(frame.area)
    if seen.isEmpty():
        return
    rows, columns = (
        _part(seen.top(), seen.bottom(), place.top(), place.height() / height, height),
        _part(seen.left(), seen.right(), place.left(), place.width() / width, width),
    )
    first, last = _block(place, picture, rows.start, columns.start), _block(place, picture, rows.stop, columns.stop)
    part = QRectF(first.topLeft(), last.topLeft())
    _draw_pixels(painter, part, picture.pixels[rows, columns], QImage.Format.Format_RGB32)
    if picture.few:
        for row, column, bits in picture.few:
            _draw_few(painter, _block(place, picture, row, column), bits, shown)
    elif picture.marks is not None:
        for bits in HATCHES:
            mask = picture.marks[rows, columns] == bits
            if mask.any():
                _draw_many(painter, part, frame.area, mask, bits, shown)


def _part(first: float, last: float, start: float, size: float, count: int) -> slice:
    """Return which of `count` blocks of a size, the first at `start`, can be seen between two points."""
    return slice(max(0, int((first - start) / size)), min(count, int((last - start) / size) + 1))


def _draw_pixels(painter: QPainter, place: QRectF, pixels: Any, form: QImage.Format) -> None:
    array = pixels.copy()  # contiguous; QImage does not copy it
    painter.drawImage(place, QImage(array.data, array.shape[1], array.shape[0], array.shape[1] * 4, form))


def _block(place: QRectF, picture: Picture, row: int, column: int) -> QRectF:
    height, width = picture.pixels.shape
    down, across = place.height() / height, place.width() / width
    return QRectF(place.left() + column * across, place.top() + row * down, across, down)


def _draw_few(painter: QPainter, block: QRectF, bits: int, shown: Theme) -> None:
    """Hatch a block; a small one is marked beyond its edges, or nobody would see it."""
    if min(block.width(), block.height()) < SMALLEST:
        centre = block.center()
        width, height = max(block.width(), SMALLEST), max(block.height(), SMALLEST)
        block = QRectF(centre.x() - width / 2, centre.y() - height / 2, width, height)
        painter.setPen(QPen(QColor(shown.error), 1))
        painter.drawRect(block)
    painter.fillRect(block, QBrush(QColor(shown.error), HATCHES[bits]))


def _draw_many(painter: QPainter, place: QRectF, area: QRectF, mask: Any, bits: int, shown: Theme) -> None:
    """Hatch all blocks of a mask at once."""
    layer = QImage(area.size().toSize(), QImage.Format.Format_ARGB32_Premultiplied)
    layer.fill(Qt.GlobalColor.transparent)
    inner = QPainter(layer)
    where = place.translated(-area.topLeft())
    _draw_pixels(inner, where, mask.astype("uint32") * 0xFF000000, QImage.Format.Format_ARGB32)
    inner.setCompositionMode(QPainter.CompositionMode.CompositionMode_SourceIn)
    inner.fillRect(layer.rect(), QBrush(QColor(shown.error), HATCHES[bits]))
    inner.end()
    painter.drawImage(area.topLeft(), layer)


def _draw_tiles(painter: QPainter, frame: Frame, tile: tuple[int, int], shown: Theme) -> None:
    rows, columns = tile
    if not rows or not columns:
        return
    across = frame.picture.width() / frame.columns * columns
    down = frame.picture.height() / frame.rows * rows
    if min(across, down) < TILE_GAP:
        return
    painter.setPen(QPen(QColor(shown.base), min(max(1.0, min(across, down) * 0.04), 6.0)))
    for column in range(columns, frame.columns, columns):
        x = frame.picture.left() + column / columns * across
        if frame.area.left() <= x <= frame.area.right():
            painter.drawLine(QPointF(x, frame.area.top()), QPointF(x, frame.area.bottom()))
    for row in range(rows, frame.rows, rows):
        y = frame.picture.top() + row / rows * down
        if frame.area.top() <= y <= frame.area.bottom():
            painter.drawLine(QPointF(frame.area.left(), y), QPointF(frame.area.right(), y))


def _draw_mark(painter: QPainter, frame: Frame, widget: HeatMap) -> None:
    """Frame the cell that the text below speaks of, where one can see it."""
    if widget.at is None or not widget.hasFocus():
        return
    row, column = widget.at
    cell = frame.rect(row, row + 1, column, column + 1)
    centre, size = cell.center(), QSizeF(max(cell.width(), 7), max(cell.height(), 7))
    box = QRectF(centre.x() - size.width() / 2, centre.y() - size.height() / 2, size.width(), size.height())
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for colour, width in (("#ffffff", 3.0), ("#000000", 1.0)):
        painter.setPen(QPen(QColor(colour), width))
        painter.drawRect(box)


def _draw_axes(painter: QPainter, frame: Frame, shown: Theme) -> None:
    painter.setPen(QColor(shown.muted))
    metrics, area = painter.fontMetrics(), frame.area
    seen = frame.picture.intersected(area)
    first, last = frame.place(seen.topLeft()), frame.place(seen.bottomRight())
    for at, text in _whole_ticks(first[0], last[0], int(seen.height() // 60) + 1):
        y = frame.rect(at, at + 1, 0, 1).center().y()
        box = QRectF(0, y - metrics.height() / 2, seen.left() - 5, metrics.height())
        painter.drawText(box, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, text)
    for at, text in _whole_ticks(first[1], last[1], int(seen.width() // 90) + 1):
        x = frame.rect(0, 1, at, at + 1).center().x()
        box = QRectF(x - 50, seen.bottom() + 3, 100, metrics.height())
        painter.drawText(box, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop, text)


def _whole_ticks(first: float, last: float, wanted: int) -> Iterator[tuple[int, str]]:
    low, high = int(first), max(int(first), int(last - 1e-9))
    for value, _ in nice_values(low, high, min(wanted, max(1, high - low))):
        if value == int(value):
            yield int(value), str(int(value))


def _draw_bar(painter: QPainter, frame: Frame, picture: Picture, shown: Theme) -> None:
    area = frame.area
    left, height = area.right() + 12, max(40.0, min(area.height() - 70, 320.0))
    bar = QRectF(left, area.top(), BAR, height)
    gradient = QLinearGradient(bar.bottomLeft(), bar.topLeft())
    table = colours(shown.heat_map)
    for at in range(0, len(table), 2):
        gradient.setColorAt(at / (len(table) - 1), QColor.fromRgb(int(table[at])))
    painter.fillRect(bar, gradient)
    painter.setPen(QColor(shown.line))
    painter.drawRect(bar)
    painter.setPen(QColor(shown.text))
    metrics = painter.fontMetrics()
    limit = picture.limit
    for share, value in ((0.0, limit), (0.25, limit / 2), (0.5, 0.0), (0.75, -limit / 2), (1.0, -limit)):
        if value == 0 and share != 0.5:
            continue
        y = bar.top() + share * height
        y = min(max(y, bar.top() + metrics.height() / 2 - 2), bar.bottom() - metrics.height() / 2 + 2)
        text = metrics.elidedText(_short(value), Qt.TextElideMode.ElideRight, BAR_WIDTH - BAR - 18)
        box = QRectF(bar.right() + 5, y - metrics.height() / 2, BAR_WIDTH, metrics.height())
        painter.drawText(box, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, text)
    _draw_legend(painter, bar, picture, shown)


def _short(value: float) -> str:
    return f"{value:.3g}" if value else six_digits(0)


def _draw_legend(painter: QPainter, bar: QRectF, picture: Picture, shown: Theme) -> None:
    """Say what hatching means, where something is hatched."""
    y, metrics = bar.bottom() + 10, painter.fontMetrics()
    raster = picture.raster
    for word, bits, counts in (("NaN", NAN, raster.nan), ("Inf", INF, raster.inf)):
        if counts is None or not counts.any():
            continue
        box = QRect(int(bar.left()), int(y), BAR, BAR)
        painter.fillRect(box, QColor(shown.raised))
        painter.fillRect(box, QBrush(QColor(shown.error), HATCHES[bits]))
        painter.setPen(QColor(shown.line))
        painter.drawRect(box)
        painter.setPen(QColor(shown.text))
        painter.drawText(QPointF(box.right() + 6, box.center().y() + metrics.ascent() / 2 - 1), word)
        y += BAR + 8
