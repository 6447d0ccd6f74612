"""A tensor as a picture: a 2-D slice as a heat map, or all slices side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtGui import QColor
from PySide6.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QVBoxLayout, QWidget

from ckpt_viewer.core.absent import has_planes
from ckpt_viewer.core.node import Node
from ckpt_viewer.core.slicing import Slicing, first_slicing
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.gui.elided import ElidedLabel
from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.labels import NAME_LIMIT, label, plain
from ckpt_viewer.gui.panels import colouring
from ckpt_viewer.gui.panels.base import BEST, UNSUPPORTED, Panel
from ckpt_viewer.gui.panels.colouring import Look, Picture, Request
from ckpt_viewer.gui.panels.dimensions import Dimensions
from ckpt_viewer.gui.panels.heat_map import HeatMap
from ckpt_viewer.gui.panels.picture_menu import PictureMenu
from ckpt_viewer.gui.panels.values import value_shape
from ckpt_viewer.gui.settings import Settings
from ckpt_viewer.gui.theme import theme, themes

if TYPE_CHECKING:
    from ckpt_viewer.gui.session import Session
    from ckpt_viewer.stats.plane import Plane

MODE_KEY, ROBUST_KEY = "image/mode", "image/robust"
MODES = ("|max|", "mean", "min", "max")
"""Those of `stats.raster`, which needs numpy. The first keeps every outlier visible, with its sign."""
MODE_HELP = "What a cell of a picture shows that stands for a block of values; |max| is the one farthest from zero"


class ImagePanel(Panel):
    """Choice of the slice, its picture, and what the colours mean."""

    title = "Image"

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self._tensor: TensorSpec | None = None
        self._name = ""
        self._slicing: Slicing | None = None
        self._plane: Plane | None = None
        self._settings = Settings()
        self._opening, self._first, self._exact, self._fine = (Latest(session.jobs, self) for _ in range(4))
        self._opening.finished.connect(self._on_opened)
        self._first.finished.connect(self._on_first)
        self._exact.finished.connect(self._on_exact)
        self._exact.progressed.connect(self._on_progress)
        self._fine.finished.connect(self._on_fine)
        for latest in (self._opening, self._first, self._exact, self._fine):
            latest.failed.connect(self.show_error)
        self._build()
        themes().changed.connect(self._restart)

    @classmethod
    def rate(cls, subject: Any) -> int:
        """Whatever has dense values in at least two dimensions."""
        value = subject.value if isinstance(subject, Node) else None
        return BEST - 30 if isinstance(value, TensorSpec) and has_planes(value) else UNSUPPORTED

    def _build(self) -> None:
        self.map = HeatMap()
        self.map.hovered.connect(lambda _: self._say_cell())
        self.map.looked.connect(self._on_looked)
        self.map.chosen.connect(self._on_chosen)
        self.dimensions = Dimensions()
        self.dimensions.chosen.connect(self._show_slicing)
        self.hover = ElidedLabel(muted=True)
        self.hover.setObjectName("imageHover")
        layout = QVBoxLayout(self.body)
        layout.setContentsMargins(10, 8, 10, 8)
        layout.addWidget(self.dimensions)
        layout.addLayout(self._controls())
        layout.addWidget(self.map, 1)
        layout.addWidget(self.status)
        layout.addWidget(self.hover)

    def _controls(self) -> QHBoxLayout:
        self.mode = QComboBox()
        self.mode.setObjectName("imageMode")
        self.mode.addItems(MODES)
        self.mode.setAccessibleName("What stands for a block of values")
        self.mode.setToolTip(MODE_HELP)
        self.mode.setCurrentIndex(max(0, self.mode.findText(self._settings.text(MODE_KEY))))
        self.robust = QCheckBox("robust range")
        self.robust.setObjectName("imageRobust")
        self.robust.setToolTip(f"Have the colours reach to the {colouring.ROBUST:.0%} quantile of |value| only")
        self.robust.setChecked(self._settings.text(ROBUST_KEY) == "yes")
        self.grid = QCheckBox("all slices")
        self.grid.setObjectName("imageGrid")
        self.grid.setToolTip("Show the slices at all indices side by side, as a grid of filters")
        self.mode.currentTextChanged.connect(self._on_look)
        self.robust.toggled.connect(self._on_look)
        self.grid.clicked.connect(self._restart)
        self.status = ElidedLabel(muted=True)
        self.status.setObjectName("imageStatus")
        self.save = PictureMenu(self.session, self.map, "image", "the picture")
        self.save.serve(self.map)
        self.save.add("Show all", self.map.show_all)
        self.save.add_picture()
        self.save.said.connect(self.status.setText)
        row = QHBoxLayout()
        self._mode_words = label("Blocks by")
        for widget in (self.grid, self._mode_words, self.mode, self.robust):
            row.addWidget(widget)
            row.addSpacing(4)
        row.addStretch()
        row.addWidget(self.save.button)
        return row

    # --- what is shown ------------------------------------------------------------------------------------------------

    def show_subject(self, subject: Node) -> None:
        """Show another tensor."""
        tensor = subject.tensor
        self._tensor, self._name = tensor, plain(subject.name, NAME_LIMIT)
        self._slicing = None
        self.begin()
        self._opening.start(lambda _context: value_shape(tensor))

    def clear(self) -> None:
        """Stop reading and forget the picture."""
        for latest in (self._opening, self._first, self._exact, self._fine):
            latest.cancel()
        self._tensor = self._plane = None
        self.map.show_plane(0, 0)

    def _on_opened(self, shape: tuple[int, ...]) -> None:
        from ckpt_viewer.stats.plane import has_grid, looks_like_filters  # imported by the job that opened the values

        slicing = first_slicing(shape)
        self.grid.setVisible(has_grid(slicing))
        self.grid.setChecked(looks_like_filters(slicing))
        self._show_slicing(slicing)

    def _show_slicing(self, slicing: Slicing) -> None:
        self._slicing = slicing
        self.dimensions.show_slicing(slicing)
        self._restart()

    def _restart(self, *_: object) -> None:
        """Read the picture anew."""
        from ckpt_viewer.stats.plane import Plane, grid_of

        if self._tensor is None or self._slicing is None:
            return
        for latest in (self._first, self._exact, self._fine):
            latest.cancel()
        plane = grid_of(self._tensor, self._slicing) if self.grid.isChecked() else Plane(self._tensor, self._slicing)
        if self._plane is None or plane.shape != self._plane.shape or plane.tile != self._plane.tile:
            self.map.show_plane(*plane.shape, plane.tile if plane.down is not None else (0, 0))
        self.map.show_detail(None)
        self._plane = plane
        request = self._request()
        self.begin()
        self._first.start(lambda context: colouring.first_look(request, context))

    def _request(self) -> Request:
        """What the whole plane takes."""
        from ckpt_viewer.stats.raster import Window, fitting

        assert self._plane is not None
        rows, columns = self._plane.shape
        most = fitting(self.map.pixels, colouring.CELLS)
        colour = QColor(theme().base).rgb() | 0xFF000000
        return Request(self._plane, Window(0, rows, 0, columns), most, self._look, None, (theme().heat_map, colour))

    @property
    def _look(self) -> Look:
        return Look(self.mode.currentText(), self.robust.isChecked())

    def _on_first(self, picture: Picture) -> None:
        if not picture.raster.sample:
            self._on_exact(picture)
            return
        self._show(picture)
        request = self._request()
        self._exact.start(
            lambda context: colouring.exact(request, context), title=f"Looking at every value of {self._name}"
        )

    def _on_exact(self, picture: Picture) -> None:
        self._show(picture)
        self.settle()
        if self.map.is_zoomed:
            self._on_looked()

    def _show(self, picture: Picture) -> None:
        self.map.show_whole(picture)
        self.mode.setEnabled(not picture.raster.fine)
        self._mode_words.setEnabled(not picture.raster.fine)
        self.status.setText(self._caption(picture))
        self._say_cell()
        self.show_body()

    def _caption(self, picture: Picture) -> str:
        raster = picture.raster
        is_complex = self._tensor is not None and self._tensor.dtype.startswith("complex")
        parts = (
            "magnitudes of complex numbers" if is_complex else "",
            colouring.range_words(raster, self._look, picture.limit),
            colouring.block_words(raster, self._look),
            colouring.special_words(raster),
        )
        return "; ".join(part for part in parts if part)

    def _on_progress(self, done: int, total: int) -> None:
        if total and self.map.whole is not None:
            self.status.setText(f"{self._caption(self.map.whole)}; {100 * done // total} % read")

    def _on_look(self, *_: object) -> None:
        """Colour the same blocks otherwise; nothing is read but for a part that is looked at closely."""
        self._settings.set(MODE_KEY, self.mode.currentText())
        self._settings.set(ROBUST_KEY, "yes" if self.robust.isChecked() else "")
        whole, look = self.map.whole, self._look
        if whole is None or self._plane is None or self._exact.job is not None or self._first.job is not None:
            self._restart()
            return
        theme_of = self._request().theme
        raster = whole.raster
        self._fine.cancel()
        self.map.show_detail(None)
        self.begin("")
        self._first.start(lambda _context: colouring.paint(raster, look, colouring.limit_of(raster, look), *theme_of))

    # --- a part of it -------------------------------------------------------------------------------------------------

    def _on_looked(self) -> None:
        """Read finer blocks of what is looked at, where that shows more than is there."""
        from ckpt_viewer.stats.raster import Window, block_sizes

        whole = self.map.whole
        if whole is None or whole.raster.sample or self._plane is None:
            return
        request = self._request()
        window = Window(*self.map.visible)
        if window.cells <= 0 or not self._shows_more(block_sizes(window, request.most), window, whole):
            return
        wanted = request._replace(window=window, limit=whole.limit)
        self.begin("")
        self._fine.start(lambda context: colouring.exact(wanted, context), title="Looking closer")

    def _shows_more(self, sizes: tuple[int, int], window: Any, whole: Picture) -> bool:
        for picture in (self.map.detail, whole):
            if picture is None:
                continue
            raster, seen = picture.raster, picture.raster.window
            inside = (
                seen.top <= window.top and window.bottom <= seen.bottom
                and seen.left <= window.left and window.right <= seen.right
            )  # fmt: skip
            if inside and sizes[0] >= raster.down and sizes[1] >= raster.across:
                return False
        return True

    def _on_fine(self, picture: Picture) -> None:
        self.map.show_detail(picture)
        self._say_cell()
        self.settle()

    def _say_cell(self) -> None:
        """Read off what is at the pointer, from the finest picture of it."""
        text = ""
        if self.map.at is not None and self._plane is not None:
            for picture in (self.map.detail, self.map.whole):
                if picture is not None and not text:
                    text = colouring.cell_words(picture.raster, self._plane, *self.map.at)
        self.hover.setText(text or "wheel or + and −: zoom;  drag: move;  double-click: the value in its table")

    def _on_chosen(self, row: int, column: int) -> None:
        if self._plane is not None:
            self.place_wanted.emit(self._plane.place(row, column))
