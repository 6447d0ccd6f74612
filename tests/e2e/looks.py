"""What a test may ask about the windows of the program that it drives: what a person could see, and where.

Every function runs in the program, on the GUI thread, and returns plain data. Places are pixels of the screen.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

from PySide6.QtCore import QAbstractItemModel, QModelIndex, QRect, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QApplication,
    QComboBox,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QTableView,
    QTabWidget,
    QTreeView,
    QWidget,
)  # fmt: skip

from ckpt_viewer.gui.drops import DropHalf
from ckpt_viewer.gui.elided import ElidedLabel

Place = tuple[int, int, int, int]


def windows() -> list[dict[str, Any]]:
    """Every top-level widget that shows, with its X window."""
    return [
        {"title": each.windowTitle(), "id": int(each.winId()), "active": each.isActiveWindow(),
         "kind": type(each).__name__, "place": place(each)}
        for each in QApplication.topLevelWidgets()
        if each.isVisible()
    ]  # fmt: skip


def widget(name: str, window: str = "") -> dict[str, Any] | None:
    """The one widget of an object name that shows; None if there is none.

    Raises:
        LookupError: there are several; `window`, a part of a title, says which.
    """
    found = list(_named(name, window))
    if len(found) > 1:
        raise LookupError(f"{len(found)} widgets are called {name}")
    return _described(found[0]) if found else None


def buttons(name: str, window: str = "") -> list[dict[str, Any]]:
    """The buttons that show inside a widget."""
    return [_described(each) for held in _named(name, window) for each in _shown(held, QAbstractButton)]


def texts(name: str, window: str = "") -> list[str]:
    """Every text that shows inside a widget, from top to bottom."""
    kinds = (QLabel, ElidedLabel, QAbstractButton, QPlainTextEdit)
    found = [each for held in _named(name, window) for kind in kinds for each in _shown(held, kind)]
    ordered = sorted(found, key=lambda each: (place(each)[1], place(each)[0]))
    return [text for each in ordered if (text := text_of(each))]


def rows(name: str, window: str = "") -> list[dict[str, Any]]:
    """The rows that an item view paints: the texts of the columns that show, the first one's place."""
    return [_row(view, index) for view in _named(name, window) for index in _painted(view)]


def focus() -> str:
    """The object name of the widget that has the keyboard; its class where it has none."""
    held = QApplication.focusWidget()
    return "" if held is None else held.objectName() or type(held).__name__


def clipboard() -> str:
    """What the program put on the clipboard."""
    return QGuiApplication.clipboard().text()


def imported(*modules: str) -> list[str]:
    """Those of the modules that the program has imported."""
    return [module for module in modules if module in sys.modules]


def place(shown: QWidget, inside: QRect | None = None) -> Place:
    """Where a widget, or a part of it, stands on the screen: left, top, width, height."""
    part = shown.rect() if inside is None else inside.intersected(shown.rect())
    corner = shown.mapToGlobal(part.topLeft())
    return corner.x(), corner.y(), part.width(), part.height()


def text_of(shown: QWidget) -> str:
    """What a widget says."""
    if isinstance(shown, QComboBox):
        return shown.currentText()
    if isinstance(shown, QTabWidget):
        return shown.tabText(shown.currentIndex())
    if isinstance(shown, QPlainTextEdit):
        return shown.toPlainText()
    return shown.text() if isinstance(shown, QLabel | QAbstractButton | QLineEdit | ElidedLabel) else ""


def _named(name: str, window: str) -> Iterator[QWidget]:
    for top in QApplication.topLevelWidgets():
        if top.isVisible() and window in top.windowTitle():
            for each in (top, *top.findChildren(QWidget)):
                its_own = each.window() is top  # a dialog's widgets are below its parent's too
                if its_own and each.isVisible() and name in (each.objectName(), type(each).__name__):
                    yield each


def _shown(held: QWidget, kind: type[QWidget]) -> Iterator[Any]:
    return (each for each in held.findChildren(kind) if each.isVisible() and not isinstance(each, QHeaderView))


def _described(shown: QWidget) -> dict[str, Any]:
    facts = {"name": shown.objectName(), "spoken": shown.accessibleName(), "text": text_of(shown),
             "enabled": shown.isEnabled(), "place": place(shown),
             "marked": isinstance(shown, DropHalf) and shown.highlighted}  # fmt: skip
    if isinstance(shown, QComboBox):
        facts["choices"] = [shown.itemText(row) for row in range(shown.count())]
        facts["open"] = [_place_of(shown.view(), row) for row in range(shown.count())] if _is_open(shown) else []
    if isinstance(shown, QTabWidget):
        facts["tabs"] = [shown.tabText(number) for number in range(shown.count())]
    if isinstance(shown, QLineEdit):
        facts["selected"] = shown.selectedText()
    return facts


def _is_open(box: QComboBox) -> bool:
    return box.view().isVisible()


def _place_of(view: QAbstractItemView, row: int) -> Place:
    return place(view.viewport(), view.visualRect(view.model().index(row, 0)))


def _painted(view: QWidget) -> Iterator[QModelIndex]:
    assert isinstance(view, QAbstractItemView)
    index = view.indexAt(view.viewport().rect().topLeft())
    while index.isValid() and view.visualRect(index).top() < view.viewport().height():
        yield index
        if isinstance(view, QTreeView):
            index = view.indexBelow(index)
        else:
            index = index.siblingAtRow(index.row() + 1)


def _row(view: Any, index: QModelIndex) -> dict[str, Any]:
    model, first = view.model(), index.siblingAtColumn(0)
    shown = [column for column in range(model.columnCount(index.parent())) if not _hidden(view, column)]
    return {
        "cells": {_heading(model, column): str(index.siblingAtColumn(column).data()) for column in shown},
        "spoken": str(first.data(Qt.ItemDataRole.AccessibleTextRole)),
        "current": view.currentIndex().siblingAtColumn(0) == first,
        "open": isinstance(view, QTreeView) and view.isExpanded(first),
        "place": place(view.viewport(), view.visualRect(first)),
    }


def _hidden(view: QAbstractItemView, column: int) -> bool:
    return isinstance(view, QTreeView | QTableView) and view.isColumnHidden(column)


def _heading(model: QAbstractItemModel, column: int) -> str:
    return str(model.headerData(column, Qt.Orientation.Horizontal))


ANSWERS: dict[str, Callable[..., Any]] = {
    each.__name__: each for each in (windows, widget, buttons, texts, rows, focus, clipboard, imported)
}
"""What a question may name."""
