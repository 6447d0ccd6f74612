"""The boxes that choose a 2-D slice: which dimension runs down, which across, and where the others stand."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import QComboBox, QSpinBox, QWidget

from ckpt_viewer.core.slicing import Slicing
from ckpt_viewer.core.text import grouped
from ckpt_viewer.gui.flow_layout import FlowLayout
from ckpt_viewer.gui.labels import label
from ckpt_viewer.gui.layouts import discard

MOST_INDEX = 2**31 - 1
"""What a spin box can count to."""


class Dimensions(QWidget):
    """Combo boxes for rows and columns, a spin box for each other dimension; hidden for tensors of one row."""

    chosen = Signal(object)
    """Another Slicing, by the user."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._slicing: Slicing | None = None
        self._flow = FlowLayout(self, gap=6, between=6)
        self.rows, self.columns = self._combo("Rows", "valuesRows"), self._combo("Columns", "valuesColumns")
        self.spins: list[QSpinBox] = []

    def _combo(self, words: str, name: str) -> QComboBox:
        box = QComboBox()
        box.setObjectName(name)
        box.setAccessibleName(words)
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        box.activated.connect(self._on_dimension)
        self._flow.addWidget(label(words))
        self._flow.addWidget(box)
        return box

    def show_slicing(self, slicing: Slicing) -> None:
        """Show a slice; boxes stay where the shape does, so that their focus does."""
        before, self._slicing = self._slicing, slicing
        if before is None or before.shape != slicing.shape:
            texts = [f"dim {dim}  ({grouped(size)})" for dim, size in enumerate(slicing.shape)]
            for box in (self.rows, self.columns):
                box.clear()
                box.addItems(texts)
        self.rows.setCurrentIndex(-1 if slicing.rows is None else slicing.rows)
        self.columns.setCurrentIndex(-1 if slicing.columns is None else slicing.columns)
        self.setVisible(len(slicing.shape) >= 2)
        if before is None or before._replace(fixed=()) != slicing._replace(fixed=()):
            self._make_spins(slicing)
        for dim, spin in zip(slicing.others, self.spins, strict=True):
            with QSignalBlocker(spin):
                spin.setValue(slicing.fixed[dim])

    def _make_spins(self, slicing: Slicing) -> None:
        for old in self.spins:
            self._flow.removeWidget(old)
            discard(old)
        self.spins = []
        for dim in slicing.others:
            spin = QSpinBox()
            spin.setObjectName(f"valuesDim{dim}")
            spin.setAccessibleName(f"Index of dimension {dim}")
            spin.setPrefix(f"dim {dim}:  ")
            spin.setSuffix(f"  of {grouped(slicing.shape[dim])}")
            spin.setRange(0, min(max(slicing.shape[dim] - 1, 0), MOST_INDEX))
            spin.setValue(slicing.fixed[dim])
            spin.setWrapping(True)
            spin.setKeyboardTracking(False)
            spin.setEnabled(slicing.shape[dim] > 1)
            spin.valueChanged.connect(lambda at, dim=dim: self._on_index(dim, at))
            self._flow.addWidget(spin)
            self.spins.append(spin)

    def _on_dimension(self) -> None:
        slicing = self._slicing
        if slicing is None:
            return
        rows, columns = self.rows.currentIndex(), self.columns.currentIndex()
        if rows != slicing.rows:
            self.chosen.emit(slicing.with_rows(rows))
        elif columns != slicing.columns:
            self.chosen.emit(slicing.with_columns(columns))

    def _on_index(self, dim: int, at: int) -> None:
        if self._slicing is not None:
            self.chosen.emit(self._slicing.with_fixed(dim, at))
