"""Taking out of a layout what it no longer shows."""

from __future__ import annotations

from PySide6.QtWidgets import QLayout, QWidget


def discard(widget: QWidget) -> None:
    """Have a widget go: out of sight now, and out of the world once the signal is handled that it may be sending."""
    widget.hide()
    widget.deleteLater()


def empty(layout: QLayout) -> None:
    """Discard all widgets of a layout."""
    while (item := layout.takeAt(0)) is not None:
        widget = item.widget()
        if widget is not None:
            discard(widget)
