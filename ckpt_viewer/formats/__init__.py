"""One file for each container. Content decides which it is, never the file's name; for a folder what is in it.

`registry` has them in the order in which they are asked, `opening` goes from a path to an open checkpoint.
"""

from __future__ import annotations

from ckpt_viewer.formats.opening import open_checkpoint, open_or_salvage
from ckpt_viewer.formats.registry import FORMATS, detect, folder_formats, open_part

__all__ = ["FORMATS", "detect", "folder_formats", "open_checkpoint", "open_or_salvage", "open_part"]
