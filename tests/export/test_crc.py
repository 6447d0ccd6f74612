"""CRC-32 of what two threads have summed is that of the whole."""

import os
import zlib

import pytest

from ckpt_viewer.export.crc import joined


@pytest.mark.parametrize("first", [0, 1, 7, 4096])
@pytest.mark.parametrize("second", [0, 1, 3, 64, 100_001, 2 << 20])
def test_joined(first, second):
    one, other = os.urandom(first), os.urandom(second)
    assert joined(zlib.crc32(one), zlib.crc32(other), second) == zlib.crc32(one + other)


def test_lengths_beyond_32_bits():
    long, behind, rest = 3 << 33, os.urandom(1000), os.urandom(77)
    zeros = 0x1234ABCD  # of something that long: what it is does not matter for what follows
    one = joined(joined(zeros, zlib.crc32(behind), 1000), zlib.crc32(rest), 77)
    assert one == joined(zeros, zlib.crc32(behind + rest), 1077)
    assert joined(joined(7, zeros, long), zlib.crc32(rest), 77) == joined(
        7, joined(zeros, zlib.crc32(rest), 77), long + 77
    )
