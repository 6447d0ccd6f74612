"""The commands that write: ``export`` and ``remap``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from ckpt_viewer.errors import Cancelled, CannotExport, StoppedLate, WriteFailed

if TYPE_CHECKING:
    from ckpt_viewer.core.checkpoint import Checkpoint
    from ckpt_viewer.export.choice import Choice
    from ckpt_viewer.export.plan import Plan
    from ckpt_viewer.export.proof import Prover


def add_parsers(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the parsers of both commands."""
    _add_export(add("export", help="write the params-only state_dict of a model in FILE, or another part of it"))
    parser = add("remap", help="write the whole checkpoint with other device tags")
    parser.set_defaults(whole=False)
    parser.add_argument("file", metavar="FILE")
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="the file to write, even if no tag changes; without, FILE with .cpu before its suffix, if one does",
    )
    parser.add_argument(
        "--map-location",
        metavar="SPEC",
        help="cpu, cuda:0, mps ..., cuda:1=cuda:0,cuda:2=cpu, or storage",
    )
    parser.add_argument(
        "--drop-optimizer", action="store_true", help="leave out the optimizer, and keep everything else as it is"
    )
    _add_common(parser)
    parser.set_defaults(run=run_remap)


def _add_export(parser: argparse.ArgumentParser) -> None:
    from ckpt_viewer.cli_files import add_file, add_salvage

    add_file(parser)
    add = parser.add_argument
    add("-o", "--output", metavar="OUT", required=True, help="the file to write")
    add("--from", dest="sources", metavar="POINTER", action="append", default=[],
        help="what to export: a model, another container or a tensor, as in /model; may be repeated")  # fmt: skip
    add("--format", metavar="pth|safetensors|npz|npy", help="what to write; without, the suffix of OUT decides")
    add("--dtype", metavar="D", default="", help="cast floating-point tensors: float32, float16 or bfloat16")
    add("--strip-prefix", metavar="auto|P",
        help="take this off the names; auto: what wrappers put before all of them (module., _orig_mod.)")  # fmt: skip
    add("--rename", metavar="OLD=NEW", action="append", default=[],
        help="rename entries of this name, or below it; a * of NEW is what that of OLD stood for")  # fmt: skip
    add("--no-buffers", dest="buffers", action="store_false", help="leave out buffers")
    add("--include", metavar="GLOB", action="append", default=[],
        help="only the entries of this name, or below it; may be repeated")  # fmt: skip
    add("--exclude", metavar="GLOB", action="append", default=[],
        help="none of the entries of this name, or below it; may be repeated")  # fmt: skip
    add("--max-shard-size", metavar="SIZE", default="", help="write several files of at most this size, as in 5GB")
    add_salvage(parser)
    _add_common(parser)
    parser.set_defaults(run=run_export)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="say what would be written, and write nothing")
    parser.add_argument("--no-verify", action="store_true", help="do not compare what was written with FILE")
    parser.add_argument("--no-torch", action="store_true", help="compare without torch, with our own reader only")
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")
    parser.add_argument("--remove-leftovers", action="store_true",
                        help="first remove unfinished files that killed runs left in the folder of OUT, and put back "
                        "what they did not come to replace")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="report as one JSON document")


def run_export(options: argparse.Namespace) -> int:
    """Write what was chosen of a file; raises CheckpointError."""
    from ckpt_viewer.export.plan import plan_export

    choice = _choice(options)
    return _run(options, lambda checkpoint: plan_export(checkpoint, choice))


def _choice(options: argparse.Namespace) -> Choice:
    """Return what the arguments ask for; raises CannotExport."""
    from ckpt_viewer.export.choice import Choice, format_of, parse_renames, parse_size

    return Choice(
        sources=tuple(options.sources),
        include=tuple(options.include),
        exclude=tuple(options.exclude),
        buffers=options.buffers,
        strip_prefix=options.strip_prefix,
        rename=parse_renames(options.rename),
        dtype=options.dtype,
        format=options.format or format_of(options.output),
        max_shard_size=parse_size(options.max_shard_size),
    )


def run_remap(options: argparse.Namespace) -> int:
    """Write a checkpoint with other device tags; raises CheckpointError."""
    from ckpt_viewer.core.location import parse_map_location
    from ckpt_viewer.export.plan import plan_remap, plan_slim

    if options.map_location is None and not options.drop_optimizer:
        raise CannotExport("the following arguments are required: --map-location (or --drop-optimizer)")
    map_location = parse_map_location(options.map_location or "")
    planner = plan_slim if options.drop_optimizer else plan_remap
    return _run(options, lambda checkpoint: planner(checkpoint, map_location))


def _run(options: argparse.Namespace, make_plan: Callable[[Checkpoint], Plan]) -> int:
    from ckpt_viewer.cli_leftovers import leftovers_beside
    from ckpt_viewer.cli_progress import open_shown, progress, stoppable
    from ckpt_viewer.cli_written import report
    from ckpt_viewer.export.plan import write

    if options.output in ("", "-"):
        why = ", and standard output cannot be read again to verify it" if options.output else ""
        raise CannotExport(f"{options.output!r} names no file{why}; give the name of a file")
    salvage = getattr(options, "salvage", False)
    with open_shown(options.file, whole=options.whole, salvage=salvage) as checkpoint:
        plan = make_plan(checkpoint)
        target = plan.target
        if options.output is not None:  # what comes next in a script needs that file, other tags or not
            plan, target = plan.anyway(), Path(options.output)
            if options.output.endswith(("/", os.sep)) and not plan.folder:
                raise CannotExport(f"{options.output!r} names a folder, and this makes a file; give the name of a file")
        if options.dry_run:
            if not plan.idle:
                plan.check(target, force=options.force)
            report(plan, target, None, as_json=options.json)
            return 0
        plan = plan._replace(selection=None)  # only a dry run lists the entries, and there may be 100,000
        beside = leftovers_beside(target, remove=options.remove_leftovers)
        with _telling_of(target if plan.folder else plan.recipe.files(target)[-1][0]):
            with beside, progress() as bar, stoppable(), _prover(options) as prover:
                verify = not options.no_verify
                written = write(plan, target, force=options.force, verify=verify, prover=prover, context=bar)
            with _reporting(written.path):
                report(plan, target, written, as_json=options.json)
                sys.stdout.flush()
    return 0


@contextmanager
def _reporting(result: Path | None) -> Iterator[None]:
    """Say that a result is there, if there is one, where its report cannot be written; raises WriteFailed."""
    try:
        yield
    except OSError as error:
        if result is None or isinstance(error, BrokenPipeError):  # whoever read it has enough
            raise
        said = f"{str(result)!r} is written, but this could not be reported ({error.strerror})"
        raise WriteFailed(f"{said}; check where the output goes") from error


@contextmanager
def _telling_of(result: Path) -> Iterator[None]:
    """Raise StoppedLate where it is stopped when the result is there: nobody shall go on as if there were none."""
    before = _mark(result)
    try:
        yield
    except (KeyboardInterrupt, Cancelled) as stop:
        if _mark(result) in (None, before):
            raise
        raise StoppedLate(f"when {str(result)!r} had been written; it is whole") from stop


def _mark(path: Path) -> tuple[int, int, int] | None:
    """Return what tells a file from the one that replaces it; None where there is none."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _prover(options: argparse.Namespace) -> AbstractContextManager[Prover | None]:
    if options.no_torch or options.no_verify:
        return nullcontext()
    from ckpt_viewer.export.proof import Prover  # not imported for those who want none

    return Prover()
