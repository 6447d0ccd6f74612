"""What ``export`` and ``remap`` say: what was written, or entry by entry what would be."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ckpt_viewer.core.text import bytes_text, escape_text, shape_text
from ckpt_viewer.export.selection import Line, Selection
from ckpt_viewer.export.words import amount_text, carried_text, cast_texts, count_text

if TYPE_CHECKING:
    from ckpt_viewer.export.plan import Plan, Written


def report(plan: Plan, target: Path, written: Written | None, *, as_json: bool) -> None:
    """Print what was written; without `written`, what would be."""
    if as_json:
        print(json.dumps(_document(plan, target, written)))
        return
    if plan.idle:
        print(escape_text(plan.idle))
        return
    for line in _lines(plan, target, written):
        print(escape_text(line))
    for warning in written.warnings if written else plan.warnings:
        print(escape_text(f"ckpt-viewer: warning: {warning}"), file=sys.stderr)


def _lines(plan: Plan, target: Path, written: Written | None) -> Iterator[str]:
    if written is None:
        files = plan.recipe.files(target)
        several = f" in {len(files)} files" if len(files) > 1 else ""
        path = target if plan.folder else files[-1][0]
        yield f"would write {path}: {bytes_text(plan.size_at(target))}{several}, {count_text(plan.tensors)}"
        if plan.saving:
            yield f"  {plan.saving}"
        if plan.selection is not None:
            yield from _entries(plan.selection)
        return
    yield f"wrote {written.path}: {amount_text(written)}"
    if plan.saving:
        yield plan.saving
    yield from cast_texts(written)


def _entries(selection: Selection) -> Iterator[str]:
    for line in selection.lines:
        name = line.name if line.name == line.new else f"{line.name} -> {line.new}"
        yield f"  {name}  {_kind(line)}"
    for each in selection.dropped:
        yield f"  {each.name}  left out: {each.reason}"
    for names in selection.tied:
        yield f"  tied: {', '.join(names)}"


def _kind(line: Line) -> str:
    if line.old_dtype is None:
        return f"a value with {count_text(line.held)}  {bytes_text(line.nbytes)}" if line.held else "a plain value"
    dtype = line.old_dtype if line.dtype == line.old_dtype else f"{line.old_dtype} -> {line.dtype}"
    return f"{shape_text(line.shape, ' x ')}  {dtype}  {bytes_text(line.new_nbytes)}"


def _document(plan: Plan, target: Path, written: Written | None) -> dict[str, object]:
    """INTERFACE's `export` and `remap --json`; a dry run has written nothing but says how many bytes it would."""
    path = written.path if written else None
    warnings = [*written.warnings] if written else [plan.idle] if plan.idle else [*plan.warnings]
    if written and written.unproven:
        warnings.append(f"torch did not check the copy because {written.unproven}")
    if written and written.carried:
        warnings.append(carried_text(written))
    nbytes = 0 if plan.idle else written.bytes if written else plan.size_at(target)
    document: dict[str, object] = {
        "schema": 1,
        "written": str(path) if path is not None else None,
        "bytes": nbytes,
        "tensors": plan.tensors,
        "renamed": dict(plan.renamed),
        "dropped": list(plan.dropped),
        "cast": dict(plan.cast),
        "warnings": warnings,
        "verified": written.verified if written else None,
    }
    if plan.before:
        document["source_bytes"] = plan.before
    if written is not None and written.cast:
        document["cast_counts"] = {name: counts._asdict() for name, counts in written.counts.items()}
    if written is None and plan.selection is not None:
        document |= _details(plan.selection)
    return document


def _details(selection: Selection) -> dict[str, object]:
    """What only a dry run says: every entry, why others are left out, what is tied."""
    return {
        "entries": [
            {
                "name": line.name,
                "new_name": line.new,
                "dtype": line.old_dtype,
                "new_dtype": line.dtype or None,
                "shape": None if line.shape is None else list(line.shape),
                "bytes": line.nbytes,
                "new_bytes": line.new_nbytes,
            }
            for line in selection.lines
        ],
        "left_out": [each._asdict() for each in selection.dropped],
        "tied": [list(names) for names in selection.tied],
    }
