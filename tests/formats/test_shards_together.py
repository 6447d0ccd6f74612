"""What is read and looked up of many tensors of a set together is what it is of each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from builders import entry, safetensors_file
from hypothesis import given, settings
from hypothesis import strategies as st

from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.formats import open_checkpoint, shard_index, shard_lookup
from ckpt_viewer.sources import MemorySource

NAMES = [f"layer.{number}.weight" for number in range(150)]
FILES = [f"model-{number}-of-2.safetensors" for number in (1, 2)]
MAP = {name: FILES[number > 70] for number, name in enumerate(NAMES)}
INDENTED, DENSE = (
    json.dumps({"metadata": {}, "weight_map": MAP}, **how) for how in ({"indent": 2}, {"separators": (",", ":")})
)


def read(text: bytes) -> object:
    """What an index says, or the kind of error that is raised."""
    try:
        found = shard_index.read_index(MemorySource(text), SILENT)
    except CheckpointError as error:
        return type(error), error.code
    return [*found.files.items()], found.metadata is None


def read_alone(text: bytes) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_index, "AT_ONCE", 0)
        return read(text)


@pytest.mark.parametrize("text", [INDENTED, DENSE], ids=["indented", "dense"])
def test_pairs_are_read_together(text: str, monkeypatch: pytest.MonkeyPatch):
    """Otherwise the next tests would compare one way with itself."""
    taken, take = [], shard_index._plain_pairs
    monkeypatch.setattr(shard_index, "_plain_pairs", lambda *given: taken.append(take(*given)) or taken[-1])
    assert read(text.encode()) == ([*MAP.items()], False)
    assert sum(taken) > 140


@pytest.mark.parametrize("text", [INDENTED, DENSE], ids=["indented", "dense"])
@settings(max_examples=300, deadline=None)
@given(draw=st.data())
def test_a_changed_index_is_read_alike_both_ways(text: str, draw: st.DataObject):
    data = bytearray(text.encode())
    for _ in range(draw.draw(st.integers(1, 3))):
        at = draw.draw(st.integers(60, len(data) - 1))
        new = draw.draw(st.sampled_from([b'"', b"\\", b"\n", b",", b":", b"}", b"{", b" ", b"\0", b"\xff", b"", b'""']))
        data[at : at + draw.draw(st.integers(0, 1))] = new
    assert read(bytes(data)) == read_alone(bytes(data))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('layer.120.weight"', 'layer.12.weight"'),
        ('layer.120.weight"', 'layer.\\u0031.weight"'),
        ('layer.120.weight"', 'lay\u00e9r.\u7f51.weight"'),
        ('layer.120.weight"', 'layer\t.weight"'),
        ('layer.120.weight"', '"'),
        ('"layer.120.weight": ', '"layer.120.weight" \n:\t '),
        ('"layer.120.weight": ', '"layer.120.weight": 1, "x": '),
        ('"layer.120.weight": ', '"layer.120.weight", '),
        ('"layer.120.weight": ', '"layer.120.weight": "a" "b": '),
        ('"layer.120.weight": ', ': "layer.120.weight"'),
    ],
)
def test_what_is_unusual_in_an_index_is_read_alike_both_ways(old: str, new: str):
    text = INDENTED.replace(old, new).encode()
    assert text != INDENTED.encode()
    assert read(text) == read_alone(text)


CHANGES = {
    "as written": {},
    "elsewhere": {NAMES[3]: FILES[1], NAMES[100]: FILES[0]},
    "not named": {NAMES[5]: None},
    "not there": {"other": FILES[0]},
    "a file that is missing": {NAMES[7]: "c.safetensors", "d": "c.safetensors"},
}


def opened(folder: Path) -> object:
    with open_checkpoint(folder / "model.safetensors.index.json") as checkpoint:
        findings = [(each.severity, each.code, each.message) for each in checkpoint.findings]
        return findings, checkpoint.root.value.pairs[::2]


@pytest.mark.parametrize("title", CHANGES)
def test_tensors_of_a_shard_are_looked_up_alike_both_ways(title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for file in FILES:
        names = [name for name in NAMES if MAP[name] == file]
        header = {name: entry("F16", [2, 4], 16 * at, 16 * at + 16) for at, name in enumerate(names)}
        (tmp_path / file).write_bytes(safetensors_file(header, bytes(16 * len(names))))
    files = {name: file for name, file in (MAP | CHANGES[title]).items() if file is not None}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    monkeypatch.setattr(shard_lookup, "AT_ONCE", 32)
    together = opened(tmp_path)
    assert len(together[1]) > 140
    monkeypatch.setattr(shard_lookup, "_found_all", lambda *given: False)
    assert together == opened(tmp_path)
