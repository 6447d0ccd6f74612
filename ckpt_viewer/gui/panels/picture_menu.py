"""Copying and saving what a widget shows: a button and the widget's right-click menu."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QBuffer, QByteArray, QIODevice, QObject, QPoint, QRect, Qt, Signal
from PySide6.QtGui import QAction, QGuiApplication, QImage, QImageWriter, QPainter
from PySide6.QtWidgets import QFileDialog, QMenu, QToolButton, QWidget

from ckpt_viewer.core.progress import Context
from ckpt_viewer.errors import WriteFailed
from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.labels import NAME_LIMIT, plain
from ckpt_viewer.gui.messages import error_text

if TYPE_CHECKING:
    from ckpt_viewer.core.checkpoint import Checkpoint
    from ckpt_viewer.gui.session import Session

Writer = Callable[[str, Context], object]
"""Writes a file at a path, in a job."""


class PictureMenu(QObject):
    """Serves one widget, see `serve`; `add` puts more entries before those for the picture, `add_file` one that saves a
    file.
    """

    said = Signal(str)
    """What was done, or why it was not: a sentence."""

    def __init__(self, session: Session, parent: QWidget, stem: str, words: str) -> None:
        super().__init__(parent)
        self._widget, self._stem, self._session = parent, stem, session
        self._name = ""
        self._saving = Latest(session.jobs, self)
        self._saving.finished.connect(lambda _: self.said.emit(f"Saved {self._name}."))
        self._saving.failed.connect(self._on_failed)
        self._copying = Latest(session.jobs, self)
        self._copying.finished.connect(self._on_text)
        self._copying.failed.connect(lambda error: self.said.emit(error_text(error)))
        self.menu = QMenu(parent)
        self.button = QToolButton()
        self.button.setObjectName(f"{stem}Save")
        self.button.setText("Save")
        self.button.setAccessibleName(f"Copy or save {words}")
        self.button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.button.setMenu(self.menu)

    def serve(self, widget: QWidget) -> None:
        """Copy and save this widget's picture, also on a right click."""
        self._widget = widget
        widget.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        widget.customContextMenuRequested.connect(self._pop_up)

    def add(self, text: str, call: Callable[[], object]) -> QAction:
        """Add an entry."""
        action = QAction(text, self)
        action.triggered.connect(lambda: call())
        self.menu.addAction(action)
        return action

    def add_picture(self) -> None:
        """Add the entries for the picture as it is on the screen."""
        self.menu.addSeparator()
        self.add("Copy the picture", self.copy_picture)
        self.add_file("PNG", self.png_writer)

    def add_svg(self) -> None:
        """Add the entry for the picture as vectors."""
        self.add_file("SVG", self.svg_writer)

    def add_file(self, kind: str, writer: Callable[[], Writer]) -> QAction:
        """Add an entry that asks for a file; ``writer()`` is called on the GUI thread, what it returns in a job."""
        return self.add(f"Save as {kind} …", lambda: self.ask(kind, writer))

    def ask(self, kind: str, writer: Callable[[], Writer]) -> None:
        """Ask for a file of a kind and write it."""
        suffix = kind.lower()
        path, _ = QFileDialog.getSaveFileName(
            self._widget, f"Save as {kind}", f"{self._stem}.{suffix}", f"{kind} (*.{suffix})"
        )
        if path:
            self.save(path, writer())

    def save(self, path: str, write: Writer) -> None:
        """Write a file in a job, and say how it went."""
        self._name, checkpoint = plain(Path(path).name, NAME_LIMIT), self._session.checkpoint

        def work(context: Context) -> None:
            if checkpoint is not None:
                spare_sources(path, checkpoint)
            write(path, context)

        self._saving.start(work, title=f"Saving {self._name}")

    def copy_picture(self) -> None:
        """Put the picture on the clipboard."""
        QGuiApplication.clipboard().setPixmap(self._widget.grab())
        self.said.emit("The picture is on the clipboard.")

    def copy_text(self, make: Callable[[Context], str]) -> None:
        """Put what ``make(context)`` returns on the clipboard; it is called in a job."""
        self._copying.start(make, title="Copying")

    def _on_text(self, text: str) -> None:
        QGuiApplication.clipboard().setText(text)
        self.said.emit("The numbers are on the clipboard, in full precision.")

    def svg_writer(self) -> Writer:
        """Return what writes the picture as vectors. (pyqtgraph 0.14's own SVG exporter fails.)"""
        from PySide6.QtSvg import QSvgGenerator

        plot: Any = self._widget  # pyqtgraph's widget renders itself
        buffer, size = QBuffer(), self._widget.size()
        buffer.open(QIODevice.OpenModeFlag.WriteOnly)
        generator = QSvgGenerator()
        generator.setOutputDevice(buffer)
        generator.setSize(size)
        generator.setViewBox(QRect(QPoint(0, 0), size))
        painter = QPainter(generator)
        try:
            plot.render(painter)
        finally:
            painter.end()  # a generator with an active painter ends the process
        data = bytes(buffer.data().data())
        return lambda path, context: write_bytes(data, path, context)

    def png_writer(self) -> Writer:
        """Return what writes the picture as it is now."""
        image = self._widget.grab().toImage()
        return lambda path, context: write_png(image, path, context)

    def _on_failed(self, error: BaseException) -> None:
        self.said.emit(f"{self._name} was not saved: {error_text(error)}")

    def _pop_up(self, at: QPoint) -> None:
        self.menu.popup(self._widget.mapToGlobal(at))


def write_png(image: QImage, path: str, context: Context) -> None:
    """Write an image; the file appears whole or not at all.

    Raises:
        WriteFailed: it cannot be written. Cancelled: by `context`.
    """
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    if not QImageWriter(buffer, QByteArray(b"png")).write(image):
        raise WriteFailed("Qt cannot write this picture as PNG; make the window smaller")
    context.step(1, 2)
    write_bytes(bytes(buffer.data().data()), path, context)


def spare_sources(path: str, checkpoint: Checkpoint) -> None:
    """Raise CannotExport where the file to be written is one that the checkpoint is read from, also through a link."""
    from ckpt_viewer.export.target import check_target, files_read

    check_target(Path(path), force=True, source=files_read(checkpoint))


def write_bytes(data: bytes, path: str, context: Context) -> None:
    """Write a file whole or not at all, over one that is there: the dialog has asked. Raises as `write_png`."""
    from ckpt_viewer.export.atomic import AtomicFile

    context.step(0, len(data))
    with AtomicFile(path, force=True, nbytes=len(data)) as file:
        file.write(data)


def text_writer(make: Callable[[Context], str]) -> Writer:
    """Return what writes the text that ``make(context)`` returns."""
    return lambda path, context: write_bytes(make(context).encode("utf-8"), path, context)
