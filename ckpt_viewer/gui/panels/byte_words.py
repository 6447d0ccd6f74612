"""What the storage panel says in words: of a checkpoint's bytes, and of one stretch of a file. No Qt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ckpt_viewer.analysis.byte_map import MOST_COMPARED, WORDS, FileMap
from ckpt_viewer.core.text import bytes_text, grouped
from ckpt_viewer.gui.panels.crumbs import row_pointer
from ckpt_viewer.gui.panels.facts import DOT, count_words

if TYPE_CHECKING:
    from ckpt_viewer.analysis.ledger import Ledger, Line
    from ckpt_viewer.core.outline import Outline
    from ckpt_viewer.gui.ledger_watch import Accounts

ROLES = {"model": "model", "optimizer": "optimizer", "ema": "averaged model (EMA)"}


def share_words(count: int, whole: int) -> str:
    """Return ``135 kB (50.9 %)``, which no line is broken in."""
    if not whole:
        return bytes_text(count)
    share = 100 * count / whole
    text = "<0.1" if 0 < share < 0.1 else ">99.9" if 99.9 < share < 100 else f"{share:.3g}"
    return f"{bytes_text(count)} ({text} %)".replace(" ", "\N{NO-BREAK SPACE}")


def account_words(accounts: Accounts, lines: Sequence[Line], whole: bool) -> str:
    """Return some sentences on the storages of a checkpoint or of a part of it."""
    return " ".join(_sentences(accounts, lines, whole))


def _sentences(accounts: Accounts, lines: Sequence[Line], whole: bool) -> Iterator[str]:
    stored, used = sum(line.storage.nbytes for line in lines), sum(line.used for line in lines)
    if not lines:
        yield "No tensor here has a storage." if not whole else "No tensor of this file has a storage."
    else:
        most = "all" if used == stored else share_words(used, stored)
        yield f"{bytes_text(stored)} in {count_words(len(lines), 'storage')}, of which tensors use {most}."
    bloated = [line for line in lines if line.bloated]
    if bloated:
        what = f"{count_words(len(bloated), 'storage is', 'storages are')} larger than the tensors in"
        saved = bytes_text(sum(line.wasted for line in bloated))
        yield f"{what} {'it' if len(bloated) == 1 else 'them'}: an export saves {saved}."
    yield from _roles(lines, stored)
    yield from _groups(lines)
    if whole:
        yield from _files(accounts)


def _roles(lines: Sequence[Line], stored: int) -> Iterator[str]:
    shares: dict[str, int] = {}
    for line in lines:
        name = ROLES.get(line.role, "the rest")
        shares[name] = shares.get(name, 0) + line.storage.nbytes
    if len(shares) > 1:
        text = ", ".join(f"{name} {share_words(n, stored)}" for name, n in sorted(shares.items(), key=lambda s: -s[1]))
        yield f"{text[:1].upper()}{text[1:]}."


def _groups(lines: Sequence[Line]) -> Iterator[str]:
    tied = aliased = 0
    for line in lines:
        if len(line.uses) > 1:
            regions = line.regions
            tied += sum(len(rows) > 1 for rows in regions)
            aliased += len(regions) > 1
    if tied:
        yield f"{count_words(tied, 'tensor has', 'tensors have')} several names (tied)."
    if aliased:
        yield f"{count_words(aliased, 'storage is', 'storages are')} seen by several different tensors (aliased)."


def _files(accounts: Accounts) -> Iterator[str]:
    maps = accounts.maps
    count, nbytes = maps.unused
    if count:
        yield (
            f"{count_words(count, 'stretch', 'stretches')} with {bytes_text(nbytes)} "
            f"{'is' if count == 1 else 'are'} not referred to; an export leaves {'it' if count == 1 else 'them'} out."
        )
    if maps.elsewhere:
        yield (
            f"{count_words(maps.elsewhere, 'storage', 'storages')} with {bytes_text(maps.elsewhere_bytes)} have no "
            "place in the file: they lie packed, or inside of a pickle."
        )
    if maps.overlapping:
        yield f"{count_words(maps.overlapping, 'storage begins', 'storages begin')} inside of another one."


def line_name(outline: Outline, line: Line) -> str:
    """Return the path of a storage's first tensor, and how many more there are."""
    if not line.uses:
        return f"storage {line.storage.unique_key}"
    more = f" and {grouped(len(line.uses) - 1)} more" if len(line.uses) > 1 else ""
    return row_pointer(outline, line.uses[0].row) + more


def region_words(book: Ledger, file: FileMap, number: int) -> str:
    """Return what one region is: its tensors, its bytes, where it begins."""
    region = file.region(number)
    place = f"{bytes_text(region.nbytes)} from byte {grouped(region.start)}"
    if region.line < 0:
        return DOT.join([WORDS[region.kind], *([region.name] if region.name else []), place])
    line = book.lines[region.line]
    parts = [line_name(book.outline, line), WORDS[region.kind], f"storage {line.storage.unique_key}", place]
    if line.bloated:
        parts.append(f"{bytes_text(line.used)} used")
    return DOT.join(parts)


def stretch_words(book: Ledger, file: FileMap, start: int, end: int) -> str:
    """Return what lies between two positions: one region, or how many of which kinds and the largest of them."""
    first, last = file.at(start), file.at(end - 1)
    largest = file.largest(start, end)
    if first == last:
        return region_words(book, file, first)
    inside = sorted(file.inside(start, end).items(), key=lambda item: -item[1])
    kinds = ", ".join(f"{WORDS[kind]} {bytes_text(nbytes)}" for kind, nbytes in inside)
    which = "the largest" if last - first < MOST_COMPARED else "one"
    return f"{grouped(last - first + 1)} regions in {bytes_text(end - start)} ({kinds}); {which} is " + region_words(
        book, file, largest
    )
