"""The plot's menu: copy the picture, save it as PNG, SVG or CSV."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QBuffer, QIODevice, QObject, QPoint, QRect, Qt, Signal
from PySide6.QtGui import QAction, QGuiApplication, QPainter
from PySide6.QtWidgets import QFileDialog, QMenu, QToolButton, QWidget

from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.core.text import csv_cell
from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.gui.labels import NAME_LIMIT, plain
from ckpt_viewer.gui.messages import error_text
from ckpt_viewer.gui.panels.picture import Picture, bins_rows
from ckpt_viewer.gui.panels.picture_menu import spare_source, write_bytes

if TYPE_CHECKING:
    from ckpt_viewer.gui.panels.plot import HistogramPlot
    from ckpt_viewer.gui.session import Session


class SaveMenu(QObject):
    """A button and a right-click menu for one HistogramPlot."""

    said = Signal(str)
    """What was done, or why it was not: a sentence for the line above the picture."""

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self._session = session
        self._plot: HistogramPlot | None = None
        self.menu = QMenu(parent)
        self.show_all = self._add("Show all values", lambda plot: plot.view_all())
        self.menu.addSeparator()
        self.copy_picture = self._add("Copy the picture", self._copy_picture)
        self.copy_bins = self._add("Copy the bins", self._copy_bins)
        self.menu.addSeparator()
        self.save_png = self._add("Save as PNG …", lambda plot: self._ask(plot, "PNG", write_png))
        self.save_svg = self._add("Save as SVG …", lambda plot: self._ask(plot, "SVG", write_svg))
        self.save_csv = self._add("Save as CSV …", lambda plot: self._ask(plot, "CSV", write_csv))
        self.button = QToolButton()
        self.button.setObjectName("histogramSave")
        self.button.setText("Save")
        self.button.setAccessibleName("Copy or save the histogram")
        self.button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.button.setMenu(self.menu)
        self.set_enabled(False)

    def _add(self, text: str, call: Callable[[HistogramPlot], object]) -> QAction:
        action = QAction(text, self)
        action.triggered.connect(lambda: call(self._plot) if self._plot is not None else None)
        self.menu.addAction(action)
        return action

    def attach(self, plot: HistogramPlot) -> None:
        """Serve a plot, also on a right click."""
        self._plot = plot
        plot.widget.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        plot.widget.customContextMenuRequested.connect(self._pop_up)

    def set_enabled(self, enabled: bool) -> None:
        """Whether there is a picture."""
        self.button.setEnabled(enabled)

    def _pop_up(self, at: QPoint) -> None:
        if self._plot is not None:
            self.menu.popup(self._plot.widget.mapToGlobal(at))

    def _copy_picture(self, plot: HistogramPlot) -> None:
        QGuiApplication.clipboard().setPixmap(plot.widget.grab())
        self.said.emit("The picture is on the clipboard.")

    def _copy_bins(self, plot: HistogramPlot) -> None:
        QGuiApplication.clipboard().setText(copied_bins(plot.picture))
        self.said.emit("The bins are on the clipboard.")

    def _ask(self, plot: HistogramPlot, kind: str, write: Callable[[HistogramPlot, str], None]) -> None:
        suffix = kind.lower()
        path, _ = QFileDialog.getSaveFileName(
            plot.widget, f"Save the histogram as {kind}", f"histogram.{suffix}", f"{kind} (*.{suffix})"
        )
        if path:
            self.save(plot, path, write)

    def save(self, plot: HistogramPlot, path: str, write: Callable[[HistogramPlot, str], None]) -> None:
        """Write a file and say how it went."""
        name = plain(Path(path).name, NAME_LIMIT)
        try:
            spare_source(path, self._session.path)
            write(plot, path)
        except CheckpointError as error:
            self.said.emit(f"{name} was not saved: {error_text(error)}")
        else:
            self.said.emit(f"Saved {name}.")


def copied_bins(picture: Picture) -> str:
    """Return the bins, tab-separated, in full precision."""
    return "".join("\t".join(plain(cell) for cell in row) + "\n" for row in bins_rows(picture))


def write_csv(plot: HistogramPlot, path: str) -> None:
    """Write the bins; raises WriteFailed, as the others do: a file appears whole or not at all."""
    text = "".join(",".join(csv_cell(plain(cell)) for cell in row) + "\n" for row in bins_rows(plot.picture))
    write_bytes(text.encode("utf-8"), path, SILENT)


def write_png(plot: HistogramPlot, path: str) -> None:
    """Write the picture as it is on the screen."""
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    plot.widget.grab().save(buffer, "PNG")
    write_bytes(bytes(buffer.data().data()), path, SILENT)


def write_svg(plot: HistogramPlot, path: str) -> None:
    """Write the picture as vectors. (pyqtgraph 0.14's own SVG exporter fails.)"""
    from PySide6.QtSvg import QSvgGenerator

    buffer, size = QBuffer(), plot.widget.size()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    generator = QSvgGenerator()
    generator.setOutputDevice(buffer)
    generator.setSize(size)
    generator.setViewBox(QRect(QPoint(0, 0), size))
    generator.setTitle("Histogram")
    painter = QPainter(generator)
    try:
        plot.widget.render(painter)
    finally:
        painter.end()  # a generator with an active painter ends the process
    write_bytes(bytes(buffer.data().data()), path, SILENT)
