"""What Qt calls in the middle of its own work: an error there ends with a report, not with the process.

PySide keeps the error of such a call until Python is reached again. Where Python called Qt, as `grab` and
`resizeColumnsToContents` do, Qt goes on and calls more meanwhile, and the interpreter crashes (PySide 6.11, measured).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from ckpt_viewer.gui.turns import window_works

F = TypeVar("F", bound=Callable[..., Any])


def called_by_qt(method: F) -> F:
    """Have a method that Qt calls answer None where it fails; the error goes to `sys.excepthook`, as any other does.

    For ``data`` and ``headerData`` of models, and for whatever paints. Jobs stand back while Qt calls them.
    """

    @wraps(method)
    def guarded(*args: Any, **named: Any) -> Any:
        window_works()
        try:
            return method(*args, **named)
        except Exception:
            sys.excepthook(*cast(Any, sys.exc_info()))
            return None

    return cast(F, guarded)
