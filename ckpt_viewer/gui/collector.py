"""When Python may look for garbage: a full pass over a large checkpoint holds the GIL, and so the window, for 0.5 s.

While a file is opened, a copy is written or another job runs nothing is looked for: what they make mostly stays, or is
dropped and then freed at once, by its reference count. What opening a file has made is set aside (`gc.freeze`), so that
later passes are short.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ckpt_viewer.gui.jobs import JobRunner

STARTING = "starting"
"""The reason until the first tree is painted, or there is none to paint."""

_reasons: set[object] = set()
_keep = False


def pause(reason: object) -> None:
    """Do not collect until `resume` with the same reason; several may be open."""
    _reasons.add(reason)
    gc.disable()


def resume(reason: object, *, keep: bool = False) -> None:
    """Collect again, unless there is another reason not to.

    Args:
        keep: what lives once collecting begins again is not looked through any more; garbage among it stays.
    """
    global _keep
    if reason not in _reasons:
        return
    _reasons.discard(reason)
    _keep |= keep
    if _reasons:
        return
    if _keep:
        gc.freeze()
        _keep = False
    gc.enable()


def keep() -> None:
    """Set aside what the jobs that run have made, once they are done: see `resume`. Without any there is nothing."""
    global _keep
    if _reasons:
        _keep = True


def spare(runner: JobRunner) -> object:
    """Have nothing collected while jobs of a runner run; return the reason, for when the runner goes away first."""
    reason = ("jobs", id(runner))
    runner.started.connect(lambda _: pause(reason))
    runner.idle.connect(lambda: resume(reason))
    return reason
