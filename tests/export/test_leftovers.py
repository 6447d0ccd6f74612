"""What is left of a killed process is recognised; what somebody is working on is not touched."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import builders
import pytest
import torch

from ckpt_viewer.cli import main
from ckpt_viewer.export import leftovers, locks
from ckpt_viewer.export.atomic import AtomicFile
from ckpt_viewer.export.leftovers import find_leftovers, remove_leftovers
from ckpt_viewer.export.part_names import SUFFIX, member_name, new_token, second_name, temporary_name, token_of

pytestmark = pytest.mark.skipif(os.name != "posix", reason="nothing is called a leftover there")
ROOT = Path(__file__).resolve().parents[2]


def made(folder, name="x.pth", data=b"half"):
    path = temporary_name(folder / name)
    path.write_bytes(data)
    return path


def names(found):
    return [each.path.name for each in found]


def test_what_a_killed_process_left_is_found_and_removed(tmp_path):
    code = (
        "import os, sys\nfrom ckpt_viewer.export.atomic import AtomicFile\n"
        "with AtomicFile(sys.argv[1]) as file:\n file.write(b'x' * 200_000)\n os.kill(os.getpid(), 9)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "x")], env=env, timeout=60, check=False)
    assert done.returncode == -9
    (leftover,) = find_leftovers(tmp_path)
    assert leftover.path.parent == tmp_path
    assert leftover.nbytes == 200_000
    assert names(remove_leftovers([leftover])) == [leftover.path.name]
    assert list(tmp_path.iterdir()) == []


def test_what_is_being_written_is_none(tmp_path):
    with AtomicFile(tmp_path / "x") as file:
        file.write(b"half")
        file.flush()
        assert find_leftovers(tmp_path) == []
        identity = file.temporary.stat().st_dev, file.temporary.stat().st_ino
        assert remove_leftovers([leftovers.Leftover(file.temporary, 4, identity)]) == []
        assert file.temporary.exists()
    assert (tmp_path / "x").read_bytes() == b"half"


def test_other_files_are_none(tmp_path):
    ours = made(tmp_path)
    for name in (f"x.{'0' * 16}{SUFFIX}", f".x.{'0' * 15}{SUFFIX}", f".x.{'0' * 16}.part", f".{'0' * 16}{SUFFIX}"):
        (tmp_path / name).write_bytes(b"a user's own")
    temporary_name(tmp_path / "link").symlink_to(tmp_path / "precious")
    (tmp_path / "precious").write_bytes(b"precious")
    os.mkfifo(temporary_name(tmp_path / "fifo"))
    before = len(list(tmp_path.iterdir()))
    found = find_leftovers(tmp_path)
    assert names(found) == [ours.name]
    remove_leftovers(found)
    assert len(list(tmp_path.iterdir())) == before - 1


def test_files_of_others_are_none(tmp_path, monkeypatch):
    made(tmp_path)
    monkeypatch.setattr(leftovers.os, "geteuid", lambda: os.getuid() + 1)
    assert find_leftovers(tmp_path) == []


def test_the_largest_comes_first_and_folders_count_too(tmp_path):
    small = made(tmp_path, data=b"1")
    folder = temporary_name(tmp_path / "set")
    folder.mkdir(mode=0o700)
    (folder / "a").write_bytes(b"1" * 10)
    found = find_leftovers(tmp_path)
    assert [(each.path, each.nbytes) for each in found] == [(folder, 10), (small, 1)]
    assert len(remove_leftovers(found)) == 2
    assert list(tmp_path.iterdir()) == []


def test_what_became_another_file_stays(tmp_path):
    path = made(tmp_path)
    found = find_leftovers(tmp_path)
    (tmp_path / "new").write_bytes(b"another")
    (tmp_path / "new").replace(path)
    assert remove_leftovers(found) == []
    assert path.read_bytes() == b"another"


def test_a_new_file_that_was_taken_for_a_leftover_is_made_again(tmp_path, monkeypatch):
    """Somebody removes it between its being made and its being locked."""
    real, taken = locks.lock, []

    def late(fd, *, wait=False):
        if wait and not taken:
            taken.extend(remove_leftovers(find_leftovers(tmp_path)))
        return real(fd, wait=wait)

    monkeypatch.setattr(locks, "lock", late)
    with AtomicFile(tmp_path / "x") as file:
        file.write(b"whole")
    assert len(taken) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == b"whole"


def test_what_a_set_that_is_being_placed_replaces_is_none(tmp_path):
    target = tmp_path / "m.index.json"
    with AtomicFile(target) as file:
        second_name(target, token_of(file.temporary.name)).write_bytes(b"old")
        assert find_leftovers(tmp_path) == []
    (old,) = find_leftovers(tmp_path)
    assert old.replaced == target
    assert remove_leftovers([old]) == [old]  # the set is whole
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_an_old_file_whose_name_is_gone_is_never_removed(tmp_path):
    long = tmp_path / ("x" * 190)
    second_name(long, new_token()).write_bytes(b"precious")
    assert len(remove_leftovers(find_leftovers(tmp_path))) == 1
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {long.name: b"precious"}


def test_without_locks_nothing_is_called_a_leftover(tmp_path, monkeypatch):
    made(tmp_path)

    def refuse(*_):
        raise OSError(errno.ENOTSUP, "not here")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    assert find_leftovers(tmp_path) == []
    assert find_leftovers(tmp_path / "none") == []


@pytest.mark.torch
def test_the_command_line_says_so_and_removes_on_request(tmp_path, capsys):
    source = builders.save({"w": torch.ones(3)}, tmp_path / "x.pth", tag="cuda:1")
    left = made(tmp_path, data=bytes(2_000_000))
    command = ["remap", str(source), "--map-location", "cpu", "--no-torch", "--force"]
    assert main([*command, "--json"]) == 0
    said = capsys.readouterr()
    note = f"ckpt-viewer: note: 1 unfinished file (2 MB) of runs that were broken off in {tmp_path}; "
    assert said.err == f"{note}--remove-leftovers removes them\n"
    assert json.loads(said.out)["warnings"] == []
    assert left.exists()
    assert main([*command, "--remove-leftovers"]) == 0
    assert capsys.readouterr().err == f"ckpt-viewer: note: cleared 1 unfinished file (2 MB) from {tmp_path}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.cpu.pth", "x.pth"]


@pytest.mark.torch
def test_the_command_line_clears_what_a_set_without_an_index_left_under_its_names(tmp_path, capsys):
    source = builders.save({"v": torch.ones(1000), "w": torch.ones(1000)}, tmp_path / "x.pth")
    folder = tmp_path / "out"
    folder.mkdir()
    token, first = new_token(), folder / "m-00001-of-00002.safetensors"
    member_name(folder / "m.safetensors.index.json", token, final=True).write_bytes(b"{}")
    part = member_name(first, token, final=False)
    part.write_bytes(b"whole")
    os.link(part, first)
    command = ["export", str(source), "-o", str(folder / "m.safetensors"), "--max-shard-size", "5000"]
    command += ["--from", "", "--no-torch"]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "2 unfinished files (7 B, 1 of them under its final name) of runs that were broken off" in said
    assert "exists already" in said
    assert first.read_bytes() == b"whole"
    assert main([*command, "--remove-leftovers"]) == 0
    assert len(list(folder.iterdir())) == 3
    assert first.read_bytes() != b"whole"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_one_that_was_to_replace_a_read_only_file_is_found(tmp_path):
    made(tmp_path).chmod(0o400)
    assert len(remove_leftovers(find_leftovers(tmp_path))) == 1


@pytest.mark.torch
def test_a_full_disk_may_be_full_of_them(tmp_path, capsys, monkeypatch):
    source = builders.save({"w": torch.ones(3)}, tmp_path / "x.pth", tag="cuda:1")
    made(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 5))
    assert main(["remap", str(source), "--map-location", "cpu"]) == 2
    said = capsys.readouterr().err
    assert "--remove-leftovers removes them" in said
    assert "too little space" in said
