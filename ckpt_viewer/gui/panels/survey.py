"""The work behind the overview of a container: shares, largest tensors, what a scan found. Runs in jobs. No Qt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from heapq import nlargest
from typing import TYPE_CHECKING, NamedTuple

from ckpt_viewer.core.expand import children, is_leaf
from ckpt_viewer.core.node import Node
from ckpt_viewer.core.progress import Context, stepped
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.text import bytes_text, count_text, grouped
from ckpt_viewer.core.value import Value
from ckpt_viewer.errors import BadMapLocation
from ckpt_viewer.gui.panels.contents import tree_row
from ckpt_viewer.gui.panels.facts import count_words, placed
from ckpt_viewer.gui.tree import ModuleGroup, TreeIndex
from ckpt_viewer.gui.tree.names import display_name

if TYPE_CHECKING:
    from ckpt_viewer.core.location import Locator
    from ckpt_viewer.gui.file_scan import FileScan
    from ckpt_viewer.stats.duplicates import Group

MOST_MODULES, MOST_LARGEST, MOST_LISTED = 40, 12, 2000
FEW, DOMINATES = 6, 0.5
"""Modules of a short list, and the share of one that is replaced by what is in it."""
AT_ONCE = 1 << 26
"""Bytes of candidates for duplicates that are compared without being asked for."""


class Bar(NamedTuple):
    """A line with a bar.

    Attributes:
        name: what it is. share: of the whole, 0 ... 1. text: how much. row: of the tree, to select it; -1 for none.
    """

    name: str
    share: float
    text: str
    row: int = -1


class Links(NamedTuple):
    """Rows of the outline, each with a few words."""

    rows: list[int]
    notes: list[str]


class Survey(NamedTuple):
    """What is below a container.

    Attributes:
        modules: the largest children. others: how many more there are. dtypes, devices: by bytes.
        largest: tensors. tensors: how many there are; tied ones each. elements, nbytes: of distinct ones.
    """

    modules: list[Bar]
    others: int
    dtypes: list[Bar]
    devices: list[Bar]
    largest: Links
    tensors: int
    elements: int
    nbytes: int


LOOKED_AT = 200
"""Values that are looked at to tell whether there are tensors in a container."""


def may_hold_tensors(value: Value) -> bool:
    """Whether there is a tensor somewhere below a value, or that takes too long to tell."""
    waiting = [children(value)]
    for _ in range(LOOKED_AT):
        while waiting:
            child = next(waiting[-1], None)
            if child is not None:
                break
            waiting.pop()
        else:
            return False
        if isinstance(child[1], TensorSpec):
            return True
        if not is_leaf(child[1]):
            waiting.append(children(child[1]))
    return True


def survey(subject: Node | ModuleGroup, index: TreeIndex, context: Context) -> Survey:
    """Add up what is below a container; raises Cancelled."""
    row = tree_row(subject, index)
    if row is None:
        return Survey([], 0, [], [], Links([], []), 0, 0, 0)
    target = index.same_as(row)
    row = row if target is None else target
    node = subject if isinstance(subject, Node) else subject.node
    totals = index.totals
    bars, others = _modules(index, row, context)
    dtypes, devices, distinct = _shares(index, row, node.checkpoint.locator, context)
    largest = nlargest(MOST_LARGEST, distinct, key=lambda each: each[0])
    links = Links([at for _, at in largest], [bytes_text(size) for size, _ in largest])
    return Survey(
        bars, others, dtypes, devices, links, totals.tensors(row), totals.elements(row), totals.nbytes(row)
    )  # fmt: skip


def _modules(index: TreeIndex, row: int, context: Context) -> tuple[list[Bar], int]:
    """Return the modules that hold most values, and how many more there are.

    One that holds most of a short list is replaced by what is in it: a model is often one module of many blocks.
    """
    elements, whole = index.totals.elements, max(1, index.totals.elements(row))
    shown = [(child, "") for child in stepped(_children(index, row), context) if elements(child)]
    while shown:
        place = max(range(len(shown)), key=lambda at: elements(shown[at][0]))
        largest, prefix = shown[place]
        within = [child for child in stepped(_children(index, largest), context) if elements(child)]
        if not within or len(shown) >= FEW or elements(largest) < DOMINATES * whole:
            break
        name = f"{prefix}{display_name(index.names[largest])}."
        shown[place : place + 1] = [(child, name) for child in within]
    first = nlargest(MOST_MODULES, shown, key=lambda each: elements(each[0]))
    bars = [
        Bar(
            prefix + display_name(index.names[child]), elements(child) / whole,
            f"{count_text(elements(child))}   {elements(child) / whole:.1%}", child,
        )
        for child, prefix in first
    ]  # fmt: skip
    return bars, len(shown) - len(first)


def _children(index: TreeIndex, row: int) -> Iterator[int]:
    """Yield what is directly below a row, the blocks of a run each."""
    for child in index.children(row):
        if index.is_run(child):
            yield from _children(index, child)
        else:
            yield child


def tensors_below(index: TreeIndex, row: int) -> Iterator[tuple[int, TensorSpec]]:
    """Yield the tensors at and below a row of the tree, with their rows of the outline."""
    from bisect import bisect_left

    rows, end = index.totals.tensor_rows, index.ends[row]
    for at in range(bisect_left(rows, row), bisect_left(rows, end)):
        value = index.value(rows[at])
        if isinstance(value, TensorSpec):
            yield index.sources[rows[at]], value


def _shares(
    index: TreeIndex, row: int, locator: Locator, context: Context
) -> tuple[list[Bar], list[Bar], list[tuple[int, int]]]:
    """Return bytes by dtype and by device, and size and row of each distinct tensor."""
    dtypes, devices = Counter[str](), Counter[str]()
    seen: set[tuple[object, ...]] = set()
    distinct: list[tuple[int, int]] = []
    for source, tensor in stepped(tensors_below(index, row), context):
        view: tuple[object, ...] = (id(tensor),)
        if tensor.storage is not None:
            view = (id(tensor.storage), tensor.offset, tensor.shape, tensor.stride)
        if view in seen:
            continue
        seen.add(view)
        size = tensor.nbytes
        try:
            mapped = locator.tensor(tensor)
        except BadMapLocation:
            mapped = "?"
        dtypes[tensor.dtype or "?"] += size
        devices[placed(tensor.location, mapped)] += size
        distinct.append((size, source))
    return _bars(dtypes), _bars(devices), distinct


def _bars(sizes: Counter[str]) -> list[Bar]:
    whole = max(1, sum(sizes.values()))
    return [Bar(name, size / whole, f"{bytes_text(size)}   {size / whole:.1%}") for name, size in sizes.most_common(12)]


# --- what a scan found ------------------------------------------------------------------------------------------------


def unsound(subject: Node | ModuleGroup, index: TreeIndex, scan: FileScan, context: Context) -> Links:
    """Return the tensors that are known to have NaN or infinities, as far as the scan is; raises Cancelled."""
    links, row = Links([], []), tree_row(subject, index)
    if row is None:
        return links
    for source, tensor in stepped(tensors_below(index, row), context):
        figures = scan.figures(tensor)
        if figures is not None and not figures.is_sound and len(links.rows) < MOST_LISTED:
            counts = {"NaN": figures.nan, "Inf": figures.inf}
            links.rows.append(source)
            links.notes.append(", ".join(f"{grouped(count)} {word}" for word, count in counts.items() if count))
    return links


class Twins(NamedTuple):
    """Tensors with the same content.

    Attributes:
        links: a group after the other. waiting: candidates that were not compared yet; nbytes: what that would read.
    """

    links: Links
    waiting: list[Group]
    nbytes: int = 0


def duplicates(
    subject: Node | ModuleGroup, index: TreeIndex, scan: FileScan, context: Context, *, all_of_them: bool = False
) -> Twins:
    """Find duplicates below a container, of a file that was scanned.

    Args:
        all_of_them: compare the candidates whatever it takes; else only where they are small.

    Raises:
        SourceChanged, Unreadable: the file cannot be read any more. Cancelled: by `context`.
    """
    from ckpt_viewer.stats.duplicates import candidates, confirm, nbytes_of

    row, found = tree_row(subject, index), scan.harvest.scan
    if row is None or found is None or found.plan is None:
        return Twins(Links([], []), [])
    below = list(stepped(tensors_below(index, row), context))
    groups = candidates(found, (tensor for _, tensor in below), context)
    if nbytes_of(groups) > AT_ONCE and not all_of_them:
        return Twins(Links([], []), groups, nbytes_of(groups))
    links, places = Links([], []), {id(tensor): source for source, tensor in reversed(below)}
    for group in confirm(groups, context):
        for number, tensor in enumerate(group):
            if len(links.rows) < MOST_LISTED:
                links.rows.append(places[id(tensor)])
                words = f"{count_words(len(group), 'time')} the same {bytes_text(tensor.nbytes)}"
                links.notes.append("the same" if number else words)
    return Twins(links, [])
