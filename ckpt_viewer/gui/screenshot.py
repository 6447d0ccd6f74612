"""``--screenshot PNG``: show a file, wait until what is selected is exact, paint, end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QBuffer, QObject, QTimer
from PySide6.QtWidgets import QApplication

from ckpt_viewer.errors import CheckpointError, NoSuchNode, WriteFailed

if TYPE_CHECKING:
    from ckpt_viewer.gui.app import ViewOptions
    from ckpt_viewer.gui.main_window import MainWindow
    from ckpt_viewer.gui.windows import Windows

EVERY_MS = 20
CALM = 5
"""Looks in a row at which nothing was going on, before the picture is taken."""


class Photographer(QObject):
    """Looks at a window until nothing is going on in it any more, then ends the event loop.

    Attributes:
        error: what kept the file from being shown; None if nothing did.
    """

    def __init__(self, window: MainWindow, windows: Windows, application: QApplication) -> None:
        super().__init__()
        self.error: BaseException | None = None
        self._window, self._windows, self._application = window, windows, application
        self._calm = 0
        self._timer = QTimer(self)
        self._timer.setInterval(EVERY_MS)
        self._timer.timeout.connect(self._look)
        window.session.failed.connect(self._give_up)
        self._timer.start()

    def _give_up(self, error: BaseException) -> None:
        self.error = error
        self._application.exit(0)

    def _look(self) -> None:
        self._calm = self._calm + 1 if self._is_settled() else 0
        if self._calm >= CALM:
            self._timer.stop()
            self._application.exit(0)

    def _is_settled(self) -> bool:
        window = self._window
        session, details = window.session, window.details
        if session.overview is None or details is None or not details.is_settled:
            return session.error is not None and session.checkpoint is not None
        busy = (session.jobs.active, self._windows.background.active, self._windows.devices.jobs.active)
        return not any(busy)


def take_screenshot(application: QApplication, windows: Windows, path: str, options: ViewOptions) -> int:
    """Show one file, save the window as a PNG and return 0.

    Raises:
        CheckpointError: the file cannot be shown, the pointer leads nowhere, or the picture cannot be written.
    """
    assert options.screenshot is not None
    window = windows.new()
    photographer = Photographer(window, windows, application)
    window.open_file(path, options.map_location, options.select or "")
    if options.size is not None:
        window.resize(*options.size)
    window.come_forward()
    application.exec()
    if photographer.error is not None:
        raise (
            photographer.error
            if isinstance(photographer.error, CheckpointError)
            else CheckpointError(
                f"it could not be shown ({type(photographer.error).__name__}); see CKPT_VIEWER_DEBUG=1"
            )
        )
    if options.select and window.session.find(options.select) is None:
        raise NoSuchNode(f"there is nothing at {options.select!r}; `ckpt-viewer ls` lists what there is")
    _write(window, options.screenshot)
    return 0


def _write(window: MainWindow, path: str) -> None:
    """Paint a window into a PNG, which appears whole or not at all; never in place of a file that is shown."""
    from ckpt_viewer.export.atomic import AtomicFile
    from ckpt_viewer.export.target import files_read

    buffer = QBuffer()
    buffer.open(QBuffer.OpenModeFlag.WriteOnly)
    window.grab().save(buffer, "PNG")
    data, checkpoint = buffer.data().data(), window.session.checkpoint
    shown = window.session.path if checkpoint is None else files_read(checkpoint)
    try:
        with AtomicFile(path, force=True, source=shown, nbytes=len(data)) as file:
            file.write(data)
    except CheckpointError as error:
        raise WriteFailed(f"the picture could not be written to {path!r}: {error}") from error
