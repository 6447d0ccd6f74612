"""The members of a tar archive, by offset; nothing is ever extracted.

Only regular files are taken: no links, no devices, no sparse files, and no extended header that changes a name or a
size. Source: POSIX.1-1988 (ustar), FORMATS sections 1.4 and 8 (H7).
"""

from __future__ import annotations

from typing import NamedTuple

from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.tensor import Bytes
from ckpt_viewer.errors import Damaged, Truncated, Unsupported

BLOCK = 512
MOST = 1000
"""Members of one archive; torch wrote four."""
_HARMLESS = frozenset({b"mtime", b"atime", b"ctime", b"uid", b"gid", b"uname", b"gname", b"comment"})
"""Fields of an extended header that change neither a name nor a size."""


class Member(NamedTuple):
    """A regular file in the archive: bytes from the start of the tar to its data, and their number."""

    name: str
    offset: int
    size: int


class Header(NamedTuple):
    """One header block.

    Attributes:
        name: of the member. size: bytes of its data. kind: type flag.
    """

    name: bytes
    size: int
    kind: bytes


def parse_header(block: bytes) -> Header | None:
    """Return what a header block says; None if its checksum or its size is none."""
    if len(block) < BLOCK:
        return None
    stated, size = _octal(block[148:156]), _octal(block[124:136])
    if stated is None or size is None or stated != sum(block[:148]) + 8 * ord(" ") + sum(block[156:BLOCK]):
        return None
    return Header(block[:100].rstrip(b"\0"), size, block[156:157])


def _octal(field: bytes) -> int | None:
    digits = field.rstrip(b" \0").lstrip(b" ")
    return int(digits, 8) if digits and all(digit in b"01234567" for digit in digits) else None


def read_members(source: Bytes, context: Context) -> tuple[dict[str, Member], int]:
    """Return every member by name, and where the archive ends.

    Raises:
        Truncated: it ends before its end mark. Unsupported: it has members that are no regular files.
        Damaged: a header is broken, a name occurs twice, or there are absurdly many.
    """
    members: dict[str, Member] = {}
    return members, _walk(source, context, members)


def members_left(source: Bytes, context: Context) -> tuple[dict[str, Member], int | None]:
    """Return the members of a broken archive up to where it breaks off, which may be in the last.

    Returns:
        The members, and the least number of bytes that the archive had; None where it is not cut off.

    Raises:
        Unsupported: as `read_members`.
    """
    members: dict[str, Member] = {}
    try:
        _walk(source, context, members)
    except Damaged:
        return members, None
    except Truncated as error:
        end = error.offset + error.wanted
        return members, max(end, *(_behind(each) + 2 * BLOCK for each in members.values())) if members else end
    return members, None


def _behind(member: Member) -> int:
    return member.offset + -(-member.size // BLOCK) * BLOCK


def _walk(source: Bytes, context: Context, members: dict[str, Member]) -> int:
    """Take in every member, and return where the archive ends; raises as `read_members`."""
    at = 0
    while True:
        context.step(at, 0)
        block = source.read_at(at, BLOCK) if at + BLOCK <= source.size else b""
        if not block.strip(b"\0"):
            if at + 2 * BLOCK > source.size:
                raise Truncated("the tar archive", wanted=2 * BLOCK, found=max(0, source.size - at), offset=at)
            return _end(source, at)
        header = parse_header(block)
        if header is None:
            raise Damaged(f"the tar archive has a broken header at byte {at}; copy or download the file again")
        at += BLOCK
        _take(members, header, source, at)
        if at + header.size > source.size:
            raise Truncated("the tar archive", wanted=header.size, found=source.size - at, offset=at)
        at += -(-header.size // BLOCK) * BLOCK


def _take(members: dict[str, Member], header: Header, source: Bytes, at: int) -> None:
    name = header.name.decode("utf-8", "replace")
    if header.kind in (b"x", b"g"):
        fields = _extended(source.read_at(at, min(header.size, 1 << 16)))
        if fields - _HARMLESS:
            raise Unsupported("the tar archive has an extended header that changes names or sizes; pack it again")
    elif header.kind not in (b"0", b"\0"):
        raise Unsupported(f"the tar archive has the member {name!r} that is no regular file; torch wrote no such thing")
    elif name in members or len(members) == MOST:
        raise Damaged(f"the tar archive has two members {name!r}, or more than {MOST}; readers would disagree about it")
    else:
        members[name] = Member(name, at, header.size)


def _extended(data: bytes) -> set[bytes]:
    """Return the keywords of a PAX header, each record being ``length keyword=value``."""
    words: set[bytes] = set()
    at = 0
    while at < len(data) and data[at : at + 1] != b"\0":
        digits, space, _ = data[at : at + 12].partition(b" ")
        length = int(digits) if space and digits.isdigit() else 0
        if length <= len(digits) + 2 or at + length > len(data):
            return {b"?"}
        words.add(data[at + len(digits) + 1 : at + length].partition(b"=")[0])
        at += length
    return words


def _end(source: Bytes, at: int) -> int:
    """Return where the archive ends: behind two blocks of zeros and whatever zeros follow them."""
    if source.read_at(at, 2 * BLOCK).strip(b"\0"):
        raise Damaged("the tar archive has no end mark; copy or download the file again")
    at += 2 * BLOCK
    behind = source.read_at(at, min(source.size - at, 1 << 16))
    return source.size if not behind.strip(b"\0") else at
