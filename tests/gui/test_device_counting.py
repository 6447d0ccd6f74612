"""A tensor that map_location puts on a GPU is counted there, and shows what it shows everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from made_tensors import made_from
from panel_samples import facts_of
from tree_samples import mapping_of

from ckpt_viewer.gui.devices import Devices
from ckpt_viewer.stats import kernels


class Noting(kernels.Plain):
    """Counts here, and notes that it did."""

    block, wide_block = kernels.DEVICE_BLOCK, kernels.DEVICE_WIDE_BLOCK

    def __init__(self):
        super().__init__()
        self.blocks = []

    def patterns(self, block, counts):
        self.blocks.append(block.size)
        super().patterns(block, counts)


class Known:
    """Knows the devices of another computer, or those of this one."""

    def __init__(self, names):
        self.names = names

    def ask(self):
        return self.names

    def stop(self):
        pass


def shown(panel):
    return facts_of(panel.table)


@pytest.fixture
def large():
    values = np.random.default_rng(5).normal(size=3_000_000).astype(np.float16)
    return mapping_of({"t": made_from(values)})


def test_the_window_counts_on_the_device_that_was_chosen(qtbot, open_details, large):
    noting, asked, found = Noting(), [], []
    for tag in ("cpu", "cuda:0"):
        assert noting.blocks == []
        details = open_details(large)
        details.session.kernels_on = lambda tag: asked.append(tag) or (noting if tag == "cuda:0" else None)
        details.session.set_map_location(tag)
        found.append(shown(details.select("/t")))
    assert found[0] == found[1]
    assert asked == ["cpu", "cuda:0"]
    assert sum(noting.blocks) == 3_000_000


@pytest.mark.torch
def test_the_window_counts_on_a_gpu_of_this_computer(qtbot, open_details, large):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU here")
    devices = Devices(Known({"cpu": "", "cuda:0": torch.cuda.get_device_name(0)}))
    with qtbot.waitSignal(devices.changed):
        devices.look()
    found = []
    try:
        for tag in ("cpu", "cuda:0"):
            details = open_details(large)
            details.session.kernels_on = devices.kernels_on
            details.session.set_map_location(tag)
            found.append(shown(details.select("/t")))
        assert found[0] == found[1]
        assert devices.kernels_on("cuda:0") is not None
        assert devices._counter.pid is not None
    finally:
        devices.stop()
