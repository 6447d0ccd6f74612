"""The row at the top of a window: Open, Load onto with its line of code, Export state_dict."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QHBoxLayout, QMenu, QToolButton, QWidget

from ckpt_viewer.gui import icons
from ckpt_viewer.gui.load_onto import LoadOnto


class Toolbar(QWidget):
    """Two buttons and the box between them.

    Attributes:
        export_menu: of the export button, for what else writes a file.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.open_button = _button("openButton", "Open", "open", "Open checkpoints (Ctrl+O)")
        self.load_onto = LoadOnto()
        self.export_button = _button(
            "exportStateDictButton",
            "Export state_dict …",
            "export",
            "Write the model's parameters and buffers alone, on the CPU (Ctrl+E)",
        )
        self.export_menu = QMenu(self.export_button)
        self.export_button.setMenu(self.export_menu)
        self.export_button.setPopupMode(QToolButton.ToolButtonPopupMode.MenuButtonPopup)
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 8, 10, 4)
        row.setSpacing(14)
        row.addWidget(self.open_button, 0, Qt.AlignmentFlag.AlignTop)
        row.addWidget(self.load_onto, 1)
        row.addWidget(self.export_button, 0, Qt.AlignmentFlag.AlignTop)


def _button(name: str, text: str, picture: str, hint: str) -> QToolButton:
    button = QToolButton()
    button.setObjectName(name)
    button.setText(text)
    button.setAccessibleName(text)
    button.setToolTip(hint)
    button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
    button.setIconSize(QSize(16, 16))
    button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    icons.tint(button, picture)
    return button
