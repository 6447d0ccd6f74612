"""The tree of a checkpoint: an index that is built beside the window, a Qt model and a view over it.

`build_index` needs no Qt; `ckpt_viewer.gui.tree.widget` has the widget.
"""

from __future__ import annotations

from ckpt_viewer.gui.tree.build import build_index
from ckpt_viewer.gui.tree.index import ModuleGroup, TreeIndex

__all__ = ["ModuleGroup", "TreeIndex", "build_index"]
