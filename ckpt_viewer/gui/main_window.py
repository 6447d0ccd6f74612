"""The window: toolbar, summary, tree and details around one Session. It puts together and passes on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QCloseEvent, QShowEvent
from PySide6.QtWidgets import QSplitter, QStackedWidget, QVBoxLayout, QWidget

from ckpt_viewer.errors import Cancelled
from ckpt_viewer.gui.drop_window import DropWindow
from ckpt_viewer.gui.elided import ElidedLabel
from ckpt_viewer.gui.labels import plain
from ckpt_viewer.gui.load_flow import LoadFlow
from ckpt_viewer.gui.messages import Messages, error_text
from ckpt_viewer.gui.session import Session
from ckpt_viewer.gui.status import JobStatus
from ckpt_viewer.gui.summary_strip import SummaryStrip
from ckpt_viewer.gui.toolbar import Toolbar
from ckpt_viewer.gui.tree.widget import TreePanel
from ckpt_viewer.gui.tree_flow import TreeFlow
from ckpt_viewer.gui.window_actions import WindowActions

if TYPE_CHECKING:
    from ckpt_viewer.core.checkpoint import Checkpoint
    from ckpt_viewer.core.location import MapLocation
    from ckpt_viewer.gui.export_flow import ExportFlow
    from ckpt_viewer.gui.late_parts import LateParts
    from ckpt_viewer.gui.panels import DetailTabs
    from ckpt_viewer.gui.start_page import StartPage
    from ckpt_viewer.gui.windows import Windows

PROGRAM = "Checkpoint Viewer"
DEFAULT_SIZE = (1180, 760)
LOADING_AFTER_MS = 300
"""A file that opens sooner never shows the loading page."""


class MainWindow(DropWindow):
    """One window, empty until `open_file`."""

    def __init__(self, windows: Windows) -> None:
        super().__init__()
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.windows = windows
        self.session = Session(self)
        self.messages = Messages(self)
        self.toolbar, self.strip = Toolbar(), SummaryStrip()
        self.tree = TreePanel()
        self.details: DetailTabs | None = None
        self._start: StartPage | None = None
        self._export: ExportFlow | None = None
        self._late_parts: LateParts | None = None
        self._remap_when_ready = self._closing = False
        self._gone_on: Checkpoint | None = None
        self._build()
        self.load_flow = LoadFlow(self.session, self.toolbar.load_onto, self.messages, windows.devices, self)
        TreeFlow(self.session, self.tree, self.messages, windows.settings)
        self.actions_of_window = WindowActions(self)
        self._connect()
        self._restore_size()
        self._say_title()

    # --- what it is made of

    def _build(self) -> None:
        self.details_place = QWidget()
        self.details_layout = QVBoxLayout(self.details_place)
        self.details_layout.setContentsMargins(0, 0, 0, 0)
        self.splitter = QSplitter(Qt.Orientation.Horizontal)
        self.splitter.addWidget(self.tree)
        self.splitter.addWidget(self.details_place)
        self.splitter.setChildrenCollapsible(False)
        self.splitter.setSizes([5000, 5000])  # large, or the tree's least width would decide
        self.splitter.setStretchFactor(0, 1)
        self.splitter.setStretchFactor(1, 1)
        self.pages = QStackedWidget()
        self.pages.addWidget(self.splitter)
        central = QWidget()
        column = QVBoxLayout(central)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        for widget in (self.toolbar, self.strip):
            column.addWidget(widget)
        column.addWidget(self.pages, 1)
        self._column = column
        self.messages.changed.connect(self._make_message_bar)
        self.setCentralWidget(central)
        self.status = JobStatus()
        self._path = ElidedLabel(mode=Qt.TextElideMode.ElideMiddle, muted=True)
        self.statusBar().addWidget(self._path, 1)
        self.statusBar().addPermanentWidget(self.status, 1)
        self.statusBar().setSizeGripEnabled(False)
        self.statusBar().setContentsMargins(8, 0, 2, 0)
        self.status.watch(self.session.jobs)
        self._late = QTimer(self)
        self._late.setSingleShot(True)
        self._late.setInterval(LOADING_AFTER_MS)
        self._late.timeout.connect(self._show_loading_page)

    def _make_message_bar(self) -> None:
        """Make the bar when there is something to say: start-up has no time for it."""
        from ckpt_viewer.gui.message_bar import MessageBar

        self.messages.changed.disconnect(self._make_message_bar)
        bar = MessageBar(self.messages)
        bar.behind = self.toolbar.export_button
        self._column.insertWidget(self._column.indexOf(self.pages), bar)

    def _connect(self) -> None:
        self.session.attach(self)
        self.session.trouble.connect(self.messages.report)
        self.session.exportWanted.connect(self.actions_of_window.export)
        self.toolbar.open_button.clicked.connect(self.actions_of_window.ask_and_open)
        self.toolbar.export_button.clicked.connect(self.actions_of_window.export)
        self.tree.view.painted.connect(self._on_tree_painted)
        self.filesDropped.connect(self.actions_of_window.take_drop)

    def _restore_size(self) -> None:
        geometry = self.windows.settings.bytes("window/geometry")
        if geometry.isEmpty() or not self.restoreGeometry(geometry):
            room = self.screen().availableSize()
            self.resize(min(DEFAULT_SIZE[0], room.width()), min(DEFAULT_SIZE[1], room.height()))
        splitter = self.windows.settings.bytes("window/splitter")
        if not splitter.isEmpty():
            self.splitter.restoreState(splitter)

    @property
    def export_flow(self) -> ExportFlow:
        """What writes files; made when first needed."""
        if self._export is None:
            from ckpt_viewer.gui.export_flow import ExportFlow

            self._export = ExportFlow(self.session, self.messages, self.windows.writes, self)
            self._export.results.openWanted.connect(lambda path: self.windows.open([path], self))
            self._export.started.connect(self.status.add_writing)
            self._export.idle.connect(self._close_if_wanted)
        return self._export

    # --- what it is asked to do

    def open_file(self, path: str, map_location: MapLocation = None, select: str = "", *, alone: bool = False) -> None:
        """Show a file here, in place of whatever this window shows; `alone` without the other files of its set."""
        self.messages.clear()
        self.session.map_location = map_location
        self.session.open(str(Path(path).absolute()), select, alone=alone)

    def remap_when_ready(self) -> None:
        """Write a copy for the CPU as soon as it is known what is in the file."""
        if self.session.overview is not None:
            self.export_flow.remap_to_cpu()
        else:
            self._remap_when_ready = True

    def come_forward(self) -> None:
        """Show the window and put it in front."""
        self.showNormal() if self.isMinimized() else self.show()
        self.raise_()
        self.activateWindow()

    # --- what the session says (session_view.View)

    def show_loading(self) -> None:
        """A file is being opened."""
        self._say_title()
        self._late.start()

    def _show_loading_page(self) -> None:
        if self.session.opening is not None and self.session.checkpoint is None:
            self._start_page().show_loading(self.session.path)

    def show_opened(self) -> None:
        """The tree is there; the details follow once it is painted."""
        self._late.stop()
        self._say_title()
        self.strip.show_parts(())
        self.pages.setCurrentWidget(self.splitter)
        self.tree.view.setFocus()
        self.actions_of_window.refresh()

    def show_described(self) -> None:
        """The overview is there."""
        self.actions_of_window.say_salvaged()
        self.actions_of_window.refresh()
        if self._remap_when_ready and self.session.overview is not None:
            self._remap_when_ready = False
            self.export_flow.remap_to_cpu()
        if self._late_parts is not None:
            self._late_parts.consider_scan()

    def show_failed(self, error: BaseException) -> None:
        """The window keeps the file's name, says why, and offers what to do."""
        self._late.stop()
        self.windows.warm_up()
        self._remap_when_ready = False
        if isinstance(error, Cancelled):
            reason = "Opening it was stopped."
        else:
            reason = error_text(error)
            reason = reason[:1].upper() + reason[1:]
        self.strip.show_parts(())
        if self.details is not None:
            self.details.show_node(None)
        salvage = getattr(error, "salvage", "")
        if salvage:
            reason = reason.replace(" (--salvage)", "")  # a button does it here
        self._start_page().show_failed(self.session.path, reason, salvage)
        self.actions_of_window.refresh()

    def show_remapped(self) -> None:
        """The summary follows by itself: see SummaryFlow."""

    def show_problems(self) -> None:
        """The messages say it: see LoadFlow."""

    def show_selected(self, node: Any) -> None:
        """Show the details of another node."""
        if self.details is not None:
            self.details.show_node(node)

    def show_empty(self) -> None:
        """Ask for a file."""
        self.windows.warm_up()
        from ckpt_viewer.gui.association import is_offered

        recent = self.windows.settings.recent
        self._start_page().show_empty(recent, offer_association=is_offered(self.windows.settings))
        self.strip.show_parts(())
        self.actions_of_window.refresh()

    def _start_page(self) -> StartPage:
        if self._start is None:
            from ckpt_viewer.gui.start_page import StartPage

            self._start = StartPage()
            self.actions_of_window.connect_start_page(self._start)
            self.pages.addWidget(self._start)
        self.pages.setCurrentWidget(self._start)
        return self._start

    def _say_title(self) -> None:
        path = self.session.path
        self._path.setText(plain(path))
        self.setWindowTitle(f"{plain(Path(path).name, 120)} – {PROGRAM}" if path else PROGRAM)

    def _on_tree_painted(self) -> None:
        """It is being painted: what comes in the next round of the event loop comes after that."""
        QTimer.singleShot(0, self, self._after_paint)

    def _after_paint(self) -> None:
        if self.session.checkpoint is None or self._gone_on is self.session.checkpoint:
            return
        self._gone_on = self.session.checkpoint
        self.windows.on_painted(self)
        if self._late_parts is None:
            from ckpt_viewer.gui.late_parts import LateParts

            self._late_parts = LateParts(self)
        self._late_parts.go_on()

    # --- showing and closing

    def showEvent(self, event: QShowEvent) -> None:
        """An empty window asks for a file."""
        super().showEvent(event)
        if self.session.is_empty and self._start is None:
            self.show_empty()

    def closeEvent(self, event: QCloseEvent) -> None:
        """Ask while a file is being written; it is stopped and cleaned up before the window goes."""
        writing = self._export.writing if self._export is not None else []
        if writing and not self._closing:
            from ckpt_viewer.gui.asking import ask_stop_writing

            if not ask_stop_writing(self, writing[0].title):
                event.ignore()
                return
            self._closing = True
        if self._export is not None and self._export.writing:
            for job in self._export.writing:
                job.cancel()
            self.hide()
            event.ignore()  # `idle` closes it
            return
        settings = self.windows.settings
        settings.set("window/geometry", self.saveGeometry())
        settings.set("window/splitter", self.splitter.saveState())
        self.session.close()
        self.windows.forget(self)
        super().closeEvent(event)

    def _close_if_wanted(self) -> None:
        if self._closing:
            self.close()
