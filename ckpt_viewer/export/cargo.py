"""What a writer is handed: names and values, already chosen, named and ordered. No writer asks what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from ckpt_viewer.core.value import Value


class Cargo(NamedTuple):
    """What is written.

    Attributes:
        items: new name -> tensor or plain value, in order.
        metadata: ``_metadata`` of the state_dict under the new names, plain; None without.
        cast: new name -> dtype that its tensor becomes; only tensors whose dtype changes.
    """

    items: dict[str, Value]
    metadata: Value = None
    cast: Mapping[str, str] = MappingProxyType({})


class Options(NamedTuple):
    """What a target may be told.

    Attributes:
        max_shard_size: bytes that one file may have before another is begun; 0 for no limit.
    """

    max_shard_size: int = 0


class CastCounts(NamedTuple):
    """What a cast did to the values of one tensor, counted while it was written.

    Attributes:
        overflow: finite values that became infinite. underflow: values other than zero that became zero.
        nan: values that were NaN, and are.
    """

    overflow: int = 0
    underflow: int = 0
    nan: int = 0


def total(found: Mapping[int, CastCounts]) -> CastCounts:
    """Return the counts of all parts of a tensor together."""
    return CastCounts(*map(sum, zip(*found.values(), strict=True))) if found else CastCounts()
