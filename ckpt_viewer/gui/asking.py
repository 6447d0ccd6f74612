"""The dialogs: they only ask. Everything else is a message in place."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from PySide6.QtCore import QRegularExpression, Qt
from PySide6.QtWidgets import QFileDialog, QInputDialog, QLabel, QMessageBox, QWidget

from ckpt_viewer.gui.labels import NAME_LIMIT, plain

LINE = 340
"""Pixels of a question's line; Qt would break it after every third word."""
OPEN_FILTER = "Checkpoints (*.pth *.pt *.ckpt *.bin *.pth.tar);;All files (*)"
SAVE_FILTER = "PyTorch files (*.pth *.pt *.ckpt *.bin *.pth.tar);;All files (*)"
EXPORT_FILTER = (
    "PyTorch files (*.pth *.pt *.ckpt *.bin);;safetensors (*.safetensors);;NumPy archives (*.npz);;"
    "NumPy arrays (*.npy);;All files (*)"
)


def ask_files(parent: QWidget, folder: str, title: str = "Open checkpoints") -> list[str]:
    """Ask which files to open; none if it was given up."""
    paths, _ = QFileDialog.getOpenFileNames(parent, title, folder, OPEN_FILTER)
    return paths


def ask_folder(parent: QWidget, folder: str) -> str:
    """Ask for a folder that is a checkpoint, or has some; ``""`` if it was given up."""
    return QFileDialog.getExistingDirectory(parent, "Open a checkpoint folder", folder)


def ask_target(parent: QWidget, proposed: str, title: str, filters: str = SAVE_FILTER, *, confirm: bool = True) -> str:
    """Ask where to write, with a proposal; ``""`` if it was given up.

    Args:
        confirm: the dialog asks before a file is replaced.
    """
    options = QFileDialog.Option(0) if confirm else QFileDialog.Option.DontConfirmOverwrite
    path, _ = QFileDialog.getSaveFileName(parent, title, proposed, filters, fitting_filter(proposed, filters), options)
    return path


def fitting_filter(path: str, filters: str) -> str:
    """Return the first of the filters through which a file of that name is seen; ``""`` where none shows it."""
    for each in filters.split(";;"):
        globs = each.rpartition("(")[2].rstrip(")").split()
        if any(fnmatchcase(path.lower(), glob) for glob in globs):
            return each
    return ""


def ask_csv(parent: QWidget, proposed: str) -> str:
    """Ask where to write a table; the dialog asks before replacing. ``""`` if it was given up."""
    path, _ = QFileDialog.getSaveFileName(parent, "Save as CSV", proposed, "CSV (*.csv)")
    return path


def ask_which(parent: QWidget, title: str, question: str, answers: Sequence[str]) -> int | None:
    """Ask for one of several answers; its index, None if it was given up."""
    texts = [f"{number}. {answer}" for number, answer in enumerate(answers, 1)]  # equal answers stay apart
    chosen, accepted = QInputDialog.getItem(parent, title, question, texts, 0, False)
    return texts.index(chosen) if accepted else None


def ask(parent: QWidget | None, question: str, detail: str, yes: str, no: str = "Cancel") -> bool:
    """Ask a question with two answers; `no` is what Esc and Enter mean."""
    box = QMessageBox(parent)
    box.setIcon(QMessageBox.Icon.Question)
    box.setTextFormat(Qt.TextFormat.PlainText)
    box.setWindowTitle("Checkpoint Viewer")
    box.setText(question)
    box.setInformativeText(detail)
    for text in box.findChildren(QLabel, QRegularExpression("^qt_msgbox_")):
        text.setTextFormat(Qt.TextFormat.PlainText)  # the detail's label would guess at markup
        text.setMinimumWidth(LINE)
    agree = box.addButton(yes, QMessageBox.ButtonRole.AcceptRole)
    refuse = box.addButton(no, QMessageBox.ButtonRole.RejectRole)
    box.setDefaultButton(refuse)
    box.setEscapeButton(refuse)
    box.exec()
    return box.clickedButton() is agree


def ask_replace(parent: QWidget, path: str, no: str = "Cancel", *, count: int = 1) -> bool:
    """Ask before a file, or `count` files that are written with it, are replaced; `no` says what comes instead."""
    name = plain(Path(path).name, NAME_LIMIT)
    folder = plain(str(Path(path).parent), 200)
    there = "There is a file of that name" if count == 1 else f"There are {count} files of that set"
    return ask(parent, f"Replace {name}?", f"{there} in {folder}.", "Replace", no)


def ask_many(parent: QWidget | None, count: int) -> bool:
    """Ask before very many windows are opened."""
    return ask(parent, f"Open {count} windows?", "Each file gets a window of its own.", f"Open {count} windows")


def ask_stop_writing(parent: QWidget, what: str) -> bool:
    """Ask before closing a window that is writing a file."""
    return ask(
        parent,
        "Stop writing?",
        f"{what} is not done. If the window is closed, no file is written; what was there before is not touched.",
        "Stop and close",
        "Go on writing",
    )
