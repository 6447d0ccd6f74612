"""Every panel there is. A new one is a file and a line here; the order is that of the tabs."""

from __future__ import annotations

from ckpt_viewer.gui.panels.base import Panel
from ckpt_viewer.gui.panels.channels import ChannelsPanel
from ckpt_viewer.gui.panels.container import ContainerPanel
from ckpt_viewer.gui.panels.histogram import HistogramPanel
from ckpt_viewer.gui.panels.image import ImagePanel
from ckpt_viewer.gui.panels.ledger import LedgerPanel
from ckpt_viewer.gui.panels.loading import LoadingPanel
from ckpt_viewer.gui.panels.module import ModulePanel
from ckpt_viewer.gui.panels.optimizer import OptimizerPanel
from ckpt_viewer.gui.panels.overview import OverviewPanel
from ckpt_viewer.gui.panels.safety import SafetyPanel
from ckpt_viewer.gui.panels.scheduler import SchedulerPanel
from ckpt_viewer.gui.panels.spectrum import SpectrumPanel
from ckpt_viewer.gui.panels.storage import StoragePanel
from ckpt_viewer.gui.panels.value import ValuePanel
from ckpt_viewer.gui.panels.values import ValuesPanel
from ckpt_viewer.gui.root_panel import RootPanel

PANELS: tuple[type[Panel], ...] = (
    RootPanel,
    ModulePanel,
    OptimizerPanel,
    SchedulerPanel,
    ValuePanel,
    ContainerPanel,
    OverviewPanel,
    HistogramPanel,
    ValuesPanel,
    ImagePanel,
    ChannelsPanel,
    SpectrumPanel,
    StoragePanel,
    LedgerPanel,
    LoadingPanel,
    SafetyPanel,
)
