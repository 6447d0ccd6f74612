"""The commands that write: ``export`` and ``remap``."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ckpt_viewer.core.text import bytes_text, escape_text
from ckpt_viewer.errors import Cancelled

if TYPE_CHECKING:
    from ckpt_viewer.core.checkpoint import Checkpoint
    from ckpt_viewer.export.plan import Plan, Written

BAR_WIDTH = 30
REDRAW = 0.1
"""Seconds between two pictures of the progress bar."""


def add_parsers(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the parsers of both commands."""
    from ckpt_viewer.cli_files import add_file, add_salvage

    parser = add("export", help="write the params-only state_dict of a model in FILE")
    add_file(parser)
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="the file to write")
    parser.add_argument("--from", dest="model", metavar="POINTER", help="the model, where there are several: /model")
    parser.add_argument("--format", choices=("pth",), default="pth", help="pth: a torch.save file (default)")
    add_salvage(parser)
    _add_common(parser)
    parser.set_defaults(run=run_export)
    parser = add("remap", help="write the whole checkpoint with other device tags")
    parser.set_defaults(whole=False)
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("-o", "--output", metavar="OUT", help="the file to write; FILE with .cpu before its suffix")
    parser.add_argument(
        "--map-location",
        metavar="SPEC",
        required=True,
        help="cpu, cuda:0, mps ..., cuda:1=cuda:0,cuda:2=cpu, or storage",
    )
    _add_common(parser)
    parser.set_defaults(run=run_remap)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="say what would be written, and write nothing")
    parser.add_argument("--no-verify", action="store_true", help="do not compare what was written with FILE")
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")
    parser.add_argument("--json", action="store_true", help="report as one JSON document")


def run_export(options: argparse.Namespace) -> int:
    """Write a state_dict; raises CheckpointError."""
    from ckpt_viewer.export.plan import plan_export

    return _run(options, lambda checkpoint: plan_export(checkpoint, options.model))


def run_remap(options: argparse.Namespace) -> int:
    """Write a checkpoint with other device tags; raises CheckpointError."""
    from ckpt_viewer.core.location import parse_map_location
    from ckpt_viewer.export.plan import plan_remap

    map_location = parse_map_location(options.map_location)
    return _run(options, lambda checkpoint: plan_remap(checkpoint, map_location))


def _run(options: argparse.Namespace, make_plan: Callable[[Checkpoint], Plan]) -> int:
    from ckpt_viewer.export.atomic import check_space, check_target
    from ckpt_viewer.export.plan import write
    from ckpt_viewer.formats import open_checkpoint

    salvage = getattr(options, "salvage", False)
    with open_checkpoint(options.file, whole=options.whole, salvage=salvage) as checkpoint:
        plan = make_plan(checkpoint)
        target = Path(options.output) if options.output is not None else plan.target
        if options.dry_run:
            if not plan.idle:
                check_target(target, force=options.force, source=options.file)
                check_space(target.parent, plan.nbytes)
            _report(options, plan, target, None)
            return 0
        with _progress() as bar, _stoppable():
            written = write(plan, target, force=options.force, verify=not options.no_verify, context=bar)
    _report(options, plan, target, written)
    return 0


# --- what the user sees -------------------------------------------------------------------------------------------


def _report(options: argparse.Namespace, plan: Plan, target: Path, written: Written | None) -> None:
    if options.json:
        print(json.dumps(_document(plan, written)))
        return
    if plan.idle:
        print(escape_text(plan.idle))
    else:
        verb = "wrote" if written else "would write"
        checked = ", compared with the source" if written and written.verified else ""
        print(escape_text(f"{verb} {target}: {bytes_text(plan.nbytes)}, {plan.tensors} tensors{checked}"))
    for warning in plan.warnings:
        print(escape_text(f"ckpt-viewer: warning: {warning}"), file=sys.stderr)


def _document(plan: Plan, written: Written | None) -> dict[str, object]:
    """INTERFACE's `export` and `remap --json`; a dry run has written nothing but says how many bytes it would."""
    path = written.path if written else None
    warnings = (plan.idle, *plan.warnings) if plan.idle else plan.warnings
    return {
        "schema": 1,
        "written": str(path) if path is not None else None,
        "bytes": 0 if plan.idle else plan.nbytes,
        "tensors": plan.tensors,
        "renamed": {},
        "dropped": list(plan.dropped),
        "cast": {},
        "warnings": list(warnings),
        "verified": written.verified if written else None,
    }


class Bar:
    """A progress bar on standard error, if that is a terminal. A context for long work."""

    def __init__(self) -> None:
        self._drawn = 0.0
        self._on = sys.stderr.isatty()

    def step(self, done: int, total: int) -> None:
        """Draw the bar, at most every `REDRAW` seconds."""
        now = time.monotonic()
        if not self._on or now - self._drawn < REDRAW:
            return
        self._drawn = now
        filled, percent = BAR_WIDTH * done // max(total, 1), 100 * done // max(total, 1)
        sys.stderr.write(f"\r[{'=' * filled:<{BAR_WIDTH}}] {percent} %\x1b[K")
        sys.stderr.flush()

    def clear(self) -> None:
        """Take the bar away."""
        if self._on and self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


@contextmanager
def _progress() -> Iterator[Bar]:
    bar = Bar()
    try:
        yield bar
    finally:
        bar.clear()


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP stop the work like Ctrl-C, so that they leave no half-written file either."""
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]

    def stop(number: int, frame: object) -> None:
        del frame
        raise Cancelled(f"signal {number}")

    before = {name: signal.signal(getattr(signal, name), stop) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
