"""What a container is made of, at a glance: modules, dtypes, devices, largest tensors, NaN and Inf, duplicates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from ckpt_viewer.core.node import Node
from ckpt_viewer.core.text import bytes_text, grouped
from ckpt_viewer.gui.file_scan import ScanState
from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.labels import label
from ckpt_viewer.gui.panels import survey
from ckpt_viewer.gui.panels.bars import BarsView
from ckpt_viewer.gui.panels.base import UNSUPPORTED, Panel
from ckpt_viewer.gui.panels.facts import count_words
from ckpt_viewer.gui.panels.links import LinksView
from ckpt_viewer.gui.panels.survey import Links, Survey, Twins
from ckpt_viewer.gui.tree import ModuleGroup

if TYPE_CHECKING:
    from ckpt_viewer.gui.session import Session

LINES = 12
"""Links that a section shows before it scrolls."""


class OverviewPanel(Panel):
    """Sections below one another, each a heading and lines that lead somewhere."""

    title = "Breakdown"
    uses_tree = True

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self._subject: Any = None
        self._look_again = False  # the scan went on while its findings were being listed
        self._surveying, self._looking, self._comparing, self._going = (Latest(session.jobs, self) for _ in range(4))
        self._surveying.finished.connect(self._on_survey)
        self._looking.finished.connect(self._on_unsound)
        self._comparing.finished.connect(self._on_twins)
        self._going.finished.connect(session.select)
        for latest in (self._surveying, self._looking, self._comparing):
            latest.failed.connect(self.show_error)
        self._build()
        session.scan.changed.connect(self._on_scan)

    @classmethod
    def rate(cls, subject: Any) -> int:
        """Whatever can hold tensors; what it is and its entries come first."""
        if isinstance(subject, ModuleGroup):
            return 50
        is_container = isinstance(subject, Node) and subject.length is not None
        return 50 if is_container and survey.may_hold_tensors(subject.value) else UNSUPPORTED

    def _build(self) -> None:
        page = QWidget()
        self._column = QVBoxLayout(page)
        self._column.setContentsMargins(10, 8, 10, 8)
        self._column.setSpacing(3)
        self.modules_heading, self.modules = self._bars("overviewModules", "Values per module")
        self.modules.chosen.connect(self._go)
        self.dtypes_heading, self.dtypes = self._bars("overviewDtypes", "Bytes by dtype")
        self.devices_heading, self.devices = self._bars("overviewDevices", "Bytes by device")
        self.largest_heading, _, self.largest = self._links("overviewLargest", "Largest tensors")
        self.unsound_heading, self.scan_button, self.unsound = self._links("overviewUnsound", "Tensors with NaN or Inf")
        self.twins_heading, self.compare_button, self.twins = self._links(
            "overviewTwins", "Tensors of the same content"
        )
        self.scan_button.clicked.connect(self.session.scan.start)
        self.compare_button.clicked.connect(lambda: self._compare(all_of_them=True))
        self._column.addStretch()
        self.fill_scrolling(page, "Breakdown")

    def _bars(self, name: str, words: str) -> tuple[Any, BarsView]:
        heading, bars = label(words, muted=True), BarsView(name, words)
        self._column.addWidget(heading)
        self._column.addWidget(bars)
        self._column.addSpacing(8)
        return heading, bars

    def _links(self, name: str, words: str) -> tuple[Any, QPushButton, LinksView]:
        heading, button, links = (
            label(words, muted=True, wrap=True),
            QPushButton(),
            LinksView(self.session, name, words),
        )
        button.setVisible(False)
        row = QHBoxLayout()
        row.addWidget(heading, 1)
        row.addWidget(button)
        self._column.addLayout(row)
        self._column.addWidget(links)
        self._column.addSpacing(8)
        return heading, button, links

    # --- shares -------------------------------------------------------------------------------------------------------

    def show_subject(self, subject: Node | ModuleGroup) -> None:
        """Survey another container."""
        self.clear()
        self._subject, index = subject, self.session.index
        if index is None:
            self.show_sentence("The tree is still being built.")
            return
        self.begin("Adding up …")
        self._surveying.start(lambda context: survey.survey(subject, index, context))

    def clear(self) -> None:
        """Stop all work."""
        for latest in (self._surveying, self._looking, self._comparing, self._going):
            latest.cancel()
        self._subject = None

    def remap(self) -> None:
        """The devices changed."""
        if self._subject is not None:
            self.show_subject(self._subject)

    def _on_survey(self, found: Survey) -> None:
        if not found.tensors:
            self.show_sentence("There are no tensors below this.")
            return
        more = f"; {grouped(found.others)} smaller ones are left out" if found.others else ""
        tensors = count_words(found.tensors, "tensor")
        self.modules_heading.setText(f"{grouped(found.elements)} values in {tensors}, by module{more}")
        self.dtypes_heading.setText(f"{bytes_text(found.nbytes)} by dtype")
        self.devices_heading.setText("by device")
        for view, bars in ((self.modules, found.modules), (self.dtypes, found.dtypes), (self.devices, found.devices)):
            view.show_bars(bars)
        self._show_links(self.largest, found.largest)
        self.show_body()
        self._on_scan()
        if self._looking.job is None and self._comparing.job is None:
            self.settle()

    def _show_links(self, view: LinksView, links: Links) -> None:
        view.show_rows(links.rows, links.notes)
        view.setFixedHeight(min(len(links.rows), LINES) * max(1, view.sizeHintForRow(0)) + 4)
        view.setVisible(bool(links.rows))

    def _go(self, row: int) -> None:
        """Select what a row of the tree stands for; finding its place may pass many siblings, so in a job."""
        index, checkpoint = self.session.index, self.session.checkpoint
        if index is not None and checkpoint is not None:
            self._going.start(lambda _context: index.subject(row, checkpoint))

    # --- what a scan found --------------------------------------------------------------------------------------------

    def _on_scan(self) -> None:
        """List what the scan has found so far; compare candidates for duplicates once it is done."""
        scan, subject, index = self.session.scan, self._subject, self.session.index
        if subject is None or index is None or self._surveying.job is not None:
            return
        running = scan.state in (ScanState.RUNNING, ScanState.PAUSED)
        self.scan_button.setVisible(scan.state is not ScanState.DONE and not running)
        self.scan_button.setText(f"Scan all values ({bytes_text(scan.total_bytes)})")
        self._look_again = self._looking.job is not None
        if not self._look_again:
            self._looking.start(lambda context: survey.unsound(subject, index, scan, context))
        if scan.state is ScanState.DONE:
            self._compare()
        else:
            self.twins_heading.setText("Same content: known once all values were scanned")
            self.compare_button.setVisible(False)
            self._show_links(self.twins, Links([], []))

    def _on_unsound(self, links: Links) -> None:
        scan = self.session.scan
        if scan.state is ScanState.DONE:
            found = count_words(len(links.rows), "tensor") if links.rows else "no tensor"
            self.unsound_heading.setText(f"NaN or Inf: {found}")
        else:
            self.unsound_heading.setText(
                f"NaN or Inf: {grouped(len(links.rows))} so far; "
                f"{grouped(scan.done)} of {count_words(scan.total, 'tensor')} scanned"
            )
        self._show_links(self.unsound, links)
        if self._look_again:
            self._on_scan()
        if self._comparing.job is None:
            self.settle()

    def _compare(self, *, all_of_them: bool = False) -> None:
        scan, subject, index = self.session.scan, self._subject, self.session.index
        if subject is None or index is None:
            return
        self.compare_button.setVisible(False)
        self._comparing.start(
            lambda context: survey.duplicates(subject, index, scan, context, all_of_them=all_of_them),
            title="Comparing tensors that may be the same",
        )

    def _on_twins(self, twins: Twins) -> None:
        waiting = sum(len(group) for group in twins.waiting)
        if waiting:
            self.twins_heading.setText(f"Same content: {count_words(waiting, 'tensor')} may be equal by their numbers")
            self.compare_button.setText(f"Compare them ({bytes_text(twins.nbytes)})")
        else:
            found = count_words(len(twins.links.rows), "tensor") if twins.links.rows else "no two tensors"
            self.twins_heading.setText(f"Same content: {found} (those of one value throughout left aside)")
        self.compare_button.setVisible(bool(waiting))
        self._show_links(self.twins, twins.links)
        if self._looking.job is None:
            self.settle()
