"""What a window shows once its tree stands: the scan, what was understood, the details. Imported only then."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from ckpt_viewer.gui.joined_names import JoinedNames
from ckpt_viewer.gui.leftovers import Leftovers
from ckpt_viewer.gui.scan_flow import ScanFlow
from ckpt_viewer.gui.stale_watch import StaleWatch
from ckpt_viewer.gui.summary_flow import SummaryFlow
from ckpt_viewer.gui.turns import soon, window_works

if TYPE_CHECKING:
    from ckpt_viewer.analysis.overview import Overview
    from ckpt_viewer.gui.main_window import MainWindow


class LateParts(QObject):
    """Makes them for one window, in steps that each leave it time to paint.

    Attributes:
        scan: starts the scan by the setting.
    """

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self._window = window
        self._considered: Overview | None = None
        session = window.session
        self.scan = ScanFlow(session, window.windows.settings, window.actions_of_window.actions.view_menu, self)
        window.statusBar().insertPermanentWidget(1, self.scan.status, 2)
        self.scan.status.findWanted.connect(window.tree.filter.setText)
        SummaryFlow(session, window.strip, self)
        JoinedNames(session, window.tree)
        StaleWatch(session, window.messages, self)
        self._leftovers = Leftovers(session, window.messages, self)
        self._looked: set[Path] = set()
        session.jobs.idle.connect(self.consider_scan)

    def go_on(self) -> None:
        """Another file's tree stands: now what takes a walk through the file, and the details."""
        window_works()
        window = self._window
        window.session.describe()
        window.windows.settings.add_recent(window.session.path)
        if window.details is not None:
            window.details.show_node(window.session.selected)
        elif window.windows.panels_are_ready:
            self._make_details()
        else:
            window.windows.panelsReady.connect(self._make_details)

    def consider_scan(self) -> None:
        """Once the file is described, its details are there and nothing else is worked out, all values may be scanned.

        Beside the walks through a large file the scan would be one more that the window shares the interpreter with.
        """
        session = self._window.session
        view = session.overview
        if self._window.details is None or view is None or view is self._considered or session.jobs.active:
            return
        self._considered = view
        self.scan.consider()
        self._look_for_leftovers(session.path)

    def _look_for_leftovers(self, path: str) -> None:
        """What a program that was killed left here is told once: not again with every reload."""
        folder = Path(path).parent
        if folder not in self._looked:
            self._looked.add(folder)
            self._leftovers.look_beside(path)

    def _make_details(self) -> None:
        window_works()
        window = self._window
        if window.details is None:
            from ckpt_viewer.gui.panels import DetailTabs

            window.details = DetailTabs(window.session, window.details_place)
            window.details_layout.addWidget(window.details)
            window.actions_of_window.connect_details(window.details)
            soon(self, self._fill_details)

    def _fill_details(self) -> None:
        window = self._window
        assert window.details is not None
        window.details.show_node(window.session.selected)
        window.keep_drops()
        self.consider_scan()
        if window.windows.pictures_are_ready:
            window.details.prepare()
        else:
            window.windows.picturesReady.connect(window.details.prepare)
