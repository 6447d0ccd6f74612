"""The command ``diff``: two checkpoints side by side."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ckpt_viewer.core.outline import Pointers
from ckpt_viewer.core.text import escape_text

if TYPE_CHECKING:
    from ckpt_viewer.analysis.diff import Change, Diff
    from ckpt_viewer.core.checkpoint import Checkpoint

DIFFERENT, NOT_DONE = 1, 2
"""Exit codes where anything differs, and where nothing does as far as it could be compared, but that was not all."""


def add_parsers(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the parser of ``diff``."""
    parser = add("diff", help="say what differs between the checkpoints A and B")
    parser.add_argument("file", metavar="A")
    parser.add_argument("other", metavar="B")
    parser.add_argument("--values", action="store_true", help="read and compare the values of tensors too")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(run=run_diff)


def run_diff(options: argparse.Namespace) -> int:
    """Print what differs; return 1 where anything does.

    Raises:
        CheckpointError: one of both cannot be opened.
    """
    from ckpt_viewer.analysis.diff import diff
    from ckpt_viewer.analysis.diff_json import diff_json
    from ckpt_viewer.cli_progress import Bar, open_shown

    first = options.file
    with open_shown(first) as a:
        options.file = options.other  # what an error is about from here on
        with open_shown(options.other) as b:
            options.file, bar = first, Bar()
            try:
                found = diff(a, b, bar, values=options.values)
            finally:
                bar.clear()
            if options.json:
                sys.stdout.write(json.dumps(diff_json(a, b, found), allow_nan=False) + "\n")
            else:
                sys.stdout.writelines(escape_text(line) + "\n" for line in _lines(a, b, found, values=options.values))
            sys.stdout.flush()
    if not found.equal:
        return DIFFERENT
    return NOT_DONE if found.uncompared else 0


def _lines(a: Checkpoint, b: Checkpoint, found: Diff, *, values: bool) -> Iterator[str]:
    pointer_a, pointer_b = Pointers(a.outline).of, Pointers(b.outline).of
    for row in found.only_a:
        yield f"- {pointer_a(row)}"
    for row in found.only_b:
        yield f"+ {pointer_b(row)}"
    for change in found.changed:
        one, other = pointer_a(change.row_a), pointer_b(change.row_b)
        where = one if one == other else f"{one} ({other or 'the root'})"
        yield f"~ {where or '(root)'}: {change_text(change)}"
    same = "1 entry is" if found.same == 1 else f"{found.same} entries are"
    rest = f", {found.uncompared} could not be compared" if found.uncompared else ""
    yield (
        f"{same} the same, {len(found.changed) - found.uncompared} differ{rest}, "
        f"{len(found.only_a)} are only in the first, {len(found.only_b)} only in the second"
        f"{'' if values else '; the values of tensors were not compared (--values)'}"
    )


def change_text(change: Change) -> str:
    """Return one change in words: ``shape [3] -> [4]``."""
    if change.problem:
        return f"values not compared: {change.problem}"
    if change.by is None:
        return f"{change.field} {change.a} -> {change.b}"
    cosine = "" if change.by.cosine is None else f", cosine {change.by.cosine:.9g}"
    values = "1 value differs" if change.by.elements == 1 else f"{change.by.elements} values differ"
    return (
        f"{values}, by {change.by.max_abs:.6g} at most ({change.a} -> {change.b}), "
        f"relative {change.by.max_rel:.6g}{cosine}"
    )
