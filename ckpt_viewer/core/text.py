"""How numbers and text from a file are written for people: one place for the command line and the window."""

from __future__ import annotations

import re

GROUP = "\u202f"
"""Narrow no-break space: groups digits on screen."""

DIMENSIONS, FEW = 64, 8
"""Dimensions of which all are told, and how many are of more than that."""

# C0, C1, soft hyphen, bidirectional controls and isolates, line and paragraph separators, zero-width, surrogates, BOM
_HIDDEN = "[\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb]"


def escape_text(text: str) -> str:
    r"""Return `text` with control, bidirectional, zero-width and surrogate characters as ``\n``, ``\u202e``."""
    if text.isprintable():  # all of them are not, and most text is: no pattern is compiled for it
        return text
    return re.sub(_HIDDEN, _escape, text)


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    if short is not None:
        return short
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def shorten(text: str, limit: int) -> str:
    """Return `text` cut in its middle to at most `limit` characters."""
    if len(text) <= limit:
        return text
    head = (limit - 1) * 2 // 3
    return text[:head] + "…" + text[len(text) - (limit - 1 - head) :]


def bytes_text(count: int) -> str:
    """Return a number of bytes in decimal units with three digits: ``134 MB``, ``37.6 kB``, ``512 B``."""
    if count < 1000:
        return f"{count} B"
    return _three_digits(count, ("kB", "MB", "GB", "TB", "PB"), " ")


def count_text(count: int) -> str:
    """Return a number with three digits and K, M, B: ``11.2M``, ``6.5B``, ``512``."""
    return str(count) if count < 1000 else _three_digits(count, ("K", "M", "B", "T"), "")


def _three_digits(count: int, units: tuple[str, ...], space: str) -> str:
    count = min(count, 10**300)  # beyond that no float can tell; only a lying file says so
    scaled, unit = count / 1000, units[0]
    for larger in units[1:]:
        if scaled < 999.5:
            break
        scaled, unit = scaled / 1000, larger
    digits = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
    text = f"{scaled:.{digits}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return f"{text}{space}{unit}"


def counted(count: int, one: str, more: str = "") -> str:
    """Return a number and what it counts: ``1 tensor``, ``44 tensors``; `more` where an s does not do it."""
    return f"{count} {one if count == 1 else more or one + 's'}"


def parameters_text(count: int) -> str:
    """Return ``11.2 M parameters``, ``1 parameter``."""
    if count == 1:
        return "1 parameter"
    text = count_text(count)
    if text[-1].isalpha():
        text = f"{text[:-1]} {text[-1]}"
    return f"{text} parameters"


def grouped(number: int) -> str:
    """Return an integer with its digits grouped for the screen."""
    return f"{number:,}".replace(",", GROUP)


def shape_text(shape: tuple[int, ...] | None, times: str = " × ") -> str:
    """Return ``64 × 3 × 7 × 7``; ``scalar`` for a 0-dim tensor, ``?`` where there is no shape.

    Of more dimensions than torch knows some are told, and how many there are: a hostile file has a million.
    """
    if shape is None:
        return "?"
    if len(shape) > DIMENSIONS:
        return f"{times.join(map(str, shape[:FEW]))}{times}… ({len(shape)} dimensions)"
    return times.join(map(str, shape)) if shape else "scalar"


def csv_cell(text: str) -> str:
    """Return text for one CSV cell so that no spreadsheet takes it for a formula (numbers stay numbers)."""
    if text[:1] in ("=", "+", "-", "@", "\t", "\r"):
        try:
            float(text)
        except ValueError:
            text = "'" + text
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\n\r') else text


def python_literal(text: str) -> str:
    """Return text from outside as an ASCII literal of Python that nothing breaks out of, double-quoted if it can be."""
    literal = ascii(text)
    # ascii() prefers single quotes; it leaves no double quote in them unescaped other than those of the text
    return f'"{literal[1:-1]}"' if literal[0] == "'" and '"' not in literal and "\\'" not in literal else literal
