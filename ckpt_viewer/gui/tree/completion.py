"""Which words of the filter a beginning can become, by what is in the file. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckpt_viewer.gui.tree.compared import WORDS

if TYPE_CHECKING:
    from ckpt_viewer.gui.tree.index import TreeIndex

EXAMPLES = (
    "dtype:", "shape:", "ndim:", "size>1MB", "size<1kB", "params>1M", "device:", "role:", "nan", "inf", "zeros>50%",
    "min<0", "max>10", "absmax>10", "mean>0", "std<0.001",
)  # fmt: skip
"""What is offered for a key; those that end with a colon go on with what is in the file."""
MOST = 24


def completions(begun: str, index: TreeIndex) -> list[str]:
    """Return the words that a beginning of one can become, a minus in front kept; none for what is a name."""
    begun = begun.lower()
    minus = "-" if begun.startswith("-") else ""
    word = begun.removeprefix("-")
    if '"' in word or word.startswith("/"):
        return []
    key, colon, value = word.partition(":")
    if colon:
        found = [f"{key}:{each}" for each in _values(key, index) if each.startswith(value)]
    else:
        words = (*EXAMPLES, *(WORDS if index.compared.rows else ()))
        found = [each for each in words if each.startswith(word)]
    return [minus + each for each in found[:MOST]]


def _values(key: str, index: TreeIndex) -> list[str]:
    """Return what a key can be in a file, the most frequent kinds of tensors first."""
    totals = index.totals
    if key == "role":
        return sorted({mark for mark in index.marks.values() if mark})
    if key == "device":
        return sorted({*totals.tags})
    if key == "dtype":
        return list(dict.fromkeys(kind.dtype for kind in totals.kinds if kind.dtype))
    shapes = [kind.shape for kind in totals.kinds if kind.shape is not None]
    if key == "ndim":
        return [str(rank) for rank in sorted({len(shape) for shape in shapes})]
    if key == "shape":
        return list(dict.fromkeys("x".join(map(str, shape)) for shape in shapes if shape))
    return []
