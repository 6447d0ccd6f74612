"""What a detail panel is: it rates what is selected, is built on first use, and says in its place what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QScrollArea, QStackedLayout, QVBoxLayout, QWidget

from ckpt_viewer.errors import SourceError
from ckpt_viewer.gui.labels import label
from ckpt_viewer.gui.messages import error_text

if TYPE_CHECKING:
    from ckpt_viewer.gui.session import Session

UNSUPPORTED = 0
"""A panel rates what is selected from UNSUPPORTED to BEST; the best one is shown, the others are tabs beside it."""
BEST = 100

LOADING_AFTER = 150
"""Milliseconds without an answer after which a panel says that it is reading; sooner would only flicker."""


class Panel(QWidget):
    """One tab of the details. Built when it is first shown; then told of each selection that it supports.

    A subclass gives `title`, `rate`, `show_subject` and, where it starts work, `clear`; it puts its widgets on `body`.
    """

    title: ClassVar[str]
    uses_tree: ClassVar[bool] = False
    """Whether it shows rows of the tree, and so has to be told anew when they are laid out differently."""
    wanted_soon: ClassVar[bool] = False
    """Whether most clicks lead here, so that it is built and prepared once nothing else is to be done."""
    shows_places: ClassVar[bool] = False
    """Whether it has `show_place`: the one panel that others send to for a value."""
    settled = Signal()
    """What is shown is final: nothing is being read any more."""
    place_wanted = Signal(object)
    """The value at an index (a tuple) of the tensor is to be shown, by the panel that `shows_places`."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.setAccessibleName(self.title)
        self.body = QWidget()
        self._notice = Notice()
        self._stack = QStackedLayout(self)
        self._stack.addWidget(self.body)
        self._stack.addWidget(self._notice)
        self._is_settled = True
        self._late_sentence = ""
        self._late = QTimer(self)
        self._late.setSingleShot(True)
        self._late.setInterval(LOADING_AFTER)
        self._late.timeout.connect(lambda: self._page(self._late_sentence))

    def fill_scrolling(self, inside: QWidget, words: str) -> None:
        """Put `inside` on the body, with a scroll bar where it is too high; `words` is the area's accessible name."""
        area = QScrollArea()
        area.setWidget(inside)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setAccessibleName(words)
        layout = QVBoxLayout(self.body)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(area)

    @classmethod
    def rate(cls, subject: Any) -> int:
        """Return how well this panel shows `subject` (a Node or a module group), UNSUPPORTED ... BEST."""
        raise NotImplementedError

    def prepare(self) -> Iterator[None]:
        """Do what would take long at the first use, a piece that the window can wait for before each ``yield``."""
        yield from ()

    def show_subject(self, subject: Any) -> None:
        """Show another selection that `rate` did not refuse. Starts jobs, never waits for them."""
        raise NotImplementedError

    def show_place(self, index: tuple[int, ...]) -> None:
        """Show the value at an index of the tensor that was given to `show_subject`."""

    def clear(self) -> None:
        """Cancel work and let go of the selection: it is shown elsewhere, or the file is closed."""

    def remap(self) -> None:
        """Another map_location was chosen; only devices may differ."""

    @property
    def is_settled(self) -> bool:
        """Whether nothing is being read for what is shown."""
        return self._is_settled

    def begin(self, sentence: str = "Reading the values …") -> None:
        """Work was started: unless an answer comes first, say so after a moment (``""``: the body shows it itself)."""
        self._is_settled = False
        self._late_sentence = sentence
        if sentence:
            self._late.start()

    def show_body(self) -> None:
        """Show the panel's own widgets."""
        self._late.stop()
        self._stack.setCurrentWidget(self.body)

    def settle(self) -> None:
        """What is shown is final."""
        self._late.stop()
        self._is_settled = True
        self.settled.emit()

    def show_sentence(self, sentence: str, action: str = "", on_action: Callable[[], object] | None = None) -> None:
        """Say in the panel's place why there is nothing to see, with a button if there is something to do; settles."""
        self._page(sentence, action, on_action)
        self.settle()

    def show_error(self, error: BaseException) -> None:
        """Say in the panel's place what failed; an error of the file offers to read it again."""
        text = error_text(error)
        text = text[:1].upper() + text[1:]
        if isinstance(error, SourceError):
            self.show_sentence(text, "Reload the file", self.session.reload)
        else:
            self.show_sentence(text)

    @property
    def sentence(self) -> str:
        """The sentence that stands in the panel's place; ``""`` while its own widgets are shown."""
        return self._notice.text.text() if self._stack.currentWidget() is self._notice else ""

    def _page(self, sentence: str, action: str = "", on_action: Callable[[], object] | None = None) -> None:
        self._notice.say(sentence, action, on_action)
        self._stack.setCurrentWidget(self._notice)


class Notice(QWidget):
    """A sentence in the middle of an empty place, with at most one button."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.text = label(wrap=True, selectable=True)
        self.text.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.button = QPushButton()
        self._on_action: Callable[[], object] | None = None
        self.button.clicked.connect(self._act)
        buttons = QHBoxLayout()
        buttons.addStretch()
        buttons.addWidget(self.button)
        buttons.addStretch()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(32, 24, 32, 24)
        layout.addStretch(2)
        layout.addWidget(self.text)
        layout.addSpacing(8)
        layout.addLayout(buttons)
        layout.addStretch(3)

    def say(self, sentence: str, action: str = "", on_action: Callable[[], object] | None = None) -> None:
        """Show `sentence`, and a button called `action` that calls `on_action`."""
        self.text.setText(sentence)
        self.text.setAccessibleName(sentence)
        self.button.setText(action)
        self.button.setVisible(bool(action))
        self._on_action = on_action

    def _act(self) -> None:
        if self._on_action is not None:
            self._on_action()
