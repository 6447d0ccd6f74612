"""Checkpoints and sessions for tests of the detail panels, made by hand over bytes in memory."""

from __future__ import annotations

import threading

import numpy as np
from hand_made import make_checkpoint
from made_tensors import made_from, made_tensor
from tree_samples import mapping_of

from ckpt_viewer.core.tensor import StorageSpec, TensorExtra, TensorSpec
from ckpt_viewer.errors import SourceChanged, Truncated
from ckpt_viewer.gui.panels import DetailTabs
from ckpt_viewer.gui.session import Loaded, Session
from ckpt_viewer.gui.tree import build_index
from ckpt_viewer.sources import MemorySource


class Gate(MemorySource):
    """Bytes that are handed out once the gate is open; says when somebody waits."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.gate, self.asked = threading.Event(), threading.Event()

    def read_into(self, offset, buffer):
        self.asked.set()
        assert self.gate.wait(10)
        super().read_into(offset, buffer)

    def read_at(self, offset, size):
        self.asked.set()
        assert self.gate.wait(10)
        return super().read_at(offset, size)


class Changed(MemorySource):
    """A file that another program wrote to."""

    def read_into(self, offset, buffer):
        raise SourceChanged("the file was changed by another program while it was open; reload it (F5)")

    def read_at(self, offset, size):
        raise SourceChanged("the file was changed by another program while it was open; reload it (F5)")


class Short(MemorySource):
    """A file that ends too early."""

    def read_into(self, offset, buffer):
        raise Truncated("the file", wanted=len(buffer), found=1, offset=offset)

    def read_at(self, offset, size):
        raise Truncated("the file", wanted=size, found=1, offset=offset)


def floats(*values, dtype="float32"):
    """Return a 1-D tensor of some values."""
    return made_from(np.array(values, dtype))


def gated(array):
    """Return a tensor of an array's values, and the Gate before them."""
    source = Gate(array.tobytes())
    return made_tensor(b"", array.dtype.name, array.shape, source=source), source


def shared_pair():
    """Return a checkpoint's root with two views of one storage, a tied tensor, and a tensor of its own."""
    base = made_from(np.arange(12, dtype="float32").reshape(3, 4))
    part = TensorSpec(base.storage, "float32", (4,), (1,), 4)
    model = mapping_of({"a.weight": base, "b.weight": base, "b.part": part, "c": floats(1)}, "collections.OrderedDict")
    return mapping_of({"model": model, "epoch": 3})


def sparse():
    """Return a sparse COO tensor of shape 3 x 4 with the values 3 and 4."""
    parts = {
        "indices": made_from(np.array([[0, 1], [2, 0]])),
        "values": floats(3, 4),
    }
    return TensorSpec(None, "float32", (3, 4), None, extra=TensorExtra(layout="sparse_coo", parts=parts))


def meta():
    """Return a tensor without values."""
    return TensorSpec(StorageSpec("0", "meta", "float32", 12, None), "float32", (3, 4), (4, 1))


def at(extent_source, shape, dtype="float32"):
    """Return a tensor over a source of one's own."""
    return made_tensor(b"", dtype, shape, source=extent_source)


class OpenDetails:
    """A session over a checkpoint made by hand and the DetailTabs that follow it."""

    def __init__(self, qtbot, root, **contents) -> None:
        self.qtbot = qtbot
        self.checkpoint = make_checkpoint(root=root, **contents)
        self.session = Session(reader=self._read)
        with qtbot.waitSignal(self.session.selectionChanged):
            self.session.open("model_3.pth")
        self.tabs = DetailTabs(self.session)
        qtbot.addWidget(self.tabs)
        self.session.selectionChanged.connect(self.tabs.show_node)
        self.tabs.resize(700, 500)
        self.tabs.show()
        self.tabs.show_node(self.session.selected)
        qtbot.waitUntil(lambda: self.tabs.tabs.count() > 0)

    def _read(self, path, *rest):
        return Loaded(self.checkpoint, build_index(self.checkpoint, rest[-1]))

    def select(self, pointer, tab="", wait=True):
        """Select a node and a tab, wait until it is settled, and return the panel."""
        self.session.select(self.checkpoint[pointer])
        titles = [self.tabs.tabs.tabText(index) for index in range(self.tabs.tabs.count())]
        if tab:
            self.tabs.choose(titles.index(tab) + 1)
        if wait:
            self.wait()
        return self.tabs.panel

    def wait(self):
        """Wait until the panel has nothing left to read."""
        self.qtbot.waitUntil(lambda: self.tabs.is_settled and not self.session.jobs.active)

    def close(self):
        """Stop everything."""
        self.tabs.close()
        self.session.close()
        self.qtbot.waitUntil(lambda: not self.session.jobs.active)


def facts_of(table):
    """Return the rows of a FactsTable as it shows them."""
    model = table.model()
    return {model.index(row, 0).data(): model.index(row, 1).data() for row in range(model.rowCount())}
