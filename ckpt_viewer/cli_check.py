"""The command ``check``: is a checkpoint healthy, can it be resumed, where does it load, what does it name."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ckpt_viewer.core.outline import Pointers
from ckpt_viewer.core.text import escape_text

if TYPE_CHECKING:
    from ckpt_viewer.analysis.check import Report
    from ckpt_viewer.core.checkpoint import Checkpoint
    from ckpt_viewer.core.finding import Finding

UNHEALTHY = 1
"""Exit code where a finding is of severity error."""


def add_parsers(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the parser of ``check``."""
    from ckpt_viewer.cli import add_map_location
    from ckpt_viewer.cli_files import add_file, add_salvage

    parser = add("check", help="say whether FILE is healthy, can be resumed, and where it loads")
    add_file(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON document")
    form.add_argument("--code", action="store_true", help="print the Python that loads FILE, and nothing else")
    parser.add_argument(
        "--no-values", action="store_true", help="leave out NaN, Inf and constant weights: much quicker"
    )
    parser.add_argument(
        "--curve", action="store_true", help="have torch compute learning rates of every epoch (--json)"
    )
    parser.add_argument("--crc", action="store_true", help="read the whole file and compare its checksums")
    add_map_location(parser)
    add_salvage(parser)
    parser.set_defaults(run=run_check)


def run_check(options: argparse.Namespace) -> int:
    """Print the report; return 1 where something is wrong with the file.

    Raises:
        CheckpointError: it cannot be opened or read.
    """
    from ckpt_viewer.analysis.check import check, report_json
    from ckpt_viewer.cli_progress import Bar, open_shown
    from ckpt_viewer.core.location import parse_map_location

    map_location, bar = parse_map_location(options.map_location), Bar()
    with open_shown(options.file, map_location, whole=options.whole, salvage=options.salvage) as checkpoint:
        if options.code:
            return _print_code(checkpoint)
        try:
            report = check(checkpoint, bar, crc=options.crc, devices=_devices(checkpoint))
        finally:
            bar.clear()
        told = () if options.json else report.findings
        sys.stdout.writelines(_finding_lines(checkpoint, told))
        sys.stdout.flush()  # reading all values may take hours, and who waits has something to read
        if not options.no_values:
            report = _with_health(checkpoint, report)
        if options.json:
            sys.stdout.write(
                json.dumps(report_json(checkpoint, report, _curves(options, report)), allow_nan=False) + "\n"
            )
        else:
            sys.stdout.writelines(_finding_lines(checkpoint, report.findings[len(told) :]))
            sys.stdout.writelines(escape_text(line) + "\n" for line in _lines(checkpoint, report))
        sys.stdout.flush()
    return 0 if report.healthy else UNHEALTHY


def _curves(options: argparse.Namespace, report: Report) -> dict[int, dict[str, Any]]:
    """Have torch compute the curve of each scheduler that it can, where that was asked for, and tell what is known."""
    if not options.curve:
        return {}
    from ckpt_viewer.analysis.scheduler import curve_request, known_curve
    from ckpt_viewer.torch_bridge.schedules import lr_curve

    asked = {each.row: curve_request(each) for each in report.schedulers}
    known = {each.row: curve for each in report.schedulers if (curve := known_curve(each)) is not None}
    return {**known, **{row: lr_curve(**request) for row, request in asked.items() if request is not None}}


def _print_code(checkpoint: Checkpoint) -> int:
    from ckpt_viewer.analysis.load_code import snippet
    from ckpt_viewer.analysis.overview import overview

    sys.stdout.write(snippet(checkpoint, overview(checkpoint)))
    return 0


def _with_health(checkpoint: Checkpoint, report: Report) -> Report:
    """Return the report with what is wrong with the values, from a scan of all of them."""
    if next(checkpoint.outline.tensors(), None) is None:
        return report
    from ckpt_viewer.cli_progress import progress
    from ckpt_viewer.stats.health import INFINITE, NAN, health

    with progress() as bar:
        return report.with_values(checkpoint, health(checkpoint, bar), NAN, INFINITE)


def _finding_lines(checkpoint: Checkpoint, findings: Sequence[Finding]) -> Iterator[str]:
    rows = checkpoint.outline.find_all(finding.path for finding in findings)
    pointer_of = Pointers(checkpoint.outline).of
    for finding in findings:
        pointer = pointer_of(rows.get(finding.path, 0))
        yield escape_text(f"{finding.severity}: {pointer + ': ' if pointer else ''}{finding.message}") + "\n"


def _lines(checkpoint: Checkpoint, report: Report) -> Iterator[str]:
    pointer_of = Pointers(checkpoint.outline).of
    yield from _where_lines(checkpoint, report)
    if report.ledger.lines:
        shares = ", ".join(f"{role} {nbytes}" for role, nbytes in report.ledger.shares.items())
        yield f"{report.ledger.stored} bytes stored ({shares}), of which tensors use {report.ledger.used}"
    for seen in report.resume.optimizers:
        pointer = pointer_of(seen.row)
        text = seen.guess.text or "unknown class"
        yield (
            f"optimizer {pointer or '(root)'}: {text} ({seen.guess.reason}), {seen.join.matched} of {len(seen.slots)} "
            f"parameters joined ({seen.join.confidence}, {seen.join.reason}), state {seen.state_bytes} bytes for "
            f"{seen.model_bytes} of model"
        )
    for scheduler in report.schedulers:
        rates = ", ".join(f"{rate:.6g}" for rate in scheduler.rates[:4])
        yield (
            f"lr_scheduler {pointer_of(scheduler.row) or '(root)'}: {scheduler.guess.text or 'unknown class'} "
            f"({scheduler.guess.reason}), epoch {scheduler.epoch}, lr {rates or 'unknown'}"
        )
    yield report.resume.verdict


def _where_lines(checkpoint: Checkpoint, report: Report) -> Iterator[str]:
    from ckpt_viewer.analysis.safety import verdict

    if report.where.refusal:
        yield f"warning: {report.where.refusal}"
    for place in report.where.places:
        moved = f" (saved from {place.tag})" if place.tag not in (None, place.device) else ""
        if place.message:
            yield f"warning: does not load onto {place.device}{moved}, {place.nbytes} bytes: {place.message}"
        else:
            yield f"loads onto {place.device}{moved}: {place.nbytes} bytes"
    for each in report.where.unheld:
        yield f"warning: {each.device} cannot {'compute with' if each.later else 'hold'} {each.what}: {each.words}"
    said = verdict(checkpoint)
    what = f"torch.load(weights_only=True) of torch {said.version}"
    yield f"{what} reads it" if said.loads else f"{what} refuses it: {said.reason}"


def _devices(checkpoint: Checkpoint) -> list[str] | None:
    """Return torch's devices here; torch is asked only where something goes beyond the CPU. None without torch."""
    from ckpt_viewer.analysis.loading import targets

    if {device for _, device in targets(checkpoint)} <= {"cpu", "meta"}:
        return ["cpu"]
    try:
        from ckpt_viewer import torch_bridge
    except ImportError:
        return None
    return [device.tag for device in torch_bridge.devices()]
