"""Every action of a window: one table for the menus, the shortcuts and the list that F1 shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from PySide6.QtGui import QAction, QActionGroup, QKeySequence
from PySide6.QtWidgets import QMainWindow, QMenu

from ckpt_viewer.gui.labels import menu_text, plain
from ckpt_viewer.gui.settings import Settings
from ckpt_viewer.gui.theme import CHOICES, themes


class Entry(NamedTuple):
    """One action. `name` is its key in `Actions`; `keys` as Qt spells them, the first is shown."""

    menu: str
    name: str
    text: str
    keys: tuple[str, ...] = ()
    separated: bool = False


TABLE = (
    Entry("File", "open", "&Open …", ("Ctrl+O",)),
    Entry("File", "open_folder", "Open &folder …", ("Ctrl+Shift+O",)),
    Entry("File", "reload", "&Reload", ("F5", "Ctrl+R")),
    Entry("File", "export", "&Export state_dict …", ("Ctrl+E",), separated=True),
    Entry("File", "export_more", "E&xport …", ("Ctrl+Shift+E",)),
    Entry("File", "remap", "Re&map to CPU", ("Ctrl+Shift+R",)),
    Entry("File", "remap_loaded", "Remap as in &Load onto"),
    Entry("File", "slim", "Save &without optimizer …"),
    Entry("File", "compare", "Com&pare with …", ("Ctrl+D",)),
    Entry("File", "verify", "&Verify checksums"),
    Entry("File", "close", "&Close window", ("Ctrl+W",), separated=True),
    Entry("File", "quit", "&Quit", ("Ctrl+Q",)),
    Entry("Go", "find", "&Find an entry", ("Ctrl+F",)),
    Entry("Go", "tree", "Back to the &tree", ("Ctrl+T",)),
    Entry("Go", "parent", "&Parent of the selection", ("Alt+Up",)),
    Entry("Go", "load_onto", "&Load onto", ("Ctrl+L",), separated=True),
    Entry("Help", "shortcuts", "&Keyboard shortcuts", ("F1",)),
    Entry("Help", "sample", "Open the &sample"),
    Entry("Help", "associate", "Open .pth with this &program", separated=True),
)
"""In the order of the menus."""

ELSEWHERE = (
    ("Ctrl+1 … Ctrl+9", "Panel 1 … 9 of the selection"),
    ("Esc", "Clear the filter; back to the tree"),
    ("Enter", "From the tree to the panel"),
    ("Backspace", "Parent, in the tree"),
    ("Ctrl+C", "Copy the path, in the tree"),
    ("Ctrl+Shift+C", "Copy the row, in the tree"),
    ("Arrows, letters", "Move in the tree; type the beginning of a name"),
    ("*", "Expand everything below, in the tree"),
)
"""Keys that are no entries of a menu, for the list of F1."""


class Actions:
    """The QActions of one window, by their names in TABLE, and its menus."""

    def __init__(self, window: QMainWindow, calls: dict[str, Callable[[], object]]) -> None:
        self._by_name: dict[str, QAction] = {}
        self._menus: dict[str, QMenu] = {}
        for entry in TABLE:
            menu = self._menus.get(entry.menu)
            if menu is None:
                menu = self._menus[entry.menu] = window.menuBar().addMenu(f"&{entry.menu}")
                if entry.menu == "File":
                    self._add_theme_menu(window)
            if entry.separated:
                menu.addSeparator()
            action = QAction(entry.text, window)
            action.setObjectName(f"action_{entry.name}")
            action.setShortcuts([QKeySequence(keys) for keys in entry.keys])
            action.triggered.connect(lambda _=False, call=calls[entry.name]: call())
            menu.addAction(action)
            self._by_name[entry.name] = action

    def __getitem__(self, name: str) -> QAction:
        return self._by_name[name]

    def add_recent_menu(self, fill: Callable[[], list[str]], choose: Callable[[str], object]) -> None:
        """Add File > Open recent; `fill` is asked for the paths each time it is opened."""
        recent = QMenu("Open re&cent", self._menus["File"])
        self._menus["File"].insertMenu(self["reload"], recent)
        recent.aboutToShow.connect(lambda: fill_recent(recent, fill(), choose))

    def _add_theme_menu(self, window: QMainWindow) -> None:
        view = window.menuBar().addMenu("&View")
        menu = view.addMenu("&Theme")
        group = QActionGroup(menu)
        for choice in CHOICES:
            action = menu.addAction({"system": "As the &system", "light": "&Light", "dark": "&Dark"}[choice])
            action.setCheckable(True)
            action.setData(choice)
            group.addAction(action)
        group.triggered.connect(lambda action: choose_theme(action.data()))
        menu.aboutToShow.connect(lambda: _check_current(group))
        self._menus["View"] = view

    @property
    def view_menu(self) -> QMenu:
        """Where the tree and the panels may add their switches."""
        return self._menus["View"]


def choose_theme(choice: str) -> None:
    """Show a theme and remember it."""
    themes().choose(choice)
    Settings().set("theme", choice)


def _check_current(group: QActionGroup) -> None:
    for action in group.actions():
        action.setChecked(action.data() == themes().choice)


def fill_recent(menu: QMenu, paths: list[str], choose: Callable[[str], object]) -> None:
    """Fill a menu with recent files; what is not there any more cannot be chosen."""
    menu.clear()
    for number, path in enumerate(paths, 1):
        action = menu.addAction(f"&{number % 10}  {menu_text(path, 80)}")
        action.setStatusTip(plain(path))
        action.triggered.connect(lambda _=False, chosen=path: choose(chosen))
    if not paths:
        menu.addAction("No recent files").setEnabled(False)


def shortcut_rows() -> list[tuple[str, str]]:
    """Return (keys, what they do) for everything that a key does, as this system writes keys."""
    rows = [
        (", ".join(_native(keys) for keys in entry.keys), entry.text.replace("&", "").replace(" …", ""))
        for entry in TABLE
        if entry.keys
    ]
    return rows + [(keys, text) for keys, text in ELSEWHERE]


def _native(keys: str) -> str:
    return QKeySequence(keys).toString(QKeySequence.SequenceFormat.NativeText)
