"""The index of a state_dict in several files, ``model.safetensors.index.json``: recognised here, read on demand."""

from __future__ import annotations

from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.tensor import Bytes
from ckpt_viewer.errors import Unsupported
from ckpt_viewer.formats.base import FileOpener, Head, Opened


class Sharded:
    """The index of a sharded set; opens every file that it names, as one tree."""

    name = "sharded"

    def __init__(self, open_file: FileOpener) -> None:
        self.open_file = open_file

    def matches(self, head: Head) -> bool:
        """A JSON object with a ``weight_map``."""
        return is_index(head)

    def open(self, source: Bytes, context: Context, *, depth: int = 0, prefix: str = "") -> Opened:
        """Read the index and the files beside it; raises CheckpointError."""
        del depth
        if not hasattr(source, "identity"):
            raise Unsupported("this is the index of a sharded set, whose files lie beside it; unpack it there first")
        from ckpt_viewer.formats.shard_set import open_index

        return open_index(source, context, self.open_file, prefix=prefix)


def is_index(head: Head) -> bool:
    """Whether a file begins like an index."""
    return head.data.lstrip(b" \t\n\r").startswith(b"{") and b'"weight_map"' in head.data
