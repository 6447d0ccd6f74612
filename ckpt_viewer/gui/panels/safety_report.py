"""The work behind the safety panel: names and findings in the order of their urgency. No Qt."""

from __future__ import annotations

from importlib import metadata
from typing import NamedTuple

from ckpt_viewer.analysis.safety import Verdict, used_names, verdict
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.finding import GlobalUse
from ckpt_viewer.core.outline import Pointers
from ckpt_viewer.core.progress import Context, stepped
from ckpt_viewer.core.text import grouped

STATUSES = ("dangerous", "unknown", "known")
"""Most urgent first."""
SEVERITIES = ("error", "warning", "info")


class Row(NamedTuple):
    """One line of either table.

    Attributes:
        rank: of STATUSES or SEVERITIES. cells: its texts after the first column, unescaped.
        row: of the outline, which a click selects; None where the tree does not show it.
    """

    rank: int
    cells: tuple[str, ...]
    row: int | None


class Report(NamedTuple):
    """What the panel shows.

    Attributes:
        heading: what torch's safe mode does with the file. details: why, in torch's words where they are known.
        summary: how many names there are of each status. names, findings: rows, most urgent first.
    """

    heading: str
    details: str
    summary: str
    names: list[Row]
    findings: list[Row]


def report(checkpoint: Checkpoint, context: Context) -> Report:
    """Put together what a file names and what was noticed about it.

    Raises:
        Cancelled: by `context`.
    """
    pointers = Pointers(checkpoint.outline)
    used = used_names(checkpoint, context)
    names = [_name(use, row, pointers) for use, row in stepped(used, context)]
    findings = []
    rows = checkpoint.outline.find_all(finding.path for finding in checkpoint.findings)
    for finding in stepped(checkpoint.findings, context):
        at = rows.get(finding.path) if finding.path else None
        where = pointers.of(at) if at else ""
        findings.append(Row(SEVERITIES.index(finding.severity), (finding.message, where, finding.code), at))
    names.sort(key=lambda row: row.rank)
    findings.sort(key=lambda row: row.rank)
    said = verdict(checkpoint)
    return Report(_heading(said, checkpoint), _details(said), _summary(used), names, findings)


def _name(use: GlobalUse, row: int | None, pointers: Pointers) -> Row:
    where = (pointers.of(row) or "the root") if row is not None else f"not in the tree; {use.place}"
    calls = grouped(use.calls) if use.calls else "only named"
    return Row(STATUSES.index(use.status), (use.name, calls, "takes it" if use.allowed else "refuses it", where), row)


def _heading(said: Verdict, checkpoint: Checkpoint) -> str:
    if checkpoint.contents.protocol < 0:
        return "The file holds no pickle, so nothing in it can name a function or a class."
    does = "reads this file" if said.loads else "refuses this file"
    return f"torch.load(weights_only=True) of torch {said.version} {does}."


def _details(said: Verdict) -> str:
    reason = f"{said.reason[:1].upper()}{said.reason[1:]}." if said.reason else ""
    parts = [part for part in (reason, said.message) if part]
    installed = _installed()
    if installed and not installed.startswith(said.version):
        parts.append(f"torch {installed} is installed here; other versions allow other names.")
    return "\n".join(parts)


def _installed() -> str:
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return ""


def _summary(used: list[tuple[GlobalUse, int | None]]) -> str:
    counts = {status: sum(use.status == status for use, _ in used) for status in STATUSES}
    if not used:
        return "It names no function and no class."
    told = ", ".join(f"{grouped(count)} {status}" for status, count in counts.items() if count)
    return f"Names: {told}. Nothing was imported or run to find them; what is known here is not thereby harmless."
