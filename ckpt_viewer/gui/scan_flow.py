"""When a file is scanned without being asked for, the setting for it, and the menu. Made once a tree is painted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject
from PySide6.QtGui import QActionGroup

from ckpt_viewer.gui.file_scan import ScanState
from ckpt_viewer.gui.scan_status import ScanStatus

if TYPE_CHECKING:
    from PySide6.QtGui import QAction
    from PySide6.QtWidgets import QMenu

    from ckpt_viewer.gui.session import Session
    from ckpt_viewer.gui.settings import Settings

SETTING = "scan/automatic"
NEVER, SMALL, ALWAYS = "never", "small", "always"
CHOICES = {NEVER: "&Only when asked for", SMALL: "Files of up to &1 GB", ALWAYS: "&Every file"}
MOST = 1_000_000_000
"""Bytes of tensors up to which a file counts as small: a second or two of reading."""


class ScanFlow(QObject):
    """Starts the scan of one window's files by the setting.

    Attributes:
        status: its line for the status bar.
    """

    def __init__(self, session: Session, settings: Settings, view_menu: QMenu, parent: QObject) -> None:
        super().__init__(parent)
        self._session, self._settings = session, settings
        self.status = ScanStatus(session.scan)
        self._add_to(view_menu)
        session.scan.changed.connect(self._refresh)
        self._refresh()

    @property
    def choice(self) -> str:
        """Which files are scanned by themselves."""
        choice = self._settings.text(SETTING)
        return choice if choice in CHOICES else SMALL

    def consider(self) -> None:
        """Scan the open file if the setting says so; else show what an earlier scan of it has left."""
        scan = self._session.scan
        if scan.state is not ScanState.NONE or not scan.total:
            return
        if self.choice == ALWAYS or (self.choice == SMALL and scan.total_bytes <= MOST):
            scan.start()
        else:
            scan.recall()

    def _add_to(self, menu: QMenu) -> None:
        menu.addSeparator()
        self._start = menu.addAction("&Scan all values")
        self._start.setObjectName("action_scan")
        self._start.triggered.connect(self._session.scan.start)
        choices = menu.addMenu("Scan by itsel&f")
        self._group = QActionGroup(choices)
        for choice, text in CHOICES.items():
            action = choices.addAction(text)
            action.setCheckable(True)
            action.setData(choice)
            self._group.addAction(action)
        self._group.triggered.connect(self._choose)
        choices.aboutToShow.connect(self._check)

    def _check(self) -> None:
        for action in self._group.actions():
            action.setChecked(action.data() == self.choice)

    def _choose(self, action: QAction) -> None:
        self._settings.set(SETTING, action.data())
        self.consider()

    def _refresh(self) -> None:
        scan = self._session.scan
        idle = scan.state not in (ScanState.RUNNING, ScanState.DONE)
        self._start.setEnabled(idle and scan.total > 0)
