"""What the menu of a histogram has: its picture as PNG or SVG, its bins on the clipboard or as CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckpt_viewer.core.text import csv_cell
from ckpt_viewer.gui.labels import plain
from ckpt_viewer.gui.panels.picture import Picture, bins_rows
from ckpt_viewer.gui.panels.picture_menu import PictureMenu, Writer, text_writer

if TYPE_CHECKING:
    from ckpt_viewer.gui.panels.plot import HistogramPlot


def fill_menu(menu: PictureMenu, plot: HistogramPlot) -> None:
    """Have an empty menu serve a plot."""
    menu.serve(plot.widget)
    menu.add("Show all values", plot.view_all)
    menu.add("Copy the bins", lambda: _copy_bins(menu, plot.picture))
    menu.add_picture()
    menu.add_svg()
    menu.add_file("CSV", lambda: csv_writer(plot.picture))


def _copy_bins(menu: PictureMenu, picture: Picture) -> None:
    menu.copy_text(lambda _: copied_bins(picture))


def copied_bins(picture: Picture) -> str:
    """Return the bins, tab-separated, in full precision."""
    return "".join("\t".join(plain(cell) for cell in row) + "\n" for row in bins_rows(picture))


def csv_writer(picture: Picture) -> Writer:
    """Return what writes the bins."""
    rows = bins_rows(picture)
    return text_writer(lambda _: "".join(",".join(csv_cell(plain(cell)) for cell in row) + "\n" for row in rows))
