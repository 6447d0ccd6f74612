"""The tree's context menu."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QMenu

if TYPE_CHECKING:
    from ckpt_viewer.gui.tree.view import CheckpointTreeView


def tree_menu(view: CheckpointTreeView) -> QMenu:
    """Return a menu for the current row."""
    menu, model, index = QMenu(view), view.tree_model, view.currentIndex()
    cells, tree, row = model.cells, model.tree, model.row_of(index)

    def add(text: str, action: Callable[[], object], keys: str = "", *, enabled: bool = True) -> None:
        added = menu.addAction(text)
        added.triggered.connect(lambda: action())
        added.setEnabled(enabled)
        if keys:
            added.setShortcut(QKeySequence(keys))

    is_row = cells is not None and row >= 0
    has_below = is_row and model.hasChildren(index.siblingAtColumn(0))
    add("Copy path", view.copy_path, "Ctrl+C", enabled=is_row)
    add("Copy row", view.copy_row, "Ctrl+Shift+C", enabled=is_row)
    add("Copy value", view.copy_value, enabled=cells is not None and row >= 0 and cells.copied_value(row) is not None)
    menu.addSeparator()
    add("Expand subtree", view.expand_subtree, "*", enabled=has_below)
    add("Collapse", lambda: view.collapse(index.siblingAtColumn(0)), enabled=has_below and row > 0)
    add("Select parent", view.go_up, "Backspace", enabled=index.parent().isValid())
    menu.addSeparator()
    flat = menu.addAction("Show flat keys")
    flat.setCheckable(True)
    flat.setChecked(tree is not None and not tree.grouped)
    flat.setEnabled(tree is not None)
    flat.toggled.connect(view.flatWanted.emit)
    columns = view.columns.menu()
    columns.setTitle("Columns")
    columns.setParent(menu, columns.windowFlags())
    menu.addMenu(columns)
    return menu
