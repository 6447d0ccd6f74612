"""The Windows file association, on an in-memory registry."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_winreg import KEY_WRITE, Registry

from ckpt_viewer.desktop.windows import PROG_ID, SUFFIXES, WindowsBackend
from ckpt_viewer.errors import DesktopError

COMMAND = [r"C:\Users\Ada Lovelace\venv\Scripts\ckpt-viewer.exe"]
CLASSES = r"software\classes"


class Desk:
    """A backend, its registry, and how often Explorer was told."""

    def __init__(self, registry: Registry) -> None:
        self.registry, self.told = registry, 0
        self.backend = WindowsBackend(registry, self._tell)

    def _tell(self) -> None:
        self.told += 1

    def put(self, key: str, name: str, value: str) -> None:
        handle = self.registry.CreateKeyEx("HKCU", key, 0, KEY_WRITE)
        self.registry.SetValueEx(handle, name, 0, 1, value)


@pytest.fixture
def desk() -> Desk:
    return Desk(Registry())


def test_install_writes_the_prog_id_and_every_suffix(desk: Desk) -> None:
    report = desk.backend.install(COMMAND)
    keys = desk.registry.tree()
    own = rf"{CLASSES}\{PROG_ID.lower()}"
    assert keys[own][""] == "PyTorch checkpoint"
    line = r'"C:\Users\Ada Lovelace\venv\Scripts\ckpt-viewer.exe" view -- "%1"'
    assert keys[rf"{own}\shell\open\command"][""] == line
    icon = Path(keys[rf"{own}\defaulticon"][""].strip('"'))
    assert icon.read_bytes()[:4] == b"\x00\x00\x01\x00"
    for suffix in (".pth", ".pt", ".ckpt"):
        assert keys[rf"{CLASSES}\{suffix}"][""] == PROG_ID
        assert PROG_ID in keys[rf"{CLASSES}\{suffix}\openwithprogids"]
    assert rf"{CLASSES}\.bin" not in keys
    assert report.ok
    assert report.installed
    assert desk.told == 1


def test_status_before_and_after(desk: Desk) -> None:
    assert desk.backend.status() == (True, False, ["Not installed for this user."])
    desk.backend.install(COMMAND)
    report = desk.backend.status()
    assert report.ok
    assert report.installed
    assert any("ckpt-viewer.exe" in line for line in report.lines)
    desk.put(r"Software\Classes\.pt", "", "Other.Program")
    report = desk.backend.status()
    assert not report.installed
    assert ".pt: default program Other.Program" in report.lines


def test_uninstall_restores_the_registry_exactly(desk: Desk) -> None:
    desk.put(r"Software\Classes\.pt", "", "Other.Program")
    desk.put(r"Software\Classes\.ckpt\OpenWithProgids", "Third.Program", "")
    before = desk.registry.tree()
    desk.backend.install(COMMAND)
    desk.backend.install(["C:\\elsewhere\\ckpt-viewer.exe"])
    assert desk.registry.tree() != before
    report = desk.backend.uninstall()
    assert report.ok
    assert not report.installed
    assert desk.registry.tree() == before
    assert desk.told == 3


def test_uninstall_keeps_a_default_that_the_user_chose_since(desk: Desk) -> None:
    desk.backend.install(COMMAND)
    desk.put(r"Software\Classes\.pth", "", "Chosen.Later")
    desk.backend.uninstall()
    assert desk.registry.tree()[rf"{CLASSES}\.pth"] == {"": "Chosen.Later"}


def test_uninstall_without_install_changes_nothing(desk: Desk) -> None:
    before = desk.registry.tree()
    assert desk.backend.uninstall().lines == ["Nothing is installed, so nothing was removed."]
    assert desk.registry.tree() == before
    assert desk.told == 0


def test_a_registry_that_refuses_is_one_sentence() -> None:
    backend = WindowsBackend(Registry(read_only=True), lambda: None)
    with pytest.raises(DesktopError, match=r"^the registry cannot be changed: Access is denied; ask who manages .*"):
        backend.install(COMMAND)


def test_suffixes_are_last_suffixes() -> None:
    assert all(suffix.count(".") == 1 for suffix in SUFFIXES)
