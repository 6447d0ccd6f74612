"""How far the scan of the file is and what it found, in one line of the status bar, with what can be done about it."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QToolButton, QWidget

from ckpt_viewer.core.text import bytes_text, grouped
from ckpt_viewer.gui import icons
from ckpt_viewer.gui.elided import ElidedLabel
from ckpt_viewer.gui.file_scan import FileScan, ScanState
from ckpt_viewer.gui.share_bar import ShareBar

BAR_WIDTH = 110
_GOING = (ScanState.RUNNING, ScanState.PAUSED)
_OFFERED = (ScanState.NONE, ScanState.CANCELLED, ScanState.FAILED)


def scan_words(scan: FileScan) -> str:
    """Return what the line says: ``312 of 1 160 tensors scanned, no NaN, no Inf``; ``""`` before anything was done."""
    harvest, tensors = scan.harvest, "tensor" if scan.total == 1 else "tensors"
    if scan.state is ScanState.NONE:
        return ""
    if scan.state is ScanState.FAILED:
        return "The file could not be scanned to its end"
    if scan.state is ScanState.DONE:
        words = f"{grouped(scan.total)} {tensors} scanned"
    else:
        words = f"{grouped(scan.done)} of {grouped(scan.total)} {tensors} scanned"
    found = [_found(harvest.nan, "NaN"), _found(harvest.inf, "Inf")] if scan.done else []
    if harvest.unread:
        found.append(f"{grouped(harvest.unread)} without values")
    head = {ScanState.PAUSED: "Paused: ", ScanState.CANCELLED: "Stopped: "}.get(scan.state, "")
    return head + ", ".join([words, *found])


def _found(tensors: int, what: str) -> str:
    if not tensors:
        return f"no {what}"
    return f"{what} in {grouped(tensors)} {'tensor' if tensors == 1 else 'tensors'}"


class ScanStatus(QWidget):
    """The line for one FileScan; hidden while there is no tensor to scan."""

    findWanted = Signal(str)
    """A filter text that shows what is said here."""

    def __init__(self, scan: FileScan, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("scanStatus")
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self._scan = scan
        self._words = ElidedLabel()
        self._words.setObjectName("scanWords")
        self._bar = ShareBar()
        self._bar.setObjectName("scanProgress")
        self._bar.setAccessibleName("Progress of the scan")
        self._bar.setTextVisible(False)
        self._bar.setFixedWidth(BAR_WIDTH)
        self._bar.setMaximumHeight(14)
        self._show = self._button("scanShow", "Show", "Show only the tensors with NaN or Inf")
        self._start = self._button("scanStart", "", "Count every value: statistics, NaN and Inf of all tensors")
        self._pause = self._button("scanPause", "Pause", "Hold the scan up")
        self._cancel = self._button("scanCancel", "", "Stop the scan")
        icons.tint(self._cancel, "close")
        for button in (self._show, self._start):
            button.setAutoRaise(False)
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 0, 4, 0)
        row.setSpacing(4)
        row.addStretch(1)
        row.addWidget(self._words)
        for widget in (self._show, self._start, self._bar, self._pause, self._cancel):
            row.addWidget(widget)
        self._show.clicked.connect(lambda: self.findWanted.emit("nan" if scan.harvest.nan else "inf"))
        self._start.clicked.connect(scan.start)
        self._pause.clicked.connect(self._pause_or_resume)
        self._cancel.clicked.connect(scan.cancel)
        scan.changed.connect(self.refresh)
        self.refresh()

    def _button(self, name: str, text: str, tip: str) -> QToolButton:
        button = QToolButton()
        button.setObjectName(name)
        button.setText(text)
        button.setToolTip(tip)
        button.setAccessibleName(tip)
        button.setAutoRaise(True)
        return button

    def _pause_or_resume(self) -> None:
        (self._scan.resume if self._scan.state is ScanState.PAUSED else self._scan.pause)()

    def refresh(self) -> None:
        """Say how things are now."""
        scan, state = self._scan, self._scan.state
        self.setVisible(scan.total > 0)
        words = scan_words(scan)
        self._words.setText(words)
        self.setAccessibleName(words or "Scan of all values")
        self._show.setVisible(bool(scan.harvest.nan or scan.harvest.inf))
        self._start.setVisible(state in _OFFERED and scan.total_bytes > 0)
        self._start.setText(f"Scan all values ({bytes_text(scan.total_bytes)})")
        for widget in (self._bar, self._pause, self._cancel):
            widget.setVisible(state in _GOING)
        paused = state is ScanState.PAUSED
        self._pause.setText("Resume" if paused else "Pause")
        self._pause.setToolTip("Go on with the scan" if paused else "Hold the scan up")
        self._pause.setAccessibleName(self._pause.toolTip())
        if scan.total_bytes:
            self._bar.show_share(scan.done_bytes, scan.total_bytes)
