"""Writes the files of one export and compares them, while none of them has its name yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckpt_viewer.export.blocks import Meter
from ckpt_viewer.export.checksums import mismatch
from ckpt_viewer.export.copier import Copier
from ckpt_viewer.export.recipe import FileRecipe

if TYPE_CHECKING:
    from ckpt_viewer.export.atomic import AtomicFile
    from ckpt_viewer.export.proof import Proven, Prover


class Making:
    """Makes one file after another, and keeps what came to light.

    Args:
        meter: told about bytes written and compared. prover: lets torch compare too. verify: whether to compare at all.

    Attributes:
        carried: checksums of the source that were taken over unlooked at.
    """

    def __init__(self, meter: Meter, prover: Prover | None, *, verify: bool) -> None:
        self._meter, self._prover, self._verify = meter, prover, verify
        self._files: list[AtomicFile] = []
        self._wrong: list[str] = []
        self._proven: list[Proven] = []
        self.carried = 0

    def make(self, file: AtomicFile, part: FileRecipe) -> None:
        """Write a file and compare it; raises as `plan.write` does."""
        self._files.append(file)
        with Copier(file, self._meter, check=self._verify) as copier:
            part.write(copier)
        self._wrong += copier.wrong
        self.carried += copier.carried
        file.flush()
        if self._verify:
            part.verify(file.temporary, self._meter)
        claim = part.claim() if self._prover is not None else None
        if self._prover is not None and claim is not None:
            self._proven.append(self._prover.prove(file.temporary, claim, self._meter))

    @property
    def notes(self) -> list[str]:
        """What to say of the files, a sentence each: complete once they are in place."""
        notes = [mismatch(self._wrong)] if self._wrong else []
        return notes + list(dict.fromkeys(note for file in self._files for note in file.notes))

    @property
    def unproven(self) -> str:
        """Why the prover did not compare a file; ``""`` if it compared all, or was not there."""
        return next((each.why_not for each in self._proven if each.why_not), "")

    @property
    def proven_by(self) -> str | None:
        """Who the prover says compared all files; None if nobody did."""
        return self._proven[0].by if self._proven and not self.unproven else None
