"""The choices above a histogram: axes, bins, marks, and the way back to all values."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QMenu, QSpinBox, QToolButton, QVBoxLayout, QWidget

from ckpt_viewer.gui.elided import ElidedLabel
from ckpt_viewer.gui.labels import label
from ckpt_viewer.gui.panels.picture import AUTO, MEAN, MOST_BINS, QUANTILES, SPREAD, ZERO, Wish
from ckpt_viewer.gui.settings import Settings

SCALE_KEY, AXIS_KEY, BINS_KEY, MARKS_KEY = "histogram/scale", "histogram/axis", "histogram/bins", "histogram/marks"
MARKS = ((ZERO, "Zero"), (MEAN, "Mean"), (SPREAD, "Mean ± std"), (QUANTILES, "Quantiles"))
AT_FIRST = f"{ZERO} {MEAN} {SPREAD}"


class HistogramControls(QWidget):
    """Remembers each choice for the next time."""

    wishChanged = Signal()
    """Bins or the x axis; see `wish`."""
    drawingChanged = Signal()
    """The count axis or the marks."""
    scanWanted = Signal()
    """Count every value of the file."""
    wholeWanted = Signal()
    """Show all values again."""

    def __init__(self, save: QToolButton) -> None:
        super().__init__()
        self._settings = Settings()
        self.scale = self._combo("histogramScale", "Count axis", ("linear", "log"), SCALE_KEY)
        self.scale.currentIndexChanged.connect(self.drawingChanged)
        self.axis = self._combo("histogramAxis", "Value axis", ("linear", "symlog"), AXIS_KEY)
        self.axis.currentIndexChanged.connect(self.wishChanged)
        self.bins = QSpinBox()
        self.bins.setObjectName("histogramBins")
        self.bins.setAccessibleName("Bins")
        self.bins.setRange(AUTO, MOST_BINS)
        self.bins.setSpecialValueText("auto")
        self.bins.setStepType(QSpinBox.StepType.AdaptiveDecimalStepType)
        self.bins.setKeyboardTracking(False)
        bins = self._settings.text(BINS_KEY)
        self.bins.setValue(int(bins) if bins.isascii() and bins.isdigit() and len(bins) < 5 else AUTO)
        self.bins.valueChanged.connect(self._on_bins)
        self.marks = self._marks_button()
        self.whole = QToolButton()
        self.whole.setObjectName("histogramWhole")
        self.whole.setText("Show all values")
        self.whole.setToolTip("Zoom out again; a double click on the picture does the same")
        self.whole.clicked.connect(self.wholeWanted)
        self.whole.hide()
        self.scan = QToolButton()
        self.scan.setObjectName("histogramScan")
        self.scan.clicked.connect(self.scanWanted)
        self.scan.hide()
        self.status = ElidedLabel(muted=True)
        self.status.setObjectName("histogramStatus")
        self._arrange(save)

    def _arrange(self, save: QToolButton) -> None:
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        for words, widget in (("Counts", self.scale), ("Values", self.axis), ("Bins", self.bins)):
            row.addWidget(label(words))
            row.addWidget(widget)
            row.addSpacing(6)
        row.addWidget(self.marks)
        row.addStretch(1)
        row.addWidget(save)
        second = QHBoxLayout()
        second.setContentsMargins(0, 0, 0, 0)
        second.addWidget(self.status, 1)
        second.addWidget(self.scan)
        second.addWidget(self.whole)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(row)
        column.addLayout(second)

    @property
    def wish(self) -> Wish:
        """What is chosen, for all values."""
        return Wish(self.bins.value(), self.axis.currentIndex() == 1)

    @property
    def logarithmic(self) -> bool:
        """Whether counts are drawn by their logarithm."""
        return self.scale.currentIndex() == 1

    @property
    def kinds(self) -> frozenset[str]:
        """Kinds of marks that are shown."""
        return frozenset(kind for kind, action in self._actions.items() if action.isChecked())

    def _combo(self, name: str, words: str, choices: tuple[str, ...], key: str) -> QComboBox:
        combo = QComboBox()
        combo.setObjectName(name)
        combo.setAccessibleName(words)
        combo.addItems(choices)
        combo.setCurrentIndex(max(0, combo.findText(self._settings.text(key))))
        combo.currentTextChanged.connect(lambda text: self._settings.set(key, text))
        return combo

    def _on_bins(self, bins: int) -> None:
        self._settings.set(BINS_KEY, str(bins))
        self.wishChanged.emit()

    def _marks_button(self) -> QToolButton:
        chosen = self._settings.text(MARKS_KEY, AT_FIRST).split()
        menu = QMenu(self)
        self._actions: dict[str, QAction] = {}
        for kind, text in MARKS:
            action = self._actions[kind] = menu.addAction(text)
            action.setCheckable(True)
            action.setChecked(kind in chosen)
            action.toggled.connect(self._on_marks)
        button = QToolButton()
        button.setObjectName("histogramMarks")
        button.setText("Marks")
        button.setAccessibleName("Marks on the value axis")
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        button.setMenu(menu)
        return button

    def _on_marks(self) -> None:
        self._settings.set(MARKS_KEY, " ".join(sorted(self.kinds)) or "none")
        self.drawingChanged.emit()
