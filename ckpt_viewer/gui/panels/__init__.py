"""The details of what is selected: one tab for each way of looking at it."""

from ckpt_viewer.gui.panels.base import Panel
from ckpt_viewer.gui.panels.tabs import DetailTabs

__all__ = ["DetailTabs", "Panel"]
