"""Checkpoints for tests of the tree, made by hand."""

from __future__ import annotations

from hand_made import make_checkpoint, mapping

from ckpt_viewer.core.tensor import StorageSpec, TensorSpec
from ckpt_viewer.core.value import Mapping


def tensor(*shape, dtype="float32", tag="cuda:1", storage=None, offset=0):
    """Return a contiguous tensor over a storage of its own, or over a given one."""
    stride, step = [], 1
    for size in reversed(shape):
        stride.insert(0, step)
        step *= size
    storage = storage or StorageSpec("0", tag, dtype, step, None)
    return TensorSpec(storage, dtype, shape, tuple(stride), offset)


def mapping_of(items, type="dict"):
    """Return a Mapping of keys of any kind."""
    made = Mapping(type)
    for key, value in items.items():
        made.pairs += [key, value]
    return made


def state_dict(*keys, shape=(2, 3)):
    """Return a state_dict with a tensor for each key."""
    return mapping_of({key: tensor(*shape) for key in keys}, "collections.OrderedDict")


def checkpoint_of(root, **contents):
    return make_checkpoint(root=root, **contents)


def training_checkpoint():
    """Return a checkpoint in torchvision's form, with an EMA copy that is the very same dict."""
    names = ("conv1.weight", "bn1.weight", "bn1.bias", "layer1.0.conv1.weight", "layer1.0.bn1.weight",
             "layer1.1.conv1.weight", "layer1.1.bn1.weight", "fc.weight", "fc.bias")  # fmt: skip
    model = state_dict(*names)
    state = mapping_of({number: mapping(momentum_buffer=tensor(2, 3)) for number in range(9)})
    groups = [mapping(lr=0.1, betas=(0.9, 0.999), params=list(range(9)))]
    return checkpoint_of(
        mapping(
            model=model,
            optimizer=mapping(state=state, param_groups=groups),
            lr_scheduler=mapping(step_size=30, last_epoch=3),
            epoch=3,
            model_ema=model,
        )
    )


def large_checkpoint(entries, per_module=4):
    """Return a checkpoint with one state_dict of many entries in modules that are not equal to their neighbours."""
    weights = mapping_of({}, "collections.OrderedDict")
    for number in range(entries):
        module, part = divmod(number, per_module)
        weights.pairs += [f"encoder.layers.{module}.part{part}.weight", tensor(2, 2 + module % 3)]
    return checkpoint_of(mapping(model=weights, epoch=3))


def flat_checkpoint(entries, **after):
    """Return a checkpoint with a dict of many integers, and what comes after it."""
    return checkpoint_of(mapping(many=mapping_of({f"key{n}": n for n in range(entries)}), **after))


class Counter:
    """A context that counts its steps and raises at one of them."""

    def __init__(self, raise_at=None, error=RuntimeError):
        self.steps, self.raise_at, self.error = 0, raise_at, error

    def step(self, done, total):
        self.steps += 1
        if self.steps == self.raise_at:
            raise self.error


def shown_names(index, pages, row=0):
    """Return the names of what is shown below a row, "show more" rows as ``...``."""
    return ["..." if pages.is_more(key) else index.names[key] for key in pages.ids(row)]


def names_below(index, row=0):
    return [index.names[child] for child in index.children(row)]
