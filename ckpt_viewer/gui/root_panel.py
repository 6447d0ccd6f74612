"""The panel of the root: what is this file, how far, how large, does it load here, what is in it, how to load it."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from ckpt_viewer.core.node import Node
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.text import grouped
from ckpt_viewer.gui import icons
from ckpt_viewer.gui.advice_list import AdviceList
from ckpt_viewer.gui.code_line import CodeLine
from ckpt_viewer.gui.elided import ElidedLabel
from ckpt_viewer.gui.labels import label, larger
from ckpt_viewer.gui.layouts import discard, empty
from ckpt_viewer.gui.links import LinkButton
from ckpt_viewer.gui.messages import WORDS
from ckpt_viewer.gui.panels.base import BEST, UNSUPPORTED, Panel
from ckpt_viewer.gui.session import Session
from ckpt_viewer.gui.summary import (
    Fact,
    Link,
    code_note,
    contents_links,
    file_name,
    kind_text,
    load_fact,
    root_facts,
)
from ckpt_viewer.gui.theme import theme, themes
from ckpt_viewer.gui.training_watch import Training, TrainingWatch
from ckpt_viewer.gui.tree import TreeIndex

BESIDE = 40
"""How well an overview shows a file that is one tensor: its histogram and values come first."""


class RootPanel(Panel):
    """Shows the overview of the session's checkpoint; follows its map_location and this machine's devices."""

    title = "Overview"
    linkActivated = Signal(str)
    """The pointer of an entry that was asked for."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self._heading = label(wrap=True)
        self._heading.setObjectName("rootHeading")
        larger(self._heading, 1.5, bold=True)
        self._file = ElidedLabel(mode=Qt.TextElideMode.ElideMiddle, muted=True)
        self._facts = QGridLayout()
        self._contents = QGridLayout()
        self._inside, self._load = _section("In this file"), _section("Load it in Python")
        self._before = _section("Before you resume")
        self.advice = AdviceList()
        self.advice.linkActivated.connect(self.linkActivated)
        self._code = CodeLine()
        self._code.setObjectName("rootCode")
        self._code_note = label(wrap=True, muted=True)
        self._facts_shown: list[tuple[Fact, str]] = []
        self._contents_shown: tuple[list[Link], int, str] | None = None
        self._advised: tuple[Training | None, str] = (None, "")
        self._arrange()
        self.linkActivated.connect(self._follow)
        self._watch = TrainingWatch.of(session)
        self._watch.ready.connect(self.refresh)
        session.described.connect(self.refresh)
        session.problemsChanged.connect(self.refresh)
        themes().changed.connect(self._repaint)

    def _arrange(self) -> None:
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(18, 14, 18, 14)
        column.setSpacing(6)
        column.addWidget(self._heading)
        column.addWidget(self._file)
        column.addSpacing(8)
        for grid in (self._facts, self._contents):
            grid.setHorizontalSpacing(14)
            grid.setVerticalSpacing(5)
            grid.setColumnStretch(1, 1)
        column.addLayout(self._facts)
        column.addSpacing(10)
        column.addWidget(self._inside)
        column.addLayout(self._contents)
        column.addSpacing(10)
        column.addWidget(self._before)
        column.addWidget(self.advice)
        column.addSpacing(10)
        column.addWidget(self._load)
        column.addWidget(self._code)
        column.addWidget(self._code_note)
        column.addWidget(label("Nothing in it was run to show this.", muted=True))
        column.addStretch()
        self.fill_scrolling(inside, "Overview of the file")

    @classmethod
    def rate(cls, subject: Any) -> int:
        """Best for the root that holds more than one tensor; beside its histogram for a file that is one tensor."""
        if isinstance(subject, Node) and subject.parent is None:
            return BESIDE if isinstance(subject.value, TensorSpec) else BEST
        return UNSUPPORTED

    def show_subject(self, subject: Any) -> None:
        """Show the file that the root belongs to."""
        del subject
        self.refresh()

    def remap(self) -> None:
        """The devices and the line of code changed."""
        self.refresh()

    def refresh(self) -> None:
        """Show what the session knows now."""
        session = self.session
        checkpoint, overview = session.checkpoint, session.overview
        if checkpoint is None or session.index is None:
            return
        if overview is None:
            if session.error is not None:
                self.show_error(session.error)
            else:
                self.begin("Looking through the file …")
            return
        load = load_fact(overview, checkpoint.locator, session.problems, session.devices, session.device_note)
        training = self._watch.training
        facts = root_facts(checkpoint, overview, load, training.going_on if training is not None else None)
        links, more = contents_links(checkpoint, overview, session.index)
        from ckpt_viewer.analysis.loading import FOLDERS, code_that_loads

        folder = checkpoint.format in FOLDERS
        self._inside.setText("In this folder" if folder else "In this file")
        code = code_that_loads(checkpoint, session.problems)
        note = code_note(checkpoint, code, session.problems)
        self._code_note.setText(note)
        self._code_note.setVisible(bool(note))
        self._show(kind_text(overview), file_name(checkpoint.path), facts, links, more, code)
        self._advise(training, session.index)
        self.show_body()
        self.settle()

    def _show(self, heading: str, name: str, facts: list[Fact], links: list[Link], more: int, code: str) -> None:
        self._code.show_code(code)
        self._load.setVisible(bool(code))
        self._code.setVisible(bool(code))
        self._heading.setText(heading)
        self._file.setText(name)
        self._show_facts(facts)
        self._show_contents(links, more)

    def _show_facts(self, facts: list[Fact]) -> None:
        """Show facts, anew only those that are not what stands there: to make all takes 20 ms."""
        wanted = [(fact, theme().name) for fact in facts]
        for row, (old, new) in enumerate(zip_longest(self._facts_shown, wanted)):
            if old == new:
                continue
            for place in (self._facts.itemAtPosition(row, 0), self._facts.itemAtPosition(row, 1)):
                if place is not None and (widget := place.widget()) is not None:
                    self._facts.removeWidget(widget)
                    discard(widget)
            if new is not None:
                self._facts.addWidget(_name(new[0].name), row, 0, Qt.AlignmentFlag.AlignTop)
                self._facts.addWidget(_fact(new[0]), row, 1, Qt.AlignmentFlag.AlignTop)
        self._facts_shown = wanted

    def _show_contents(self, links: list[Link], more: int) -> None:
        wanted = (links, more, theme().name)
        if wanted == self._contents_shown:
            return
        self._contents_shown = wanted
        empty(self._contents)
        for row, link in enumerate(links):
            self._contents.addWidget(self._link(link), row, 0, Qt.AlignmentFlag.AlignLeft)
            self._contents.addWidget(ElidedLabel(link.text), row, 1)
        if more:
            self._contents.addWidget(label(f"and {grouped(more)} more in the tree", muted=True), len(links), 0, 1, 2)
        if not links:
            self._contents.addWidget(label("nothing: it is empty, or a single value", muted=True), 0, 0, 1, 2)

    def _advise(self, training: Training | None, tree: TreeIndex) -> None:
        """Show what is to know before a training goes on, anew only where it is not what stands there."""
        if training is self._advised[0] and theme().name == self._advised[1]:
            return
        self._advised = (training, theme().name)
        advice = training.going_on.advice if training is not None else ()
        places = training.places if training is not None else ()
        pointers = [tree.pointer(tree.rows[row]) if each.path else "" for each, row in zip(advice, places, strict=True)]
        self.advice.show_advice(list(zip(advice, pointers, strict=True)))
        self._before.setVisible(bool(advice))

    def _link(self, link: Link) -> LinkButton:
        button = LinkButton(link.name or '""', limit=26)
        button.setAccessibleName(f"Go to {link.name}")
        button.clicked.connect(lambda: self.linkActivated.emit(link.pointer))
        return button

    def _follow(self, pointer: str) -> None:
        node = self.session.find(pointer)
        if node is not None:
            self.session.select(node)

    def _repaint(self) -> None:
        if self._facts_shown:
            self.refresh()


def _section(text: str) -> QLabel:
    made = label(text)
    larger(made, 1.1, bold=True)
    return made


def _name(text: str) -> QLabel:
    made = label(text, muted=True)
    made.setMinimumWidth(made.fontMetrics().horizontalAdvance("Loads here") + 8)
    return made


def _fact(fact: Fact) -> QWidget:
    text = label(fact.text, wrap=True, selectable=True, name=f"{fact.name}: {fact.text}")
    policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
    policy.setHeightForWidth(True)
    text.setSizePolicy(policy)
    text.setMinimumWidth(1)
    if not fact.severity:
        return text
    holder, picture = QWidget(), QLabel()
    drawn = icons.pixmap(fact.severity, 32, icons.colour_of(fact.severity, theme()))
    drawn.setDevicePixelRatio(2)
    picture.setPixmap(drawn)
    picture.setAccessibleName(WORDS[fact.severity])
    row = QHBoxLayout(holder)
    row.setContentsMargins(0, 0, 0, 0)
    row.addWidget(picture, 0, Qt.AlignmentFlag.AlignTop)
    row.addWidget(text, 1)
    return holder
