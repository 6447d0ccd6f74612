"""The line above the tabs: where the selection is, each step a link, and the facts about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QGuiApplication, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QMenu, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from ckpt_viewer.core.node import Node
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.gui import icons
from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.labels import label, menu_text, plain, tooltip
from ckpt_viewer.gui.panels.crumbs import Crumb, crumbs_of, outline_row
from ckpt_viewer.gui.panels.facts import group_facts, node_facts
from ckpt_viewer.gui.panels.shared import SharingWatch
from ckpt_viewer.gui.panels.state_links import StateLinks
from ckpt_viewer.gui.tree import ModuleGroup

if TYPE_CHECKING:
    from ckpt_viewer.gui.session import Session

CRUMB_LIMIT = 40
"""Characters of one step."""
TAIL = 12
"""Steps at the end of a path that get a button if there is room; the rest is in a menu."""
MENU_LIMIT = 200
"""Steps that the menu lists."""


class _Placed(NamedTuple):
    crumb: Crumb
    button: QToolButton
    separator: QLabel
    width: int


class Breadcrumb(QWidget):
    """The steps to the selection, each a button; what does not fit is in the menu of the button ``…``."""

    def __init__(self, choose: Callable[[Any], object], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("breadcrumb")
        self.setAccessibleName("Path of the selection")
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._choose = choose
        self._crumbs: list[Crumb] = []
        self._placed: list[_Placed] = []
        self._more = _flat("…", "Steps that do not fit")
        self._more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self._more.setMenu(QMenu(self._more))
        self._more.menu().aboutToShow.connect(self._fill_menu)
        self._more.setParent(self)
        self._more_separator = self._separator()

    @property
    def texts(self) -> list[str]:
        """The steps, unshortened."""
        return [crumb.text for crumb in self._crumbs]

    @property
    def hidden(self) -> list[Crumb]:
        """The steps that did not fit."""
        shown = {id(placed.crumb) for placed in self._placed if not placed.button.isHidden()}
        return [crumb for crumb in self._crumbs if id(crumb) not in shown]

    def show_crumbs(self, crumbs: list[Crumb]) -> None:
        """Show the steps to another selection."""
        for placed in self._placed:
            for widget in (placed.button, placed.separator):
                widget.hide()
                widget.setParent(None)
                widget.deleteLater()
        self._crumbs = crumbs
        picked = crumbs if len(crumbs) <= TAIL + 1 else [crumbs[0], *crumbs[-TAIL:]]
        self._placed = [self._place(crumb, crumb is crumbs[-1]) for crumb in picked]
        self._arrange()

    def _place(self, crumb: Crumb, last: bool) -> _Placed:
        button = _flat(menu_text(crumb.text, CRUMB_LIMIT) or '""', f"Select {plain(crumb.text, CRUMB_LIMIT)}")
        button.setParent(self)
        button.setToolTip(tooltip(crumb.text))
        font = button.font()
        font.setBold(last)
        button.setFont(font)
        button.clicked.connect(lambda: self._choose(crumb.target()))
        return _Placed(crumb, button, self._separator(), button.sizeHint().width())

    def _separator(self) -> QLabel:
        made = label("›", muted=True)
        made.setParent(self)
        made.setAlignment(Qt.AlignmentFlag.AlignCenter)
        return made

    def sizeHint(self) -> QSize:
        """One line, as wide as there is room."""
        return QSize(100, self._more.sizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Decide anew which steps fit."""
        super().resizeEvent(event)
        self._arrange()

    def _arrange(self) -> None:
        """Keep the last step, then the first, then as many before the last as fit."""
        gap = self.fontMetrics().horizontalAdvance("›") + 8
        shown = self._choose_shown(gap)
        line: list[tuple[QLabel, QWidget, int]] = []
        for position in sorted(shown):
            if len(shown) < len(self._crumbs) and position == min(shown - {0}, default=-1):
                line.append((self._more_separator, self._more, self._more.sizeHint().width()))
            placed = self._placed[position]
            line.append((placed.separator, placed.button, placed.width))
        for widget in self.findChildren(QWidget, options=Qt.FindChildOption.FindDirectChildrenOnly):
            widget.hide()
        left = 0
        for separator, widget, width in line:
            if left:
                separator.setGeometry(left, 0, gap, self.height())
                separator.show()
                left += gap
            width = max(min(width, self.width() - left), 24)
            widget.setGeometry(left, 0, width, self.height())
            widget.show()
            left += width

    def _choose_shown(self, gap: int) -> set[int]:
        widths = [placed.width for placed in self._placed]
        last = len(widths) - 1
        if len(widths) == len(self._crumbs) and sum(widths) + gap * last <= self.width():
            return set(range(len(widths)))
        room = self.width() - self._more.sizeHint().width() - gap
        shown = set[int]()
        for position in dict.fromkeys([last, 0, *range(last - 1, 0, -1)]):
            room -= widths[position] + gap
            if room < 0 and shown:
                break
            shown.add(position)
        return shown

    def _fill_menu(self) -> None:
        menu = self._more.menu()
        menu.clear()
        for crumb in self.hidden[-MENU_LIMIT:]:
            action = menu.addAction(menu_text(crumb.text))
            action.triggered.connect(lambda _=False, target=crumb.target: self._choose(target()))


def _flat(text: str, words: str) -> QToolButton:
    button = QToolButton()
    button.setAutoRaise(True)
    button.setText(text)
    button.setAccessibleName(words)
    return button


class Header(QWidget):
    """Breadcrumb, copy button and facts of the selection."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._subject: Any = None
        self._watch = SharingWatch.of(session)
        self._watch.ready.connect(self.refresh)
        session.described.connect(self.refresh)
        session.marking.corrected.connect(self.refresh)
        self._pointer = Latest(session.jobs, self)
        self._pointer.finished.connect(lambda text: QGuiApplication.clipboard().setText(text))
        self._pointer.failed.connect(session.trouble)
        self.breadcrumb = Breadcrumb(session.select)
        self.copy = _flat("", "Copy the path")
        self.copy.setObjectName("copyPathButton")
        self.copy.setToolTip("Copy the path")
        icons.tint(self.copy, "copy")
        self.copy.clicked.connect(self.copy_path)
        self.facts = label(wrap=True, selectable=True, name="Facts")
        self.facts.setObjectName("detailFacts")
        self.role = label(wrap=True, selectable=True, muted=True, name="Role")
        self.role.setObjectName("detailRole")
        self.role.setToolTip(tooltip("The menu of its row in the tree corrects it: This is …"))
        line = QHBoxLayout()
        line.addWidget(self.breadcrumb, 1)
        line.addWidget(self.copy)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 6, 10, 4)
        layout.setSpacing(3)
        layout.addLayout(line)
        layout.addWidget(self.facts)
        layout.addWidget(self.role)
        self.state = StateLinks(session)
        layout.addWidget(self.state)

    def show_subject(self, subject: Any) -> None:
        """Show where another selection is and what it is."""
        self._subject = subject
        self.breadcrumb.show_crumbs(crumbs_of(subject, self._session.index))
        self.state.show_subject(subject)
        self.refresh()

    def refresh(self) -> None:
        """Say the facts anew: the devices or what is known about sharing changed."""
        subject = self._subject
        if isinstance(subject, ModuleGroup):
            self.facts.setText(group_facts(subject))
            self.role.hide()
        if not isinstance(subject, Node):
            return
        sharing = None
        if isinstance(subject.value, TensorSpec) and subject.value.storage is not None:
            known = self._watch.sharing
            sharing = None if known is None else known.others(subject.value)
        overview, packed = self._session.overview, None
        if isinstance(subject.value, TensorSpec) and overview is not None:
            packed = overview.packed.of(subject.value)
        self.facts.setText(plain(node_facts(subject, sharing, packed), 400))
        self._say_role(subject)

    def _say_role(self, subject: Node) -> None:
        """Say what the selection was taken for and why; the tree's menu is where that is corrected."""
        index = self._session.index
        row = outline_row(index.outline, subject) if index is not None else None
        reason = index.reasons.get(index.rows[row], "") if index is not None and row is not None else ""
        self.role.setText(plain(f"Taken for: {reason}" if reason else "", 300))
        self.role.setVisible(bool(reason))

    def copy_path(self) -> None:
        """Put the JSON Pointer of the selection on the clipboard; finding it may walk many siblings, so in a job."""
        subject = self._subject
        if isinstance(subject, Node | ModuleGroup):
            self._pointer.start(lambda _context: subject.pointer)
