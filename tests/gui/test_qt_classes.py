from __future__ import annotations

import subprocess
import sys

from ckpt_viewer.gui.qt_classes import SLICE, ClassMaker
from ckpt_viewer.gui.windows import Windows

MAKE = """
from PySide6 import QtCore, QtGui, QtWidgets
from ckpt_viewer.gui.application import make_application
from ckpt_viewer.gui.qt_classes import ClassMaker
application = make_application()
lazy = lambda: {name for module in (QtCore, QtGui, QtWidgets) for name in set(dir(module)) - set(vars(module))}
before = len(lazy())
maker = ClassMaker()
maker.ready.connect(application.quit)
maker.start()
application.exec()
print(before > 100, sorted(lazy()))
"""


def test_afterwards_no_class_is_left_to_be_made():
    done = subprocess.run([sys.executable, "-c", MAKE], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "True []\n"), done.stderr


def test_it_says_so_once_and_stops_when_told(qtbot):
    maker = ClassMaker()
    with qtbot.waitSignal(maker.ready):
        maker.start()
    assert not maker._timer.isActive()
    other = ClassMaker()
    other.start()
    other.stop()
    with qtbot.assertNotEmitted(other.ready, wait=int(SLICE * 2000)):
        pass


def test_no_thread_imports_panels_before_the_classes_are_made(qtbot, monkeypatch):
    windows = Windows()
    begun = []
    monkeypatch.setattr("ckpt_viewer.gui.windows._import_panels", lambda context: begun.append("panels"))
    monkeypatch.setattr("ckpt_viewer.gui.windows._import_pyqtgraph", lambda context: begun.append("pyqtgraph"))
    monkeypatch.setattr(windows.devices, "look", lambda: None)
    monkeypatch.setattr(ClassMaker, "start", lambda self: None)
    windows.warm_up()
    assert windows.background.active == []
    windows._classes.ready.emit()
    qtbot.waitUntil(lambda: not windows.background.active)
    windows.shut_down()
    assert begun == ["panels", "pyqtgraph"]
