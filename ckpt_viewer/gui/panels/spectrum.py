"""The singular values of a tensor as a matrix, on demand: curve, energy, ranks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, QThreadPool
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QWidget

from ckpt_viewer.core.absent import missing_values
from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.node import Node
from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.gui.labels import NAME_LIMIT, label, plain
from ckpt_viewer.gui.panels import spectrum_work
from ckpt_viewer.gui.panels.base import BEST, UNSUPPORTED
from ckpt_viewer.gui.panels.curve_panel import CurvePanel
from ckpt_viewer.gui.panels.facts_table import FactsTable
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


class SpectrumPanel(CurvePanel):
    """A button that computes, then the picture and its numbers."""

    title, word = "Spectrum", "spectrum"
    picture_name, what = "Singular values", "the spectrum"
    hint = "wheel: zoom;  drag: move"

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self._pool = QThreadPool(self)  # LAPACK cannot be interrupted: other work must not wait for it
        self._pool.setMaxThreadCount(1)
        self.choice.setObjectName("spectrumView")
        self.choice.setAccessibleName("What the curve shows")
        self.choice.addItems(list(spectrum_work.VIEWS))
        self.logarithmic.setChecked(True)
        for widget in (label("Show"), self.choice, self.logarithmic):
            self._controls.addWidget(widget)
        self._controls.addStretch()
        self.table = FactsTable("spectrumTable", "Numbers of the spectrum", ("Number", "Value"), numeric=True)
        self._splitter.addWidget(self.table)

    @classmethod
    def rate(cls, subject: Any) -> int:
        """Floating-point tensors that are matrices of at least two rows and columns."""
        if not isinstance(subject, Node) or not isinstance(subject.value, TensorSpec):
            return UNSUPPORTED
        tensor = subject.value
        numbers = tensor.dtype in DTYPES and DTYPES[tensor.dtype].kind in KINDS and not missing_values(tensor)
        return BEST - 50 if numbers and plan_spectrum(tensor) is not None else UNSUPPORTED

    def show_subject(self, subject: Node) -> None:
        """Offer the spectrum of another tensor; of a small one show it."""
        self.clear()
        self._tensor, self._name = subject.tensor, plain(subject.name, NAME_LIMIT)
        plan = plan_spectrum(subject.tensor)
        assert plan is not None
        if plan.rows * plan.columns <= spectrum_work.MOST_AT_ONCE:
            self.compute()
        else:
            self.show_sentence(spectrum_work.offer(plan), "Compute", self.compute)

    def compute(self) -> None:
        """Compute what was offered."""
        tensor = self._tensor
        if tensor is not None:
            self.begin("Computing the singular values …")
            self._working.start(
                lambda context: spectrum_work.compute(tensor, context),
                title=f"Computing the singular values of {self._name}", pool=self._pool,
            )  # fmt: skip

    def _drawn_by(self, found: Spectrum, choice: str, logarithmic: bool) -> Callable[[Context], Any]:
        return lambda _: (spectrum_work.draw(found, choice, logarithmic), spectrum_work.facts(found))

    def _show_drawn(self, drawn: tuple[Curve, Any]) -> None:
        self.table.show_facts(drawn[1])
        self.table.setMinimumWidth(min(self.table.wanted_width(), WIDEST))
        self.status.setText(spectrum_work.caption(self.found))

    def _made_plot(self, plot: CurvePlot) -> None:
        del plot
        self._splitter.setStretchFactor(0, 1)
        self._arrange()

    def _point_text(self, found: Spectrum, at: int) -> str:
        return spectrum_work.point_text(found, at)

    def _table_text(self, found: Spectrum, separator: str, context: Context) -> str:
        return spectrum_work.table_text(found, separator, context)

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
