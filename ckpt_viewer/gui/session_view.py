"""What a Session asks of whoever shows it."""

from __future__ import annotations

from typing import Protocol


class View(Protocol):
    """What shows a session. Passive: it is told, and asks the session for what it shows."""

    def show_loading(self) -> None:
        """A file is being opened: `session.path`, `session.opening`."""

    def show_opened(self) -> None:
        """`session.checkpoint` and `session.index` are there."""

    def show_described(self) -> None:
        """`session.overview` is there."""

    def show_failed(self, error: BaseException) -> None:
        """The file could not be opened."""

    def show_remapped(self) -> None:
        """Another map_location; nothing else changed."""

    def show_problems(self) -> None:
        """`session.problems` changed: what torch.load would say on this machine."""

    def show_selected(self, node: object) -> None:
        """Another node is selected."""
