"""Shows a file in the system's file manager."""

from __future__ import annotations

import sys
from pathlib import Path

from PySide6.QtCore import QProcess, QUrl
from PySide6.QtGui import QDesktopServices

PATIENCE_MS = 10_000
"""How long a file manager may take to start."""


def select_in_folder(path: Path) -> bool:
    """Have the file manager show the folder of `path` with the file selected; False where none takes the request.

    Waits for the file manager to start: for a job.
    """
    path = path.absolute()
    if sys.platform == "win32":
        return bool(QProcess.startDetached("explorer", [f"/select,{path}"])[0])
    if sys.platform == "darwin":
        return bool(QProcess.startDetached("open", ["-R", str(path)])[0])
    return _ask_file_manager(path)


def open_folder(path: Path) -> bool:
    """Open the folder of `path` by whatever opens folders here; False where nothing does. On the GUI thread."""
    return QDesktopServices.openUrl(QUrl.fromLocalFile(str(path.absolute().parent)))


def _ask_file_manager(path: Path) -> bool:
    """Ask over D-Bus (org.freedesktop.FileManager1), which can select the file."""
    try:
        from PySide6.QtDBus import QDBusConnection, QDBusMessage
    except ImportError:
        return False
    bus = QDBusConnection.sessionBus()
    if not bus.isConnected():
        return False
    name = "org.freedesktop.FileManager1"
    call = QDBusMessage.createMethodCall(name, "/org/freedesktop/FileManager1", name, "ShowItems")
    call.setArguments([[QUrl.fromLocalFile(str(path)).toString()], ""])
    answer = bus.call(call, timeout=PATIENCE_MS)
    return bool(answer.type() == QDBusMessage.MessageType.ReplyMessage)
