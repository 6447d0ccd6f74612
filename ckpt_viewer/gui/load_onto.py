"""The box "Load onto": a map_location, chosen among what this file and this machine have, explained by its code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from ckpt_viewer.core.location import Locator, MapLocation, parse_map_location
from ckpt_viewer.gui.choices import RULES, choices
from ckpt_viewer.gui.code_line import CodeLine
from ckpt_viewer.gui.elided import ElidedLabel
from ckpt_viewer.gui.labels import label, tooltip

FLAGS = Qt.ItemDataRole.UserRole - 1
"""Where a QStandardItem keeps its flags. `model()` would give it by name, and have PySide load every kind of model."""
UNCHANGED = "Only how it is shown and exported changes; nothing of it is altered."


class MapLocationBox(QComboBox):
    """Offers map_locations. `chosen` when the user picked one; filling it anew says nothing."""

    chosen = Signal(object)
    """The map_location: None, a device or the idiom for storages."""
    rulesWanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("mapLocationBox")
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(34)
        self.setMinimumWidth(160)  # less than the contents in a narrow window
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMaximumWidth(480)
        self.setMaxVisibleItems(20)
        self._current = "as-saved"
        self._table: MapLocation = None
        self.activated.connect(self._on_activated)
        self.offer((), None, "looking for devices", None)

    def offer(
        self, tags: Sequence[str | None], devices: Mapping[str, str] | None, note: str, current: MapLocation
    ) -> None:
        """Fill the box for a file with these tags and a machine with these devices."""
        self._table, self._current = current, Locator(current).text
        self.clear()
        for choice in choices(tags, devices, note, current):
            if choice.separated:
                self.insertSeparator(self.count())
            self.addItem(choice.text, choice.spec)
            row = self.count() - 1
            self.setItemData(row, tooltip(choice.hint), Qt.ItemDataRole.ToolTipRole)
            if not choice.spec:
                self.setItemData(row, 0, FLAGS)
        self._show_current()

    @property
    def specs(self) -> list[str]:
        """The choices as the command line spells them, in order."""
        return [spec for row in range(self.count()) if isinstance(spec := self.itemData(row), str)]

    def choose(self, spec: str) -> None:
        """Pick an entry as the user would; one that is not offered is ignored."""
        row = self.findData(spec)
        if row >= 0:
            self._on_activated(row)

    def _show_current(self) -> None:
        self.setCurrentIndex(max(0, self.findData(self._current)))
        # a combo box's accessible name is its value unless set: a reader would not hear what the value is for
        self.setAccessibleName(f"Load onto (map_location): {self.currentText()}")
        self.setToolTip(tooltip(f"Where torch.load would put the tensors (map_location). {UNCHANGED}"))

    def _on_activated(self, row: int) -> None:
        spec = self.itemData(row)
        if spec == RULES:
            self._show_current()
            self.rulesWanted.emit()
        elif spec and spec != self._current:
            self._show_current()
            self.chosen.emit(parse_map_location(spec))
        else:
            self._show_current()


class LoadOnto(QWidget):
    """The box with its label, the torch.load line under it, and the word that no file is altered."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.box = MapLocationBox()
        self.code = CodeLine(muted=True)
        self.code.setObjectName("loadCode")
        caption = label("&Load onto")
        caption.setBuddy(self.box)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(caption)
        row.addWidget(self.box, 3)
        self._note = ElidedLabel("", muted=True)
        row.addWidget(self._note, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(row)
        column.addWidget(self.code)

    def show_open(self, what: str) -> None:
        """Offer the choice while something is open: `what` is it, ``"file"`` or ``"folder"``; ``""`` for nothing."""
        self.setEnabled(bool(what))
        self._note.setText(f"The {what} is not altered." if what else "")

    def focus_box(self) -> None:
        """Give the box the keyboard and open its list."""
        self.box.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.box.showPopup()
