"""What is remembered between two runs: window size, theme, recent files, folders. Kept by QSettings, as an INI file."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QByteArray, QSettings

ORGANISATION = APPLICATION = "ckpt_viewer"
RECENT_LIMIT = 10


class Settings:
    """The user's settings, typed. Cheap to make; what one writes another reads."""

    def __init__(self) -> None:
        self._store = QSettings(QSettings.Format.IniFormat, QSettings.Scope.UserScope, ORGANISATION, APPLICATION)

    @property
    def folder(self) -> Path:
        """Where they are kept, for what is remembered beside them."""
        return Path(self._store.fileName()).parent

    def text(self, key: str, default: str = "") -> str:
        """Return a remembered text."""
        value = self._store.value(key, default)
        return value if isinstance(value, str) else default

    def bytes(self, key: str) -> QByteArray:
        """Return remembered bytes (a window's geometry); empty without."""
        value = self._store.value(key)
        return value if isinstance(value, QByteArray) else QByteArray()

    def set(self, key: str, value: str | QByteArray) -> None:
        """Remember a text or bytes."""
        self._store.setValue(key, value)

    @property
    def recent(self) -> list[str]:
        """Absolute paths of the files opened last, newest first; they may be gone by now."""
        value = self._store.value("recent", [])
        if isinstance(value, str):  # an INI file gives a list of one back as a text
            return [value] if value else []
        return [path for path in value if isinstance(path, str)] if isinstance(value, list) else []

    def add_recent(self, path: str) -> None:
        """Put a file at the head of the recent ones."""
        path = str(Path(path).absolute())
        try:
            path.encode()
        except UnicodeEncodeError:  # a name that is no UTF-8 would come back as another one
            return
        rest = [other for other in self.recent if other != path]
        self._store.setValue("recent", [path, *rest][:RECENT_LIMIT])

    def forget_recent(self) -> None:
        """Empty the list of recent files."""
        self._store.remove("recent")

    def save(self) -> None:
        """Write everything to disk now."""
        self._store.sync()
