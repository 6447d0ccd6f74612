"""A bar that moves leaves painting to the event loop, with all that waits to be painted in its window."""

from __future__ import annotations

from PySide6.QtWidgets import QVBoxLayout, QWidget

from ckpt_viewer.gui.share_bar import SCALE, ShareBar


class Costly(QWidget):
    """Something that is slow to paint."""

    painted = 0

    def paintEvent(self, event):
        del event
        self.painted += 1


def test_a_step_paints_nothing_by_itself(qtbot):
    window = QWidget()
    qtbot.addWidget(window)
    bar, costly = ShareBar(), Costly()
    layout = QVBoxLayout(window)
    layout.addWidget(bar)
    layout.addWidget(costly)
    window.resize(200, 200)
    window.show()
    qtbot.waitUntil(lambda: costly.painted > 0)
    before = costly.painted
    costly.update()
    bar.show_share(1 << 40, 1 << 41)
    assert costly.painted == before
    assert (bar.value(), bar.maximum()) == (SCALE // 2, SCALE)
    qtbot.waitUntil(lambda: costly.painted == before + 1)


def test_of_nothing_it_shows_that_work_goes_on(qtbot):
    bar = ShareBar()
    qtbot.addWidget(bar)
    bar.show_share(0, 0)
    assert bar.maximum() == 0
    bar.show_share(7, 5)
    assert bar.value() == SCALE
