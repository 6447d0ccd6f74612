"""`check`: is a checkpoint healthy, can a training go on from it, where does it load, what does it name.

What is looked for is in `CHECKS`, one function each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ckpt_viewer.analysis.ledger import Ledger, ledger, ledger_json
from ckpt_viewer.analysis.load_code import snippet
from ckpt_viewer.analysis.optimizer_json import optimizer_json
from ckpt_viewer.analysis.overview import Overview, overview
from ckpt_viewer.analysis.resume import Resume, resume, scheduler_views
from ckpt_viewer.analysis.safety import globals_json, verdict_json
from ckpt_viewer.analysis.scheduler import SchedulerView, scheduler_json
from ckpt_viewer.analysis.where import Where, where, where_json
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.finding import Finding
from ckpt_viewer.core.path import step_json
from ckpt_viewer.core.progress import SILENT, Context


class Request(NamedTuple):
    """What a check may use.

    Attributes:
        checkpoint, view: the file and its overview. context: told about progress, and may cancel.
        crc: whether the whole file may be read to compare checksums.
        resume: whether a training can go on, and why not.
    """

    checkpoint: Checkpoint
    view: Overview
    resume: Resume
    context: Context
    crc: bool


Check = Callable[[Request], tuple[Finding, ...]]


def _noticed(request: Request) -> tuple[Finding, ...]:
    """What opening the file and looking through it noticed."""
    return request.view.findings


def _dangerous(request: Request) -> tuple[Finding, ...]:
    """Names that loading the file in Python would run."""
    names = dict.fromkeys(use.name for use in request.checkpoint.contents.globals if use.status == "dangerous")
    return tuple(
        Finding("error", "dangerous-global", (), f"loading it in Python would run {name}; nothing was run here")
        for name in names
    )


def _checksums(request: Request) -> tuple[Finding, ...]:
    """Records that do not match their checksums, where that was asked for."""
    if not request.crc:
        return ()
    from ckpt_viewer.analysis.checksums import verify_checksums

    return verify_checksums(request.checkpoint, request.context)


def _headers(request: Request) -> tuple[Finding, ...]:
    """Records whose own header says other things than the directory of the archive."""
    from ckpt_viewer.analysis.checksums import verify_headers

    return verify_headers(request.checkpoint, request.context)


def _resumable(request: Request) -> tuple[Finding, ...]:
    """What a training that goes on from here would meet."""
    return request.resume.findings


CHECKS: tuple[Check, ...] = (_noticed, _dangerous, _headers, _checksums, _resumable)
"""Asked in this order; what they find is reported in it."""


class Report(NamedTuple):
    """What `check` says of a checkpoint.

    Attributes:
        resume: whether a training can go on from it, why not, and what is known of its optimizers.
        findings: in the order of `CHECKS`. where: what torch.load does with every device tag.
        view: what the file is. ledger: what its bytes are for.
        schedulers: what is known of each.
    """

    resume: Resume
    findings: tuple[Finding, ...]
    where: Where
    view: Overview
    ledger: Ledger
    schedulers: list[SchedulerView]

    def with_values(self, checkpoint: Checkpoint, found: tuple[Finding, ...], nan: str, infinite: str) -> Report:
        """Return the same with what a scan of all values found, and what that means for a training.

        Args:
            found: one finding for each tensor. nan, infinite: codes of those that are about NaN, about infinities.
        """
        rows = checkpoint.outline.find_all(each.path for each in found)
        bad, large = ([rows[each.path] for each in found if each.code == code] for code in (nan, infinite))
        going_on = self.resume.with_values(checkpoint, self.view, bad, large)
        meaning = going_on.findings[: len(going_on.advice) - len(self.resume.advice)]
        return self._replace(resume=going_on, findings=(*self.findings, *found, *meaning))

    @property
    def healthy(self) -> bool:
        """Whether no finding is of severity error."""
        return all(finding.severity != "error" for finding in self.findings)


def check(
    checkpoint: Checkpoint, context: Context = SILENT, *, crc: bool = False, devices: Sequence[str] | None = None
) -> Report:
    """Return the report on a checkpoint.

    Args:
        devices: names of this machine's devices; None where they are not known.
        crc: read the whole file and compare its checksums.

    Raises:
        SourceError: the file cannot be read any more. Cancelled: by `context`.
    """
    view = overview(checkpoint, context)
    going_on = resume(checkpoint, view, context)
    request = Request(checkpoint, view, going_on, context, crc)
    schedulers = scheduler_views(going_on, checkpoint, view)
    book = ledger(checkpoint, view.role_rows, context)
    findings = tuple(finding for each in CHECKS for finding in each(request))
    return Report(going_on, findings, where(checkpoint, devices, context), view, book, schedulers)


def report_json(
    checkpoint: Checkpoint, report: Report, curves: Mapping[int, dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Return the document of ``check --json``.

    Args:
        curves: row of a scheduler -> its learning-rate curve, where that was asked for.
    """
    return {
        "schema": 1,
        "resumable": report.resume.possible,
        "not_resumable_because": report.resume.reason or None,
        "findings": [
            {**finding._asdict(), "path": [step_json(step) for step in finding.path]} for finding in report.findings
        ],
        "load": {
            **where_json(checkpoint, report.where),
            "weights_only": verdict_json(checkpoint),
            "code": snippet(checkpoint, report.view),
        },
        "globals": list(globals_json(checkpoint)),
        "storage": ledger_json(report.ledger),
        "schedulers": [scheduler_json(each, curves.get(each.row) if curves else None) for each in report.schedulers],
        "optimizers": [optimizer_json(each) for each in report.resume.optimizers],
    }
