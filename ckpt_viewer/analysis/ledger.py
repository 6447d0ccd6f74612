"""The storage ledger: bytes that storages have against bytes that tensors use, who shares what, and what a file is for.

A tensor is a view of a storage, and torch.save writes storages whole: a slice of a batch drags the batch along.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from math import prod
from typing import Any, NamedTuple

from ckpt_viewer.analysis.role_rules import Role
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.finding import Finding
from ckpt_viewer.core.outline import Outline
from ckpt_viewer.core.path import Path, step_json
from ckpt_viewer.core.progress import SILENT, Context, stepped
from ckpt_viewer.core.tensor import StorageSpec, TensorSpec
from ckpt_viewer.core.text import bytes_text

BLOAT = 1024
"""Bytes of a storage that no tensor uses from which on it is worth a word."""
BLOAT_SHARE = 0.1
"""Share of a storage that no tensor uses from which on it is worth a word."""
MOST_TOLD = 20
"""Storages that are told one by one."""
MOST_NAMES = 10_000
"""Names of one and the same tensor that are kept: a pickle can refer to one a million times."""
OTHER = "other"


class Use(NamedTuple):
    """One way in which a tensor uses a storage.

    Attributes:
        row: in the outline. start, end: bytes in the storage that it spans. nbytes: of them, those that it needs.
        region: what two names must have in common to be one tensor.
    """

    row: int
    start: int
    end: int
    nbytes: int
    region: tuple[object, ...]


class Line:
    """One storage and all tensors that view it.

    Attributes:
        storage: the bytes. uses: in file order. role: of the first entry that it belongs to, ``other`` without one.
    """

    __slots__ = ("_known", "role", "storage", "uses")

    def __init__(self, storage: StorageSpec, role: str) -> None:
        self.storage, self.role = storage, role
        self.uses: list[Use] = []
        self._known = (0, 0)

    @property
    def used(self) -> int:
        """Bytes that some tensor needs."""
        if self._known[0] != len(self.uses):
            self._known = len(self.uses), self._count()
        return self._known[1]

    def _count(self) -> int:
        if len(self.uses) == 1:
            return min(self.uses[0].nbytes, self.storage.nbytes)
        covered = end = 0
        for use in sorted(self.uses, key=lambda use: use.start):
            covered += max(0, use.end - max(use.start, end))
            end = max(end, use.end)
        distinct = {use.region: use.nbytes for use in self.uses}
        return min(covered, sum(distinct.values()), self.storage.nbytes)

    @property
    def wasted(self) -> int:
        """Bytes that no tensor needs."""
        return self.storage.nbytes - self.used

    @property
    def bloated(self) -> bool:
        """Whether so much is wasted that it is worth a word."""
        return self.wasted >= max(BLOAT, BLOAT_SHARE * self.storage.nbytes)

    @property
    def regions(self) -> list[list[int]]:
        """Rows by what they see of the storage: two rows of one region are tied, several regions are aliased."""
        found: dict[tuple[object, ...], list[int]] = {}
        for use in self.uses:
            found.setdefault(use.region, []).append(use.row)
        return list(found.values())


class Ledger:
    """All storages of a checkpoint.

    Attributes:
        lines: in order of first appearance.
    """

    def __init__(self, outline: Outline, lines: list[Line]) -> None:
        self.outline, self.lines = outline, lines

    @cached_property
    def stored(self) -> int:
        """Bytes of all storages."""
        return sum(line.storage.nbytes for line in self.lines)

    @cached_property
    def used(self) -> int:
        """Bytes that tensors need of them."""
        return sum(line.used for line in self.lines)

    @cached_property
    def shares(self) -> dict[str, int]:
        """Role -> bytes of its storages, largest first; a storage that several roles share counts for the first."""
        found: dict[str, int] = {}
        for line in self.lines:
            found[line.role] = found.get(line.role, 0) + line.storage.nbytes
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    @property
    def bloated(self) -> list[Line]:
        """Storages of which much is wasted, worst first."""
        return sorted((line for line in self.lines if line.bloated), key=lambda line: -line.wasted)

    @property
    def tied(self) -> list[list[Path]]:
        """Groups of names of one and the same tensor."""
        groups = (rows for line in self.lines if len(line.uses) > 1 for rows in line.regions if len(rows) > 1)
        return [[self.outline.path(row) for row in rows] for rows in groups]

    @property
    def aliased(self) -> list[list[Path]]:
        """Groups of names that see different parts of one storage."""
        groups = (line.regions for line in self.lines if len(line.uses) > 1)
        return [[self.outline.path(rows[0]) for rows in regions] for regions in groups if len(regions) > 1]


def ledger(checkpoint: Checkpoint, roles: Mapping[int, Role], context: Context = SILENT) -> Ledger:
    """Return the ledger of a checkpoint; reads nothing. Raises Cancelled by `context`."""
    outline = checkpoint.outline
    role_ends = iter(sorted((row, outline.ends[row], role.name) for row, role in roles.items()))
    start, end, name = next(role_ends, (len(outline), 0, OTHER))
    lines: dict[int, Line] = {}
    before, again = None, 0
    for row, value in stepped(enumerate(outline.values), context, len(outline)):
        if type(value) is not TensorSpec and type(value) is not StorageSpec:
            continue
        again = again + 1 if value is before else 0
        if again > MOST_NAMES:
            continue
        before = value
        while row >= end and start <= row:
            start, end, name = next(role_ends, (len(outline), 0, OTHER))
        _add(value, row, name if start <= row < end else OTHER, lines)
    return Ledger(outline, list(lines.values()))


def _add(value: TensorSpec | StorageSpec, row: int, role: str, lines: dict[int, Line]) -> None:
    if isinstance(value, StorageSpec):
        _line(value, role, lines).uses.append(Use(row, 0, value.nbytes, value.nbytes, ()))
        return
    if value.extra is not None:
        for part in value.extra.parts.values():
            _add(part, row, role, lines)
    if value.storage is not None and value.storage.home is not None:
        uses = _line(value.storage, role, lines).uses
        last = uses[-1] if uses else None
        if last is not None and last.region == (value.offset, value.shape, value.stride, value.dtype):
            if len(uses) < MOST_NAMES:
                uses.append(last._replace(row=row))  # one tensor under many names
        else:
            uses.append(use_of(value, row))


def _line(storage: StorageSpec, role: str, lines: dict[int, Line]) -> Line:
    line = lines.get(id(storage))
    if line is None:
        line = lines[id(storage)] = Line(storage, role)
    return line


def use_of(tensor: TensorSpec, row: int) -> Use:
    """Return what a tensor needs of its storage."""
    shape, stride, dtype = tensor.shape or (), tensor.stride, DTYPES.get(tensor.dtype)
    region = (tensor.offset, tensor.shape, stride, tensor.dtype)
    if stride is None or dtype is None or dtype.per_byte > 1 or dtype.bits or len(stride) != len(shape):
        return Use(row, 0, tensor.nbytes, tensor.nbytes, region)
    item = dtype.itemsize
    if not tensor.numel:
        return Use(row, 0, 0, 0, region)
    span = 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    distinct = prod(size for size, step in zip(shape, stride, strict=True) if step)
    start = tensor.offset * item
    return Use(row, start, start + span * item, min(span, distinct) * item, region)


def bloat_findings(outline: Outline, lines: Iterable[Line]) -> tuple[Finding, ...]:
    """Return a finding for each storage of which much is wasted, worst first; of many, one for the rest."""
    worst = sorted((line for line in lines if line.bloated), key=lambda line: -line.wasted)
    found = [_bloat(outline, line) for line in worst[:MOST_TOLD]]
    if worst[MOST_TOLD:]:
        rest = sum(line.wasted for line in worst[MOST_TOLD:])
        message = (
            f"{len(worst) - MOST_TOLD} more storages are larger than their tensors, together by {bytes_text(rest)}"
        )
        found.append(Finding("warning", "view-bloat", (), message))
    return tuple(found)


def _bloat(outline: Outline, line: Line) -> Finding:
    several = f"{len(line.uses)} tensors use" if len(line.uses) > 1 else "this tensor uses"
    message = (
        f"{several} {bytes_text(line.used)} of a storage of {bytes_text(line.storage.nbytes)}, which is saved whole; "
        f"an export saves {bytes_text(line.wasted)}, as does tensor.clone() before torch.save"
    )
    return Finding("warning", "view-bloat", outline.path(line.uses[0].row), message)


def lines_of(checkpoint: Checkpoint, storages: set[int]) -> list[Line]:
    """Return the lines of some storages only, by their ids."""
    lines: dict[int, Line] = {}
    for row, tensor in checkpoint.outline.tensors():
        parts = tensor.extra.parts.values() if tensor.extra is not None else ()
        if any(id(each.storage) in storages for each in (tensor, *parts)):
            _add(tensor, row, OTHER, lines)
    return [line for key, line in lines.items() if key in storages]


def ledger_json(book: Ledger) -> dict[str, Any]:
    """Return the member ``storage`` of ``check --json``."""

    def told(groups: list[list[Path]]) -> list[list[list[Any]]]:
        return [[[step_json(step) for step in path] for path in group] for group in groups[:1000]]

    return {"stored_bytes": book.stored, "used_bytes": book.used, "shares": book.shares, "tied": told(book.tied),
            "aliased": told(book.aliased)}  # fmt: skip
