"""A progress bar for work of any size, painted with everything else."""

from __future__ import annotations

from PySide6.QtWidgets import QProgressBar

SCALE = 1000
"""Steps of a bar: Qt counts in 32 bits, bytes do not fit."""


class ShareBar(QProgressBar):
    """Shows how much of a whole is done."""

    def show_share(self, done: int, total: int) -> None:
        """Show `done` of `total`; of 0 it shows that something is going on."""
        self.setUpdatesEnabled(False)  # else Qt would paint at once, and all that waits in the window with it
        self.setRange(0, SCALE if total > 0 else 0)
        if total > 0:
            self.setValue(min(SCALE, done * SCALE // total))
        self.setUpdatesEnabled(True)
