"""What tests of the window make by hand: checkpoints without a file, drag events."""

from __future__ import annotations

from PySide6.QtCore import QPointF

from ckpt_viewer.core.checkpoint import Checkpoint, Contents
from ckpt_viewer.core.tensor import StorageSpec, TensorSpec
from ckpt_viewer.core.value import Mapping
from ckpt_viewer.sources import MemorySource


def mapping(type: str = "dict", **items) -> Mapping:
    """Return a Mapping of string keys."""
    made = Mapping(type)
    for key, value in items.items():
        made.pairs += [key.replace("__", "."), value]
    return made


def make_checkpoint(path: str = "model_3.pth", root=None, *, closed: list | None = None, **contents) -> Checkpoint:
    """Return a checkpoint by hand: by default a small training checkpoint, its tensors tagged cuda:1."""
    if root is None:
        storage = StorageSpec("0", "cuda:1", "float32", 9408, None)
        weight = TensorSpec(storage, "float32", (64, 3, 7, 7), (147, 49, 7, 1))
        model = mapping("collections.OrderedDict", conv1__weight=weight)
        group = mapping(lr=0.1, momentum=0.9, params=[0])
        optimizer = mapping(state=mapping(), param_groups=[group])
        root = mapping(model=model, optimizer=optimizer, lr_scheduler=mapping(step_size=30, last_epoch=3), epoch=3)
    fields = {
        "format": "torch-zip", "root": root, "globals": (), "notes": (), "protocol": 2, "weights_only": "",
        "source": MemorySource(b"", path), "close": lambda: closed.append(path) if closed is not None else None,
    }  # fmt: skip
    return Checkpoint(path, 134_000_000, Contents(**{**fields, **contents}))


def drag_event(kind, point, *rest):
    """Return a QDragEnterEvent or QDragMoveEvent; Qt 6.12 wants a QPointF, those before it a QPoint."""
    try:
        return kind(QPointF(point), *rest)
    except TypeError:
        return kind(point, *rest)
