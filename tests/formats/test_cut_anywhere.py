"""Every container cut at fifty places: one sentence says that it is cut off, how much is missing as far as anything can
tell, and what to do; and nothing is shown that is not so."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from archives import tar_storage, tar_tensor, torch_tar
from builders import (
    entry,
    floats,
    integer,
    legacy_stream,
    mapped,
    pickled,
    safetensors_file,
    tensor,
    text,
    zip_checkpoint,
)
from test_cut_archives import FORMS as ARCHIVES

from ckpt_viewer.cli import main
from ckpt_viewer.errors import CheckpointError, Lost
from ckpt_viewer.formats import open_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")

VALUES = {"a": [1.0, 2.0, 3.0], "b": [4.0, 5.0], "c": [6.0]}


def _pickle(*, legacy: bool = False) -> bytes:
    pairs = [
        (text(name), tensor((len(v),), key=str(n), numel=len(v), legacy=legacy))
        for n, (name, v) in enumerate(VALUES.items())
    ]
    return pickled(mapped(*pairs))


DATA = {str(n): floats(*values) for n, values in enumerate(VALUES.values())}


def _zip() -> bytes:
    return zip_checkpoint(_pickle(), DATA)


def _tar() -> bytes:
    names = [(text(name), text(str(n + 1)) + b"Q") for n, name in enumerate(VALUES)]
    tensors = [tar_tensor(n + 1, n + 11, (len(v),), (1,)) for n, v in enumerate(VALUES.values())]
    return torch_tar(pickled(mapped(*names)), tensors, [tar_storage(int(n) + 11, data) for n, data in DATA.items()])


def _safetensors(names: str = "abc") -> bytes:
    header, at, data = {}, 0, b""
    for name in names:
        raw = floats(*VALUES[name])
        header[name] = entry("F32", (len(VALUES[name]),), at, at + len(raw))
        at, data = at + len(raw), data + raw
    return safetensors_file(header, data)


FILES: dict[str, Callable[[], bytes]] = {
    "zip": _zip,
    "legacy stream": lambda: legacy_stream(_pickle(legacy=True), DATA),
    "tar": _tar,
    "pickle": lambda: pickled(mapped((text("a"), text("x" * 300)), (text("b"), integer(3)))),
    "safetensors": _safetensors,
    "gzip": lambda: gzip.compress(_zip()),
    "bzip2": lambda: bz2.compress(_zip()),
    "xz": lambda: lzma.compress(_zip()),
    **{name: make for name, (_, make) in ARCHIVES.items()},
}
MISSING = re.compile(r"(about |at least )?\d+ (bytes )?(is|are) missing|unknown how many (bytes )?are missing")
ADVICE = re.compile(r"; .*(copy|download|salvage|check where)")


def places(size: int) -> list[int]:
    """Fifty lengths from nearly nothing to all but one byte."""
    return sorted({max(1, size * n // 50) for n in range(1, 50)} | {size - 1})


def values_of(path: Path, *, salvage: bool) -> dict[str, list[float]]:
    """Return every tensor that can be read, by the last step of its path; raises CheckpointError."""
    found = {}
    with open_checkpoint(path, salvage=salvage) as checkpoint:
        for row, _ in checkpoint.outline.tensors():
            node = checkpoint.node(checkpoint.outline.path(row))
            if row not in checkpoint.lost:
                found[node.name] = node.numpy(copy=True).tolist()
    return found


@pytest.mark.parametrize("kind", FILES)
def test_a_file_says_how_much_is_missing(tmp_path, kind):
    data, path = FILES[kind](), tmp_path / "model.pth"
    assert open_whole(path, data)
    for length in places(len(data)):
        path.write_bytes(data[:length])
        os.utime(path, (1e9, 1e9))
        with pytest.raises(CheckpointError) as refused:
            open_checkpoint(path)
        said = str(refused.value)
        assert "\n" not in said
        assert ADVICE.search(said), said
        few = length < 16 and kind in ("safetensors", "gzip", "bzip2", "xz")  # nothing tells what that is
        assert few or MISSING.search(said), said


def open_whole(path: Path, data: bytes) -> bool:
    """Open the whole file; whether there is an entry in it."""
    path.write_bytes(data)
    with open_checkpoint(path) as checkpoint:
        return len(checkpoint.outline) > 1


@pytest.mark.parametrize("kind", ["zip", "legacy stream", "safetensors", "gzip", "bzip2", "xz"])
def test_what_is_salvaged_is_right(tmp_path, kind):
    data, path, most = FILES[kind](), tmp_path / "model.pth", 0
    for length in places(len(data)):
        path.write_bytes(data[:length])
        try:
            found = values_of(path, salvage=True)
        except CheckpointError:
            assert not most
            continue
        assert all(VALUES[name] == values for name, values in found.items())
        assert len(found) >= most
        most = len(found)
    assert most >= len(VALUES) - 1


# --- sets and folders ---------------------------------------------------------------------------------------------


def _set(folder: Path) -> Path:
    for number, names in enumerate(("a", "bc")):
        (folder / f"model-0000{number + 1}-of-00002.safetensors").write_bytes(_safetensors(names))
    where = {name: f"model-0000{1 + (name != 'a')}-of-00002.safetensors" for name in VALUES}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 24}, "weight_map": where}, indent=1))
    return index


@pytest.mark.parametrize("by", ["index", "folder", "shard"])
def test_of_a_shard_that_is_cut_off_the_rest_is_salvaged(tmp_path, by):
    index = _set(tmp_path)
    shard = tmp_path / "model-00002-of-00002.safetensors"
    opened = {"index": index, "folder": tmp_path, "shard": shard}[by]
    data = shard.read_bytes()
    for length in places(len(data)):
        shard.write_bytes(data[:length])
        with open_checkpoint(opened, whole=True) as checkpoint:
            assert any("model-00002" in each.message for each in checkpoint.findings if each.severity == "error")
        with open_checkpoint(opened, whole=True, salvage=True) as checkpoint:
            there = {
                checkpoint.outline.path(row)[-1]
                for row, _ in checkpoint.outline.tensors()
                if row not in checkpoint.lost
            }
            whole = "b" if length >= len(data) - 4 else ""
            assert there == {"a", *whole}
            assert checkpoint.contents.salvaged == (length > data.index(b'"c"') - 2)
            if checkpoint.contents.salvaged:
                finding = next(each for each in checkpoint.findings if each.code == "salvaged")
                named = length >= 8 + int.from_bytes(data[:8], "little")
                assert (f"{len(data) - length} " if named else "at least") in finding.message
                assert "model-00002-of-00002.safetensors" in finding.message


def test_the_tensors_of_a_missing_shard_are_named(tmp_path):
    index = _set(tmp_path)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with open_checkpoint(index) as checkpoint:
        messages = [each.message for each in checkpoint.findings if each.code == "missing-tensor"]
    assert messages == ["the index names tensors whose file is missing or cannot be read: 2, 'b', 'c'"]


def test_an_index_says_that_it_is_cut_off(tmp_path):
    index = _set(tmp_path)
    data = index.read_bytes()
    for length in places(len(data))[20:]:
        index.write_bytes(data[:length])
        with pytest.raises(CheckpointError, match=rf"the index is cut off after {length} characters; "):
            open_checkpoint(index)


def test_a_distributed_checkpoint_says_what_of_it_is_cut_off(tmp_path):
    state = {"w": torch.arange(40.0), "v": torch.ones(3), "epoch": 3}
    dcp.save(state, storage_writer=dcp.FileSystemWriter(tmp_path), no_dist=True)
    for name in (".metadata", "__0_0.distcp"):
        path = tmp_path / name
        data = path.read_bytes()
        for length in places(len(data)):
            path.write_bytes(data[:length])
            if name == ".metadata":
                with pytest.raises(CheckpointError, match=rf"its .metadata is cut off after {length} bytes.*; copy"):
                    open_checkpoint(tmp_path)
            else:
                with open_checkpoint(tmp_path) as checkpoint:
                    codes = {each.code for each in checkpoint.findings}
                    assert codes & {"truncated-shard", "unreadable-item"}
        path.write_bytes(data)


@pytest.mark.parametrize("missing", [False, True])
def test_of_a_distributed_checkpoint_the_rest_is_counted_and_exported(tmp_path, missing, capsys):
    folder, copy = tmp_path / "saved", tmp_path / "left.pth"
    state = {f"layer.{n}": torch.arange(40.0) + n for n in range(4)}
    writer = dcp.FileSystemWriter(folder, thread_count=4, single_file_per_rank=False)
    dcp.save(state, storage_writer=writer, no_dist=True)
    victim = folder / "__0_2.distcp"
    if missing:
        victim.unlink()
    else:
        victim.write_bytes(victim.read_bytes()[:-1])
    with open_checkpoint(folder) as checkpoint:
        names = [checkpoint.outline.path(row)[-1] for row in checkpoint.lost]
        assert len(names) == 1
        assert "3 of its 4 tensors" in next(each.message for each in checkpoint.findings if each.code == "salvaged")
        with pytest.raises(Lost, match=r"__0_2\.distcp"):
            checkpoint[f"/{names[0]}"].numpy(copy=True)
    assert main(["ls", str(folder)]) == 0
    assert capsys.readouterr().out.count("[LOST]") == 1
    assert main(["stats", str(folder)]) == 0
    assert f"note: /{names[0]}: " in capsys.readouterr().out
    assert main(["export", str(folder), "--output", str(copy)]) == 0
    left = torch.load(copy, weights_only=True)
    assert set(left) == set(state) - {*names}
    assert all(torch.equal(left[name], state[name]) for name in left)


def test_ranks_of_which_files_are_missing_are_told(tmp_path):
    """No rank's file says how many there were."""
    for rank in (1, 3):
        (tmp_path / f"shard-0000{rank}-model-00001-of-00001.safetensors").write_bytes(_safetensors("a"))
    with open_checkpoint(tmp_path) as checkpoint:
        assert any("the files of 1 ranks are missing" in each.message for each in checkpoint.findings)
    (tmp_path / "shard-00002-model-00001-of-00001.safetensors").write_bytes(_safetensors("b"))
    with open_checkpoint(tmp_path) as checkpoint:
        assert {each.code for each in checkpoint.findings} >= {"unstated-ranks"}
