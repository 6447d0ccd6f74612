"""The index of a sharded set: a JSON file that says in which file each tensor lies. FORMATS section 1.10."""

from __future__ import annotations

from typing import NamedTuple

from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.tensor import Bytes
from ckpt_viewer.core.value import Mapping, Value
from ckpt_viewer.errors import Damaged, OverBudget
from ckpt_viewer.formats.json_text import JsonText

INDEX_LIMIT = 100_000_000
"""Bytes of the largest index, as of a safetensors header."""


AT_ONCE, ALONE = 1 << 14, 64
"""Characters that are read together, some 0.1 ms, and pairs that are read one by one where that cannot be."""
BLANKS = " \t\n\r"
_NEVER = bytes(range(32)) + b"\\"
"""Bytes that stand for themselves in no string."""


class ShardIndex(NamedTuple):
    """What an index says.

    Attributes:
        files: name of a tensor -> name of its file. metadata: what else it says; None if nothing.
    """

    files: dict[str, str]
    metadata: Mapping | None

    @property
    def total_size(self) -> int | None:
        """Bytes of all tensors, where the index states them; often wrong, sometimes no integer."""
        stated = self.metadata.get("total_size") if self.metadata is not None else None
        return stated if type(stated) is int else None


def read_index(source: Bytes, context: Context) -> ShardIndex:
    """Read an index.

    Raises:
        Damaged: it is no JSON, names a tensor twice, or has no names. OverBudget: it is too large.
        SourceError: the bytes cannot be had. Cancelled: by `context`.
    """
    if source.size > INDEX_LIMIT:
        raise OverBudget(f"an index of {source.size} bytes is larger than any that a writer made; open a shard instead")
    json = JsonText.decoded(source.read_at(0, source.size), "the index")
    files: dict[str, str] | None = None
    metadata: Value = None
    seen: set[str] = set()
    for name in json.members():
        if name in seen:
            raise json.problem(f"has {name[:60]!a} twice")
        seen.add(name)
        if name == "weight_map":
            files = _weight_map(json, context)
        elif name == "metadata":
            metadata = _neutral(json.value())
        else:
            json.value()
    json.finish()
    if files is None:
        raise Damaged("the index has no weight_map, so it says nothing about tensors; download it again")
    return ShardIndex(files, metadata if isinstance(metadata, Mapping) else None)


def _weight_map(json: JsonText, context: Context) -> dict[str, str]:
    files: dict[str, str] = {}
    kept: dict[str, str] = {}  # one text for the name of a file, however many tensors it has
    count = alone = 0
    for name in json.members():
        files[name] = json.string()
        count += 1
        while count >= alone and json.peek() == ",":
            more = _plain_pairs(json, files, kept)
            count += more
            alone = count if more else count + ALONE
            context.step(json.at, len(json.text))
        if len(files) < count:
            raise json.problem("names a tensor twice")
    return files


def _plain_pairs(json: JsonText, files: dict[str, str], kept: dict[str, str]) -> int:
    """Take the pairs that are next, from a comma on, if all are plain; return their number.

    Cut at its quotation marks the text is in turn what stands outside and inside of strings, if no string has a
    backslash. What a cut in the middle of a pair leaves, and the last pair, are for whoever reads them one by one.
    """
    pieces = json.text[json.at : json.at + AT_ONCE].split('"')
    count = (len(pieces) - 2) // 4
    del pieces[4 * max(count, 0) + 1 :]
    if {each.strip(BLANKS) for each in pieces[::4]} != {","} or {each.strip(BLANKS) for each in pieces[2::4]} != {":"}:
        return 0
    names, places = pieces[1::4], pieces[3::4]
    inside = "".join(names + places).encode()
    if len(inside.translate(None, _NEVER)) < len(inside):
        return 0
    files.update(zip(names, map(kept.setdefault, places, places), strict=True))
    json.at += len('"'.join(pieces).rstrip(BLANKS)) - 1
    return count


def _neutral(value: object) -> Value:
    if isinstance(value, dict):
        mapping = Mapping()
        for key, each in value.items():
            mapping.pairs += (key, _neutral(each))
        return mapping
    if isinstance(value, list):
        return [_neutral(each) for each in value]
    assert value is None or isinstance(value, str | int | float)
    return value
