"""The desktop entry: the text file by which a Linux desktop knows a program (Desktop Entry Specification)."""

from __future__ import annotations

from collections.abc import Sequence

from ckpt_viewer.errors import DesktopError

MIME_TYPE = "application/x-pytorch-checkpoint"
DESKTOP_ID = "ckpt-viewer.desktop"
WINDOW_CLASS = "ckpt-viewer"
_RESERVED = frozenset(" \t\"'\\<>~|&;$*?#()`")
_STRING_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def desktop_entry(command: Sequence[str]) -> str:
    """The whole entry, for a program that is started by `command`.

    Raises:
        DesktopError: `command` cannot be written into an entry.
    """
    program = command[0]
    if "=" in program or not program.isprintable():
        raise DesktopError(
            f"a desktop entry cannot name the program {program!r}; install it in a folder with a plainer name"
        )
    # GLib looks for the program before it turns %% into %, so it must not be the first word.
    words = ["env", *command] if "%" in program else list(command)
    arguments = " ".join(exec_argument(word) for word in words)
    lines = {
        "Type": "Application",
        "Version": "1.1",
        "Name": "Checkpoint Viewer",
        "GenericName": "PyTorch Checkpoint Inspector",
        "Comment": "See what is in a PyTorch checkpoint; nothing in the file is executed",
        "TryExec": escape_string(program),
        "Exec": f"{arguments} view -- %F",
        "Icon": "ckpt-viewer",
        "Terminal": "false",
        "StartupNotify": "true",
        "StartupWMClass": WINDOW_CLASS,
        "Categories": "Science;ArtificialIntelligence;DataVisualization;",
        "Keywords": "PyTorch;checkpoint;model;weights;tensor;state_dict;",
        "MimeType": f"{MIME_TYPE};",
    }
    return "[Desktop Entry]\n" + "".join(f"{key}={value}\n" for key, value in lines.items())


def exec_argument(argument: str) -> str:
    """One argument of an Exec line: as it is where that is allowed, else quoted.

    Some programs that read entries take a quoted program name literally, so quotes are used only where they must be.
    """
    text = argument.replace("%", "%%")
    if not _RESERVED.isdisjoint(text) or not text:
        text = '"' + "".join(f"\\{char}" if char in '"`$\\' else char for char in text) + '"'
    return escape_string(text)


def escape_string(text: str) -> str:
    """`text` as a value of type string: the general escapes, applied after an Exec line's own quoting."""
    return "".join(_STRING_ESCAPES.get(char, char) for char in text)


def unescape_string(text: str) -> str:
    """The inverse of `escape_string`."""
    plain = {escape[1]: char for char, escape in _STRING_ESCAPES.items()}
    result, chars = [], iter(text)
    for char in chars:
        following = next(chars, "") if char == "\\" else ""
        result.append(plain.get(following, char + following) if following else char)
    return "".join(result)
