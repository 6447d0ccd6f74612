"""Handing bytes from file to file, on the file systems that do it and on those that do not."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ckpt_viewer.sources import handover

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux hands bytes over")

DATA = os.urandom(3 * handover.BLOCK + 100)
SHARING = os.environ.get("CKPT_VIEWER_SHARING", "")
"""A folder on a file system whose files can share blocks (btrfs, XFS)."""


@pytest.fixture
def files(tmp_path):
    """Descriptors of a source and of a target in which one block has been written."""
    folder = Path(SHARING) if SHARING else tmp_path
    source, target = folder / "handed", folder / "over"
    source.write_bytes(DATA)
    fds = os.open(source, os.O_RDONLY), os.open(target, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    os.write(fds[1], bytes(handover.BLOCK))
    yield fds
    for fd in fds:
        os.close(fd)
    source.unlink()
    target.unlink()


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Let the file system of the files look like one whose server copies."""

    def say(kind, fd):
        device = os.fstat(fd).st_dev
        mounts = tmp_path / "mountinfo"
        mounts.write_text(
            "21 1 0:1 / /proc rw,nosuid shared:12 - proc proc rw\n"
            f"36 35 {os.major(device)}:{os.minor(device)} / /mnt rw master:1 - {kind} host:/home rw,vers=4.2\n"
        )
        monkeypatch.setattr(handover, "_MOUNTS", mounts)
        handover._type_of.cache_clear()

    yield say
    handover._type_of.cache_clear()


def written(fd):
    return os.pread(fd, 1 << 20, handover.BLOCK)


def test_a_server_copies(files, served, monkeypatch):
    monkeypatch.setattr(handover, "_shared", lambda *of: 0)
    served("nfs4", files[1])
    assert handover.hand_over(files[0], 7, files[1], 9000) == 9000
    assert os.lseek(files[1], 0, os.SEEK_CUR) == handover.BLOCK + 9000
    assert written(files[1]) == DATA[7:9007]


@pytest.mark.parametrize("kind", ["ext4", "nfs4"])
def test_elsewhere_nothing_is_asked_of_the_kernel(files, served, monkeypatch, kind):
    monkeypatch.setattr(handover, "_shared", lambda *of: 0)
    served(kind, files[1])
    if kind == "nfs4":  # but the source lies elsewhere
        memory = os.memfd_create("source")
        os.write(memory, DATA)
        assert handover.hand_over(memory, 0, files[1], 9000) == 0
        os.close(memory)
    else:
        assert handover.hand_over(files[0], 0, files[1], 9000) == 0
    assert written(files[1]) == b""


@pytest.mark.parametrize("number", handover.NO_ROOM)
def test_no_room_is_told_and_anything_else_is_not(files, served, monkeypatch, number):
    def refuse(*of):
        raise OSError(refuse.number, "no")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    monkeypatch.setattr(handover, "_shared", lambda *of: 0)
    served("cifs", files[1])
    refuse.number = number
    with pytest.raises(OSError, match="no"):
        handover.hand_over(files[0], 0, files[1], 9000)
    refuse.number = errno.EOPNOTSUPP
    assert handover.hand_over(files[0], 0, files[1], 9000) == 0


def test_blocks_are_asked_for_where_both_files_have_them(files, monkeypatch):
    """As the kernel is told; where it refuses, as most file systems do, nothing has happened."""
    asked = []
    monkeypatch.setattr(
        "fcntl.ioctl", lambda fd, request, raw: asked.append((fd, request, handover._CLONE.unpack(raw)))
    )
    block = handover.BLOCK
    for offset, nbytes in [(1, 2 * block), (64, 2 * block), (0, block - 1)]:
        assert handover.hand_over(files[0], offset, files[1], nbytes) == 0
    assert handover.hand_over(files[0], block, files[1], 2 * block + 99) == 2 * block
    assert asked == [(files[1], 0x4020940D, (files[0], block, 2 * block, block))]
    assert os.lseek(files[1], 0, os.SEEK_CUR) == 3 * block


@pytest.mark.skipif(not SHARING, reason="set CKPT_VIEWER_SHARING to a folder on btrfs or XFS")
def test_files_share_blocks(files):
    block = handover.BLOCK
    assert handover.hand_over(files[0], block, files[1], 2 * block + 99) == 2 * block
    assert written(files[1]) == DATA[block : 3 * block]
    os.fsync(files[1])
    extents = subprocess.run(
        ["filefrag", "-v", f"/proc/self/fd/{files[1]}"], pass_fds=files, capture_output=True, text=True, check=True
    )
    assert "shared" in extents.stdout
