"""Which columns the tree shows, and how wide: one choice for a wide tree, one for a narrow one."""

from __future__ import annotations

from PySide6.QtCore import QObject, QPoint, Qt, Signal
from PySide6.QtGui import QAction, QFontMetrics
from PySide6.QtWidgets import QHeaderView, QMenu, QTreeView

from ckpt_viewer.gui.tree.cells import (
    COLUMNS,
    DEVICE,
    DTYPE,
    FIGURES,
    NAME,
    PARAMETERS,
    PICTURE,
    SHAPE,
    SIZE,
    TYPE,
)
from ckpt_viewer.gui.tree.figure_cells import SAMPLE

NARROW = 720
"""Width in pixels below which a tree is narrow: all seven columns would leave less to the names than they need."""
LEAST_NAME, LEAST_BESIDE_FIGURES = 110, 240
"""Width of the Name column in pixels below which the tree scrolls sideways instead."""
LEAST_TEXT = 80
"""The same of the text of the deepest row, behind its indentation."""
USUAL_HEIGHT = 16
"""Height in pixels of the fonts for which these are right; with a larger one they grow."""

_SAMPLES = {
    TYPE: "OrderedDict",
    SHAPE: "64 × 64 × 3 × 3",
    DTYPE: "bfloat16",
    DEVICE: "cuda:1 → cpu",
    PARAMETERS: "Parameters",
    SIZE: "99.9 MB",
    **dict.fromkeys(FIGURES, SAMPLE),
    PICTURE: "Histogram wide",
}
USUAL = frozenset(range(SIZE + 1))
"""Columns of a wide tree, until a person chooses others."""


class Columns(QObject):
    """The header's columns. Name takes what the others leave; a user's own widths and choices stay.

    Attributes:
        is_narrow: which of the two choices is in force.
    """

    changed = Signal()
    figuresWanted = Signal()
    """A column shows what only a scan can tell."""

    def __init__(self, view: QTreeView) -> None:
        super().__init__(view)
        self._view, self._header = view, view.header()
        self._shown = {False: set(USUAL), True: {NAME, SHAPE, DTYPE, DEVICE}}
        self._scale = max(1.0, QFontMetrics(view.font()).height() / USUAL_HEIGHT)
        self._widths = {column: self._natural(column) for column in _SAMPLES}
        self._fitting = False
        self._deepest = 0
        self.is_narrow = False
        header = self._header
        header.setStretchLastSection(False)
        header.setMinimumSectionSize(36)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        header.customContextMenuRequested.connect(self._ask)
        header.sectionResized.connect(self._on_resized)
        self._apply()

    def _natural(self, column: int) -> int:
        metrics = QFontMetrics(self._view.font())
        widest = max(metrics.horizontalAdvance(_SAMPLES[column]), metrics.horizontalAdvance(COLUMNS[column]) + 6)
        return widest + 14

    def fit(self) -> None:
        """Give Name what the other columns leave; choose the narrow or the wide columns by the view's width."""
        if (self._view.width() < NARROW * self._scale) != self.is_narrow:
            self.is_narrow = not self.is_narrow
            self._apply()
            return
        others = sum(self._widths[column] for column in self._shown[self.is_narrow] if column != NAME)
        self._fitting = True
        least = round((LEAST_BESIDE_FIGURES if self.shows_figures else LEAST_NAME) * self._scale)
        deep = self._deepest * self._view.indentation() + round(LEAST_TEXT * self._scale)
        self._header.resizeSection(NAME, max(least, deep, self._inner_width() - others))
        self._fitting = False

    def make_room(self, depth: int) -> None:
        """Leave room for the names of rows so deep below the root; 0 for another tree, of which none is known."""
        if depth > self._deepest or not depth:
            self._deepest = depth
            self.fit()

    def _inner_width(self) -> int:
        """The viewport's width. `viewport()` itself has PySide load every kind of widget: 20 ms at start-up."""
        bar = self._view.verticalScrollBar()
        return self._view.maximumViewportSize().width() - (bar.width() if bar.isVisible() else 0)

    def show_column(self, column: int, shown: bool) -> None:
        """Show or hide a column in the present choice; Name always shows."""
        if column != NAME:
            (self._shown[self.is_narrow].add if shown else self._shown[self.is_narrow].discard)(column)
            self._apply()
            self.changed.emit()
            self.ask_for_figures()

    @property
    def shows_figures(self) -> bool:
        """Whether one of the columns that show what only a scan can tell is there."""
        return not self._shown[self.is_narrow] <= USUAL

    def ask_for_figures(self) -> None:
        """Ask for a scan if a column needs one."""
        if self.shows_figures:
            self.figuresWanted.emit()

    def _apply(self) -> None:
        self._fitting = True
        for column, width in self._widths.items():
            self._header.setSectionHidden(column, column not in self._shown[self.is_narrow])
            if not self._header.isSectionHidden(column):
                self._header.resizeSection(column, width)
        self._fitting = False
        self.fit()

    def _on_resized(self, column: int, _old: int, new: int) -> None:
        if not self._fitting and column in self._widths and new > 0:
            self._widths[column] = new
            self.fit()
            self.changed.emit()

    def menu(self) -> QMenu:
        """Return a menu with a check box for each column but Name."""
        menu = QMenu(self._view)
        for column in _SAMPLES:
            if column == FIGURES.start:
                menu.addSeparator()
            action = QAction(COLUMNS[column], menu)
            action.setCheckable(True)
            action.setChecked(column in self._shown[self.is_narrow])
            action.toggled.connect(lambda on, column=column: self.show_column(column, on))
            menu.addAction(action)
        return menu

    def _ask(self, at: QPoint) -> None:
        menu = self.menu()
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(self._header.mapToGlobal(at))

    def save(self) -> str:
        """Return the choices and widths as a text for the settings."""
        names = {str(narrow): sorted(COLUMNS[column] for column in shown) for narrow, shown in self._shown.items()}
        widths = {COLUMNS[column]: width for column, width in self._widths.items()}
        import json  # not at start-up, where 3 ms count

        return json.dumps({"wide": names["False"], "narrow": names["True"], "widths": widths})

    def restore(self, text: str) -> bool:
        """Take what `save` returned; False, and nothing changes, for any other text."""
        import json

        try:
            state = json.loads(text)
            shown = {
                narrow: {NAME, *(COLUMNS.index(name) for name in state[key])}
                for narrow, key in ((False, "wide"), (True, "narrow"))
            }
            widths = {COLUMNS.index(name): min(max(int(width), 36), 2000) for name, width in state["widths"].items()}
        except (ValueError, TypeError, KeyError, AttributeError):
            return False
        self._shown = shown
        self._widths.update({column: width for column, width in widths.items() if column in self._widths})
        self._apply()
        return True
