"""What to know before a training goes on: what was noticed, what it means, and the line of code that mends it."""

from __future__ import annotations

from typing import NamedTuple

from ckpt_viewer.core.finding import Finding
from ckpt_viewer.core.path import Path


class Advice(NamedTuple):
    """One thing about a checkpoint.

    Attributes:
        severity, code, path: as those of `Finding`.
        meaning: what is so and what comes of it; a sentence without its full stop.
        remedy: what to do about it, the words before `line`; ``""`` where there is nothing to do.
        line: one line of Python that does it; ``""`` where no line can. Names from the file are ASCII literals in it.
    """

    severity: str
    code: str
    path: Path
    meaning: str
    remedy: str = ""
    line: str = ""

    @property
    def message(self) -> str:
        """All of it in one sentence."""
        what = f"{self.remedy} {self.line}".strip()
        return f"{self.meaning}; {what}" if what else self.meaning

    @property
    def finding(self) -> Finding:
        """The same as a finding."""
        return Finding(self.severity, self.code, self.path, self.message)
