"""The strip that shows messages in place: the newest, its actions, and how many there are."""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QPainter, QPaintEvent, QShowEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QToolButton, QWidget

from ckpt_viewer.gui import icons
from ckpt_viewer.gui.guard import called_by_qt
from ckpt_viewer.gui.labels import foldable, label
from ckpt_viewer.gui.layouts import discard
from ckpt_viewer.gui.messages import WORDS, Action, Message, Messages
from ckpt_viewer.gui.theme import theme, themes

TRANSIENT_MS = 12_000
"""How long a message stays that nobody has to answer."""


class MessageBar(QFrame):
    """Shows one message of a Messages at a time; hidden while there is none.

    Attributes:
        behind: Tab comes from this widget to the buttons of the bar; None for the order in which they are made.
    """

    def __init__(self, messages: Messages, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.behind: QWidget | None = None
        self.setObjectName("messageBar")
        self.setAccessibleName("Messages")
        self.messages = messages
        self._position = 0
        self._buttons: list[QPushButton] = []
        self._filled: Message | None = None
        self._build()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._expire)
        messages.changed.connect(self.refresh)
        messages.posted.connect(self._announce)
        themes().changed.connect(self.refresh)
        self.refresh()

    def _build(self) -> None:
        self._icon = QLabel()
        self._text = label(wrap=True, selectable=True)
        self._text.setObjectName("messageText")
        self._actions = QHBoxLayout()
        self._count = label(muted=True)
        self._previous = self._tool("previous", "Newer message", lambda: self._turn(-1))
        self._next = self._tool("next", "Older message", lambda: self._turn(1))
        self._dismiss = self._tool("close", "Dismiss this message", self._dismiss_shown)
        self._dismiss.setObjectName("messageDismiss")
        row = QHBoxLayout(self)
        row.setContentsMargins(14, 7, 8, 7)
        row.setSpacing(8)
        row.addWidget(self._icon, 0, Qt.AlignmentFlag.AlignVCenter)
        row.addWidget(self._text, 1)
        row.addLayout(self._actions)
        for widget in (self._count, self._previous, self._next, self._dismiss):
            row.addWidget(widget)
        self.setAutoFillBackground(True)
        self.setBackgroundRole(self.palette().ColorRole.AlternateBase)

    def _tool(self, name: str, words: str, call: object) -> QToolButton:
        button = QToolButton()
        button.setAutoRaise(True)
        button.setAccessibleName(words)
        button.setToolTip(words)
        icons.tint(button, name)
        button.clicked.connect(call)
        return button

    @property
    def shown(self) -> Message | None:
        """The message that is on display."""
        every = self.messages.all
        return every[self._position] if self._position < len(every) else None

    def refresh(self) -> None:
        """Show what `messages` holds now."""
        every = self.messages.all
        self._position = max(0, min(self._position, len(every) - 1))
        self._timer.stop()
        message = self.shown
        if message is not None:
            self._fill(message)
            self._count.setText(f"{self._position + 1} of {len(every)}")
            for widget in (self._count, self._previous, self._next):
                widget.setVisible(len(every) > 1)
            self._previous.setEnabled(self._position > 0)
            self._next.setEnabled(self._position + 1 < len(every))
            if not message.stays:
                self._timer.start(TRANSIENT_MS)
        self.setVisible(message is not None)
        self.update()  # the stripe is nothing that a label would paint anew

    def _fill(self, message: Message) -> None:
        picture = icons.pixmap(message.severity, 40, icons.colour_of(message.severity, theme()))
        picture.setDevicePixelRatio(2)
        self._icon.setPixmap(picture)
        self._icon.setAccessibleName(WORDS[message.severity])
        self._text.setText(foldable(message.text))
        if message is self._filled:
            return
        self._filled = message
        for button in self._buttons:
            self._actions.removeWidget(button)
            discard(button)
        self._buttons = []
        for action in message.actions:
            button = QPushButton(action.text)
            button.setObjectName("messageAction")
            button.setAutoDefault(False)
            button.clicked.connect(lambda _=False, chosen=action: self._press(message, chosen))
            self._actions.addWidget(button)
            button.show()
            self._buttons.append(button)
        self._order()

    def _order(self) -> None:
        """Have Tab go through the bar from left to right, where it stands; new buttons would come last of all."""
        before = self.behind
        if before is None or before.window() is not self.window():
            return
        for button in (*self._buttons, self._previous, self._next, self._dismiss):
            self.setTabOrder(before, button)
            before = button

    def showEvent(self, event: QShowEvent) -> None:
        """It may have got its place meanwhile."""
        super().showEvent(event)
        self._order()

    def _press(self, message: Message, action: Action) -> None:
        if action.dismisses:
            self.messages.dismiss(message)
        action.call()

    def _turn(self, by: int) -> None:
        self._position += by
        self.refresh()

    def _dismiss_shown(self) -> None:
        if self.shown is not None:
            self.messages.dismiss(self.shown)

    def _expire(self) -> None:
        message = self.shown
        if message is not None and not message.stays:
            self.messages.dismiss(message)

    def _announce(self, message: Message) -> None:
        self._position = 0
        self.refresh()
        announce(self, f"{WORDS[message.severity]}: {message.text}", urgent=message.severity == "error")

    @called_by_qt
    def paintEvent(self, event: QPaintEvent) -> None:
        """Add the stripe in the colour of the severity."""
        super().paintEvent(event)
        if self.shown is not None:
            painter = QPainter(self)
            painter.fillRect(0, 0, 4, self.height(), icons.colour_of(self.shown.severity, theme()))
            painter.end()


def announce(widget: QWidget, text: str, *, urgent: bool = False) -> None:
    """Have a screen reader say something."""
    from PySide6.QtGui import QAccessible, QAccessibleEvent

    try:
        from PySide6.QtGui import QAccessibleAnnouncementEvent
    except ImportError:  # Qt before 6.8 knows alerts only
        QAccessible.updateAccessibility(QAccessibleEvent(widget, QAccessible.Event.Alert))
        return
    event = QAccessibleAnnouncementEvent(widget, text)
    politeness = QAccessible.AnnouncementPoliteness
    event.setPoliteness(politeness.Assertive if urgent else politeness.Polite)
    QAccessible.updateAccessibility(event)
