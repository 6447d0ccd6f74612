"""A first impression: the numbers of a few values spread over one tensor, or over many."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.stats.profile import Profile
from ckpt_viewer.stats.reading import open_reading, plain_kind
from ckpt_viewer.stats.sketch import Sketch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ckpt_viewer.core.progress import Context
    from ckpt_viewer.core.strided import Array
    from ckpt_viewer.core.tensor import TensorSpec
    from ckpt_viewer.stats.reading import Reading

READS, ELEMENTS = 32, 512
"""How often a tensor is read for a sample, and how many values at once."""
MANY_READS, MANY_ELEMENTS = 192, 64
"""The same for a sample of many tensors."""
ENTRIES = 1 << 16
"""Cells that are kept of a sample; as many as a type of 16 bits has values."""


class Sample(NamedTuple):
    """Numbers of some values; `partial` is False where they are all values of the tensor."""

    profile: Profile
    partial: bool


def sample_of(tensor: TensorSpec) -> Sample:
    """Return the numbers of a few values spread over a tensor, quick whatever its size; of all of a small one.

    Raises:
        CheckpointError: the tensor has no values, or its bytes cannot be read.
    """
    reading = open_reading(tensor, elements=ELEMENTS)
    values = reading.sample(READS)
    partial = values.size < reading.numel
    return Sample(_profile(reading, [values], 1 if partial else reading.repeats), partial)


def sample_of_many(tensors: Sequence[TensorSpec], context: Context) -> Profile | None:
    """Return the numbers of a few values spread over many tensors, from each in proportion to its size.

    Tensors without values, and those that cannot be read, are left out; None where that leaves nothing.

    Raises:
        Cancelled: by `context`.
    """
    ends = list(accumulate(tensor.numel for tensor in tensors))
    total = ends[-1] if ends else 0
    places = [bisect_right(ends, total * (2 * k + 1) // (2 * MANY_READS)) for k in range(MANY_READS)] if total else []
    found: dict[object, tuple[Reading, list[Array]]] = {}
    for done, (number, reads) in enumerate(Counter(places).items()):
        context.step(done, len(places))
        tensor = tensors[number]
        try:
            reading = open_reading(tensor, elements=MANY_ELEMENTS)
            values = reading.sample(reads)
        except CheckpointError:
            continue
        key: object = tensor.dtype if plain_kind(tensor.dtype) and not tensor.extra else number
        found.setdefault(key, (reading, []))[1].append(values)
    whole: Profile | None = None
    for reading, parts in found.values():
        profile = _profile(reading, parts, 1)
        whole = profile if whole is None else whole.plus(profile)
    return whole


def _profile(reading: Reading, parts: list[Array], repeats: int) -> Profile:
    sketch = Sketch(reading.store.fresh())
    for values in parts:
        sketch.add(values)
    return Profile.of(reading.tensor_dtype, reading.over, sketch.counted(), repeats, ENTRIES)
