"""The tree's context menu."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QMenu

from ckpt_viewer.gui.tree.cell_words import copied_value
from ckpt_viewer.gui.tree.cells import COLUMNS

if TYPE_CHECKING:
    from ckpt_viewer.gui.tree.view import CheckpointTreeView


def _sort_menu(view: CheckpointTreeView, parent: QMenu) -> QMenu:
    """Return what a click on a column's head does, for the keyboard; with a mark at what the rows are sorted by."""
    from ckpt_viewer.gui.tree.ordering import NUMBERS, SORTABLE

    menu, order = QMenu("Sort by", parent), view.tree_model.order
    menu.setEnabled(view.tree_model.tree is not None)
    for column in (-1, *sorted(SORTABLE)):
        action = menu.addAction(COLUMNS[column] if column >= 0 else "As saved")
        action.setCheckable(True)
        action.setChecked(column == (order.column if order is not None else -1))
        action.triggered.connect(lambda _=False, chosen=column: view.sortWanted.emit(chosen, chosen in NUMBERS))
        if column < 0:
            menu.addSeparator()
    return menu


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
    add("Copy value", view.copy_value, enabled=cells is not None and row >= 0 and copied_value(cells, row) is not None)
    menu.addSeparator()
    has_tensors = tree is not None and row >= 0 and tree.totals.tensors(row) > 0
    add("Export this …", view.exportWanted.emit, enabled=has_tensors)
    menu.addSeparator()
    add("Expand subtree", view.expand_subtree, "*", enabled=has_below)
    add("Collapse", lambda: view.collapse(index.siblingAtColumn(0)), enabled=has_below and row > 0)
    add("Select parent", view.go_up, "Backspace", enabled=index.parent().isValid())
    menu.addSeparator()
    if tree is not None and is_row and tree.is_entry(row):
        from ckpt_viewer.gui.tree.role_menu import role_menu

        menu.addMenu(role_menu(view, row, menu))
    flat = menu.addAction("Show flat keys")
    flat.setCheckable(True)
    flat.setChecked(tree is not None and not tree.grouped)
    flat.setEnabled(tree is not None)
    flat.toggled.connect(view.flatWanted.emit)
    menu.addMenu(_sort_menu(view, menu))
    columns = view.columns.menu()
    columns.setTitle("Columns")
    columns.setParent(menu, columns.windowFlags())
    menu.addMenu(columns)
    return menu
