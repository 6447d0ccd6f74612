"""What can be done with a file that was written: the buttons of the message that says so, and its words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from ckpt_viewer.core.text import grouped
from ckpt_viewer.export.words import amount_text, cast_texts
from ckpt_viewer.gui.labels import plain
from ckpt_viewer.gui.messages import Action, Message, Messages
from ckpt_viewer.gui.session import Session

if TYPE_CHECKING:
    from ckpt_viewer.export.plan import Written

NOT_READ = (".npz", ".npy")
"""Suffixes of what this program writes but does not open."""


class Results(QObject):
    """Shows and opens what was written from one window."""

    openWanted = Signal(str)

    def __init__(self, session: Session, messages: Messages, window: QObject) -> None:
        super().__init__(window)
        self._session, self._messages = session, messages

    def actions(self, path: Path) -> tuple[Action, ...]:
        """Return the buttons for a written file."""
        show = Action("Show in folder", lambda: self._show(path), dismisses=False)
        if path.name.lower().endswith(NOT_READ):
            return (show,)
        return show, Action("Open the result", lambda: self.openWanted.emit(str(_index_in(path))))

    def _show(self, path: Path) -> None:
        from ckpt_viewer.gui.reveal import open_folder, select_in_folder

        def go_on(shown: object) -> None:
            if not shown and not open_folder(path):
                self._say_where(path)

        job = self._session.jobs.start(lambda _: select_in_folder(path))
        job.finished.connect(go_on)
        job.failed.connect(lambda _: self._say_where(path))

    def _say_where(self, path: Path) -> None:
        where = plain(str(path.parent), 300)
        self._messages.post(Message("info", f"No file manager answered. The file is in {where}."))


def _index_in(path: Path) -> Path:
    """Return what makes the files of a copied set one checkpoint, where `path` is their folder; else `path`."""
    return next(path.glob("*.index.json"), path) if path.is_dir() else path


def amount(written: Written) -> str:
    """Return how much was written and who compared it with the source: the end of a sentence."""
    return plain(amount_text(written, grouped), 500)


def remarks(written: Written) -> str:
    """Return what else there is to say of a written file, as further sentences."""
    texts = [*cast_texts(written, grouped), *written.warnings[:3]]
    return "".join(f" {plain(f'{text[:1].upper()}{text[1:]}', 300)}." for text in texts)
