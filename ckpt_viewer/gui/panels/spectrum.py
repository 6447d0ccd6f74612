"""The singular values of a tensor as a matrix, on demand: curve, energy, ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, QThreadPool, QTimer
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QSplitter, QVBoxLayout, QWidget

from ckpt_viewer.core.absent import missing_values
from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.node import Node
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.gui.elided import ElidedLabel
from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.labels import NAME_LIMIT, label, plain
from ckpt_viewer.gui.panels import spectrum_work
from ckpt_viewer.gui.panels.base import BEST, UNSUPPORTED, Panel
from ckpt_viewer.gui.panels.facts_table import FactsTable
from ckpt_viewer.gui.panels.picture_menu import PictureMenu, Writer, text_writer
from ckpt_viewer.stats.spectrum_plan import plan_spectrum

if TYPE_CHECKING:
    from ckpt_viewer.gui.panels.curves import Curve, CurvePlot
    from ckpt_viewer.gui.session import Session
    from ckpt_viewer.stats.spectrum import Spectrum

KINDS = ("float", "complex", "quantized")
"""Kinds of dtypes whose tensors are taken for matrices."""
WIDE = 460
"""Pixels from which the numbers stand beside the picture instead of below it."""
TABLE, WIDEST = 215, 260
"""Pixels that the numbers get at first, and that they claim where they are long."""


class SpectrumPanel(Panel):
    """A button that computes, then the picture and its numbers."""

    title = "Spectrum"

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self._tensor: TensorSpec | None = None
        self._name = ""
        self.spectrum: Spectrum | None = None
        self._plot: CurvePlot | None = None
        self._menu: PictureMenu | None = None
        self._pool = QThreadPool(self)  # LAPACK cannot be interrupted: other work must not wait for it
        self._pool.setMaxThreadCount(1)
        self._computing, self._drawing = Latest(session.jobs, self), Latest(session.jobs, self)
        self._computing.finished.connect(self._on_computed)
        self._drawing.finished.connect(self._on_drawn)
        for latest in (self._computing, self._drawing):
            latest.failed.connect(self.show_error)
        self._build()

    @classmethod
    def rate(cls, subject: Any) -> int:
        """Floating-point tensors that are matrices of at least two rows and columns."""
        if not isinstance(subject, Node) or not isinstance(subject.value, TensorSpec):
            return UNSUPPORTED
        tensor = subject.value
        numbers = tensor.dtype in DTYPES and DTYPES[tensor.dtype].kind in KINDS and not missing_values(tensor)
        return BEST - 50 if numbers and plan_spectrum(tensor) is not None else UNSUPPORTED

    def _build(self) -> None:
        self.view = QComboBox()
        self.view.setObjectName("spectrumView")
        self.view.setAccessibleName("What the curve shows")
        self.view.addItems(list(spectrum_work.VIEWS))
        self.view.activated.connect(self._draw)
        self.logarithmic = QCheckBox("log")
        self.logarithmic.setAccessibleName("Logarithmic heights")
        self.logarithmic.setChecked(True)
        self.logarithmic.toggled.connect(self._draw)
        self.status, self.hover = ElidedLabel(muted=True), ElidedLabel(muted=True)
        self.status.setObjectName("spectrumStatus")
        self.hover.setObjectName("spectrumHover")
        self._controls = QHBoxLayout()
        for widget in (label("Show"), self.view, self.logarithmic):
            self._controls.addWidget(widget)
        self._controls.addStretch()
        self.table = FactsTable("spectrumTable", "Numbers of the spectrum", ("Number", "Value"), numeric=True)
        self._splitter = QSplitter()
        self._splitter.setChildrenCollapsible(False)
        self._splitter.addWidget(self.table)
        layout = QVBoxLayout(self.body)
        layout.setContentsMargins(10, 8, 10, 8)
        layout.addLayout(self._controls)
        layout.addWidget(self._splitter, 1)
        layout.addWidget(self.status)
        layout.addWidget(self.hover)

    def show_subject(self, subject: Node) -> None:
        """Offer the spectrum of another tensor; of a small one show it."""
        self._computing.cancel()
        self._drawing.cancel()
        self._tensor, self._name, self.spectrum = subject.tensor, plain(subject.name, NAME_LIMIT), None
        plan = plan_spectrum(subject.tensor)
        assert plan is not None
        if plan.rows * plan.columns <= spectrum_work.MOST_AT_ONCE:
            self.compute()
        else:
            self.show_sentence(spectrum_work.offer(plan), "Compute", self.compute)

    def clear(self) -> None:
        """Stop computing."""
        self._computing.cancel()
        self._drawing.cancel()
        self._tensor = self.spectrum = None

    def compute(self) -> None:
        """Compute what was offered."""
        tensor = self._tensor
        if tensor is not None:
            self.begin("Computing the singular values …")
            self._computing.start(
                lambda context: spectrum_work.compute(tensor, context),
                title=f"Computing the singular values of {self._name}", pool=self._pool,
            )  # fmt: skip

    def _on_computed(self, spectrum: Spectrum) -> None:
        self.spectrum = spectrum
        self._draw_soon()

    def _draw(self, *_: object) -> None:
        spectrum, view, logarithmic = self.spectrum, self.view.currentText(), self.logarithmic.isChecked()
        if spectrum is not None:
            self.begin("")
            self._drawing.start(lambda _context: spectrum_work.draw(spectrum, view, logarithmic))

    def _draw_soon(self) -> None:
        """Draw in a turn of its own: making the first plot takes long enough."""
        self._the_plot()
        QTimer.singleShot(0, self, self._draw)

    def _on_drawn(self, curve: Curve) -> None:
        if self.spectrum is None:
            return
        self._the_plot().show_curve(curve)
        self.table.show_facts(spectrum_work.facts(self.spectrum))
        self.table.setMinimumWidth(min(self.table.wanted_width(), WIDEST))
        self.status.setText(spectrum_work.caption(self.spectrum))
        self._on_hover(-1)
        self.show_body()
        self.settle()

    def _the_plot(self) -> CurvePlot:
        if self._plot is None:
            from ckpt_viewer.gui.panels.curves import CurvePlot  # imported by the job before

            self._plot = CurvePlot("spectrumPlot", "Singular values", self)
            self._plot.hovered.connect(self._on_hover)
            self._splitter.insertWidget(0, self._plot.widget)
            self._splitter.setStretchFactor(0, 1)
            self._menu = PictureMenu(self.session, self._plot.widget, "spectrum", "the spectrum")
            self._menu.add("Show all", self._plot.view_all)
            self._menu.add("Copy the numbers", self._copy)
            self._menu.add_picture()
            self._menu.add_svg()
            self._menu.add_file("CSV", self._csv_writer)
            self._menu.said.connect(self.status.setText)
            self._controls.addWidget(self._menu.button)
            self._arrange()
        return self._plot

    def _on_hover(self, at: int) -> None:
        text = spectrum_work.point_text(self.spectrum, at) if self.spectrum is not None else ""
        self.hover.setText(text or "wheel: zoom;  drag: move")

    def _copy(self) -> None:
        spectrum = self.spectrum
        if spectrum is not None and self._menu is not None:
            self._menu.copy_text(lambda context: spectrum_work.table_text(spectrum, "\t", context))

    def _csv_writer(self) -> Writer:
        spectrum = self.spectrum
        assert spectrum is not None
        return text_writer(lambda context: spectrum_work.table_text(spectrum, ",", context))

    def _arrange(self) -> None:
        """Put the numbers beside the picture where there is room."""
        wide = self.width() >= WIDE
        self._splitter.setOrientation(Qt.Orientation.Horizontal if wide else Qt.Orientation.Vertical)
        table = TABLE if wide else self.height() // 3
        self._splitter.setSizes([max(1, (self.width() if wide else self.height()) - table), table])

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Arrange anew."""
        super().resizeEvent(event)
        self._arrange()
