"""Reopening is instant, and a changed file is read again."""

from __future__ import annotations

import json
import os
import stat

import numpy as np
import pytest
import safetensors.torch
import torch
from made_tensors import made_from

import ckpt_viewer
from ckpt_viewer.errors import SourceChanged
from ckpt_viewer.stats import cache, scan
from ckpt_viewer.stats.scan import Scan


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    """The folder of cache files."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ckpt-viewer" / "scans"


@pytest.fixture
def counts(monkeypatch):
    """How many scans really read."""
    done = []
    real = Scan._count_all
    monkeypatch.setattr(Scan, "_count_all", lambda self, *rest: (done.append(1), real(self, *rest))[1])
    return done


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "x.pth"
    write(path)
    return path


def write(path, seed=1):
    generator = torch.Generator().manual_seed(seed)
    torch.save(
        {
            "a": torch.randn(30_000, generator=generator), "b": torch.arange(5), "c": torch.randn(9).half(),
            "d": torch.tensor([float("nan"), 1e300, -5e-324], dtype=torch.float64), "e": torch.empty(0),
            "f": torch.randn(50, 60, generator=generator)[:, ::2], "g": torch.eye(4).to_sparse(),
            "h": torch.randint(-(1 << 62), 1 << 62, (20_000,), generator=generator),
        },
        path,
    )  # fmt: skip


def scanned(path):
    with ckpt_viewer.open_checkpoint(path) as checkpoint:
        tensors = [tensor for _, tensor in checkpoint.outline.tensors()]
        found = Scan(tensors)
        found.run()
        return [found.outcome(tensor) for tensor in tensors]


def plain(profiles):
    """Profiles as values that can be compared."""
    return [
        (
            p.dtype,
            p.over,
            p.census,
            p.moments,
            p.quantiles,
            p.cells.bits,
            p.cells.keys.tolist(),
            p.cells.counts.tolist(),
        )
        for p in profiles
    ]


def test_the_second_time_nothing_is_read(path, counts, kept):
    first = scanned(path)
    assert plain(scanned(path)) == plain(first)
    assert len(counts) == 1
    (file,) = kept.iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_bytes().startswith(b'{"key": ')


def test_a_changed_file_is_read_again(path, counts):
    scanned(path)
    write(path, seed=2)
    second = scanned(path)
    assert len(counts) == 2
    os.utime(path, ns=(1, 1))
    assert plain(scanned(path)) == plain(second)
    assert len(counts) == 3


def test_a_file_that_changes_while_it_is_open_is_not_answered(path):
    scanned(path)
    with ckpt_viewer.open_checkpoint(path) as checkpoint:
        tensors = [tensor for _, tensor in checkpoint.outline.tensors()]
        os.utime(path, ns=(5, 5))
        with pytest.raises(SourceChanged):
            Scan(tensors).run()


def test_a_copy_under_another_name_is_another_file(path, counts, tmp_path):
    scanned(path)
    copy = tmp_path / "copy.pth"
    copy.write_bytes(path.read_bytes())
    scanned(copy)
    assert len(counts) == 2
    path.rename(tmp_path / "moved.pth")
    assert len(plain(scanned(tmp_path / "moved.pth"))) == 8


def test_folders_are_known_by_all_their_files(tmp_path, counts):
    folder = tmp_path / "run"
    folder.mkdir()
    write(folder / "a.pth")
    write(folder / "b.pth", 2)
    first = scanned(folder)
    assert plain(scanned(folder)) == plain(first)
    assert len(counts) == 1
    write(folder / "b.pth", 3)
    assert plain(scanned(folder)) != plain(first)
    assert len(counts) == 2


def distributed(folder, seed):
    """Write what one process of torch.distributed leaves, a file for each tensor."""
    import torch.distributed.checkpoint as dcp

    values = torch.Generator().manual_seed(seed)
    state = {"a": torch.randn(3000, generator=values), "b": torch.randn(40, 50, generator=values)}
    writer = dcp.FileSystemWriter(folder, single_file_per_rank=False)
    dcp.save(state, storage_writer=writer, no_dist=True)


def sharded(folder, seed):
    """Write two shards and their index, as transformers does."""
    folder.mkdir(exist_ok=True)
    values = torch.Generator().manual_seed(seed)
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    for key, name in names.items():
        safetensors.torch.save_file({key: torch.randn(3000, generator=values)}, folder / name)
    index = {"metadata": {"total_size": 24_000}, "weight_map": names}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def members(folder):
    """The files that hold values."""
    return sorted(path for path in folder.iterdir() if path.suffix in (".distcp", ".safetensors"))


SETS = {"distributed": distributed, "sharded": sharded}
QUIET = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


@QUIET
@pytest.mark.parametrize("kind", SETS)
def test_a_set_of_files_is_not_read_again_until_one_of_them_changes(tmp_path, counts, kind):
    folder = tmp_path / "set"
    SETS[kind](folder, 1)
    first = scanned(folder)
    assert len(members(folder)) == 2
    assert plain(scanned(folder)) == plain(first)
    assert len(counts) == 1
    for number, member in enumerate(members(folder)):
        data = bytearray(member.read_bytes())
        data[-3:] = bytes(byte ^ 1 for byte in data[-3:])  # as long as it was, and as old as one can make it
        before = member.stat()
        member.write_bytes(data)
        os.utime(member, ns=(before.st_atime_ns, before.st_mtime_ns))
        scanned(folder)
        assert len(counts) == 2 + number
    scanned(folder)
    assert len(counts) == 3


@QUIET
@pytest.mark.parametrize("kind", SETS)
def test_a_set_whose_files_were_replaced_is_another_one(tmp_path, counts, kind):
    folder = tmp_path / "set"
    SETS[kind](folder, 1)
    first = scanned(folder)
    for member in members(folder):
        copy = member.with_name("copy")
        copy.write_bytes(member.read_bytes())
        copy.replace(member)
        assert plain(scanned(folder)) == plain(first)
    assert len(counts) == 3


@QUIET
@pytest.mark.parametrize("kind", SETS)
def test_a_member_that_changes_while_the_set_is_open_is_not_answered(tmp_path, kind):
    folder = tmp_path / "set"
    SETS[kind](folder, 1)
    scanned(folder)
    with ckpt_viewer.open_checkpoint(folder) as checkpoint:
        tensors = [tensor for _, tensor in checkpoint.outline.tensors()]
        for member in members(folder):
            os.utime(member, ns=(5, 5))
        with pytest.raises(SourceChanged):
            Scan(tensors).run()


DAMAGES = {
    "empty": lambda data: b"", "cut": lambda data: data[:-1], "head only": lambda data: data[:300] + b"\n",
    "other json": lambda data: b"[]\n", "one byte": lambda data: data[:-9] + b"x" + data[-8:],
    "pickle": lambda data: b"\x80\x04." + data,
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_cache_file_is_written_again(path, counts, kept, damage):
    first = scanned(path)
    (file,) = kept.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    assert plain(scanned(path)) == plain(first)
    assert len(counts) == 2
    scanned(path)
    assert len(counts) == 2


def test_the_folder_is_bounded(path, kept, monkeypatch, tmp_path):
    monkeypatch.setattr(cache, "MOST_FILES", 2)
    for name in "abc":
        write(tmp_path / f"{name}.pth", ord(name))
        scanned(tmp_path / f"{name}.pth")
    assert len(list(kept.iterdir())) == 2
    monkeypatch.setattr(cache, "LARGEST", 100)
    write(tmp_path / "d.pth")
    scanned(tmp_path / "d.pth")
    assert len(list(kept.iterdir())) == 2


def test_without_a_folder_everything_is_counted(path, counts, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    scanned(path)
    scanned(path)
    assert len(counts) == 2


def test_what_is_not_to_be_kept_is_not(kept, counts):
    tensor = made_from(np.ones(5, np.float32))
    Scan([tensor], cached=False).run()
    assert not kept.exists()
    for _ in range(2):
        Scan([tensor]).run()
    assert len(counts) == 2  # bytes in memory are known by their content
    assert scan.cache is cache
