"""What a file association answers, and what each platform's must be able to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Report(NamedTuple):
    """The answer to install, uninstall or status.

    Attributes:
        ok: what was asked for is so; False when something is missing (a line names it).
        installed: checkpoints open with this program now, as far as this program arranged it.
        lines: sentences for the user, one a line, the most important first.
    """

    ok: bool
    installed: bool
    lines: list[str]


class Backend(Protocol):
    """One platform's file association, for the current user."""

    def install(self, command: Sequence[str]) -> Report:
        """Make checkpoints open with `command` (absolute program, then arguments; ``view -- FILE`` is added).

        Raises:
            DesktopError: the system refused; what had been made is removed again.
        """

    def uninstall(self) -> Report:
        """Remove exactly what install made.

        Raises:
            DesktopError: the system refused.
        """

    def status(self) -> Report:
        """Say what is so; change nothing."""
