"""macOS: file types belong to an application bundle, which this version is not.

Launch Services reads them from the Info.plist of a bundle, and there is no supported way for a plain program to
claim one. So nothing is written here; a file that macOS hands to the running program is opened by the window's
file-open event.
"""

from __future__ import annotations

from collections.abc import Sequence

from ckpt_viewer.desktop.report import Report

_WHY = "On macOS only an application bundle can claim a file type, and this program is not installed as one."
_INSTEAD = "Open checkpoints with: ckpt-viewer FILE, or drop them onto the window."


class MacBackend:
    """Says what is so; never writes."""

    def install(self, command: Sequence[str]) -> Report:  # noqa: ARG002
        """Not possible without a bundle; says so."""
        return Report(ok=False, installed=False, lines=[_WHY, _INSTEAD])

    def uninstall(self) -> Report:
        """There is never anything to remove."""
        return Report(ok=True, installed=False, lines=["Nothing is installed, so nothing was removed."])

    def status(self) -> Report:
        """Not installed, and why."""
        return Report(ok=True, installed=False, lines=[_WHY, _INSTEAD])
