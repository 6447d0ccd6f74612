"""Which display Qt may use. Qt aborts the process where it finds none, so it is asked only for what answers.

On Linux a Wayland socket must take a connection, an X server must let this user in, and the plugin must load with all
its libraries; elsewhere Qt's own choice is right.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ckpt_viewer.errors import CheckpointError

if TYPE_CHECKING:
    import _socket

SECONDS = 2.0
"""How long a display may take to answer."""

_welcome: list[_socket.socket] = []
"""Connections that an X server took. A server without another client resets itself when the last one leaves, so they
stay until Qt has its own."""


class NoDisplay(CheckpointError):
    """There is no display to show a window on; the message says what was tried."""


def choose_platform(environ: Mapping[str, str], *, screenshot: bool, system: str = sys.platform) -> str:
    """Return the value for QT_QPA_PLATFORM; ``""`` where Qt chooses itself.

    Args:
        screenshot: nobody looks at the window, so off screen will do.

    Raises:
        NoDisplay: nothing answers, and off screen was not asked for.
    """
    asked = environ.get("QT_QPA_PLATFORM", "")
    if not system.startswith("linux"):
        return asked
    first = asked.partition(";")[0].partition(":")[0]
    if first == "offscreen":
        return asked
    tried = [first] if first else ["wayland", "xcb"]
    if screenshot and not first:
        return "offscreen"
    reasons: list[str] = []
    for name in tried:
        reason = _problem(name, environ)
        if not reason:
            return asked or name
        reasons.append(reason)
    if screenshot:
        return "offscreen"
    raise NoDisplay(
        f"there is no display to open a window on ({'; '.join(reasons)}); "
        "use `ckpt-viewer ls FILE`, or `--screenshot PNG`, or set QT_QPA_PLATFORM=offscreen"
    )


def release() -> None:
    """Close what was opened to ask; call it once the QApplication is there."""
    while _welcome:
        _welcome.pop().close()


def _problem(name: str, environ: Mapping[str, str]) -> str:
    """Return why a platform cannot be used, ``""`` if it can."""
    reason = ""
    if name == "xcb":
        reason = x11_problem(environ)
    elif name.startswith("wayland"):
        reason = wayland_problem(environ)
    return reason or _plugin_problem("wayland" if name.startswith("wayland") else name)


def _plugin_problem(name: str) -> str:
    from ckpt_viewer.gui.bring_qt import bring_qt

    bring_qt()
    from PySide6.QtCore import QLibraryInfo, QPluginLoader

    folder = QLibraryInfo.path(QLibraryInfo.LibraryPath.PluginsPath)
    loader = QPluginLoader(f"{folder}/platforms/libq{name}.so")
    if loader.load():
        return ""
    return f"Qt's {name} plugin does not load: {loader.errorString().splitlines()[0].rpartition(': ')[2] or 'missing'}"


def wayland_problem(environ: Mapping[str, str]) -> str:
    """Return why no Wayland compositor can be reached, ``""`` if one answers."""
    name = environ.get("WAYLAND_DISPLAY", "")
    if not name:
        return "WAYLAND_DISPLAY is not set"
    folder = environ.get("XDG_RUNTIME_DIR", "")
    path = name if name.startswith("/") else f"{folder}/{name}"
    return "" if _connects(path) else f"no Wayland compositor answers at {path}"


def x11_problem(environ: Mapping[str, str]) -> str:
    """Return why no X server can be used, ``""`` if one lets this user in."""
    display = environ.get("DISPLAY", "")
    if not display:
        return "DISPLAY is not set"
    host, colon, rest = display.rpartition(":")
    number = rest.partition(".")[0]
    if not colon or not (number.isascii() and number.isdigit() and len(number) < 6):
        return f"DISPLAY={display!a} names no X server"
    for name, cookie in [*_cookies(environ, number.encode())[:8], (b"", b"")]:
        answer = _greet(host, int(number), name, cookie)
        if answer is None:
            return f"no X server answers at DISPLAY={display!a}"
        if answer == 1:
            return ""
    return f"the X server at DISPLAY={display!a} does not let this user in"


def _connects(path: str) -> bool:
    connection = _connect(path)
    if connection is None:
        return False
    connection.close()
    return True


def _connect(address: str | tuple[str, int]) -> _socket.socket | None:
    import _socket  # socket itself costs 6 ms of a start-up of 150

    family = _socket.AF_UNIX if isinstance(address, str) else _socket.AF_INET
    connection = _socket.socket(family, _socket.SOCK_STREAM)
    try:
        connection.settimeout(SECONDS)
        connection.connect(address)
    except (OSError, ValueError, OverflowError):
        connection.close()
        return None
    return connection


def _greet(host: str, number: int, name: bytes, cookie: bytes) -> int | None:
    """Open an X11 connection and return the first byte of the answer (1: welcome, 0: refused); None without one."""
    if host in ("", "unix"):
        connection = _connect(f"/tmp/.X11-unix/X{number}") or _connect(f"\0/tmp/.X11-unix/X{number}")
    else:
        connection = _connect((host, 6000 + number))
    if connection is None:
        return None
    try:
        lengths = b"".join(value.to_bytes(2, "little") for value in (11, 0, len(name), len(cookie), 0))
        connection.sendall(b"l\0" + lengths + _padded(name) + _padded(cookie))
        answer = connection.recv(8)[:1]
    except OSError:
        answer = b""
    if answer != b"\1":
        connection.close()
        return 0
    _welcome.append(connection)
    return 1


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _cookies(environ: Mapping[str, str], number: bytes) -> list[tuple[bytes, bytes]]:
    """Return name and data of the Xauthority file's entries for display `number`; none if there is no such file."""
    path = environ.get("XAUTHORITY") or f"{environ.get('HOME', '')}/.Xauthority"
    try:
        with Path(path).open("rb") as file:
            data = file.read(1 << 20)
    except (OSError, ValueError):
        return []
    return [(entry[2], entry[3]) for entry in _entries(data) if entry[1] in (number, b"")]


def _entries(data: bytes) -> Iterator[list[bytes]]:
    at = 0
    while at + 2 <= len(data):
        at += 2  # the family of the address
        fields: list[bytes] = []
        for _ in range(4):
            size = int.from_bytes(data[at : at + 2], "big")
            fields.append(data[at + 2 : at + 2 + size])
            at += 2 + size
        if at <= len(data):
            yield fields
