"""From "Compare with …" to a window of its own, and all such windows of the process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from ckpt_viewer.gui import asking
from ckpt_viewer.gui.compare.window import CompareWindow
from ckpt_viewer.gui.labels import NAME_LIMIT, plain

if TYPE_CHECKING:
    from ckpt_viewer.gui.main_window import MainWindow
    from ckpt_viewer.gui.windows import Windows


class Comparisons(QObject):
    """Opens windows that compare, and closes them when the program ends."""

    def __init__(self, windows: Windows) -> None:
        super().__init__(windows)
        self._windows = windows
        self._open: list[CompareWindow] = []
        windows.empty.connect(self.close)

    @property
    def all(self) -> tuple[CompareWindow, ...]:
        """Every window that compares, oldest first."""
        return tuple(self._open)

    def ask(self, window: MainWindow) -> None:
        """Ask what a window's file is to be compared with: another that is open, or one to choose; then compare."""
        others = [each for each in self._windows.all if each is not window and each.session.path]
        if others:
            names = [plain(each.session.path, 100) for each in others]
            number = asking.ask_which(window, "Compare with", "Compare with which file?", [*names, "Another file …"])
            if number is None:
                return
            if number < len(others):
                self.compare(window, others[number])
                return
        paths = asking.ask_files(window, str(Path(window.session.path).parent), f"Compare {_name(window)} with")
        if paths:
            self.compare_with_file(window, paths[0])

    def compare_with_file(self, window: MainWindow, path: str) -> CompareWindow | None:
        """Open a file in a window of its own, if it is in none, and compare with it."""
        self._windows.open([path])
        other = self._windows.find(str(Path(path).absolute()))
        return None if other is None else self.compare(window, other)

    def compare(self, a: MainWindow, b: MainWindow) -> CompareWindow:
        """Show what differs between two windows' files; a window that shows that already comes forward."""
        for shown in self._open:
            if {id(side.window) for side in shown.sides} == {id(a), id(b)}:
                shown.show()
                shown.raise_()
                return shown
        made = CompareWindow(a, b)
        made.closed.connect(self._forget)
        made.quitWanted.connect(self._windows.quit)
        self._open.append(made)
        made.show()
        made.raise_()
        made.activateWindow()
        return made

    def _forget(self, window: CompareWindow) -> None:
        self._open = [each for each in self._open if each is not window]

    def close(self) -> None:
        """Close every window that compares."""
        for window in self.all:
            window.close()


def _name(window: MainWindow) -> str:
    return plain(Path(window.session.path).name, NAME_LIMIT)
