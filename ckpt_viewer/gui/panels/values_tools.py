"""What can be done with the values of a tensor: go to the first NaN or the greatest value, save the slice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QMenu, QToolButton, QWidget

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.slicing import Slicing, read_block
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.labels import NAME_LIMIT, plain
from ckpt_viewer.gui.messages import error_text
from ckpt_viewer.gui.panels.digits import every_digit
from ckpt_viewer.gui.panels.statistics import SPECIAL

if TYPE_CHECKING:
    from ckpt_viewer.core.checkpoint import Checkpoint
    from ckpt_viewer.gui.panels.values_table import ValuesTable
    from ckpt_viewer.gui.session import Session

GOALS = {"NaN": "first NaN", "Inf": "first Inf", "max": "greatest value", "min": "least value"}
"""What `stats.seek` can look for, in words."""


class ValuesTools(QWidget):
    """Two buttons with menus; the second one's entries are those of the table's right click, too."""

    said = Signal(str)
    """What came of it, in a sentence."""
    found = Signal(object)
    """The index of an element that was looked for."""

    def __init__(self, session: Session, table: ValuesTable) -> None:
        super().__init__()
        self._session = session
        self._tensor: TensorSpec | None = None
        self._slicing: Slicing | None = None
        self._goal = self._name = ""
        self._seeking, self._saving = Latest(session.jobs, self), Latest(session.jobs, self)
        self._seeking.finished.connect(self._on_found)
        self._seeking.failed.connect(lambda error: self.said.emit(error_text(error)))
        self._saving.finished.connect(lambda words: self.said.emit(words))
        self._saving.failed.connect(lambda error: self.said.emit(f"{self._name} was not saved: {error_text(error)}"))
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.seek_actions = {goal: self._action(f"Go to the {words}", self.seek, goal) for goal, words in GOALS.items()}
        self.save_actions = [self._action(f"Save the slice as {kind} …", self._ask, kind) for kind in ("CSV", "npy")]
        self.seek_button = self._button("Go to", "valuesSeek", "Go to a value", list(self.seek_actions.values()))
        self.save_button = self._button("Save", "valuesSave", "Save the slice", self.save_actions)
        for button in (self.seek_button, self.save_button):
            layout.addWidget(button)
        for action in (*self.seek_actions.values(), *self.save_actions):
            table.addAction(action)
        self.show_slice(None, None)

    def _action(self, text: str, call: Callable[[str], None], word: str) -> QAction:
        action = QAction(text, self)
        action.triggered.connect(lambda: call(word))
        return action

    def _button(self, text: str, name: str, words: str, actions: list[QAction]) -> QToolButton:
        button, menu = QToolButton(), QMenu(self)
        menu.addActions(actions)
        button.setObjectName(name)
        button.setText(text)
        button.setAccessibleName(words)
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        button.setMenu(menu)
        return button

    def show_slice(self, tensor: TensorSpec | None, slicing: Slicing | None) -> None:
        """Work on another slice; looking for a value of another tensor ends."""
        if tensor is not self._tensor:
            self._seeking.cancel()
        self._tensor, self._slicing = tensor, slicing
        special = tensor is not None and tensor.dtype in DTYPES and DTYPES[tensor.dtype].kind in SPECIAL
        for goal, action in self.seek_actions.items():
            action.setEnabled(special if goal in ("NaN", "Inf") else tensor is not None)
        for save in self.save_actions:
            save.setEnabled(tensor is not None)

    # --- looking for a value ------------------------------------------------------------------------------------------

    def seek(self, goal: str) -> None:
        """Look through the whole tensor for what `goal` (of GOALS) says; `found` or `said` follows."""
        tensor, self._goal = self._tensor, goal
        if tensor is not None:
            self.said.emit(f"Looking for the {GOALS[goal]} …")
            self._seeking.start(lambda context: find(tensor, goal, context), title=f"Looking for the {GOALS[goal]}")

    def _on_found(self, answer: tuple[tuple[int, ...], Any] | None) -> None:
        if answer is None:
            nothing = {"NaN": "There is no NaN", "Inf": "There is no infinity"}.get(self._goal, "No value is finite")
            self.said.emit(f"{nothing} in this tensor.")
            return
        index, value = answer
        self.found.emit(index)
        self.said.emit(f"The {GOALS[self._goal]} is at [{', '.join(map(str, index))}]: {every_digit(value)}")

    # --- saving -------------------------------------------------------------------------------------------------------

    def _ask(self, kind: str) -> None:
        suffix = kind.lower()
        path, _ = QFileDialog.getSaveFileName(
            self, f"Save the slice as {kind}", f"values.{suffix}", f"{kind} (*.{suffix})"
        )
        if path:
            self.save(path, kind)

    def save(self, path: str, kind: str) -> None:
        """Write the slice as ``CSV`` or ``npy``, in a job; `said` follows."""
        tensor, slicing, checkpoint = self._tensor, self._slicing, self._session.checkpoint
        if tensor is None or slicing is None or checkpoint is None:
            return
        name = self._name = plain(Path(path).name, NAME_LIMIT)
        write = save_as_csv if kind == "CSV" else save_as_npy
        self._saving.start(lambda context: write(tensor, slicing, path, checkpoint, context), title=f"Saving {name}")


def find(tensor: TensorSpec, goal: str, context: Context) -> tuple[tuple[int, ...], Any] | None:
    """Return index and value of what is looked for; None if there is none. Raises as `stats.seek.seek`."""
    from ckpt_viewer.core.decode import read_slice
    from ckpt_viewer.stats.seek import seek

    index = seek(tensor, goal, context)
    return None if index is None else (index, read_slice(tensor, index)[()])


def save_as_csv(tensor: TensorSpec, slicing: Slicing, path: str, checkpoint: Checkpoint, context: Context) -> str:
    """Write a slice and return what to say. Raises as `export.slices.save_csv`."""
    from ckpt_viewer.export.slices import save_csv
    from ckpt_viewer.export.target import files_read

    save_csv(tensor, slicing, path, context, source=files_read(checkpoint), force=True)  # the dialog has asked
    return f"Saved {plain(Path(path).name, NAME_LIMIT)}, every digit of {slicing.text}."


def save_as_npy(tensor: TensorSpec, slicing: Slicing, path: str, checkpoint: Checkpoint, context: Context) -> str:
    """Write a slice and return what to say. Raises as `export.slices.save_npy`."""
    from ckpt_viewer.export.slices import save_npy
    from ckpt_viewer.export.target import files_read

    own = read_block(tensor, slicing, slice(0, 1), slice(0, 1)).dtype.name
    written = save_npy(tensor, slicing, path, context, source=files_read(checkpoint), force=True).name
    cast = "" if own == written else f" as {written}, which holds every {own} (numpy has none)"
    return f"Saved {plain(Path(path).name, NAME_LIMIT)}{cast}."
