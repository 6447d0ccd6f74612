"""File association: open .pth by double-click, for the current user.

`backend()` gives the one for this platform. All have the same three methods, each of which returns a `Report` or raises
`ckpt_viewer.errors.DesktopError`, one sentence, when the system refuses.
"""

from __future__ import annotations

import sys

from ckpt_viewer.desktop.report import Backend, Report
from ckpt_viewer.desktop.script import program_command

__all__ = ["Backend", "Report", "backend", "program_command"]


def backend(platform: str = sys.platform) -> Backend:
    """The file association of `platform` (a value of `sys.platform`); everything unknown follows freedesktop.org."""
    if platform == "win32":
        from ckpt_viewer.desktop.windows import WindowsBackend

        return WindowsBackend()
    if platform == "darwin":
        from ckpt_viewer.desktop.macos import MacBackend

        return MacBackend()
    from ckpt_viewer.desktop.linux import FreedesktopBackend

    return FreedesktopBackend()
