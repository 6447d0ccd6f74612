"""Tensors with the same content: candidates from a scan's exact numbers, confirmed by hashing only their bytes."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import TYPE_CHECKING

from ckpt_viewer.core.decode import element_bytes
from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.errors import CheckpointError, SourceChanged, Unreadable
from ckpt_viewer.stats.profile import Profile

if TYPE_CHECKING:
    from ckpt_viewer.core.progress import Context
    from ckpt_viewer.core.tensor import TensorSpec
    from ckpt_viewer.stats.scan import Scan

Group = list["TensorSpec"]


def candidates(scan: Scan, wanted: Iterable[TensorSpec], context: Context = SILENT) -> list[Group]:
    """Return groups of tensors that may have the same content: equal dtype, number of values, extremes and exact sums.

    Views of the same bytes are no duplicates: each region counts once. Tensors whose values are all the same are left
    out: zeros and ones say nothing.

    Raises:
        Cancelled: by `context`.
    """
    assert scan.plan is not None
    found: dict[object, Group] = {}
    seen: set[int] = set()
    for done, tensor in enumerate(wanted):
        context.step(done, 0)
        number = scan.plan.of.get(id(tensor))
        profile = scan.outcomes[number] if number is not None else None
        if number is None or number in seen or not isinstance(profile, Profile):
            continue
        seen.add(number)
        census = profile.census
        if census.low == census.high or profile.over:
            continue
        found.setdefault((profile.dtype, profile.numel, census, profile.moments), []).append(tensor)
    return [group for group in found.values() if len(group) > 1]


def nbytes_of(groups: Iterable[Group]) -> int:
    """Return how many bytes `confirm` will read."""
    return sum(tensor.nbytes for group in groups for tensor in group)


def confirm(groups: list[Group], context: Context = SILENT) -> list[Group]:
    """Return groups of tensors with equal bytes in row-major order, those that take most first.

    Args:
        context: is told about bytes.

    Raises:
        SourceChanged, Unreadable: the file cannot be read any more. Cancelled: by `context`.
    """
    total, done = nbytes_of(groups), 0
    found: list[Group] = []
    for group in groups:
        equal: dict[bytes, Group] = {}
        for tensor in group:
            digest = blake2b(digest_size=20)
            try:
                for block in element_bytes(tensor):
                    digest.update(block)
                    done += len(block)
                    context.step(min(done, total), total)
            except (SourceChanged, Unreadable):
                raise
            except CheckpointError:  # what cannot be read has no content to compare
                continue
            equal.setdefault(digest.digest(), []).append(tensor)
        found += [each for each in equal.values() if len(each) > 1]
    return sorted(found, key=lambda each: -(len(each) - 1) * each[0].nbytes)
