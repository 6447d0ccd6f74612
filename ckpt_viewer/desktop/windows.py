r"""Windows: file association of one user, below HKEY_CURRENT_USER\Software\Classes.

A ProgID says how to open a checkpoint; each suffix offers it under "Open with", and names it as its default, which
counts until the user chooses another program (that choice is Windows' own and no program can make it). Windows knows a
file by its last suffix only, so ``.pth.tar`` and ``.bin`` are left alone.
"""

from __future__ import annotations

import importlib
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ckpt_viewer import resources
from ckpt_viewer.desktop.report import Report
from ckpt_viewer.errors import DesktopError

PROG_ID = "CkptViewer.Checkpoint"
SUFFIXES = (".pth", ".pt", ".ckpt")
_CLASSES = r"Software\Classes"
_OWN = rf"{_CLASSES}\{PROG_ID}"
_PREVIOUS = "Previous"
_ASSOCIATIONS_CHANGED = 0x08000000


class WindowsBackend:
    """The current user's file association in the registry.

    Args:
        registry: a module like `winreg`, which is imported only when this is left out.
        announce: called after a change, so that Explorer looks again.
    """

    def __init__(self, registry: Any = None, announce: Callable[[], None] | None = None) -> None:
        self._registry = importlib.import_module("winreg") if registry is None else registry
        self._announce = _announce if announce is None else announce

    def install(self, command: Sequence[str]) -> Report:
        """Write the ProgID, offer it for each suffix, and make it the default."""
        line = f'{subprocess.list2cmdline(command)} view -- "%1"'
        icon = resources.resource("icons", "ckpt-viewer.ico")
        with _refusal():
            self._set(_OWN, "", "PyTorch checkpoint")
            self._set(rf"{_OWN}\DefaultIcon", "", f'"{icon}"')
            self._set(rf"{_OWN}\shell\open\command", "", line)
            for suffix in SUFFIXES:
                self._associate(suffix)
        self._announce()
        lines = [
            f"{', '.join(SUFFIXES)} now open with {command[0]}.",
            "If another program still opens them, choose this one under Open with > Always.",
        ]
        return Report(ok=True, installed=True, lines=lines)

    def uninstall(self) -> Report:
        """Remove the ProgID and what points to it; restore the defaults that were there before."""
        with _refusal():
            if not self._installed_command():
                return Report(ok=True, installed=False, lines=["Nothing is installed, so nothing was removed."])
            for suffix in SUFFIXES:
                self._dissociate(suffix)
            self._delete_tree(_OWN)
        self._announce()
        return Report(ok=True, installed=False, lines=[f"{', '.join(SUFFIXES)} no longer open with this program."])

    def status(self) -> Report:
        """Say which command the ProgID starts and which suffixes have it as their default."""
        with _refusal():
            line = self._installed_command()
            defaults = {suffix: self._get(rf"{_CLASSES}\{suffix}", "") for suffix in SUFFIXES}
        if not line:
            return Report(ok=True, installed=False, lines=["Not installed for this user."])
        lines = [f"{PROG_ID} starts: {line}"]
        lines += [f"{suffix}: default program {default or 'none'}" for suffix, default in defaults.items()]
        ours = all(default == PROG_ID for default in defaults.values())
        return Report(ok=ours, installed=ours, lines=lines)

    def _associate(self, suffix: str) -> None:
        key = rf"{_CLASSES}\{suffix}"
        previous = self._get(key, "")
        if previous != PROG_ID:
            self._set(rf"{_OWN}\{_PREVIOUS}", suffix, previous or "")
        self._set(key, "", PROG_ID)
        self._set(rf"{key}\OpenWithProgids", PROG_ID, "")

    def _dissociate(self, suffix: str) -> None:
        key = rf"{_CLASSES}\{suffix}"
        if self._get(key, "") == PROG_ID:
            previous = self._get(rf"{_OWN}\{_PREVIOUS}", suffix)
            if previous:
                self._set(key, "", previous)
            else:
                self._delete_value(key, "")
        self._delete_value(rf"{key}\OpenWithProgids", PROG_ID)
        self._delete_if_empty(rf"{key}\OpenWithProgids")
        self._delete_if_empty(key)

    def _installed_command(self) -> str | None:
        return self._get(rf"{_OWN}\shell\open\command", "")

    def _get(self, key: str, name: str) -> str | None:
        winreg = self._registry
        try:
            with winreg.OpenKey(winreg.HKEY_CURRENT_USER, key) as handle:
                return str(winreg.QueryValueEx(handle, name)[0])
        except FileNotFoundError:
            return None

    def _set(self, key: str, name: str, value: str) -> None:
        winreg = self._registry
        with winreg.CreateKeyEx(winreg.HKEY_CURRENT_USER, key, 0, winreg.KEY_WRITE) as handle:
            winreg.SetValueEx(handle, name, 0, winreg.REG_SZ, value)

    def _delete_value(self, key: str, name: str) -> None:
        winreg = self._registry
        try:
            with winreg.OpenKey(winreg.HKEY_CURRENT_USER, key, 0, winreg.KEY_WRITE) as handle:
                winreg.DeleteValue(handle, name)
        except FileNotFoundError:
            return

    def _delete_if_empty(self, key: str) -> None:
        winreg = self._registry
        try:
            with winreg.OpenKey(winreg.HKEY_CURRENT_USER, key) as handle:
                subkeys, values, _ = winreg.QueryInfoKey(handle)
        except FileNotFoundError:
            return
        if not subkeys and not values:
            winreg.DeleteKey(winreg.HKEY_CURRENT_USER, key)

    def _delete_tree(self, key: str) -> None:
        winreg = self._registry
        with winreg.OpenKey(winreg.HKEY_CURRENT_USER, key) as handle:
            children = [winreg.EnumKey(handle, index) for index in range(winreg.QueryInfoKey(handle)[0])]
        for child in children:
            self._delete_tree(rf"{key}\{child}")
        winreg.DeleteKey(winreg.HKEY_CURRENT_USER, key)


def _announce() -> None:
    """Tell Explorer that associations have changed (SHChangeNotify)."""
    ctypes = importlib.import_module("ctypes")
    ctypes.windll.shell32.SHChangeNotify(_ASSOCIATIONS_CHANGED, 0, None, None)


@contextmanager
def _refusal() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DesktopError(
            f"the registry cannot be changed: {error.strerror or error}; ask who manages this computer"
        ) from error
