"""The QApplication: quiet, named, and open to files that the system hands over (macOS)."""

from __future__ import annotations

import os
import sys

from PySide6.QtCore import QEvent, QMessageLogContext, QSocketNotifier, QtMsgType, Signal, qInstallMessageHandler
from PySide6.QtGui import QFileOpenEvent, QGuiApplication, QIcon
from PySide6.QtWidgets import QApplication

from ckpt_viewer import __version__
from ckpt_viewer.errors import Unreadable

DESKTOP_NAME = "ckpt-viewer"


class Application(QApplication):
    """The process's QApplication."""

    filesWanted = Signal(list)
    """The system hands files over: their paths."""


class MacApplication(Application):
    """Passes QFileOpenEvent on as `filesWanted`; elsewhere Python would look at every event for nothing."""

    def event(self, event: QEvent) -> bool:
        """A double-click on macOS comes as an event, not as an argument."""
        if event.type() == QEvent.Type.FileOpen and isinstance(event, QFileOpenEvent):
            path = event.file()
            if path:
                self.filesWanted.emit([path])
                return True
        return super().event(event)


def make_application() -> Application:
    """Return the process's QApplication; call it once."""
    qInstallMessageHandler(_on_qt_message)
    QGuiApplication.setDesktopFileName(DESKTOP_NAME)
    # an argument, since `setStyle` would have PySide load QStyle: 11 ms of a start-up of 250
    kind = MacApplication if sys.platform == "darwin" else Application
    application = kind(["ckpt-viewer", "-style", "Fusion"])
    application.setApplicationName("ckpt-viewer")
    application.setApplicationDisplayName("")
    application.setApplicationVersion(__version__)
    application.setQuitOnLastWindowClosed(False)  # a window that stops writing closes later than it hides
    return application


def end_on_signals(application: QApplication) -> None:
    """Have Ctrl-C in the terminal, and a polite kill, end the event loop: writers then clean up."""
    import signal
    import socket

    reading, writing = socket.socketpair()
    reading.setblocking(False)
    writing.setblocking(False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # Python's own would wait until Python code runs
    signal.set_wakeup_fd(writing.fileno())
    notifier = QSocketNotifier(reading.fileno(), QSocketNotifier.Type.Read, application)
    notifier.activated.connect(lambda: application.exit(128 + reading.recv(1)[0]))

    def stop() -> None:  # holds both sockets: Qt would keep a bound method's object only weakly
        signal.set_wakeup_fd(-1)
        notifier.setEnabled(False)
        for each in (reading, writing):
            each.close()

    application.aboutToQuit.connect(stop)


def window_icon() -> QIcon:
    """The program's icon; empty where it is not installed. Handing it to the window system takes 5 ms: not at start."""
    from ckpt_viewer.resources import app_icon

    made = QIcon()
    try:
        for size in (32, 128):
            made.addFile(str(app_icon(size)))
    except Unreadable:
        return made
    return made


def _on_qt_message(kind: QtMsgType, context: QMessageLogContext, message: str) -> None:
    """Show Qt's own lines with CKPT_VIEWER_DEBUG only; where Qt would abort, end with a sentence and code 2."""
    del context
    if os.environ.get("CKPT_VIEWER_DEBUG"):
        print(f"ckpt-viewer: Qt: {message}", file=sys.stderr)  # noqa: T201
    elif kind == QtMsgType.QtFatalMsg:
        sentence = f"Qt cannot go on ({' '.join(message.split())}); set CKPT_VIEWER_DEBUG=1 to see all that it says"
        print(f"ckpt-viewer: {sentence}", file=sys.stderr, flush=True)  # noqa: T201
        os._exit(2)
