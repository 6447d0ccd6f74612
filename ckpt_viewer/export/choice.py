"""What a user may ask of an export, as one frozen value: the command line and the window make the same."""

from __future__ import annotations

from typing import NamedTuple

AUTO = "auto"
"""As `Choice.strip_prefix`: whatever wrappers put before the names of all tensors."""


class Choice(NamedTuple):
    """What is exported, and how.

    Attributes:
        sources: JSON Pointers of models, other containers or tensors; the only model without.
        include, exclude: globs over the names in the file; a name goes if one of `include` (if any) and none of
            `exclude` matches it, or what it lies below.
        buffers: whether buffers go, as a state_dict has them.
        strip_prefix: None keeps the names, `AUTO` takes off what wrappers put before all, else this prefix goes.
        rename: (old, new) in the order in which they are applied; see `naming`.
        dtype: what floating-point tensors become; ``""`` leaves them as they are.
        format: name of the writer. max_shard_size: bytes of one file, 0 for no limit.
    """

    sources: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    buffers: bool = True
    strip_prefix: str | None = None
    rename: tuple[tuple[str, str], ...] = ()
    dtype: str = ""
    format: str = "pth"
    max_shard_size: int = 0


DEFAULT = Choice()
