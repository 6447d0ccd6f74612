"""The questions of the export dialog, and the choice that the answers make."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtGui import QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QLineEdit,
    QPlainTextEdit,
    QStyle,
    QStyleOptionButton,
    QWidget,
)

from ckpt_viewer.export.becoming import TARGETS
from ckpt_viewer.export.choice import AUTO, Choice, parse_patterns, parse_renames, parse_size
from ckpt_viewer.export.writers import WRITERS
from ckpt_viewer.gui.guard import called_by_qt
from ckpt_viewer.gui.labels import label

KEEP, STRIP = "Keep all names", "Take off what wrappers add"
AS_SAVED, ONE_FILE = "As saved", "One file"
SHARDED = frozenset({"safetensors"})
"""Formats that can be several files."""


class OptionsForm(QWidget):
    """Format, dtype, names, patterns, buffers, sizes of files."""

    changed = Signal()
    formatChanged = Signal(str)
    """The name of the writer that was chosen."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.format = _box("exportFormat", "Format", [f"{one.title} ({one.suffixes[0]})" for one in WRITERS])
        self.dtype = _box("exportDtype", "Dtype of floating-point tensors", [AS_SAVED, *TARGETS])
        self.prefix = _box("exportPrefix", "Prefix to take off", [KEEP, STRIP], editable=True)
        self.rename = QPlainTextEdit()
        self.rename.setObjectName("exportRename")
        self.rename.setAccessibleName("Rename rules, one a line: OLD=NEW")
        self.rename.setPlaceholderText("OLD=NEW, one a line")
        self.rename.setTabChangesFocus(True)
        self.rename.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.rename.setFixedHeight(self.rename.fontMetrics().lineSpacing() * 2 + 14)
        self.rename.setToolTip(
            "backbone=encoder renames what is called so and all below it; layers.*.attn=blocks.*.attention keeps what "
            "each * stood for; backbone= takes the part off"
        )
        self.include = _line("exportInclude", "Only entries that match", "all; or layer1 *.weight")
        self.exclude = _line("exportExclude", "No entries that match", "none; or head *.bias")
        self.buffers = _FramedBox("&Buffers (running means …)")
        self.buffers.setObjectName("exportBuffers")
        self.buffers.setChecked(True)
        self.shards = _box(
            "exportShardSize", "Largest size of a file", [ONE_FILE, "5GB", "2GB", "500MB"], editable=True
        )
        self._arrange()
        self._connect()

    def _arrange(self) -> None:
        rows = QFormLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setVerticalSpacing(5)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for text, widget in (
            ("&Format", self.format),
            ("&Numbers", self.dtype),
            ("&Prefix", self.prefix),
            ("&Rename", self.rename),
            ("&Only", self.include),
            ("No&t", self.exclude),
            ("File &size", self.shards),
        ):
            buddy = label(text)
            buddy.setBuddy(widget)
            rows.addRow(buddy, widget)
        rows.addRow("", self.buffers)

    def _connect(self) -> None:
        self.format.currentIndexChanged.connect(self._on_format)
        self.dtype.currentIndexChanged.connect(self.changed)
        for box in (self.prefix, self.shards):
            box.currentTextChanged.connect(self.changed)
        for line in (self.include, self.exclude, self.rename):
            line.textChanged.connect(self.changed)
        self.buffers.toggled.connect(self.changed)
        self._on_format()

    def _on_format(self) -> None:
        self.shards.setEnabled(self.format_name in SHARDED)
        self.formatChanged.emit(self.format_name)
        self.changed.emit()

    @property
    def format_name(self) -> str:
        """The name of the writer."""
        return WRITERS[self.format.currentIndex()].name

    def set_format(self, name: str) -> None:
        """Choose a writer by its name."""
        self.format.setCurrentIndex(next(at for at, writer in enumerate(WRITERS) if writer.name == name))

    def choice(self, sources: tuple[str, ...]) -> Choice:
        """Return what was answered; raises CannotExport where a rule or a size is none."""
        prefix = self.prefix.currentText().strip()
        size = self.shards.currentText() if self.shards.isEnabled() else ONE_FILE
        return Choice(
            sources=sources,
            include=parse_patterns(self.include.text()),
            exclude=parse_patterns(self.exclude.text()),
            buffers=self.buffers.isChecked(),
            strip_prefix={KEEP: None, "": None, STRIP: AUTO}.get(prefix, prefix),
            rename=parse_renames(line for line in self.rename.toPlainText().splitlines() if line.strip()),
            dtype="" if self.dtype.currentIndex() == 0 else self.dtype.currentText(),
            format=self.format_name,
            max_shard_size=0 if size == ONE_FILE else parse_size(size),
        )


class _FramedBox(QCheckBox):
    """A check box with a frame: the style's own can hardly be seen on a dark ground."""

    @called_by_qt
    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        option = QStyleOptionButton()
        self.initStyleOption(option)
        painter = QPainter(self)
        painter.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
        part = QStyle.SubElement.SE_CheckBoxIndicator
        painter.drawRect(self.style().subElementRect(part, option, self).adjusted(0, 0, -1, -1))
        painter.end()


def _box(name: str, words: str, texts: list[str], *, editable: bool = False) -> QComboBox:
    box = QComboBox()
    box.setObjectName(name)
    box.setEditable(editable)
    box.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
    box.addItems(texts)
    box.setAccessibleName(words)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(12)
    return box


def _line(name: str, words: str, placeholder: str) -> QLineEdit:
    line = QLineEdit()
    line.setObjectName(name)
    line.setAccessibleName(words)
    line.setPlaceholderText(placeholder)
    line.setToolTip(
        'Names, or what they lie below, with * and ?; several with spaces between them, one that has spaces in "quotes"'
    )
    line.setClearButtonEnabled(True)
    return line
