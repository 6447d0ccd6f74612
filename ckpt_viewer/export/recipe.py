"""What a writer hands back: how a file, or several that belong together, are written and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.progress import Context
from ckpt_viewer.export.blocks import Meter, StepBytes
from ckpt_viewer.export.cargo import CastCounts
from ckpt_viewer.formats import open_checkpoint

if TYPE_CHECKING:
    from ckpt_viewer.export.claim import Claim
    from ckpt_viewer.export.copier import Copier


class FileRecipe(Protocol):
    """How one file is written and checked.

    Attributes:
        nbytes: length of the file. copied_bytes: how many of them come from a source and are compared with it.
    """

    @property
    def nbytes(self) -> int: ...

    @property
    def copied_bytes(self) -> int: ...

    def write(self, copier: Copier) -> None:
        """Append everything; raises SourceError, WriteFailed, Cancelled."""

    def verify(self, path: Path, meter: Meter) -> None:
        """Read the file again and compare its structure with the source; its bytes were compared while they were
        written. Raises WriteFailed, and what reading raises."""

    def claim(self) -> Claim | None:
        """Return what torch or safetensors have to find in the file; None if they do not load such files."""


class Recipe(Protocol):
    """How an export is written: one file, or several.

    Attributes:
        nbytes, copied_bytes: of all files together, see `FileRecipe`.
        warnings: what the target cannot hold, or costs, a sentence each. dropped: names that it leaves out.
    """

    @property
    def nbytes(self) -> int: ...

    @property
    def copied_bytes(self) -> int: ...

    @property
    def warnings(self) -> tuple[str, ...]: ...

    @property
    def dropped(self) -> tuple[str, ...]: ...

    def files(self, target: Path) -> Sequence[tuple[Path, FileRecipe]]:
        """Return what is written where if somebody asks for `target`; the last one makes the others count."""

    def counts(self) -> Mapping[str, CastCounts]:
        """Return what casts did to the values written so far, by name; only where they did something."""

    def discard(self, context: Context) -> None:
        """Free what is large, with steps between; the recipe is of no use then. Raises Cancelled."""


def reopened(path: Path, meter: Meter, check: Callable[[Checkpoint, StepBytes], None], *, outline: bool = True) -> None:
    """Let `check` look at what our reader makes of a file; raises as it does, and as reading does.

    Args:
        outline: whether it needs that, which takes memory.
    """
    cancelling = _Cancelling(meter)
    with open_checkpoint(path, context=cancelling) as copy:
        if outline:
            copy.load_outline(cancelling)
        check(copy, meter)
        copy.free(cancelling)


class _Cancelling:
    """Passes on that somebody wants to stop, but no progress: opening counts other things than bytes."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def step(self, done: int, total: int) -> None:
        """Raises Cancelled."""
        del done, total
        self.meter(0)
