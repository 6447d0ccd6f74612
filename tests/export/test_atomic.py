"""Files appear whole or not at all; what the system refuses becomes a sentence."""

import errno
import os
import stat

import pytest

from ckpt_viewer.errors import TargetExists, WriteFailed
from ckpt_viewer.export import atomic, locks, part_names, placing
from ckpt_viewer.export.atomic import AtomicFile
from ckpt_viewer.export.leftovers import find_leftovers, remove_leftovers
from ckpt_viewer.export.placing import UNABLE


def put(target, data=b"new", **options):
    with AtomicFile(target, **options) as file:
        file.write(data)


def test_it_appears_only_at_the_end(tmp_path):
    with AtomicFile(tmp_path / "x") as file:
        file.write(b"whole")
        file.flush()
        assert not (tmp_path / "x").exists()
        assert file.temporary.parent == tmp_path
        assert stat.S_IMODE(file.temporary.stat().st_mode) == 0o600
        assert file.temporary.read_bytes() == b"whole"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_small_and_large_writes_keep_their_order(tmp_path):
    pieces = [bytes([n % 256]) * size for n, size in enumerate([1, 70_000, 3, 65_535, 65_536, 0, 9, 2_000_000] * 3)]
    with AtomicFile(tmp_path / "x") as file:
        for piece in pieces:
            file.write(memoryview(piece))
        assert file.position == sum(map(len, pieces))
    assert (tmp_path / "x").read_bytes() == b"".join(pieces)


def test_short_writes_are_continued(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(atomic.os, "write", lambda fd, data: real(fd, data[:7]))
    put(tmp_path / "x", bytes(range(100)))
    assert (tmp_path / "x").read_bytes() == bytes(range(100))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_any_exception_removes_it(tmp_path, error):
    def break_off():
        with AtomicFile(tmp_path / "x") as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        break_off()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_nothing_any_more_is_told_by_what_broke_first(tmp_path, monkeypatch):
    def gone(*args, **options):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def write():
        with AtomicFile(tmp_path / "x") as file:
            monkeypatch.setattr(atomic.os, "write", gone)
            monkeypatch.setattr(atomic.Path, "unlink", gone)
            file.write(bytes(100))

    with pytest.raises(WriteFailed, match=r"failed \(Input/output error\); check the disk"):
        write()
    monkeypatch.undo()
    (leftover,) = find_leftovers(tmp_path)
    assert remove_leftovers([leftover]) == [leftover]
    assert list(tmp_path.iterdir()) == []


def refusing(number):
    def refuse(*args, **options):
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.fixture(params=["renameat2", "link", "neither"])
def putting(request, monkeypatch):
    """The ways to give a file a name that is free."""
    if request.param != "renameat2":
        monkeypatch.setattr(placing, "_renamer", lambda: lambda temporary, target: errno.EINVAL)
    if request.param == "neither":
        monkeypatch.setattr(placing.os, "link", refusing(errno.EPERM))
    return request.param


def test_whatever_the_file_system_has(tmp_path, putting):
    with AtomicFile(tmp_path / "x") as file:
        file.write(b"new")
    assert file.notes == ([placing.RACY] if putting == "neither" else [])
    assert (tmp_path / "x").read_bytes() == b"new"
    with pytest.raises(TargetExists):
        put(tmp_path / "x", b"other")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == b"new"


def test_what_appears_in_the_last_moment_stays(tmp_path, putting, monkeypatch):
    """Made by somebody else once everything has been looked at."""
    if putting == "neither":
        pytest.skip("this is what the note warns of")
    monkeypatch.setattr(atomic, "check_target", lambda *args, **options: (tmp_path / "x").write_bytes(b"other"))
    with pytest.raises(TargetExists):
        put(tmp_path / "x")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == b"other"


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EPERM])
def test_network_folders_that_lack_calls(tmp_path, monkeypatch, putting, number):
    """No fsync, no modes, no locks."""
    monkeypatch.setattr(placing.os, "fsync", refusing(number))
    monkeypatch.setattr(placing.os, "fchmod", refusing(number))
    monkeypatch.setattr(locks.fcntl, "flock", refusing(number))
    for force in (False, True):
        with AtomicFile(tmp_path / "x", force=force) as file:
            file.write(b"new" * (1 + force))
        new = [placing.MODELESS, placing.UNSYNCED] + [placing.RACY] * (putting == "neither")
        assert file.notes == [*([placing.UNSYNCED] if force else new), placing.FOLDER_UNSYNCED]
        assert (tmp_path / "x").read_bytes() == b"new" * (1 + force)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_disk_that_fails_at_the_end_keeps_the_old_file(tmp_path, monkeypatch):
    (tmp_path / "x").write_bytes(b"old")
    monkeypatch.setattr(placing.os, "fsync", refusing(errno.EIO))
    with pytest.raises(WriteFailed, match="check the disk"):
        put(tmp_path / "x", force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, "is full; free some space"),
        (errno.EDQUOT, r"\(your quota\) is used up; delete some"),
        (errno.EFBIG, "a file of this size is not allowed"),
        (errno.EACCES, "you are not allowed to write into"),
        (errno.EPERM, "you are not allowed to write into"),
        (errno.EROFS, "is read-only; choose another folder"),
        (errno.ENAMETOOLONG, "too long; choose a shorter one"),
        (errno.EIO, r"failed \(Input/output error\); check the disk"),
    ],
)
@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
def test_what_the_system_refuses(tmp_path, monkeypatch, number, sentence, call):
    def refuse(*args, **options):
        raise OSError(number, os.strerror(number))

    if call == "replace":
        monkeypatch.setattr(atomic.Path, "replace", refuse)
    else:
        monkeypatch.setattr(atomic.os, call, refuse)
    if call == "fsync" and number in UNABLE:
        put(tmp_path / "x", force=True)
        assert (tmp_path / "x").read_bytes() == b"new"
        return
    with pytest.raises(WriteFailed, match=sentence):
        put(tmp_path / "x", force=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "error", "sentence"),
    [
        ("none/x", WriteFailed, "there is no folder"),
        (".", TargetExists, "is a folder"),
        ("file/x", WriteFailed, "Not a directory|no folder"),
        ("a\0b", WriteFailed, "no usable file name"),
        ("x" * 300, WriteFailed, "too long"),
        ("fifo", TargetExists, "no regular file"),
        ("link to fifo", TargetExists, "no regular file"),
        ("link to folder", TargetExists, "is a folder"),
        ("circle", WriteFailed, "a link that leads in a circle; choose another name"),
        ("link to nowhere", WriteFailed, "there is no folder .*none'"),
    ],
)
def test_targets_that_cannot_be(tmp_path, name, error, sentence):
    (tmp_path / "file").write_bytes(b"old")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link to fifo").symlink_to("fifo")
    (tmp_path / "link to folder").symlink_to(tmp_path)
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "link to nowhere").symlink_to("none/x")
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(error, match=sentence):
        put(tmp_path / name, force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_link_is_followed_once(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far/other").write_bytes(b"old")
    (tmp_path / "far/other").chmod(0o604)
    (tmp_path / "y").symlink_to("far/other")
    (tmp_path / "x").symlink_to("y")
    with pytest.raises(TargetExists):
        put(tmp_path / "x")
    with AtomicFile(tmp_path / "x", force=True) as file:
        assert file.temporary.parent == tmp_path / "far"  # beside the file: a rename stays on one file system
        file.write(b"new")
        (tmp_path / "y").unlink()
        (tmp_path / "y").symlink_to("/dev/null")
    assert (tmp_path / "x").is_symlink()
    assert (tmp_path / "far/other").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "far/other").stat().st_mode) == 0o604


def test_the_temporary_file_follows_no_link(tmp_path, monkeypatch):
    monkeypatch.setattr(part_names.os, "urandom", lambda count: bytes(count))
    (tmp_path / "precious").write_bytes(b"old")
    (tmp_path / f".x.{bytes(8).hex()}{part_names.SUFFIX}").symlink_to("precious")
    with pytest.raises(WriteFailed):
        put(tmp_path / "x")
    assert (tmp_path / "precious").read_bytes() == b"old"


def test_a_dangling_link_is_something_that_exists(tmp_path):
    (tmp_path / "x").symlink_to("nothing")
    with pytest.raises(TargetExists):
        put(tmp_path / "x")
    assert (tmp_path / "x").is_symlink()


def test_long_names_are_no_problem(tmp_path):
    put(tmp_path / ("ä" * 127))
    assert (tmp_path / ("ä" * 127)).read_bytes() == b"new"


def test_the_umask_without_proc(monkeypatch):
    monkeypatch.setattr(placing.Path, "read_text", lambda *args: "")
    mask = os.umask(0o037)
    try:
        assert placing.umask() == 0o037
        assert os.umask(0o037) == 0o037
    finally:
        os.umask(mask)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(WriteFailed, match="not allowed to write into"):
        put(tmp_path / "x")


@pytest.mark.parametrize("preadv", [True, False])
def test_what_was_flushed_can_be_read_back(tmp_path, monkeypatch, preadv):
    if not preadv:
        monkeypatch.delattr(os, "preadv")
    with AtomicFile(tmp_path / "x") as file:
        file.write(b"0123456789")
        file.flush()
        assert file.read_at(3, 4) == b"3456"
        file.write(b"more")
        file.flush()
        assert file.read_at(8, 6) == b"89more"
        with pytest.raises(WriteFailed, match="cannot be read back"):
            file.read_at(10, 5)
    assert (tmp_path / "x").read_bytes() == b"0123456789more"
