"""The one place for a window that shows no checkpoint: empty, loading, or failed, with the reason and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QStackedWidget, QVBoxLayout, QWidget

from ckpt_viewer.gui import icons
from ckpt_viewer.gui.drops import two_halves
from ckpt_viewer.gui.elided import ElidedLabel
from ckpt_viewer.gui.labels import label, larger, plain
from ckpt_viewer.gui.links import LinkButton
from ckpt_viewer.gui.theme import theme, themes

RECENT_SHOWN = 6
WIDTH = 620


class StartPage(QStackedWidget):
    """Asks for a file, says that one is being opened, or why it could not be."""

    openWanted = Signal()
    remapWanted = Signal()
    sampleWanted = Signal()
    associateWanted = Signal()
    recentWanted = Signal(str)
    retryWanted = Signal()
    salvageWanted = Signal()
    stopWanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("startPage")
        themes().changed.connect(self._retint)
        self._failed_icon: QLabel | None = None

    def show_empty(self, recent: Sequence[str], *, offer_association: bool) -> None:
        """Offer two drop areas, Open, the recent files and the sample."""
        column = self._fresh("Start", wide=True)
        halves = QHBoxLayout()
        open_half, remap_half = two_halves(resting=True)
        open_half.say("drop a checkpoint here, or click to choose one")
        remap_half.say("drop one here to write a copy for the CPU beside it")
        open_half.clicked.connect(self.openWanted)
        remap_half.clicked.connect(self.remapWanted)
        for half, share in ((open_half, 62), (remap_half, 38)):
            half.setMinimumHeight(150)
            half.setCursor(Qt.CursorShape.PointingHandCursor)
            halves.addWidget(half, share)
        column.addLayout(halves)
        row = QHBoxLayout()
        row.addWidget(_button("Open …", self.openWanted, primary=True))
        row.addWidget(_button("Open the sample", self.sampleWanted))
        if offer_association:
            row.addWidget(_button("Open .pth with this program", self.associateWanted))
        row.addStretch()
        column.addLayout(row)
        self._add_recent(column, recent)
        column.addSpacing(6)
        column.addWidget(
            label("Nothing in a file is executed: it is read as data, whatever it contains.", muted=True, wrap=True)
        )
        column.addStretch(3)

    def show_loading(self, path: str) -> None:
        """Say which file is being opened, with a way to stop."""
        column = self._fresh("Loading")
        column.addWidget(_heading(f"Opening {plain(Path(path).name, 120)}"))
        bar = QProgressBar()
        bar.setRange(0, 0)
        bar.setTextVisible(False)
        bar.setFixedWidth(260)
        bar.setAccessibleName("Opening the file")
        _centre(column, bar)
        _centre(column, label("Reading its structure; tensors stay in the file until they are looked at.", muted=True))
        _centre(column, _button("Stop", self.stopWanted))
        column.addStretch(3)

    def show_failed(self, path: str, reason: str, salvage: str = "") -> None:
        """Name the file and say why it could not be opened.

        Args:
            salvage: what could be salvaged, in words; ``""`` for nothing, and then it is not offered.
        """
        column = self._fresh("Failed")
        self._failed_icon = QLabel()
        self._failed_icon.setAccessibleName("Error")
        self._retint()
        _centre(column, self._failed_icon)
        heading = _heading(f"{plain(Path(path).name, 120) or 'The file'} could not be opened")
        heading.setObjectName("failedHeading")
        column.addWidget(heading)
        text = label(reason, wrap=True, selectable=True)
        text.setObjectName("failedReason")
        text.setAlignment(Qt.AlignmentFlag.AlignCenter)
        column.addWidget(text)
        _centre(column, ElidedLabel(plain(path), mode=Qt.TextElideMode.ElideMiddle, muted=True))
        row = QHBoxLayout()
        row.addStretch()
        row.addWidget(_button("Try again", self.retryWanted))
        if salvage:
            button = _button("Salvage", self.salvageWanted)
            button.setObjectName("salvageButton")
            button.setToolTip(f"Open {salvage}")
            button.setAccessibleDescription(f"Open {salvage}")
            row.addWidget(button)
        row.addWidget(_button("Open another file …", self.openWanted, primary=True))
        row.addStretch()
        column.addLayout(row)
        column.addStretch(3)

    def _add_recent(self, column: QVBoxLayout, recent: Sequence[str]) -> None:
        shown = list(recent[:RECENT_SHOWN])
        if not shown:
            return
        column.addSpacing(8)
        column.addWidget(label("Recent files"))
        for path in shown:
            line = QHBoxLayout()
            link = LinkButton(Path(path).name, limit=48)
            link.setAccessibleName(f"Open {plain(path)}")
            link.clicked.connect(lambda _=False, chosen=path: self.recentWanted.emit(chosen))
            line.addWidget(link)
            line.addWidget(ElidedLabel(plain(str(Path(path).parent)), mode=Qt.TextElideMode.ElideMiddle, muted=True), 1)
            column.addLayout(line)

    def _fresh(self, name: str, *, wide: bool = False) -> QVBoxLayout:
        """Replace what is shown by an empty page and return its column, in the middle of the window."""
        while (old := self.widget(0)) is not None:
            self.removeWidget(old)
            old.deleteLater()
        self._failed_icon = None
        page, column_holder = QWidget(), QWidget()
        page.setAccessibleName(name)
        column_holder.setMaximumWidth(WIDTH if not wide else WIDTH + 200)
        row = QHBoxLayout(page)
        row.setContentsMargins(24, 18, 24, 18)
        row.addStretch(1)
        row.addWidget(column_holder, 8)
        row.addStretch(1)
        column = QVBoxLayout(column_holder)
        column.setSpacing(10)
        column.addStretch(2)
        self.addWidget(page)
        return column

    def _retint(self) -> None:
        if self._failed_icon is not None:
            picture = icons.pixmap("error", 80, theme().error)
            picture.setDevicePixelRatio(2)
            self._failed_icon.setPixmap(picture)


def _heading(text: str) -> QLabel:
    made = label(text, wrap=True)
    made.setAlignment(Qt.AlignmentFlag.AlignCenter)
    larger(made, 1.4, bold=True)
    return made


def _button(text: str, signal: object, *, primary: bool = False) -> QPushButton:
    button = QPushButton(text)
    button.setDefault(primary)
    button.clicked.connect(signal)
    return button


def _centre(column: QVBoxLayout, widget: QWidget) -> None:
    column.addWidget(widget, 0, Qt.AlignmentFlag.AlignHCenter)
