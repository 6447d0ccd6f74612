"""An error in what Qt calls is reported, and takes nothing with it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ckpt_viewer.gui
from ckpt_viewer.gui.guard import called_by_qt

CALLED = {"data", "headerData", "paint", "paintEvent", "drawRow"}
FILES = sorted(Path(ckpt_viewer.gui.__file__).parent.rglob("*.py"))
PROGRAM = """
import sys
from PySide6.QtCore import QAbstractTableModel, QModelIndex, QTimer
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QApplication, QTableView, QWidget
from ckpt_viewer.gui.guard import called_by_qt

reported = []
sys.excepthook = lambda kind, error, trace: reported.append(str(error))

class Model(QAbstractTableModel):
    def rowCount(self, parent=QModelIndex()):
        return 50
    def columnCount(self, parent=QModelIndex()):
        return 3
    @called_by_qt
    def data(self, index, role=0):
        raise ValueError("data")
    @called_by_qt
    def headerData(self, section, orientation, role=0):
        raise ValueError("header")

class Painted(QWidget):
    @called_by_qt
    def paintEvent(self, event):
        painter = QPainter(self)
        raise ValueError("paint")

app = QApplication([])
view, model, painted = QTableView(), Model(), Painted()
view.setModel(model)
view.show()
painted.show()
for _ in range(20):
    view.resizeColumnsToContents()
    view.grab()
    painted.grab()
    model.beginResetModel()
    model.endResetModel()
    app.processEvents()
print(sorted(set(reported)))
"""


def overrides(file: Path) -> list[ast.FunctionDef]:
    classes = [node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.ClassDef)]
    return [each for kind in classes for each in kind.body if isinstance(each, ast.FunctionDef) and each.name in CALLED]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_whatever_qt_calls_is_guarded(file):
    bare = [each.name for each in overrides(file) if "called_by_qt" not in map(ast.unparse, each.decorator_list)]
    assert not bare


def test_there_is_much_that_qt_calls():
    assert sum(len(overrides(file)) for file in FILES) > 30


def test_an_error_is_reported_and_nothing_is_answered(monkeypatch):
    reported = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: reported.append((kind, str(error))))

    class Model:
        @called_by_qt
        def data(self, index, role=0):
            """What it is."""
            if role:
                raise ValueError("broken")
            return index

    assert Model().data(3) == 3
    assert Model().data(3, role=1) is None
    assert reported == [(ValueError, "broken")]
    assert Model.data.__doc__ == "What it is."


def test_errors_while_python_has_called_qt_do_not_end_the_process():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['data', 'header', 'paint']"
