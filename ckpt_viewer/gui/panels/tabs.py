"""The details of what is selected: a header, and a tab for each panel that fits."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QTabWidget, QVBoxLayout, QWidget

from ckpt_viewer.core.progress import Context
from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.panels.base import UNSUPPORTED, Panel
from ckpt_viewer.gui.panels.header import Header
from ckpt_viewer.gui.turns import soon

if TYPE_CHECKING:
    from ckpt_viewer.gui.session import Session

REGISTRY = "ckpt_viewer.gui.panels.registry"
Panels: TypeAlias = tuple[type[Panel], ...]


class _Host(QWidget):
    """The page of one panel, which is built when the page is first shown."""

    def __init__(self, kind: type[Panel], session: Session) -> None:
        super().__init__()
        self.kind, self.panel = kind, None
        self._session = session
        self._subject: Any = None
        self.setAccessibleName(kind.title)
        QVBoxLayout(self).setContentsMargins(0, 0, 0, 0)

    panel: Panel | None

    def build(self) -> Panel:
        if self.panel is None:
            self.panel = self.kind(self._session, self)
            layout = self.layout()
            assert layout is not None
            layout.addWidget(self.panel)
        return self.panel

    def tell(self, subject: Any) -> None:
        """Have the panel show `subject`, unless it does already."""
        panel = self.build()
        if self._subject is not subject:
            self._subject = subject
            panel.show_subject(subject)

    def leave(self, *, for_good: bool) -> None:
        """The panel is not looked at any more; what it has worked out stays if the selection does."""
        if self.panel is not None and self._subject is not None and (for_good or not self.panel.is_settled):
            self._subject = None
            self.panel.clear()


class DetailTabs(QWidget):
    """Header and tabs. `show_node` is all that it has to be told; it follows `session.remapped` by itself.

    The QTabWidget inside has the object name ``detailTabs``.

    Attributes:
        is_prepared: whether all that `prepare` does is done.
    """

    settled = Signal()
    """The panel that is shown has nothing left to read."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._subject: Any = None
        self._hosts: dict[type[Panel], _Host] = {}
        self._preferred: type[Panel] | None = None
        self._panels: Panels | None = None
        self._pieces: Iterator[None] | None = None
        self.is_prepared = False
        self._loading = Latest(session.jobs, self)
        self._loading.finished.connect(self._on_panels)
        self._loading.failed.connect(session.trouble)
        self.header = Header(session)
        self.tabs = QTabWidget()
        self.tabs.setObjectName("detailTabs")
        self.tabs.setAccessibleName("Details of the selection")
        self.tabs.setDocumentMode(True)
        self.tabs.setUsesScrollButtons(True)
        self.tabs.currentChanged.connect(self._on_current)
        self.tabs.tabBarClicked.connect(self._on_clicked)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.header)
        layout.addWidget(self.tabs, 1)
        session.remapped.connect(self._on_remapped)
        session.indexed.connect(self._on_indexed)
        session.marking.corrected.connect(lambda: self.show_node(self._subject))

    @property
    def subject(self) -> Any:
        """The Node or module group that is shown."""
        return self._subject

    @property
    def panel(self) -> Panel | None:
        """The panel that is looked at."""
        host = self.tabs.currentWidget()
        return host.panel if isinstance(host, _Host) else None

    @property
    def is_settled(self) -> bool:
        """Whether what is shown is final."""
        if self._panels is None:
            return self._subject is None
        return self.panel is None or self.panel.is_settled

    def show_node(self, subject: Any) -> None:
        """Show a Node or a module group; None empties the details and cancels what is being read."""
        self._subject = subject
        self.header.setVisible(subject is not None)
        self.header.show_subject(subject)
        for host in self._hosts.values():
            if host is not self.tabs.currentWidget() or subject is None:
                host.leave(for_good=True)
        if self._known_panels() is None and subject is not None:
            self._load_panels()
            return
        fitting = self._fitting(subject)
        self._set_pages(list(fitting))
        if fitting:
            best = max(fitting, key=lambda kind: fitting[kind])
            title = self._preferred.title if self._preferred is not None else ""
            same = (kind for kind in fitting if kind is self._preferred or kind.title == title)
            self.tabs.setCurrentWidget(self._host(next(same, best)))
        self._tell()

    def prepare(self) -> None:
        """Build the panels that will be wanted soon, a piece in each turn of the event loop.

        They may import what `Windows.picturesReady` waits for.
        """
        if self._pieces is None:
            self._pieces = self._prepare_all()
            self._prepare_next()

    def _prepare_next(self) -> None:
        for _ in self._pieces or ():
            soon(self, self._prepare_next)
            return
        self.is_prepared = True

    def _prepare_all(self) -> Iterator[None]:
        for kind in [kind for kind in self._known_panels() or () if kind.wanted_soon]:
            yield
            panel = self._build(self._host(kind))
            yield
            yield from panel.prepare()

    def choose(self, number: int) -> None:
        """Show the tab of that number, counted from 1, as a click on it would."""
        if 1 <= number <= self.tabs.count():
            self._on_clicked(number - 1)
            self.tabs.setCurrentIndex(number - 1)

    def _known_panels(self) -> Panels | None:
        if self._panels is None:
            self._panels = getattr(sys.modules.get(REGISTRY), "PANELS", None)
        return self._panels

    def _load_panels(self) -> None:
        """Import the panels, on a thread: 30 modules take longer than the GUI may stand still."""
        job = self._loading.job
        if job is None or job.is_cancelled:
            self._loading.start(_import_panels)

    def _on_panels(self, panels: Panels) -> None:
        self._panels = panels
        self.show_node(self._subject)

    def _fitting(self, subject: Any) -> dict[type[Panel], int]:
        """Return the panels that can show `subject`, in the order of PANELS, with their rates."""
        if subject is None or self._panels is None:
            return {}
        rates = {kind: kind.rate(subject) for kind in self._panels}
        return {kind: rate for kind, rate in rates.items() if rate > UNSUPPORTED}

    def _set_pages(self, kinds: list[type[Panel]]) -> None:
        hosts = [self._host(kind) for kind in kinds]
        if hosts == [self.tabs.widget(index) for index in range(self.tabs.count())]:
            return
        self.tabs.blockSignals(True)
        current = self.tabs.currentWidget()
        if isinstance(current, _Host) and current not in hosts:
            current.leave(for_good=True)
        self.tabs.clear()
        for host in hosts:
            self.tabs.addTab(host, host.kind.title)
        self.tabs.blockSignals(False)

    def _host(self, kind: type[Panel]) -> _Host:
        host = self._hosts.get(kind)
        if host is None:
            host = self._hosts[kind] = _Host(kind, self._session)
        return host

    def _on_clicked(self, index: int) -> None:
        host = self.tabs.widget(index)
        if isinstance(host, _Host):
            self._preferred = host.kind

    def _on_current(self, _index: int) -> None:
        for host in self._hosts.values():
            if host is not self.tabs.currentWidget():
                host.leave(for_good=False)
        self._tell()

    def _tell(self) -> None:
        host = self.tabs.currentWidget()
        if not isinstance(host, _Host) or self._subject is None:
            return
        self._build(host)
        host.tell(self._subject)

    def _build(self, host: _Host) -> Panel:
        is_new = host.panel is None
        panel = host.build()
        if is_new:
            panel.settled.connect(lambda: self._on_settled(panel))
            panel.place_wanted.connect(self._on_place_wanted)
        return panel

    def _on_place_wanted(self, index: tuple[int, ...]) -> None:
        """Turn to the panel of values, at an index of the tensor."""
        for number in range(self.tabs.count()):
            host = self.tabs.widget(number)
            if isinstance(host, _Host) and host.kind.shows_places:
                self.tabs.setCurrentIndex(number)
                host.build().show_place(index)

    def _on_settled(self, panel: Panel) -> None:
        if panel is self.panel:
            self.settled.emit()

    def _on_remapped(self) -> None:
        self.header.refresh()
        for host in self._hosts.values():
            if host.panel is not None:
                host.panel.remap()

    def _on_indexed(self) -> None:
        """The tree's rows were laid out differently: by module, or flat."""
        self.header.show_subject(self._subject)
        for host in self._hosts.values():
            if host.kind.uses_tree:
                host.leave(for_good=True)
        self._tell()


def _import_panels(context: Context) -> Panels:
    context.step(0, 0)
    from ckpt_viewer.gui.panels.registry import PANELS  # panels import this package

    return PANELS
