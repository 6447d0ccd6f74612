"""What can go wrong with a checkpoint, as one tree of exceptions.

::

    CheckpointError
    ├── SourceError          the bytes cannot be had
    │   ├── Unreadable       no such file, no permission, not a regular file, a device error
    │   ├── Truncated        the file ends before what it promises
    │   └── SourceChanged    the file was altered while it was open
    ├── NotACheckpoint       the file is something else (named in the message)
    ├── Damaged              the file contradicts itself
    │   └── Lost             values that a broken file does not have any more
    ├── Unsupported          a checkpoint, but of a kind that this version does not read
    ├── OverBudget           reading on would cost more than the file can justify
    ├── NoSuchNode           a path that leads nowhere
    ├── BadMapLocation       a map_location that torch.load would not take
    ├── ExportError          writing was refused or failed; no file was harmed
    │   ├── CannotExport     the plan cannot be carried out faithfully
    │   ├── TargetExists     a file of that name is there and replacing it was not asked for
    │   └── WriteFailed      disk full, no permission, device error
    ├── DeviceFailed         a GPU does not compute what was asked of it
    └── DesktopError         the system refused a file association

Every message is one sentence in the form "what is wrong; what to do", without the file's name: who shows it adds that.
"""

from __future__ import annotations

RELOAD = "reload it (F5)"
"""What to do in a window once a file has changed or grown; the command line says it in a word of its own."""


class CheckpointError(Exception):
    """Base of every error that this package raises on purpose.

    Attributes:
        code: stable, like that of a finding, where a known hazard is the reason; else ``""``.
        salvage: what of a broken file could be salvaged, as in ``"12 of its 20 tensors"``; ``""`` for nothing.
    """

    salvage = ""

    def __init__(self, message: str = "", *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class SourceError(CheckpointError):
    """The bytes of a file cannot be had."""


class Unreadable(SourceError):
    """The file cannot be opened or read at all."""


class Truncated(SourceError):
    """The file ends before what it promises.

    Attributes:
        wanted: bytes that were expected at `offset`.
        found: bytes that were there.
        offset: bytes from the start of the source.
    """

    def __init__(self, what: str, *, wanted: int, found: int, offset: int) -> None:
        missing = wanted - found
        super().__init__(
            f"{what} is cut off: {wanted} bytes expected at offset {offset}, {found} found, {missing} missing; "
            "copy or download the file again"
        )
        self.wanted, self.found, self.offset = wanted, found, offset


class SourceChanged(SourceError):
    """The file was altered or replaced while it was open."""


class NotACheckpoint(CheckpointError):
    """The file is not something that torch.save wrote."""


class Damaged(CheckpointError):
    """The file contradicts itself."""


class Lost(Damaged):
    """Values that a broken file does not have any more."""


class Unsupported(CheckpointError):
    """A checkpoint of a kind that this version does not read."""


class OverBudget(CheckpointError):
    """The file asks for more work or memory than its size can justify."""


class NoSuchNode(CheckpointError):
    """A path or pointer that leads nowhere in this checkpoint."""


class BadMapLocation(CheckpointError):
    """A map_location that torch.load would not take."""


class DeviceFailed(CheckpointError):
    """A device of torch's does not compute what was asked of it: out of memory, an operator that it lacks."""


class ExportError(CheckpointError):
    """A file was not written; nothing that was there before is harmed."""


class CannotExport(ExportError):
    """What was asked for cannot be written faithfully."""


class TargetExists(ExportError):
    """The target is there already and replacing it was not asked for."""


class WriteFailed(ExportError):
    """The file system refused: full, read-only, no permission."""


class DesktopError(CheckpointError):
    """The system refused to associate checkpoints with this program, or to undo it."""


class Cancelled(Exception):
    """A job was asked to stop. Not an error of the checkpoint, so not a CheckpointError."""


class StoppedLate(Cancelled):
    """It was asked to stop when its result had its name already: says so, as half a sentence."""
