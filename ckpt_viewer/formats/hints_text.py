"""Text where a checkpoint should be: pointers of Git LFS and the like, web pages, JSON, Python's own ``.pth``."""

from __future__ import annotations

import json
import re
from typing import Any

from ckpt_viewer.core.text import bytes_text, shorten
from ckpt_viewer.errors import NotACheckpoint
from ckpt_viewer.formats.base import HEAD_BYTES, Head

_LFS = re.compile(r"\s*version (?:https://(?:git-lfs|hawser)\.github\.com/spec/v1|http://git-media\.io/v/2)\s")
"""The address, and those that Git LFS had before its first release (its `lfs/pointer.go`)."""
_LFS_FIELDS = re.compile(r"^oid (\w+):([0-9a-f]{8,128})\r?$|^size (\d{1,19})\r?$", re.MULTILINE)
_ANNEX = re.compile(r"/annex/objects/[\w-]+?(?:-s(\d{1,19}))?-[^\n]*\n?")
_XML_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_TITLE = re.compile(r"<title>([^<]{1,200})</title>", re.IGNORECASE)
_PAGES = ("<!doctype", "<!--", "<html", "<head", "<body", "<?xml", "<error", "<script", "<meta", "<title")
_ANSWERS = re.compile(
    r"(?:(?:error|http)?[ :]*[45]\d\d\b[ :.-]*)?"
    r"(?:(?:\w+ )?not found|invalid (?:username|credentials|token)|access ?denied|forbidden|unauthori[sz]ed"
    r"|access to \w+ |internal server error|bad (?:gateway|request)|service unavailable|gateway time"
    r"|too many requests|rate limit|upstream connect error|no such (?:file|key|object))|[45]\d\d$"
)
"""How the answers begin that services give in plain text, in lower case."""
_LONGEST_ANSWER, _MOST_FIELDS = 400, 8
_ERRORS = ("error", "errors", "error_description", "error_message", "errormessage", "message", "detail", "msg", "fault")
"""Fields of an answer that say what went wrong, in the order in which they are asked for."""
_PATH_LINE = re.compile(r"import[ \t]\S.*|#.*|(?:[A-Za-z]:)?[^\s\\/{}<>:;=,\"]*(?:[\\/][^\\/{}<>:;=,\"]*)*")
_SHOWN = 60
"""Characters that are quoted from a file."""


def explain(head: Head) -> NotACheckpoint | None:
    """Return the error that names what a text file is; None if it is no text."""
    text = _text(head.data)
    if text is None:
        return None
    plain = text.strip()
    if not plain:
        return NotACheckpoint("there are only blanks at the beginning of this file, no checkpoint; download it again")
    return (
        _pointer(text)
        or _page(plain)
        or (_json(plain, head.size) if plain[:1] in ("{", "[") else None)
        or _path_configuration(plain)
        or NotACheckpoint(f"this is a text file that begins with {_quoted(plain)}, no checkpoint; open it in an editor")
    )


def _text(data: bytes) -> str | None:
    """Return the beginning of a file as text; None if it has characters that no text has."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if len(data) < HEAD_BYTES or error.start < len(data) - 4:
            return None
        text = data[: error.start].decode(encoding)  # the beginning ends within a character
    text = text.removeprefix("\ufeff")
    return text if all(each.isprintable() or each in "\r\n\t\f" for each in text) else None


def _pointer(text: str) -> NotACheckpoint | None:
    if _LFS.match(text):
        kind, oid, size = "", "", ""
        for found in _LFS_FIELDS.finditer(text):
            kind, oid, size = found[1] or kind, found[2] or oid, found[3] or size
        stands = f" for a file of {bytes_text(int(size))}" if size else ""
        named = f" ({kind} {oid})" if oid else ""
        return NotACheckpoint(f"this is a Git LFS pointer{stands}{named} and not the file itself; run `git lfs pull`")
    annex = _ANNEX.match(text)
    if annex:
        stands = f" for a file of {bytes_text(int(annex[1]))}" if annex[1] else ""
        return NotACheckpoint(f"this is a git-annex pointer{stands} and not the file itself; run `git annex get`")
    if text.startswith(("outs:", "md5: ")) and "path: " in text:
        return NotACheckpoint("this is a DVC pointer and not the file itself; run `dvc pull`")
    return None


def _page(text: str) -> NotACheckpoint | None:
    low = text[:200].lower()
    if low.startswith(_PAGES):
        about = _XML_CODE.search(text) or _TITLE.search(text)
        said = f" that says {_quoted(about[1].strip())}" if about else ""
        return NotACheckpoint(f"this is a web page{said} and not the file; download it again, signed in if need be")
    if len(text) < _LONGEST_ANSWER and _ANSWERS.match(low.strip('"')):
        return NotACheckpoint(
            f"this is an answer of a web service ({_quoted(text)}) and not the file; download it again"
        )
    return None


def _json(text: str, size: int) -> NotACheckpoint | None:
    try:
        value = json.loads(text) if size <= HEAD_BYTES else None
    except (ValueError, RecursionError):
        value = None
    said = _complaint(value[0] if isinstance(value, list) and len(value) == 1 else value)
    if said is not None:
        shown = said if isinstance(said, str) else json.dumps(said)
        return NotACheckpoint(
            f"this is an answer of a web service ({_quoted(shown)}) and not the file; download it again"
        )
    if value is None and not re.match(r'[{\[]\s*["{\[\]}\d]', text):
        return None
    return NotACheckpoint("this is a JSON file and no checkpoint; open the file with the weights that lies beside it")


def _complaint(value: Any) -> Any:
    """Return what an answer of a web service says that went wrong; None for any other JSON."""
    if not isinstance(value, dict) or len(value) > _MOST_FIELDS:
        return None
    fields = {name.lower(): each for name, each in value.items()}
    named = next((fields[name] for name in _ERRORS if fields.get(name)), None)
    if named is None and fields.get("status", 0) in range(400, 600):  # RFC 9457
        named = fields.get("title", fields["status"])
    return "no success" if named is None and fields.get("success") is False else named


def _path_configuration(text: str) -> NotACheckpoint | None:
    """Name a ``.pth`` of Python itself: each line a folder for sys.path, an import, or a comment."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    if not lines or not all(_PATH_LINE.fullmatch(line) for line in lines):
        return None
    code = [line for line in lines if line.startswith(("import ", "import\t"))]
    folders = [line for line in lines if line not in code and not line.startswith("#")]
    if not code and not any("/" in line or "\\" in line or line.startswith(".") for line in folders):
        return None
    holds = []
    if folders:
        holds.append(f"lists {_counted(folders, 'folder')}")
    if code:
        holds.append(f"runs {_counted(code, 'import line')} at every start of Python")
    return NotACheckpoint(
        f"this is a path configuration file of Python itself, which {' and '.join(holds)}, and no checkpoint; "
        "open it in an editor"
    )


def _counted(lines: list[str], what: str) -> str:
    more = f" and {len(lines) - 2} more" if len(lines) > 2 else ""
    plural = "s" if len(lines) > 1 else ""
    return f"{len(lines)} {what}{plural} ({', '.join(map(_quoted, lines[:2]))}{more})"


def _quoted(text: str) -> str:
    return repr(shorten(text.partition("\n")[0].strip(), _SHOWN))
