"""The user's mimeapps.list, changed by one item and otherwise kept byte for byte.

A default is a list of desktop entries, the first that exists wins. So our entry goes in front of what is there, and
taking it out again restores what was there, whatever else the user or a desktop changed in between.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_SECTION = b"[Default Applications]"


class Added(NamedTuple):
    """A changed mimeapps.list.

    Attributes:
        data: the whole file.
        section_made: the section was not there and was appended.
    """

    data: bytes
    section_made: bool


def default_of(data: bytes, mime_type: str) -> list[str]:
    """The desktop entries that are the default for `mime_type`, most wanted first."""
    found = _find(data.split(b"\n"), mime_type)
    return _items(data.split(b"\n")[found]) if found is not None else []


def add_default(data: bytes, mime_type: str, desktop_id: str) -> Added:
    """Put `desktop_id` first among the defaults for `mime_type`."""
    lines = data.split(b"\n")
    at = _find(lines, mime_type)
    if at is not None:
        others = [item for item in _items(lines[at]) if item != desktop_id]
        if len(others) == len(_items(lines[at])):
            key, _, value = lines[at].partition(b"=")
            space = value[: len(value) - len(value.lstrip(b" \t"))]
            lines[at] = key + b"=" + space + desktop_id.encode() + b";" + value.lstrip(b" \t")
        elif _items(lines[at])[0] != desktop_id:
            lines[at] = _line(mime_type, [desktop_id, *others], lines[at])
        return Added(b"\n".join(lines), section_made=False)
    header = next((index for index, line in enumerate(lines) if line.strip() == _SECTION), None)
    if header is not None:
        lines.insert(header + 1, _line(mime_type, [desktop_id], lines[header]))
        return Added(b"\n".join(lines), section_made=False)
    end = len(lines) - (lines[-1] == b"")
    lines[end:end] = [_SECTION, _line(mime_type, [desktop_id], lines[0])]
    return Added(b"\n".join(lines), section_made=True)


def remove_default(data: bytes, mime_type: str, desktop_id: str, *, section_made: bool) -> bytes:
    """Take `desktop_id` out again; with `section_made`, the section too once it is empty."""
    lines = data.split(b"\n")
    at = _find(lines, mime_type)
    if at is None or desktop_id not in _items(lines[at]):
        return data
    if _items(lines[at]) != [desktop_id]:
        ours = rb"(?<=[=; \t])" + re.escape(desktop_id.encode()) + rb"[ \t]*(;|(?=\r?$))"
        lines[at] = re.sub(ours, b"", lines[at])
        return b"\n".join(lines)
    del lines[at]
    following = lines[at].strip() if at < len(lines) else b""
    if section_made and lines[at - 1].strip() == _SECTION and (following == b"" or following.startswith(b"[")):
        del lines[at - 1]
    return b"\n".join(lines)


def _find(lines: list[bytes], mime_type: str) -> int | None:
    section = b""
    for index, line in enumerate(lines):
        text = line.strip()
        if text.startswith(b"["):
            section = text
        elif section == _SECTION and text.partition(b"=")[0].strip() == mime_type.encode():
            return index
    return None


def _items(line: bytes) -> list[str]:
    value = line.partition(b"=")[2].decode("utf-8", "surrogateescape")
    return [item.strip() for item in value.split(";") if item.strip()]


def _line(mime_type: str, items: list[str], like: bytes) -> bytes:
    ending = b"\r" if like.endswith(b"\r") else b""
    value = ";".join(items).encode("utf-8", "surrogateescape")
    return mime_type.encode() + b"=" + value + b";" + ending
