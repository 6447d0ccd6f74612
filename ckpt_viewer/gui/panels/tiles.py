"""Blocks of a 2-D slice, read by a job as they are looked at and kept in bounded number."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from PySide6.QtCore import QObject, QTimer, Signal

from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.slicing import Slicing, read_block
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.gui.jobs import JobRunner, Latest

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

CELLS = 4096
"""Cells of a tile, about."""
MOST_COLUMNS = 64
KEPT = 256
"""Tiles that are kept: about a million cells."""
AT_A_TIME = 12
"""Tiles that one job reads; those asked for last come first, since they are the ones on the screen."""


class Key(NamedTuple):
    """A tile by its position among the tiles."""

    down: int
    across: int


class Grid(NamedTuple):
    """What tiles are cut from.

    Attributes:
        tensor, slicing: the slice. rows, columns: cells of a tile.
    """

    tensor: TensorSpec
    slicing: Slicing
    rows: int
    columns: int

    def key(self, row: int, column: int) -> Key:
        """The tile that holds a cell."""
        return Key(row // self.rows, column // self.columns)

    def span(self, key: Key) -> tuple[slice, slice]:
        """The rows and columns of a tile."""
        top, left = key.down * self.rows, key.across * self.columns
        bottom = min(top + self.rows, self.slicing.row_count)
        return slice(top, bottom), slice(left, min(left + self.columns, self.slicing.column_count))


def make_grid(tensor: TensorSpec, slicing: Slicing) -> Grid:
    """Return tiles of about CELLS cells, as wide as MOST_COLUMNS."""
    columns = max(1, min(slicing.column_count, MOST_COLUMNS))
    return Grid(tensor, slicing, max(1, CELLS // columns), columns)


class Tiles(QObject):
    """The tiles of one grid at a time."""

    arrived = Signal(object)
    """A list of Keys that `get` now has."""
    failed = Signal(object)
    idle = Signal()
    """Everything that was asked for is there."""

    def __init__(self, runner: JobRunner, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.grid: Grid | None = None
        self._tiles: OrderedDict[Key, Array] = OrderedDict()
        self._wanted: OrderedDict[Key, None] = OrderedDict()
        self._latest = Latest(runner, self)
        self._latest.finished.connect(self._keep)
        self._latest.failed.connect(self._fail)
        self._soon = QTimer(self)  # one paint asks for many cells
        self._soon.setSingleShot(True)
        self._soon.setInterval(0)
        self._soon.timeout.connect(self._read)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is wanted or being read."""
        return not self._wanted and self._latest.job is None

    def show_grid(self, grid: Grid | None) -> None:
        """Cut tiles from another slice; what was being read is cancelled."""
        self._latest.cancel()
        self._soon.stop()
        self._tiles.clear()
        self._wanted.clear()
        self.grid = grid

    def get(self, key: Key) -> Array | None:
        """Return a tile; None if it has to be read first, which is then under way."""
        tile = self._tiles.get(key)
        if tile is not None:
            self._tiles.move_to_end(key)
            return tile
        if key not in self._wanted:
            self._wanted[key] = None
            while len(self._wanted) > KEPT // 2:
                self._wanted.popitem(last=False)
        else:
            self._wanted.move_to_end(key)
        if self._latest.job is None and not self._soon.isActive():
            self._soon.start()
        return None

    def _read(self) -> None:
        grid = self.grid
        if grid is None or not self._wanted:
            return
        keys = list(self._wanted)[-AT_A_TIME:]

        def work(context: Context) -> dict[Key, Array]:
            found: dict[Key, Array] = {}
            for done, key in enumerate(keys):
                context.step(done, len(keys))
                found[key] = read_block(grid.tensor, grid.slicing, *grid.span(key))
            return found

        self._latest.start(work)

    def _keep(self, found: dict[Key, Array]) -> None:
        self._tiles.update(found)
        while len(self._tiles) > KEPT:
            self._tiles.popitem(last=False)
        for key in found:
            self._wanted.pop(key, None)
        self.arrived.emit(list(found))
        if self._wanted:
            self._read()
        else:
            self.idle.emit()

    def _fail(self, error: BaseException) -> None:
        self._wanted.clear()
        self.failed.emit(error)
