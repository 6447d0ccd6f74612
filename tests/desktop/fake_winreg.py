"""An in-memory stand-in for the standard library's winreg: what the Windows association uses of it."""

from __future__ import annotations

from typing import Any

HKEY_CURRENT_USER = "HKCU"
KEY_WRITE = 0x20006
KEY_READ = 0x20019
REG_SZ = 1


class Handle:
    def __init__(self, path: str, access: int) -> None:
        self.path, self.access = path, access

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *_: object) -> None:
        self.path = ""


class Registry:
    """Keys are case-insensitive paths; a key exists when it or one below it was made."""

    HKEY_CURRENT_USER, KEY_WRITE, KEY_READ, REG_SZ = HKEY_CURRENT_USER, KEY_WRITE, KEY_READ, REG_SZ

    def __init__(self, *, read_only: bool = False) -> None:
        self.keys: dict[str, dict[str, str]] = {"": {}}
        self.read_only = read_only

    def OpenKey(self, root: str, path: str, reserved: int = 0, access: int = KEY_READ) -> Handle:
        assert root == HKEY_CURRENT_USER
        if path.lower() not in self.keys:
            raise FileNotFoundError(2, "The system cannot find the file specified")
        if self.read_only and access == KEY_WRITE:
            raise PermissionError(5, "Access is denied")
        return Handle(path.lower(), access)

    def CreateKeyEx(self, root: str, path: str, reserved: int, access: int) -> Handle:
        assert root == HKEY_CURRENT_USER
        if self.read_only:
            raise PermissionError(5, "Access is denied")
        parts = path.lower().split("\\")
        for length in range(1, len(parts) + 1):
            self.keys.setdefault("\\".join(parts[:length]), {})
        return Handle(path.lower(), access)

    def QueryValueEx(self, handle: Handle, name: str) -> tuple[str, int]:
        if name not in self.keys[handle.path]:
            raise FileNotFoundError(2, "The system cannot find the file specified")
        return self.keys[handle.path][name], REG_SZ

    def SetValueEx(self, handle: Handle, name: str, reserved: int, kind: int, value: str) -> None:
        assert handle.access == KEY_WRITE
        assert kind == REG_SZ
        self.keys[handle.path][name] = value

    def DeleteValue(self, handle: Handle, name: str) -> None:
        assert handle.access == KEY_WRITE
        if self.keys[handle.path].pop(name, None) is None:
            raise FileNotFoundError(2, "The system cannot find the file specified")

    def DeleteKey(self, root: str, path: str) -> None:
        if self._children(path.lower()):
            raise PermissionError(5, "Access is denied")
        del self.keys[path.lower()]

    def EnumKey(self, handle: Handle, index: int) -> str:
        return self._children(handle.path)[index]

    def QueryInfoKey(self, handle: Handle) -> tuple[int, int, int]:
        return len(self._children(handle.path)), len(self.keys[handle.path]), 0

    def _children(self, path: str) -> list[str]:
        below = [key[len(path) + 1 :] for key in self.keys if key.startswith(path + "\\")]
        return sorted({rest.split("\\")[0] for rest in below})

    def tree(self) -> dict[str, dict[str, Any]]:
        return {key: dict(values) for key, values in self.keys.items()}
