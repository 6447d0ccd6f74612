"""Where one types a filter, with a list of the words that go on from what was typed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QFocusEvent, QKeyEvent
from PySide6.QtWidgets import QLineEdit

if TYPE_CHECKING:
    from PySide6.QtWidgets import QCompleter, QListView

LEAST = 2
"""Letters of a word from which on the list opens by itself; Ctrl+Space opens it at once."""


class FilterEdit(QLineEdit):
    """Esc clears it; Down, Enter and a second Esc go to the tree.

    While the list of words is open, Down and Up choose, Enter and Tab take what is chosen, and Esc closes the list.

    Attributes:
        offer: returns the words that a beginning of one can become.
    """

    left = Signal(bool)
    """Back to the tree; True: to the first match."""

    def __init__(self) -> None:
        super().__init__()
        self.offer: Callable[[str], Sequence[str]] = lambda _: ()
        self._completer: QCompleter | None = None
        self._popup: QListView | None = None
        self.textEdited.connect(lambda _: self._complete(LEAST))

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self.setClearButtonEnabled(True)  # not at start-up: its icon costs 6 ms

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Keys that mean something here come before those that edit; see the class."""
        key = event.key()
        if key == Qt.Key.Key_Space and event.modifiers() == Qt.KeyboardModifier.ControlModifier:
            self._complete(0)
        elif self._is_for_list(key):
            event.ignore()  # the completer does it
            return
        elif key == Qt.Key.Key_Escape:
            self.clear()
            self.left.emit(False)
        elif key in (Qt.Key.Key_Down, Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._close_list()
            self.left.emit(True)
        else:
            super().keyPressEvent(event)
            return
        event.accept()

    def _is_for_list(self, key: int) -> bool:
        """Whether a key is meant for the list, which is open; Enter and Tab only once something in it was chosen."""
        if self._popup is None or not self._popup.isVisible():
            return False
        names = Qt.Key  # not at start-up: its 500 members cost 4 ms
        if key in (names.Key_Down, names.Key_Up, names.Key_Escape):
            return True
        taken = key in (names.Key_Return, names.Key_Enter, names.Key_Tab)
        return taken and self._popup.currentIndex().isValid()

    def _close_list(self) -> None:
        if self._popup is not None:
            self._popup.hide()

    def _word(self) -> tuple[int, str]:
        """Return where the word before the cursor begins, and the word."""
        before = self.text()[: self.cursorPosition()]
        start = before.rfind(" ") + 1
        return start, before[start:]

    def _complete(self, least: int) -> None:
        _, word = self._word()
        words = [each for each in self.offer(word) if each != word] if len(word) >= least else []
        if not words:
            self._close_list()
            return
        self._list(words).complete(self.rect().adjusted(0, 0, min(0, 320 - self.width()), 0))

    def _list(self, words: list[str]) -> QCompleter:
        from PySide6.QtCore import QStringListModel
        from PySide6.QtWidgets import QCompleter, QListView

        if self._completer is None:
            completer = self._completer = QCompleter(self)
            popup = self._popup = QListView()
            popup.setObjectName("filterWords")
            popup.setAccessibleName("Words for the filter")
            popup.setUniformItemSizes(True)
            completer.setPopup(popup)
            completer.setCompletionMode(QCompleter.CompletionMode.UnfilteredPopupCompletion)
            completer.setWidget(self)
            completer.setMaxVisibleItems(12)
            completer.activated.connect(self._take)
        self._completer.setModel(QStringListModel(words, self._completer))
        return self._completer

    def _take(self, word: str) -> None:
        start, begun = self._word()
        text, end = self.text(), start + len(begun)
        gap = "" if word[-1] in ":<>=" or text[end : end + 1] == " " else " "
        self.setText(text[:start] + word + gap + text[end:])
        self.setCursorPosition(start + len(word) + len(gap))
        self._complete(LEAST)
