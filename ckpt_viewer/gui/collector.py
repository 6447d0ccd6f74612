"""When Python may look for garbage: a full pass over a large checkpoint holds the GIL, and so the window, for 0.5 s.

While a file is opened almost everything that is made stays; afterwards it is set aside (`gc.freeze`), so that later
passes are short. What is dropped is still freed at once, by its reference count.
"""

from __future__ import annotations

import gc

STARTING = "starting"
"""The reason until the first tree is painted, or there is none to paint."""

_reasons: set[object] = set()


def pause(reason: object) -> None:
    """Do not collect until `resume` with the same reason; several may be open."""
    _reasons.add(reason)
    gc.disable()


def resume(reason: object) -> None:
    """Collect again, unless there is another reason not to; what lives now is not looked through again."""
    if reason not in _reasons:
        return
    _reasons.discard(reason)
    if not _reasons:
        gc.freeze()
        gc.enable()
