"""The menu by which a user says what an entry is, where it was not recognised or was taken for something else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtGui import QActionGroup
from PySide6.QtWidgets import QMenu

from ckpt_viewer.analysis.role_rules import CHOSEN
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.value import Instance, Mapping, Value

if TYPE_CHECKING:
    from ckpt_viewer.gui.tree.view import CheckpointTreeView

CHOICES = (
    ("model", "Model"),
    ("ema", "Averaged model (EMA)"),
    ("optimizer", "Optimizer"),
    ("lr_scheduler", "Learning-rate scheduler"),
    ("scaler", "Gradient scaler"),
    ("progress", "Progress: epoch, step"),
    ("metrics", "Metrics"),
    ("config", "Settings"),
    ("rng", "Random generator"),
    ("none", "None of these"),
)
"""Roles, and what the menu calls them."""


def can_be(value: Value, role: str) -> bool:
    """Whether an entry can be something: models have entries, as optimizers have; progress is a number."""
    if role in ("model", "ema"):
        return isinstance(value, Mapping | Instance)
    if role in ("optimizer", "lr_scheduler", "scaler"):
        return isinstance(value, Mapping | Instance)
    if role == "progress":
        return type(value) in (int, float) or (isinstance(value, TensorSpec) and value.shape == ())
    return True


def role_menu(view: CheckpointTreeView, row: int, parent: QMenu) -> QMenu:
    """Return "This is ..." for an entry, with a mark at what it is taken for."""
    tree = view.tree_model.tree
    assert tree is not None
    menu, group = QMenu("This is …", parent), QActionGroup(parent)
    value, pointer, chosen = tree.value(row), tree.pointer(row), CHOSEN in tree.reasons.get(row, "")
    mark = tree.marks.get(row, "none" if chosen else "")
    for role, text in CHOICES:
        action = menu.addAction(text)
        action.setCheckable(True)
        action.setChecked(mark == role)
        action.setEnabled(role == "none" or can_be(value, role))
        action.triggered.connect(lambda _=False, given=role: view.roleChosen.emit(pointer, given))
        group.addAction(action)
    menu.addSeparator()
    reset = menu.addAction("As recognised")
    reset.setObjectName("action_as_recognised")
    reset.setEnabled(chosen)
    reset.triggered.connect(lambda: view.roleChosen.emit(pointer, ""))
    return menu
