"""What earlier runs that were killed left beside a target: said, and removed if that is wanted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ckpt_viewer.core.text import escape_text

OPTION = "--remove-leftovers"


@contextmanager
def leftovers_beside(target: Path, *, remove: bool) -> Iterator[None]:
    """Remove leftovers from a target's folder, if asked to, before it is written; say afterwards which are there.

    Also where writing fails: a full disk may be full of them.
    """
    from ckpt_viewer.export.leftovers import find_leftovers, leftovers_text, remove_leftovers

    folder = target.parent
    if remove:
        removed = remove_leftovers(find_leftovers(folder))
        if removed:
            _say(f"cleared {leftovers_text(removed)} from {folder}")
    try:
        yield
    finally:
        found = find_leftovers(folder)
        if found:
            put_back = " and puts back what was not replaced" if any(each.replaced for each in found) else ""
            _say(f"{leftovers_text(found)} of runs that were broken off in {folder}; {OPTION} removes them{put_back}")


def _say(text: str) -> None:
    print(escape_text(f"ckpt-viewer: note: {text}"), file=sys.stderr)
