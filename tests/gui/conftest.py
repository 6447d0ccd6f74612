"""What tests of the window share: settings of their own, no thread and no window left behind, hand-made checkpoints."""

from __future__ import annotations

import os

import pytest
from hand_made import make_checkpoint

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from ckpt_viewer.core.checkpoint import Checkpoint

PATIENCE_MS = 30_000
"""How long a test waits for what must come: it costs nothing where it comes soon, and a machine may be busy."""


class PatientBot(QtBot):
    """pytest-qt's, which waits longer than its 5 s unless it is told otherwise."""

    def waitUntil(self, callback, *, timeout=PATIENCE_MS):
        super().waitUntil(callback, timeout=timeout)

    def waitSignal(self, signal, *, timeout=PATIENCE_MS, **options):
        return super().waitSignal(signal, timeout=timeout, **options)

    def waitSignals(self, signals, *, timeout=PATIENCE_MS, **options):
        return super().waitSignals(signals, timeout=timeout, **options)


@pytest.fixture
def qtbot(qapp, request):
    """In place of pytest-qt's own."""
    return PatientBot(request)


@pytest.fixture(autouse=True)
def own_settings(tmp_path_factory, qapp):
    """Settings live in a folder of the test's own, and the theme is light whatever the system says."""
    from ckpt_viewer.gui.theme import themes

    folder = tmp_path_factory.mktemp("settings")
    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(folder))
    themes().start("light")
    return folder


@pytest.fixture(autouse=True)
def nothing_is_left(own_settings, qapp):
    """Fail a test that leaves a visible top-level widget behind."""
    yield
    left = [widget for widget in QApplication.topLevelWidgets() if widget.isVisible()]
    for widget in left:
        widget.close()
    assert not left, f"the test left windows open: {left}"


@pytest.fixture
def checkpoint() -> Checkpoint:
    return make_checkpoint()


@pytest.fixture(scope="session")
def all_classes(qapp):
    """Make Qt's classes on the GUI thread, as the program does before a panel is imported on another one."""
    from ckpt_viewer.gui.qt_classes import ClassMaker

    for module, name in ClassMaker()._left:
        getattr(module, name)


@pytest.fixture
def open_details(qtbot, all_classes):
    """Open details over checkpoints made by hand: ``open_details(root)``; closed when the test ends."""
    from panel_samples import OpenDetails

    opened = []

    def open_one(root, **contents):
        opened.append(OpenDetails(qtbot, root, **contents))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()
