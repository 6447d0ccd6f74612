"""The commands that print numbers: ``stats`` and ``show``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from ckpt_viewer.core.path import Path, step_json
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.text import escape_text, shape_text
from ckpt_viewer.errors import CheckpointError, Damaged, SourceChanged, Truncated, Unreadable

if TYPE_CHECKING:
    from ckpt_viewer.cli_progress import Bar
    from ckpt_viewer.core.checkpoint import Checkpoint
    from ckpt_viewer.core.node import Node
    from ckpt_viewer.core.outline import Outline, Pointers
    from ckpt_viewer.stats.scan import Scan
    from ckpt_viewer.stats.summary import Summary

BINS = 256
TEXT_BINS = 20
BAR_CHARACTERS = 40
PATIENCE = 10.0
"""Seconds that machine code for the next time may take after everything was printed; once on each computer."""
HEADINGS = ("path", "shape", "dtype", "min", "max", "mean", "std", "zeros", "NaN", "Inf")


def add_parsers(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the parsers of both commands."""
    from ckpt_viewer.cli_files import add_file, add_salvage
    from ckpt_viewer.cli_show import run_show

    parser = add("stats", help="print statistics and histograms of tensors")
    add_file(parser)
    parser.add_argument("pointers", nargs="*", metavar="POINTER", help="tensors, or containers of them; default: all")
    parser.add_argument("--json", action="store_true", help="everything, as one JSON document")
    parser.add_argument("--bins", type=int, metavar="N", help=f"bins of a histogram ({BINS}; {TEXT_BINS} as text)")
    add_salvage(parser)
    parser.set_defaults(run=run_stats, several="pointers")
    parser = add("show", help="print a value, or a slice of a tensor")
    add_file(parser)
    parser.add_argument("pointer", metavar="POINTER", help="the node, as in /model/conv1.weight")
    parser.add_argument("--slice", metavar="INDEX", help='part of a tensor, as in "0,:,3:7"')
    parser.add_argument("--json", action="store_true", help="one JSON document")
    add_salvage(parser)
    parser.set_defaults(run=run_show)


class Base:
    """Where targets were looked for: at a node, or in the whole file."""

    def __init__(self, outline: Outline, texts: Pointers, node: Node | None = None, row: int = 0) -> None:
        self._outline, self._texts = outline, texts
        self._path, self._pointer = (node.path, node.pointer) if node is not None else ((), "")
        self._depth, self._head = len(outline.path(row)), len(texts.of(row))

    def path(self, row: int) -> Path:
        """Return the path of a row below."""
        return self._path + self._outline.path(row)[self._depth :]

    def pointer(self, row: int) -> str:
        """Return the same as a JSON Pointer."""
        return self._pointer + self._texts.of(row)[self._head :]


class Target(NamedTuple):
    """A tensor to be counted, and where: `base` knows the path of `row`. A file can have one in a million places."""

    tensor: TensorSpec
    base: Base
    row: int

    @property
    def path(self) -> Path:
        """The path that it was found at."""
        return self.base.path(self.row)

    @property
    def pointer(self) -> str:
        """The same as a JSON Pointer."""
        return self.base.pointer(self.row)


class Outcome(NamedTuple):
    """What became of a tensor.

    Attributes:
        tensor: it. summary: None where it has no values. note: why not; ``""`` otherwise.
    """

    tensor: TensorSpec
    summary: Summary | None
    note: str = ""


def run_stats(options: argparse.Namespace) -> int:
    """Print statistics of tensors.

    Raises:
        CheckpointError: also after everything that can be read was printed, if a tensor is damaged.
    """
    from ckpt_viewer.cli_progress import Bar, open_shown
    from ckpt_viewer.stats.preparing import the_preparation
    from ckpt_viewer.stats.summary import check_bins

    bins = options.bins if options.bins is not None else BINS if options.json else TEXT_BINS
    check_bins(bins)  # before anything is printed
    bar, damage = Bar(), list[CheckpointError]()
    with open_shown(options.file, whole=options.whole, salvage=options.salvage) as checkpoint:
        targets = _targets(checkpoint, options.pointers)
        try:
            drawn = options.json or (len(options.pointers) == len(targets) == 1)
            scanned = not (drawn and options.pointers)
            outcomes = _count(targets, bins, bar, damage, drawn=drawn, scanned=scanned)
            lines = _document(targets, outcomes) if options.json else _report(targets, outcomes, bar, options.pointers)
            sys.stdout.writelines(lines)
            sys.stdout.flush()
        finally:
            bar.clear()
    the_preparation.wait(PATIENCE)
    if damage and not checkpoint.contents.salvaged:  # of a salvaged file it is known, and noted
        raise CheckpointError(f"{len(damage)} of {len(targets)} tensors cannot be read: {damage[0]}")
    return 0


def _targets(checkpoint: Checkpoint, pointers: list[str]) -> list[Target]:
    from ckpt_viewer.core.outline import Pointers

    outline = checkpoint.outline
    texts = Pointers(outline)
    if not pointers:
        whole = Base(outline, texts)
        return [Target(tensor, whole, row) for row, tensor in outline.tensors()]
    found: list[Target] = []
    for pointer in pointers:
        node = checkpoint[pointer]
        row = outline.find(node.path) or 0
        row = outline.aliases.get(row, row)
        base = Base(outline, texts, node, row)
        if node.kind == "tensor":
            found.append(Target(node.tensor, base, row))
            continue
        below = range(row, outline.ends[row])
        tensors = [(each, value) for each in below if type(value := outline.values[each]) is TensorSpec]
        if not tensors:
            raise CheckpointError(f"there is no tensor below {pointer!r}; `ls` lists what there is")
        found += [Target(tensor, base, each) for each, tensor in tensors]
    return found


class _Share:
    """A context for one of many tensors: reports bytes of all of them."""

    def __init__(self, bar: Bar, before: int, nbytes: int, total: int) -> None:
        self._bar, self._before, self._nbytes, self._total = bar, before, nbytes, total

    def step(self, done: int, total: int) -> None:
        self._bar.step(self._before + self._nbytes * done // max(total, 1), self._total)


def _count(
    targets: list[Target], bins: int, bar: Bar, damage: list[CheckpointError], *, drawn: bool, scanned: bool
) -> Iterator[Outcome]:
    """Count tensors, one that is there several times once; `damage` gets what cannot be read.

    Args:
        drawn: whether histograms are wanted. scanned: whether a first pass goes over all of them in file order.
    """
    from ckpt_viewer.stats.preparing import prepare
    from ckpt_viewer.stats.scan import Scan

    nbytes = sum({id(target.tensor): target.tensor.nbytes for target in targets}.values())
    prepare(nbytes)
    passes = nbytes * (drawn + scanned)
    scan = Scan(target.tensor for target in targets) if scanned else None
    if scan is not None:
        scan.run(_Share(bar, 0, nbytes, passes))
    done = nbytes if scanned else 0
    kept: dict[int, Outcome] = {}
    for target in targets:
        tensor = target.tensor
        if id(tensor) not in kept:
            share = _Share(bar, done, tensor.nbytes, passes)
            kept[id(tensor)] = _outcome(tensor, scan, bins if drawn else 0, share, damage)
            done += tensor.nbytes
        yield kept[id(tensor)]


def _outcome(tensor: TensorSpec, scan: Scan | None, bins: int, share: _Share, damage: list[CheckpointError]) -> Outcome:
    from ckpt_viewer.stats.summary import summarize_tensor, summary_of

    known = scan.outcome(tensor) if scan is not None else None
    try:
        if isinstance(known, CheckpointError):
            raise known
        if known is not None and not bins:
            return Outcome(tensor, summary_of(known))
        return Outcome(tensor, summarize_tensor(tensor, bins, share, known))
    except (SourceChanged, Unreadable):
        raise
    except CheckpointError as error:
        if isinstance(error, Damaged | Truncated):
            damage.append(error)
        return Outcome(tensor, None, str(error))


# --- as JSON ------------------------------------------------------------------------------------------------------


def _document(targets: list[Target], outcomes: Iterator[Outcome]) -> Iterator[str]:
    yield '{"schema": 1, "tensors": ['
    before, last, text = "\n", None, ""
    for target, outcome in zip(targets, outcomes, strict=True):
        if outcome is not last:  # one tensor may stand in a million places
            last, text = outcome, json.dumps(_entry(outcome), allow_nan=False)[1:]
        yield f'{before}{{"path": {json.dumps([step_json(step) for step in target.path])}, {text}'
        before = ",\n"
    yield "\n]}\n"


def _entry(outcome: Outcome) -> dict[str, Any]:
    from ckpt_viewer.stats.summary import summary_json

    tensor = outcome.tensor
    if outcome.summary is not None:
        return summary_json(outcome.summary)
    names = ("finite", "nan", "posinf", "neginf", "zeros", "min", "max", "mean", "std", "quantiles", "histogram")
    entry = {"dtype": tensor.dtype or None, "numel": tensor.numel}
    return {**entry, **dict.fromkeys(names), "note": outcome.note}


# --- for people ---------------------------------------------------------------------------------------------------


def _report(targets: list[Target], outcomes: Iterator[Outcome], bar: Bar, pointers: list[str]) -> Iterator[str]:
    done = list(outcomes)
    bar.clear()
    yield from _table(targets, done)
    for target, outcome in zip(targets, done, strict=True):
        if outcome.note:
            yield f"note: {_name(target)}: {escape_text(outcome.note)}\n"
        elif outcome.summary is not None and outcome.summary.over:
            yield f"note: {_name(target)}: over {outcome.summary.over}\n"
    if len(pointers) == len(done) == 1 and done[0].summary is not None:
        yield from _histogram(done[0].summary)


def _name(target: Target) -> str:
    return escape_text(target.pointer) or "(root)"


def _cells(outcome: Outcome) -> tuple[str, ...]:
    """Return what stands behind the name of a tensor."""
    tensor, summary = outcome.tensor, outcome.summary
    head = shape_text(tensor.shape, "x"), tensor.dtype or "?"
    if summary is None:
        return (*head, *["-"] * 7)
    numbers = summary.min, summary.max, summary.mean, summary.std, summary.zeros, summary.nan
    return (*head, *map(number_text, numbers), number_text(summary.posinf + summary.neginf))


def _table(targets: list[Target], outcomes: list[Outcome]) -> Iterator[str]:
    """Yield a line for each target; what is said of a tensor is made once, wherever it stands."""
    distinct = {key: _cells(outcome) for key, outcome in {id(each): each for each in outcomes}.items()}
    widths = [max(map(len, column)) for column in zip(HEADINGS[1:], *distinct.values(), strict=True)]
    name_width = max((len(_name(target)) for target in targets), default=0)
    name_width = max(name_width, len(HEADINGS[0]))
    behind = {key: _aligned(cells, widths) for key, cells in distinct.items()}
    yield f"{HEADINGS[0]:<{name_width}}  {_aligned(HEADINGS[1:], widths)}\n"
    for target, outcome in zip(targets, outcomes, strict=True):
        yield f"{_name(target):<{name_width}}  {behind[id(outcome)]}\n"


def _aligned(cells: tuple[str, ...], widths: list[int]) -> str:
    left = [text.ljust(width) for text, width in zip(cells[:2], widths, strict=False)]
    right = [text.rjust(width) for text, width in zip(cells[2:], widths[2:], strict=True)]
    return "  ".join([*left, *right]).rstrip()


def number_text(value: float | int | None) -> str:
    """Return a number in full precision, ``-`` for none."""
    return "-" if value is None else repr(value)


def _histogram(summary: Summary) -> Iterator[str]:
    if summary.quantiles is None or summary.histogram is None:
        return
    yield "\nquantiles\n"
    for share, value in summary.quantiles.items():
        yield f"{100 * float(share):>4g} %  {number_text(value)}\n"
    yield "\n"
    edges, counts = summary.histogram
    texts = [number_text(edge) for edge in edges]
    width, digits, most = max(map(len, texts)), len(str(max(counts))), max(counts)
    for start, end, count in zip(texts, texts[1:], counts, strict=False):
        bar = "#" * (-(-count * BAR_CHARACTERS // most))
        yield f"{start:>{width}} to {end:<{width}}  {count:>{digits}}  {bar}".rstrip() + "\n"
