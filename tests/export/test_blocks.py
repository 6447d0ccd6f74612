"""Blocks come in order and whole, while the next ones are read; nobody reads once they are left."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from ckpt_viewer.errors import Unreadable
from ckpt_viewer.export.blocks import BLOCK, Reader
from ckpt_viewer.sources import MemorySource

DATA = bytes(range(256)) * (5 * BLOCK // 256) + b"end"


class Watched(MemorySource):
    """Notes where is read; may fail, or wait until somebody lets it go on."""

    def __init__(self, readers=1, bad=None):
        super().__init__(DATA)
        self.readers, self.bad = readers, bad
        self.offsets, self.active, self.most = [], 0, 0
        self.lock, self.together = threading.Lock(), threading.Barrier(2) if readers > 1 else None

    def read_into(self, offset, buffer):
        with self.lock:
            self.offsets.append(offset)
            self.active += 1
            self.most = max(self.most, self.active)
        if self.together is not None and len(self.offsets) <= 2:
            self.together.wait(30)  # broken, and so an error, unless a second thread reads meanwhile
        super().read_into(offset, buffer)
        with self.lock:
            self.active -= 1
        if self.bad is not None and offset >= self.bad:
            raise Unreadable("reading failed; check the disk")


@pytest.fixture
def reader():
    with ThreadPoolExecutor(4) as pool:
        yield Reader(lambda: pool)


@pytest.mark.parametrize("nbytes", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 4 * BLOCK, len(DATA) - 7])
@pytest.mark.parametrize("readers", [1, 2, 3])
def test_all_bytes_in_order(reader, readers, nbytes):
    source = MemorySource(DATA)
    source.readers = readers
    for _ in range(2):  # again, over the same buffers
        assert b"".join(bytes(block) for block in reader.blocks(source, 7, nbytes)) == DATA[7 : 7 + nbytes]


def test_a_block_is_good_until_the_one_after_the_next(reader):
    before = None
    source = Watched(readers=2)
    for number, block in enumerate(reader.blocks(source, 0, 5 * BLOCK)):
        assert bytes(block[:256]) == DATA[:256]
        block[0:1] = bytes([number])
        if before is not None:
            assert before[0] == number - 1
        before = block


@pytest.mark.parametrize("readers", [1, 2])
def test_no_more_threads_read_than_the_source_allows(reader, readers):
    source = Watched(readers)
    with closing(reader.blocks(source, 0, len(DATA))) as blocks:
        assert sum(map(len, blocks)) == len(DATA)
    assert source.most == readers
    assert sorted(source.offsets) == list(range(0, len(DATA), BLOCK))


def test_an_error_comes_in_its_place(reader):
    blocks = reader.blocks(Watched(bad=3 * BLOCK), 0, len(DATA))
    got = [bytes(next(blocks)) for _ in range(3)]
    with pytest.raises(Unreadable, match="reading failed"):
        next(blocks)
    assert b"".join(got) == DATA[: 3 * BLOCK]


@pytest.mark.parametrize("readers", [1, 2])
def test_the_next_blocks_are_read_and_then_no_more(reader, readers):
    source = Watched(readers)
    with closing(reader.blocks(source, 0, len(DATA))) as blocks:
        next(blocks)
    assert source.active == 0
    assert sorted(source.offsets) == [BLOCK * number for number in range(1 + readers)]
