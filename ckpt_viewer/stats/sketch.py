"""One pass over values: what is kept of them, so that two parts of a tensor can be counted apart and added up.

Results depend neither on the order of blocks nor on how they were cut or merged. Up to `SMALL` values are kept as they
are and everything is exact; beyond, values are counted in cells (see `kernels`), with exact sums.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ckpt_viewer.stats import kernels

if TYPE_CHECKING:
    from ckpt_viewer.core.strided import Array
    from ckpt_viewer.stats.kernels import Kernels
    from ckpt_viewer.stats.stores import Counted, Store

SMALL = 1 << 14
"""Values that are kept as they are."""

_quiet = np.errstate(all="ignore")
"""Comparing and converting NaN with the signalling bit set would warn."""


class Sketch:
    """Counts blocks of values; `merge` adds another sketch of the same kind.

    Args:
        store: an empty store of the values' kind: `PatternStore`, `Float32Store`, `Float64Store`, `IntegerStore`.
        using: what counts; None for the fastest at hand.
    """

    def __init__(self, store: Store, using: Kernels | None = None) -> None:
        self._store, self._using = store, using
        self._held: list[Array] | None = []
        self._numel = 0

    @_quiet
    def add(self, block: Array) -> None:
        """Count a one-dimensional block; it may be changed afterwards."""
        self._numel += block.size
        if self._held is not None and self._numel <= SMALL:
            self._held.append(block.copy())
            return
        self._release()
        self._store.add(block, self._using or kernels.current())

    @_quiet
    def merge(self, other: Sketch) -> None:
        """Count what `other` counted; it is left as it is."""
        if other._held is not None:
            for block in other._held:
                self.add(block)
            return
        self._release()
        self._numel += other._numel
        self._store.merge(other._store)

    def _release(self) -> None:
        for block in self._held or ():
            self._store.add(block, self._using or kernels.current())
        self._held = None

    @_quiet
    def counted(self) -> Counted:
        """Return what is known of all values so far."""
        if self._held is None:
            return self._store.counted()
        return self._store.count_all(np.concatenate(self._held) if self._held else np.empty(0))
