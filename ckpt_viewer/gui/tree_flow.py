"""Between the tree and the session: what is shown, what is selected, which columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject

from ckpt_viewer.gui.file_scan import ScanState
from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.messages import Message, Messages
from ckpt_viewer.gui.scan_work import draw_sparks
from ckpt_viewer.gui.session import Session
from ckpt_viewer.gui.settings import Settings
from ckpt_viewer.gui.tree.widget import TreePanel

if TYPE_CHECKING:
    from collections.abc import Callable

    from ckpt_viewer.core.progress import Context
    from ckpt_viewer.gui.tree.cells import Cells
    from ckpt_viewer.gui.tree.figures import FigureTable
    from ckpt_viewer.gui.tree.finding import Found
    from ckpt_viewer.gui.tree.index import TreeIndex
    from ckpt_viewer.gui.tree.ordering import Order
    from ckpt_viewer.gui.tree.texts import PathText

COLUMNS, FLAT = "tree/columns", "tree/flat"


class TreeFlow(QObject):
    """Keeps a TreePanel and a Session in step."""

    def __init__(self, session: Session, panel: TreePanel, messages: Messages, settings: Settings) -> None:
        super().__init__(panel)
        self._session, self._panel, self._messages, self._settings = session, panel, messages, settings
        self._following = False
        self._written_of: TreeIndex | None = None
        session.grouped = not settings.text(FLAT)
        if columns := settings.text(COLUMNS):
            panel.restore_state(columns)
        panel.nodeSelected.connect(self._on_selected)
        panel.picked.connect(lambda: session.picks.set_rows(panel.index, panel.view.picked_rows))
        panel.said.connect(lambda sentence: messages.post(Message("info", sentence, topic="tree")))
        panel.columnsChanged.connect(lambda: settings.set(COLUMNS, panel.save_state()))
        panel.groupedWanted.connect(self._on_grouped)
        panel.scanWanted.connect(session.scan.start)
        panel.sparksWanted.connect(self._draw_sparks)
        panel.filtering.searchWanted.connect(self._search)
        panel.orderWanted.connect(self._sort)
        panel.roleChosen.connect(session.marking.correct)
        session.marking.corrected.connect(panel.remark)
        session.marking.compared.connect(panel.remark)
        self._sorting = Latest(session.jobs, self)
        self._sorting.finished.connect(self._on_sorted)
        self._searching = Latest(session.jobs, self)
        self._searching.finished.connect(panel.filtering.show_found)
        self._sparks = Latest(session.jobs, self)
        self._sparks.finished.connect(lambda _: self._show_figures())
        session.scan.changed.connect(self._show_figures)
        self._writing = Latest(session.jobs, self)
        self._writing.finished.connect(self._on_written)
        session.failed.connect(lambda _: self._writing.cancel())
        session.opened.connect(self._show)
        session.indexed.connect(self._show)
        # `described` comes once the tree is painted
        for signal in (session.described, session.indexed, panel.filtering.textWanted):
            signal.connect(self._write_text)
        session.remapped.connect(panel.remap)
        session.failed.connect(lambda _: panel.clear())
        session.selectionChanged.connect(self._follow)

    def _show(self) -> None:
        session = self._session
        if session.checkpoint is not None and session.index is not None:
            self._following = True  # the session selects, the tree's own first choice is not one
            self._panel.set_index(session.checkpoint, session.index)
            self._following = False
            self._show_figures()

    def _write_text(self) -> None:
        index = self._session.index
        if index is None or index.has_text or (self._writing.job is not None and index is self._written_of):
            return
        self._written_of = index
        self._writing.start(lambda context: (index, index.write_text(context)), title="Indexing the names")

    def _on_written(self, result: tuple[TreeIndex, PathText]) -> None:
        index, text = result
        index.keep_text(text)
        if self._panel.index is index:
            self._panel.filtering.find_again()

    def _show_figures(self) -> None:
        scan = self._session.scan
        self._panel.set_figures(scan.table, complete=scan.state is ScanState.DONE)

    def _search(self, work: Callable[[Context], Found]) -> None:
        self._searching.start(work, title="Filtering the tree")

    def _sort(self, cells: Cells, column: int, descending: bool) -> None:
        def work(context: Context) -> tuple[Cells, Order]:
            from ckpt_viewer.gui.tree.ordering import sort_rows

            return cells, sort_rows(cells, column, context, descending=descending)

        self._sorting.start(work, title="Sorting the tree")

    def _on_sorted(self, result: tuple[Cells, Order]) -> None:
        cells, order = result
        if self._panel.view.tree_model.cells is cells:  # else another file is shown by now
            self._panel.set_order(order)

    def _draw_sparks(self, table: FigureTable) -> None:
        harvest, rows = self._session.scan.harvest, tuple(table.missing)
        self._sparks.start(lambda context: draw_sparks(harvest, table, rows, context))

    def _on_selected(self, subject: Any) -> None:
        if not self._following:
            self._following = True
            self._session.select(subject)
            self._following = False

    def _follow(self, subject: Any) -> None:
        if self._following or subject is None:
            return
        self._following = True
        self._panel.select_pointer(subject.pointer)
        self._following = False

    def _on_grouped(self, grouped: bool) -> None:
        self._settings.set(FLAT, "" if grouped else "flat")
        self._session.regroup(grouped)
