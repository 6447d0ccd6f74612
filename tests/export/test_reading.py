"""Blocks come in order and whole, while the next ones are read; nobody reads once they are left."""

import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from ckpt_viewer.errors import Unreadable
from ckpt_viewer.export.blocks import BLOCK
from ckpt_viewer.export.reading import Line, Reader, Span
from ckpt_viewer.sources import MemorySource

DATA = bytes(range(256)) * (5 * BLOCK // 256) + b"end"
TENSORS = [(0, BLOCK), (3, 100), (BLOCK, BLOCK - 5), (7, 0), (11, 1), (5, BLOCK // 2), (2 * BLOCK, BLOCK)]
"""Where, and how many bytes: large ones and small ones as a model has them."""


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
        assert b"".join(bytes(block) for block in reader.blocks(Span(source, 7, nbytes))) == DATA[7 : 7 + nbytes]


def test_a_block_is_good_until_the_one_after_the_next(reader):
    before = None
    source = Watched(readers=2)
    for number, block in enumerate(reader.blocks(Span(source, 0, 5 * BLOCK))):
        assert bytes(block[:256]) == DATA[:256]
        block[0:1] = bytes([number])
        if before is not None:
            assert before[0] == number - 1
        before = block


@pytest.mark.parametrize("readers", [1, 2])
def test_no_more_threads_read_than_the_source_allows(reader, readers):
    source = Watched(readers)
    with closing(reader.blocks(Span(source, 0, len(DATA)))) as blocks:
        assert sum(map(len, blocks)) == len(DATA)
    assert source.most == readers
    assert sorted(source.offsets) == list(range(0, len(DATA), BLOCK))


def test_an_error_comes_in_its_place(reader):
    blocks = reader.blocks(Span(Watched(bad=3 * BLOCK), 0, len(DATA)))
    got = [bytes(next(blocks)) for _ in range(3)]
    with pytest.raises(Unreadable, match="reading failed"):
        next(blocks)
    assert b"".join(got) == DATA[: 3 * BLOCK]


@pytest.mark.parametrize("readers", [1, 2])
def test_the_next_blocks_are_read_and_then_no_more(reader, readers):
    source = Watched(readers)
    with closing(reader.blocks(Span(source, 0, len(DATA)))) as blocks:
        next(blocks)
    assert source.active == 0
    assert sorted(source.offsets) == [BLOCK * number for number in range(1 + readers)]


@pytest.fixture
def line():
    with ThreadPoolExecutor(4) as pool:

        def make(spans, *, summed=False):
            return closing(Line(lambda: pool, ((span, summed) for span in spans), []))

        yield make


@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("readers", [1, 2, 3])
def test_ranges_follow_one_another(line, readers, summed):
    source = MemorySource(DATA)
    source.readers = readers
    with line([Span(source, *each) for each in TENSORS], summed=summed) as blocks:
        for offset, nbytes in TENSORS:
            block, crc = blocks.take()
            assert bytes(block) == DATA[offset : offset + nbytes]
            assert crc in (None, zlib.crc32(block))
            assert (crc is not None) == (summed and nbytes > BLOCK // 8)
        assert not blocks.look()


def test_the_next_large_range_is_begun_before_the_small_ones_before_it(line):
    large, small = Watched(readers=2), MemorySource(DATA)
    spans = [Span(large, 0, BLOCK), Span(small, 0, 9), Span(small, 9, 9), Span(large, BLOCK, BLOCK)]
    with line(spans) as blocks:  # the barrier of `Watched` lets none of the large ones be read alone
        assert [len(blocks.take()[0]) for _ in spans] == [BLOCK, 9, 9, BLOCK]


def test_numbers_are_turned_round_by_whoever_reads_them(line):
    source = MemorySource(DATA)
    with line([Span(source, 0, BLOCK, 4), Span(source, 4, 8, 2)], summed=True) as blocks:
        block, crc = blocks.take()
        assert bytes(block[:8]) == bytes([3, 2, 1, 0, 7, 6, 5, 4])
        assert crc == zlib.crc32(block)
        assert bytes(blocks.take()[0]) == bytes([5, 4, 7, 6, 9, 8, 11, 10])


def test_buffers_are_used_again():
    free, source = [], MemorySource(DATA)
    source.readers = 2
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            blocks = ((Span(source, BLOCK * number, BLOCK), False) for number in range(5))
            with closing(Line(lambda: pool, blocks, free)) as line:
                line.take()
            assert len(set(map(id, free))) == 3  # one that was taken, and two that were read ahead
