"""The table of rules: one row for each device tag in the file, and where its storages go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from ckpt_viewer.core.location import Locator, known_tag
from ckpt_viewer.core.text import bytes_text, python_literal
from ckpt_viewer.gui.choices import targets_to_offer
from ckpt_viewer.gui.code_line import CodeLine
from ckpt_viewer.gui.labels import label, plain

KEEP = "as saved"


class RulesDialog(QDialog):
    """Asks for a table of rules. After `accept` the answer is `table`, without the tags that stay as saved."""

    def __init__(
        self,
        locations: Sequence[tuple[str | None, int]],
        devices: Sequence[str] | None,
        current: Mapping[str, str],
        file_name: str,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName("rulesDialog")
        self.setWindowTitle("Load onto: rules")
        self._tags = [tag for tag, _ in locations if tag is not None]
        self._file_name = file_name
        self._boxes: list[QComboBox] = []
        self._rows = self._build_table(locations, targets_to_offer(devices), current)
        self._code = CodeLine()
        self._problem = label(wrap=True)
        self._buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        self._buttons.accepted.connect(self.accept)
        self._buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.addWidget(
            label("Choose where the storages of each saved device go. Nothing saved is altered.", wrap=True)
        )
        column.addWidget(self._rows, 1)
        column.addWidget(self._code)
        column.addWidget(self._problem)
        column.addWidget(self._buttons)
        self.resize(560, 320)
        self._refresh()

    def _build_table(
        self, locations: Sequence[tuple[str | None, int]], targets: list[str], current: Mapping[str, str]
    ) -> QTableWidget:
        table = QTableWidget(len(self._tags), 3)
        table.setObjectName("rulesTable")
        table.setAccessibleName("Rules: saved device, bytes, target")
        table.setHorizontalHeaderLabels(["Saved on", "Bytes", "Goes onto"])
        table.verticalHeader().hide()
        table.setSelectionMode(QTableWidget.SelectionMode.NoSelection)
        table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        table.setTabKeyNavigation(False)  # Tab would go round in its cells and never reach OK
        header = table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        sizes = dict(locations)
        for row, tag in enumerate(self._tags):
            for column, text in enumerate((plain(tag, 60), bytes_text(sizes[tag]))):
                item = QTableWidgetItem(text)
                item.setFlags(Qt.ItemFlag.ItemIsEnabled)
                table.setItem(row, column, item)
            table.setCellWidget(row, 2, self._target_box(tag, targets, current.get(tag, KEEP)))
        return table

    def _target_box(self, tag: str, targets: list[str], current: str) -> QComboBox:
        box = QComboBox()
        box.setEditable(True)
        box.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        box.addItems([KEEP, *targets])
        box.setCurrentText(current)
        box.setAccessibleName(f"Target for {plain(tag, 60)}")
        box.currentTextChanged.connect(self._refresh)
        self._boxes.append(box)
        return box

    @property
    def table(self) -> dict[str, str]:
        """Tag -> target, for the tags that do not stay as saved."""
        chosen = {tag: box.currentText().strip() for tag, box in zip(self._tags, self._boxes, strict=True)}
        return {tag: target for tag, target in chosen.items() if target not in ("", KEEP)}

    def _refresh(self) -> None:
        wrong = [target for target in self.table.values() if not known_tag(target)]
        self._problem.setText(
            f"torch has no device {plain(wrong[0], 40)!r}; use cpu, cuda:0, mps, xpu:0, hpu:0, mtia:0, npu:0 or meta."
            if wrong
            else ""
        )
        self._buttons.button(QDialogButtonBox.StandardButton.Ok).setEnabled(not wrong)
        mapped = f", {Locator(self.table).code}" if self.table else ""
        self._code.show_code(f"torch.load({python_literal(self._file_name)}{mapped})")
