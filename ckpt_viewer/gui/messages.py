"""The one route for what the user is told: messages with a severity and actions, newest first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from PySide6.QtCore import QObject, Signal

from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.gui.labels import NAME_LIMIT, plain

if TYPE_CHECKING:
    from ckpt_viewer.core.finding import Note

LIMIT = 50
"""Messages that are kept; the oldest go first."""

WORDS = {"error": "Error", "warning": "Warning", "success": "Done", "info": "Note"}
"""Severity -> the word that stands for it, since a colour is never the only sign."""


class Action(NamedTuple):
    """A button of a message: its text, what it does, and whether the message goes once it was pressed."""

    text: str
    call: Callable[[], None]
    dismisses: bool = True


class Message(NamedTuple):
    """Something to tell.

    Attributes:
        severity: ``error``, ``warning``, ``success`` or ``info``.
        text: plain sentences; text from a file has been escaped.
        actions: buttons. With one, a message stays until it is dismissed.
        topic: a message replaces the earlier one of the same topic; ``""`` for none.
    """

    severity: str
    text: str
    actions: tuple[Action, ...] = ()
    topic: str = ""

    @property
    def stays(self) -> bool:
        """Whether only the user dismisses it."""
        return bool(self.actions) or self.severity in ("error", "warning")


class Messages(QObject):
    """The messages of one window, newest first."""

    changed = Signal()
    posted = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._all: list[Message] = []

    @property
    def all(self) -> tuple[Message, ...]:
        """Newest first."""
        return tuple(self._all)

    def post(self, message: Message, *, behind: bool = False) -> Message:
        """Show a message. One of the same topic is replaced; the very same one is not shown twice.

        Args:
            behind: leave the newest one on display, which is what the user waited for.
        """
        if message.topic:
            self._all = [other for other in self._all if other.topic != message.topic]
        self._all = [other for other in self._all if (other.severity, other.text) != (message.severity, message.text)]
        first = 1 if behind else 0
        self._all = [*self._all[:first], message, *self._all[first:]][:LIMIT]
        self.changed.emit()
        self.posted.emit(message)
        return message

    def report(self, error: BaseException, *, about: str = "", actions: tuple[Action, ...] = ()) -> Message:
        """Show an error; `about` names the file or the work."""
        return self.post(Message("error", error_text(error, about), actions))

    def dismiss(self, message: Message) -> None:
        """Take a message away; one that is gone is ignored."""
        kept = [other for other in self._all if other is not message]
        if len(kept) != len(self._all):
            self._all = kept
            self.changed.emit()

    def drop(self, topic: str) -> None:
        """Take the message of a topic away."""
        for message in self.all:
            if message.topic == topic:
                self.dismiss(message)

    def clear(self) -> None:
        """Take every message away."""
        if self._all:
            self._all = []
            self.changed.emit()


def salvaged_message(notes: Iterable[Note]) -> Message:
    """Return the message over what is left of a broken file."""
    text = next((note.message for note in notes if note.code == "salvaged"), "")
    return Message("warning", plain(f"{text[:1].upper()}{text[1:]}.", 600), topic="salvaged")


def error_text(error: BaseException, about: str = "") -> str:
    """Return what the user reads of an error: expected ones are sentences, unexpected ones say that they are that."""
    subject = f"{plain(about, NAME_LIMIT)}: " if about else ""
    if isinstance(error, CheckpointError):
        return f"{subject}{plain(str(error), 1500)}."
    if isinstance(error, MemoryError):
        return f"{subject}there is not enough memory for this; close other programs and try again."
    detail = plain(f"{type(error).__name__}: {error}", 300)
    return f"{subject}something went wrong that this program did not expect ({detail}). Please report it."
