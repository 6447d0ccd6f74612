"""The index of a sharded set: a JSON file that says in which file each tensor lies. FORMATS section 1.10."""

from __future__ import annotations

import re
from typing import NamedTuple

from ckpt_viewer.core.progress import EVERY, Context
from ckpt_viewer.core.tensor import Bytes
from ckpt_viewer.core.value import Mapping, Value
from ckpt_viewer.errors import Damaged, OverBudget
from ckpt_viewer.formats.json_text import JsonText

INDEX_LIMIT = 100_000_000
"""Bytes of the largest index, as of a safetensors header."""
_PAIR = re.compile(r'[ \t\n\r]*"([^"\\\x00-\x1f]*)"[ ]*:[ ]*"([^"\\\x00-\x1f]*)"[ \t\n\r]*([,}])')


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
    count = 0
    for name in json.members():
        files[name] = json.string()
        count += 1
        if json.peek() == ",":
            count += _usual_pairs(json, files, context)
        if len(files) < count:
            raise json.problem("names a tensor twice")
    return files


def _usual_pairs(json: JsonText, files: dict[str, str], context: Context) -> int:
    """Take as many pairs as follow in the usual form, up to the comma before the last of them; return their number."""
    text, match, at, count = json.text, _PAIR.match, json.at + 1, 0
    kept: dict[str, str] = {}  # one text for the name of a file, however many tensors it has
    while (found := match(text, at)) is not None:
        name, file, after = found.groups()
        files[name] = kept.setdefault(file, file)
        count += 1
        at = found.end()
        json.at = at - 1
        if after == "}":
            break
        if count % EVERY == 0:
            context.step(at, len(text))
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
