"""What the menus, keys, buttons and drops of one window do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt, QTimer
from PySide6.QtGui import QKeySequence, QShortcut

from ckpt_viewer.gui.actions import Actions

if TYPE_CHECKING:
    from ckpt_viewer.gui.main_window import MainWindow
    from ckpt_viewer.gui.panels import DetailTabs
    from ckpt_viewer.gui.shortcuts import ShortcutCard
    from ckpt_viewer.gui.slim_flow import SlimFlow
    from ckpt_viewer.gui.start_page import StartPage
    from ckpt_viewer.gui.verify_flow import VerifyFlow


EXPORTS = ("export", "export_more", "remap", "remap_loaded", "slim")
"""Actions in the menu of the export button."""


class WindowActions(QObject):
    """The actions of one window, and the methods behind them."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self._window = window
        self._card: ShortcutCard | None = None
        self._verify: VerifyFlow | None = None
        self._slim: SlimFlow | None = None
        calls: dict[str, Callable[[], object]] = {
            "open": self.ask_and_open,
            "open_folder": self.ask_and_open_folder,
            "reload": window.session.reload,
            "export": self.export,
            "export_more": self.ask_export,
            "remap": self.remap,
            "remap_loaded": self.remap_as_loaded,
            "slim": self.save_without_optimizer,
            "compare": self.compare,
            "verify": self.verify,
            "close": window.close,
            "quit": self.quit,
            "find": window.tree.filtering.focus,
            "tree": self.focus_tree,
            "parent": self.select_parent,
            "load_onto": window.toolbar.load_onto.focus_box,
            "shortcuts": self.toggle_shortcuts,
            "sample": self.open_sample,
            "associate": self.associate,
        }
        self.actions = Actions(window, calls)
        self.actions.add_recent_menu(lambda: window.windows.settings.recent, self.open_recent)
        window.toolbar.export_menu.addActions([self.actions[name] for name in EXPORTS])
        window.tree.view.exportWanted.connect(self.export_rows)
        self.refresh()

    def refresh(self) -> None:
        """Offer what can be done with what is open."""
        window = self._window
        session = window.session
        is_open = session.checkpoint is not None
        for name in (
            "export_more",
            "remap",
            "remap_loaded",
            "compare",
            "verify",
            "find",
            "tree",
            "parent",
            "load_onto",
        ):
            self.actions[name].setEnabled(is_open)
        if session.checkpoint is not None and session.checkpoint.contents.salvaged:
            for name in ("remap", "remap_loaded", "slim"):
                self.actions[name].setEnabled(False)  # a copy of a broken file would be broken
        self.actions["reload"].setEnabled(bool(session.path))
        # until the file was looked through it is not known whether there is a model, and asking would take a walk
        index = session.index if session.overview is not None else None
        can_export = is_open and index is not None and index.totals.tensors(0) > 0
        self.actions["export"].setEnabled(can_export)
        window.toolbar.export_button.setEnabled(can_export)

    def say_salvaged(self) -> None:
        """Say that this is what is left of a broken file, where it is."""
        checkpoint = self._window.session.checkpoint
        if checkpoint is None or not checkpoint.contents.salvaged:
            return
        from ckpt_viewer.gui.messages import salvaged_message

        self._window.messages.post(salvaged_message(checkpoint.contents.notes))

    def connect_start_page(self, page: StartPage) -> None:
        """Have the buttons of an empty or failed window do something."""
        session = self._window.session
        page.openWanted.connect(self.ask_and_open)
        page.remapWanted.connect(self.ask_and_remap)
        page.sampleWanted.connect(self.open_sample)
        page.associateWanted.connect(self.associate)
        page.recentWanted.connect(self.open_recent)
        page.retryWanted.connect(session.reload)
        page.salvageWanted.connect(session.salvage)
        page.stopWanted.connect(lambda: session.opening.cancel() if session.opening is not None else None)

    def connect_details(self, details: DetailTabs) -> None:
        """Ctrl+1 ... Ctrl+9 choose a panel; Enter in the tree goes there."""
        for number in range(1, 10):
            shortcut = QShortcut(QKeySequence(f"Ctrl+{number}"), self._window)
            shortcut.activated.connect(lambda chosen=number: details.choose(chosen))
        self._window.tree.nodeActivated.connect(lambda _: details.tabs.setFocus(Qt.FocusReason.OtherFocusReason))
        back = QShortcut(QKeySequence("Esc"), details)
        back.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        back.activated.connect(self.focus_tree)

    def take_drop(self, half: str, paths: Sequence[str]) -> None:
        """Open what was dropped; on the second half, mapped to the CPU, and write a copy of each."""
        from ckpt_viewer.gui.drops import REMAP

        remap = half == REMAP
        windows, window = self._window.windows, self._window
        # later: the program that the files come from waits until the drop is answered
        QTimer.singleShot(
            0, window, lambda: windows.open(paths, window, map_location="cpu" if remap else None, remap=remap)
        )

    def ask_and_open(self) -> None:
        """Ask for files and open them."""
        self._open(self._ask("Open checkpoints"))

    def ask_and_open_folder(self) -> None:
        """Ask for a folder and open it as one checkpoint."""
        from ckpt_viewer.gui.asking import ask_folder

        folder = ask_folder(self._window, self._folder())
        if folder:
            self._window.windows.settings.set("folder", str(Path(folder).parent))
            self._open([folder])

    def ask_and_remap(self) -> None:
        """Ask for files, open them mapped to the CPU and write a copy of each."""
        self._window.windows.open(self._ask("Remap to CPU"), self._window, map_location="cpu", remap=True)

    def _ask(self, title: str) -> list[str]:
        from ckpt_viewer.gui.asking import ask_files

        paths = ask_files(self._window, self._folder(), title)
        if paths:
            self._window.windows.settings.set("folder", str(Path(paths[0]).parent))
        return paths

    def _folder(self) -> str:
        """Return where a dialog begins: beside the open file, else where the last one ended."""
        path = self._window.session.path
        return str(Path(path).parent) if path else self._window.windows.settings.text("folder")

    def _open(self, paths: Sequence[str]) -> None:
        if paths:
            self._window.windows.open(paths, self._window)

    def open_recent(self, path: str) -> None:
        """Open a file of the recent ones."""
        self._open([path])

    def open_sample(self) -> None:
        """Open the checkpoint that comes with the program."""
        from ckpt_viewer.resources import sample_checkpoint

        try:
            self._open([str(sample_checkpoint())])
        except FileNotFoundError as error:
            self._window.messages.report(error)

    def export(self) -> None:
        """Write the model's state_dict."""
        self._window.export_flow.export_state_dict()

    def ask_export(self) -> None:
        """Ask what to export and how."""
        self._window.export_flow.ask_export()

    def export_rows(self) -> None:
        """Ask how to export what is selected in the tree."""
        view = self._window.tree.view
        self._window.export_flow.ask_export(view.picked_rows or [view.current_row])

    def remap(self) -> None:
        """Write a copy for the CPU."""
        if self._window.session.checkpoint is not None:
            self._window.export_flow.remap_to_cpu()

    def remap_as_loaded(self) -> None:
        """Write a copy for the devices that "Load onto" says."""
        if self._window.session.checkpoint is not None:
            self._window.export_flow.remap_as_loaded()

    def compare(self) -> None:
        """Show what differs between this file and another one."""
        if self._window.session.checkpoint is not None:
            self._window.windows.comparisons.ask(self._window)

    def save_without_optimizer(self) -> None:
        """Write a copy without the optimizer."""
        window = self._window
        if self._slim is None:
            from ckpt_viewer.gui.slim_flow import SlimFlow

            self._slim = SlimFlow(window.session, window.messages, window.export_flow, window)
        self._slim.ask()

    def verify(self) -> None:
        """Read the whole file and compare its checksums."""
        if self._verify is None:
            from ckpt_viewer.gui.verify_flow import VerifyFlow

            self._verify = VerifyFlow(self._window.session, self._window.messages, self._window)
        self._verify.verify()

    def focus_tree(self) -> None:
        """Give the tree the keyboard."""
        self._window.tree.view.setFocus(Qt.FocusReason.ShortcutFocusReason)

    def select_parent(self) -> None:
        """Select what the selection lies in."""
        parent = getattr(self._window.session.selected, "parent", None)
        if parent is not None:
            self._window.session.select(parent)

    def toggle_shortcuts(self) -> None:
        """Show or hide the list of keys."""
        if self._card is None:
            from ckpt_viewer.gui.shortcuts import ShortcutCard

            self._card = ShortcutCard(self._window)
        self._card.toggle()

    def associate(self) -> None:
        """Have the system open checkpoints with this program."""
        from ckpt_viewer.gui.association import associate

        associate(self._window)

    def quit(self) -> None:
        """Close every window; one that is writing may refuse."""
        self._window.windows.quit()
