"""A panel about a curve over numbered things: channels, singular values. One job works it out, another draws it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from PySide6.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QSplitter, QVBoxLayout, QWidget

from ckpt_viewer.core.progress import Context
from ckpt_viewer.gui.elided import ElidedLabel
from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.panels.base import Panel
from ckpt_viewer.gui.panels.picture_menu import PictureMenu, Writer, text_writer
from ckpt_viewer.gui.turns import soon

if TYPE_CHECKING:
    from ckpt_viewer.core.tensor import TensorSpec
    from ckpt_viewer.gui.panels.curves import CurvePlot
    from ckpt_viewer.gui.session import Session


class CurvePanel(Panel):
    """Choices above, the curve and what belongs to it in a splitter, two lines of text below.

    A subclass starts `_working`; what that answers is kept as `found`, drawn by what `_drawn_by` returns, and shown by
    `_show_drawn`. It adds its widgets to `_controls` and `_splitter`.

    Attributes:
        found: what was worked out; None while it is not known. choice: which curve of it is drawn.
        logarithmic: whether its heights are. status, hover: the lines.
    """

    word: ClassVar[str]
    """Of object names and files: ``channels``."""
    picture_name: ClassVar[str]
    """The accessible name of the picture."""
    what: ClassVar[str]
    """What the menu saves, in words."""
    hint: ClassVar[str]
    """What stands in the lower line while the pointer is nowhere."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self._tensor: TensorSpec | None = None
        self._name = ""
        self.found: Any = None
        self._plot: CurvePlot | None = None
        self._menu: PictureMenu | None = None
        self._working, self._drawing = Latest(session.jobs, self), Latest(session.jobs, self)
        self._working.finished.connect(self._on_found)
        self._drawing.finished.connect(self._on_drawn)
        for latest in (self._working, self._drawing):
            latest.failed.connect(self.show_error)
        self.choice, self.logarithmic = QComboBox(), QCheckBox("log")
        self.choice.activated.connect(self._draw)
        self.logarithmic.setAccessibleName("Logarithmic heights")
        self.logarithmic.toggled.connect(self._draw)
        self.status, self.hover = ElidedLabel(muted=True), ElidedLabel(muted=True)
        self.status.setObjectName(f"{self.word}Status")
        self.hover.setObjectName(f"{self.word}Hover")
        self._controls = QHBoxLayout()
        self._splitter = QSplitter()
        self._splitter.setChildrenCollapsible(False)
        layout = QVBoxLayout(self.body)
        layout.setContentsMargins(10, 8, 10, 8)
        layout.addLayout(self._controls)
        layout.addWidget(self._splitter, 1)
        layout.addWidget(self.status)
        layout.addWidget(self.hover)

    def clear(self) -> None:
        """Stop working."""
        self._working.cancel()
        self._drawing.cancel()
        self._tensor = self.found = None

    # --- what a subclass says

    def _drawn_by(self, found: Any, choice: str, logarithmic: bool) -> Callable[[Context], Any]:
        """Return the job that draws what was found; it answers a Curve first."""
        raise NotImplementedError

    def _show_drawn(self, drawn: Any) -> None:
        """Show what the job has drawn; its curve is shown already."""
        raise NotImplementedError

    def _table_text(self, found: Any, separator: str, context: Context) -> str:
        """Return all numbers as lines; raises Cancelled."""
        raise NotImplementedError

    def _point_text(self, found: Any, at: int) -> str:
        """Return what is at a place of the curve; ``""`` for none."""
        raise NotImplementedError

    def _made_plot(self, plot: CurvePlot) -> None:
        """The plot was made and lies in the splitter."""

    # --- drawing

    def _on_found(self, found: object) -> None:
        """Draw in a turn of its own: making the first plot takes long enough."""
        self.found = found
        self._the_plot()
        soon(self, self._draw)

    def _draw(self, *_: object) -> None:
        if self.found is not None:
            self.begin("")
            self._drawing.start(self._drawn_by(self.found, self.choice.currentText(), self.logarithmic.isChecked()))

    def _on_drawn(self, drawn: Any) -> None:
        if self.found is None:
            return
        self._the_plot().show_curve(drawn[0])
        self._show_drawn(drawn)
        self._on_hover(-1)
        self.show_body()
        self.settle()

    def _the_plot(self) -> CurvePlot:
        if self._plot is None:
            from ckpt_viewer.gui.panels.curves import CurvePlot  # imported by the job before

            self._plot = CurvePlot(f"{self.word}Plot", self.picture_name, self)
            self._plot.hovered.connect(self._on_hover)
            self._splitter.insertWidget(0, self._plot.widget)
            self._menu = PictureMenu(self.session, self, self.word, self.what)
            self._menu.serve(self._plot.widget)
            self._menu.add("Show all", self._plot.view_all)
            self._menu.add("Copy the numbers", self._copy)
            self._menu.add_picture()
            self._menu.add_svg()
            self._menu.add_file("CSV", self._csv_writer)
            self._menu.said.connect(self.status.setText)
            self._controls.addWidget(self._menu.button)
            self._made_plot(self._plot)
        return self._plot

    def _on_hover(self, at: int) -> None:
        text = self._point_text(self.found, at) if self.found is not None else ""
        self.hover.setText(text or self.hint)

    def _copy(self) -> None:
        found = self.found
        if found is not None and self._menu is not None:
            self._menu.copy_text(lambda context: self._table_text(found, "\t", context))

    def _csv_writer(self) -> Writer:
        found = self.found
        assert found is not None
        return text_writer(lambda context: self._table_text(found, ",", context))
