"""Bytes that a file system hands from one file to another by itself, so that none of them passes through a program.

Two files can share blocks (btrfs, XFS and others), and a server can copy without sending anything. Elsewhere the kernel
is not asked: it copies more slowly than one thread that reads beside one that writes (ext4, 1.3 GB: 1.05 s against
0.74). Source: ioctl_ficlonerange(2), copy_file_range(2), proc_pid_mountinfo(5).
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from functools import lru_cache
from pathlib import Path

BLOCK = 1 << 12
"""Bytes of a block that can be shared: what is to be must start at a multiple in both files."""

NO_ROOM = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
"""What is wrong with the file that is written, not with the one that is read."""

_FICLONERANGE = 0x4020940D
_CLONE = struct.Struct("=qQQQ")
_COPYING = frozenset({"nfs", "nfs4", "cifs", "smb3", "ceph"})
"""Types of file systems whose servers copy."""
_MOUNTS = Path("/proc/self/mountinfo")


def hand_over(source: int, offset: int, target: int, nbytes: int) -> int:
    """Append bytes of one open file to another where they need not be moved; return how many, 0 where they have to be.

    Args:
        source, target: descriptors; `target` stands where it is written next.

    Raises:
        OSError: there is no room in the other file.
    """
    for way in (_shared, _served) if sys.platform == "linux" else ():
        try:
            count = way(source, offset, target, nbytes)
        except OSError as error:
            if error.errno in NO_ROOM:
                raise
            continue  # other file systems, old kernels; what else is wrong shows when the bytes are read
        if count:
            return count
    return 0


def _shared(source: int, offset: int, target: int, nbytes: int) -> int:
    position, whole = os.lseek(target, 0, os.SEEK_CUR), nbytes // BLOCK * BLOCK
    if offset % BLOCK or position % BLOCK or not whole:
        return 0
    from fcntl import ioctl

    ioctl(target, _FICLONERANGE, _CLONE.pack(source, offset, whole, position))
    return os.lseek(target, whole, os.SEEK_CUR) - position


def _served(source: int, offset: int, target: int, nbytes: int) -> int:
    device = os.fstat(target).st_dev
    if os.fstat(source).st_dev != device or _type_of(device) not in _COPYING:
        return 0
    return os.copy_file_range(source, target, nbytes, offset)


@lru_cache(maxsize=16)
def _type_of(device: int) -> str:
    """Return the type of a mounted file system, ``""`` where that is not known."""
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in _MOUNTS.read_text(errors="replace").splitlines():
        fields, _, behind = line.partition(" - ")
        if fields.split()[2] == number:
            return behind.split()[0]
    return ""
