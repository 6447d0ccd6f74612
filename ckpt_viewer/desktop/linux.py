"""Linux and other freedesktop.org systems: MIME type, icons, desktop entry and default program of one user.

Everything is written below $XDG_DATA_HOME and $XDG_CONFIG_HOME. A file manager then knows a checkpoint by its
content or name (shared MIME database) and starts the desktop entry that mimeapps.list names.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ckpt_viewer import resources
from ckpt_viewer.desktop.entry import DESKTOP_ID, MIME_TYPE, desktop_entry, unescape_string
from ckpt_viewer.desktop.footprint import Footprint, listing, replace_file
from ckpt_viewer.desktop.mimeapps import add_default, default_of, remove_default
from ckpt_viewer.desktop.report import Report
from ckpt_viewer.errors import DesktopError

_TOOLS = {"update-mime-database": "shared-mime-info", "update-desktop-database": "desktop-file-utils"}
_TOOL_SECONDS = 120


class FreedesktopBackend:
    """The current user's file association, as the XDG specifications have it.

    Args:
        environ: where XDG_DATA_HOME, XDG_CONFIG_HOME, HOME and PATH are looked up.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self._data = self._base("XDG_DATA_HOME", ".local/share")
        self._mimeapps = self._base("XDG_CONFIG_HOME", ".config") / "mimeapps.list"
        self._mime = self._data / "mime"
        self._package = self._mime / "packages" / "ckpt-viewer.xml"
        self._applications = self._data / "applications"
        self._entry = self._applications / DESKTOP_ID
        self._record = self._data / "ckpt-viewer" / "desktop.json"

    def install(self, command: Sequence[str]) -> Report:
        """Register the MIME type, icons and entry, and make the entry the default."""
        entry = desktop_entry(command).encode()
        old = Footprint.load(self._record)
        new = Footprint(self._record, {"side_files": old.side_files, "folders": old.folders, "facts": old.facts})
        with _refusal("nothing is installed"):
            try:
                lines = self._install(new, entry)
            except OSError:
                new.files = [*new.files, *(name for name in old.files if name not in new.files)]
                self._undo(new)
                raise
            for stale in set(old.files) - set(new.files):
                Path(stale).unlink(missing_ok=True)
        where = [
            f"Desktop entry: {self._entry}",
            f"MIME type {MIME_TYPE}: {self._package}",
            f"Default program: {self._mimeapps}",
        ]
        opens = "Checkpoints now open with" if not lines else "Not all is done before checkpoints open with"
        return Report(ok=not lines, installed=not lines, lines=[f"{opens} {command[0]}.", *lines, *where])

    def uninstall(self) -> Report:
        """Remove the files that install wrote, its item in mimeapps.list, and folders that it made and are empty."""
        footprint = Footprint.load(self._record)
        footprint.files = footprint.files or [str(path) for path in self._known_files() if path.exists()]
        with _refusal("part of the file association is still installed"):
            ours_default = DESKTOP_ID in default_of(self._read_mimeapps(), MIME_TYPE)
            if not footprint.files and not ours_default and not self._record.exists():
                return Report(ok=True, installed=False, lines=["Nothing is installed, so nothing was removed."])
            lines = self._uninstall(footprint)
        said = ["Checkpoints no longer open with this program; everything that install made is removed."]
        return Report(ok=True, installed=False, lines=said + lines)

    def status(self) -> Report:
        """Say which parts are in place and what the default program is."""
        typed = self._package.exists() and MIME_TYPE in _text(self._mime / "types").split()
        with _refusal("the default program is not known"):
            defaults = default_of(self._read_mimeapps(), MIME_TYPE)
        program = self._program()
        starts = bool(program) and shutil.which(program, path=self._environ.get("PATH")) is not None
        missing = self._missing_tools()
        nothing = not (self._package.exists() or program or DESKTOP_ID in defaults)
        default = defaults[:1] == [DESKTOP_ID]
        lines = [
            f"MIME type {MIME_TYPE}: {f'registered by {self._package}' if typed else 'not registered for this user'}",
            f"Desktop entry: {f'{self._entry} starts {program}' if program else 'none'}",
            f"Default program: {defaults[0] if defaults else 'none set by this user'}",
            *missing,
        ]
        if program and not starts:
            lines.append(f"{program} is gone; run `ckpt-viewer desktop install` again.")
        return Report(ok=nothing or (typed and default and starts), installed=typed and default and starts, lines=lines)

    def _install(self, footprint: Footprint, entry: bytes) -> list[str]:
        added = add_default(self._read_mimeapps(), MIME_TYPE, DESKTOP_ID)
        before = self._databases()
        footprint.write(self._package, resources.resource("mime", "ckpt-viewer.xml").read_bytes())
        for source, target in self._icons():
            footprint.write(target, source.read_bytes())
        footprint.write(self._entry, entry)
        lines = self._update_databases()
        footprint.note_made(before | {Path(name) for name in footprint.files}, self._databases())
        footprint.make_folder(self._mimeapps.parent)
        for fact, so in (("section_made", added.section_made), ("list_made", not self._mimeapps.exists())):
            footprint.facts[fact] = bool(footprint.facts.get(fact)) or so
        footprint.save()
        replace_file(self._mimeapps, added.data)
        return lines

    def _uninstall(self, footprint: Footprint) -> list[str]:
        self._remove_default(footprint)
        footprint.remove_files()
        lines = self._update_databases()
        if not list(self._package.parent.glob("*.xml")):
            footprint.remove_side_files(self._mime)
        if not list(self._applications.rglob("*.desktop")):
            footprint.remove_side_files(self._applications)
        self._touch_icons()
        footprint.remove_rest()
        return lines

    def _undo(self, footprint: Footprint) -> None:
        """Take a failed install back as far as the system lets us; the first refusal is what the user is told."""
        try:
            self._uninstall(footprint)
        except OSError:
            footprint.remove_rest()

    def _remove_default(self, footprint: Footprint) -> None:
        data = self._read_mimeapps()
        section_made = bool(footprint.facts.get("section_made"))
        rest = remove_default(data, MIME_TYPE, DESKTOP_ID, section_made=section_made)
        if not rest and footprint.facts.get("list_made"):
            self._mimeapps.unlink(missing_ok=True)
        elif rest != data:
            replace_file(self._mimeapps, rest)

    def _update_databases(self) -> list[str]:
        """Run the desktop's tools; return what they left to say."""
        self._touch_icons()
        lines = []
        for tool, folder in (("update-mime-database", self._mime), ("update-desktop-database", self._applications)):
            by_hand = f"run it by hand: {tool} {folder}"
            program = shutil.which(tool, path=self._environ.get("PATH"))
            if not folder.is_dir():
                continue
            if program is None:
                lines.append(f"{tool} is missing: install the package {_TOOLS[tool]}, then {by_hand}")
                continue
            try:
                done = subprocess.run(
                    [program, str(folder)],
                    env=dict(self._environ),
                    capture_output=True,
                    text=True,
                    errors="replace",
                    timeout=_TOOL_SECONDS,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                lines.append(f"{tool} did not finish in {_TOOL_SECONDS} s; {by_hand}")
                continue
            if done.returncode:
                said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
                lines.append(f"{tool} failed ({said}); {by_hand}")
        return lines

    def _missing_tools(self) -> list[str]:
        """Which of the desktop's tools are not on the PATH, a sentence each."""
        path = self._environ.get("PATH")
        missing = [tool for tool in _TOOLS if shutil.which(tool, path=path) is None]
        return [f"{tool} is missing: install the package {_TOOLS[tool]}." for tool in missing]

    def _databases(self) -> set[Path]:
        return (
            listing(self._mime)
            | listing(self._applications)
            | {folder for folder in (self._mime, self._applications) if folder.is_dir()}
        )

    def _icons(self) -> list[tuple[Path, Path]]:
        """Each icon file: where it is, where it goes."""
        source = resources.resource("icons", "hicolor")
        target = self._data / "icons" / "hicolor"
        return [(path, target / path.relative_to(source)) for path in sorted(source.rglob("*.*")) if path.is_file()]

    def _known_files(self) -> list[Path]:
        return [self._package, self._entry, *(target for _, target in self._icons())]

    def _touch_icons(self) -> None:
        """Icon caches are believed until the theme's folder is newer than they are."""
        theme = self._data / "icons" / "hicolor"
        if theme.is_dir():
            os.utime(theme)

    def _program(self) -> str:
        """The program that our desktop entry starts, empty if there is no entry."""
        for line in _text(self._entry).splitlines():
            if line.startswith("TryExec="):
                return unescape_string(line.removeprefix("TryExec="))
        return ""

    def _read_mimeapps(self) -> bytes:
        try:
            return self._mimeapps.read_bytes()
        except FileNotFoundError:
            return b""

    def _base(self, variable: str, default: str) -> Path:
        """An XDG base folder; the specification says to ignore one that is not absolute."""
        named = self._environ.get(variable, "")
        home = self._environ.get("HOME") or str(Path.home())
        return Path(named) if named.startswith("/") else Path(home) / default


def _text(path: Path) -> str:
    return path.read_text("utf-8", "replace") if path.is_file() else ""


@contextmanager
def _refusal(outcome: str) -> Iterator[None]:
    """Say in one sentence what the system refused and what came of it."""
    try:
        yield
    except OSError as error:
        where = error.filename2 or error.filename or "the file association"
        raise DesktopError(f"{where} cannot be changed: {error.strerror or error}; {outcome}") from error
