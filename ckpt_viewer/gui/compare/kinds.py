"""Which kinds of differences show: a list with a box and a number for each kind that there is."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import QAbstractItemView, QFrame, QListWidget, QListWidgetItem, QWidget

from ckpt_viewer.core.text import grouped
from ckpt_viewer.gui.compare.work import DIFFERS, SIGNS, WORDS

KIND = Qt.ItemDataRole.UserRole


class KindList(QListWidget):
    """Boxes; all are ticked at first, and what was taken out stays out."""

    changed = Signal()
    """Other kinds are `hidden`."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("compareKinds")
        self.setAccessibleName("Kinds of differences that show")
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._hidden: set[str] = set()
        self.itemChanged.connect(self._on_changed)
        self.itemActivated.connect(self._show_alone)

    @property
    def left_out(self) -> frozenset[str]:
        """Kinds that do not show."""
        return frozenset(self._hidden)

    def show_counts(self, counts: dict[str, int]) -> None:
        """Show which kinds there are and how many of each."""
        self.blockSignals(True)
        self.clear()
        for kind, count in counts.items():
            item = QListWidgetItem(f"{SIGNS.get(kind, DIFFERS)} {WORDS[kind]}  {grouped(count)}", self)
            item.setData(KIND, kind)
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable | Qt.ItemFlag.ItemIsSelectable)
            item.setCheckState(Qt.CheckState.Unchecked if kind in self._hidden else Qt.CheckState.Checked)
            item.setToolTip("Enter or a double click shows this kind alone, and all again")
        self.blockSignals(False)
        widest = self.sizeHintForColumn(0)
        self.setFixedWidth(max(120, widest + 2 * self.frameWidth() + self.verticalScrollBar().sizeHint().width()))

    def _on_changed(self, item: QListWidgetItem) -> None:
        shows = item.checkState() == Qt.CheckState.Checked
        (self._hidden.discard if shows else self._hidden.add)(item.data(KIND))
        self.changed.emit()

    def _show_alone(self, chosen: QListWidgetItem) -> None:
        items = [self.item(number) for number in range(self.count())]
        alone = [item for item in items if item.checkState() == Qt.CheckState.Checked] == [chosen]
        self.blockSignals(True)
        for item in items:
            item.setCheckState(Qt.CheckState.Checked if alone or item is chosen else Qt.CheckState.Unchecked)
        self.blockSignals(False)
        self._hidden = {item.data(KIND) for item in items if item.checkState() != Qt.CheckState.Checked}
        self.changed.emit()

    def sizeHint(self) -> QSize:
        """As wide as its texts."""
        return QSize(self.width(), 120)
