"""Where bytes come from: read by position, checked, never mapped."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckpt_viewer import sources
from ckpt_viewer.errors import CheckpointError, SourceChanged, Truncated, Unreadable
from ckpt_viewer.sources import FileSource, MemorySource, SliceSource, same_file

DATA = bytes(range(256)) * 400


@pytest.fixture(params=["file", "memory", "slice of a file", "slice of a slice"])
def source(request, tmp_path):
    path = tmp_path / "data.bin"
    path.write_bytes(b"before" + DATA + b"after" if "slice" in request.param else DATA)
    if request.param == "memory":
        yield MemorySource(DATA)
        return
    whole = FileSource(path)
    if request.param == "slice of a file":
        yield SliceSource(whole, 6, len(DATA))
    elif request.param == "slice of a slice":
        yield SliceSource(SliceSource(whole, 3, len(DATA) + 6), 3, len(DATA), "inner")
    else:
        yield whole
    whole.close()


class TestEverySource:
    def test_it_knows_its_size_and_name(self, source):
        assert source.size == len(DATA)
        assert source.name

    @pytest.mark.parametrize(
        ("offset", "size"), [(0, 0), (0, 1), (5, 10), (4095, 2), (0, 70_000), (102_399, 1), (102_400, 0)]
    )
    def test_reads_give_what_is_there(self, source, offset, size):
        assert source.read_at(offset, size) == DATA[offset : offset + size]
        buffer = bytearray(b"\xaa" * (size + 2))
        source.read_into(offset, memoryview(buffer)[1 : size + 1])
        assert buffer == b"\xaa" + DATA[offset : offset + size] + b"\xaa"

    @pytest.mark.parametrize(
        ("offset", "size"),
        [(102_400, 1), (102_399, 2), (0, 102_401), (1 << 60, 1), (0, 1 << 40), (-1, 1), (5, -1), (-5, 5)],
    )
    def test_reads_beyond_the_end_are_cut_off(self, source, offset, size):
        with pytest.raises(Truncated) as refused:
            source.read_at(offset, size)
        assert refused.value.wanted == size
        assert "missing" in str(refused.value)

    def test_filling_beyond_the_end_is_cut_off(self, source):
        for offset, size in ((102_399, 2), (0, 102_401), (102_400, 5000)):
            with pytest.raises(Truncated):
                source.read_into(offset, memoryview(bytearray(size)))

    def test_small_reads_in_any_order(self, source):
        @given(st.integers(0, len(DATA)), st.integers(0, 5000))
        def check(offset, size):
            size = min(size, len(DATA) - offset)
            assert source.read_at(offset, size) == DATA[offset : offset + size]

        check()


def test_a_missing_file(tmp_path):
    with pytest.raises(Unreadable, match="no such file; check the path"):
        FileSource(tmp_path / "absent.pth")


@pytest.mark.parametrize("name", ["a\0b", ""])
def test_a_name_that_is_none(name):
    with pytest.raises(Unreadable, match="check the path"):
        FileSource(name)


def test_a_folder(tmp_path):
    with pytest.raises(Unreadable, match="a folder"):
        FileSource(tmp_path)


def test_a_fifo_is_refused_without_waiting(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with pytest.raises(Unreadable, match="no regular file"):
        FileSource(path)


@pytest.mark.parametrize("name", ["/dev/null", "/dev/zero"])
def test_a_device_is_refused(name):
    with pytest.raises(Unreadable, match="no regular file"):
        FileSource(name)


@contextmanager
def as_nobody():
    """Root may read everything, so it steps down for a moment."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_file_that_may_not_be_read(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(b"x")
    path.chmod(0)
    with as_nobody(), pytest.raises(Unreadable, match="not allowed"):
        FileSource(path)


def test_a_refusal_of_the_system_is_a_sentence(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(DATA)
    for error, words in (
        (PermissionError(13, "no"), "not allowed"),
        (OSError(5, "Input/output error"), "Input/output"),
    ):
        monkeypatch.setattr(sources.os, "open", _raising(error))
        with pytest.raises(Unreadable, match=words):
            FileSource(path)
        monkeypatch.undo()


def test_a_device_error_while_reading_is_a_sentence(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(DATA)
    source = FileSource(path)
    for function in ("pread", "preadv"):
        monkeypatch.setattr(sources.os, function, _raising(OSError(5, "Input/output error")))
    for size in (10, 50_000):
        with pytest.raises(Unreadable, match="reading failed at byte 7"):
            source.read_at(7, size)
    with pytest.raises(Unreadable, match="reading failed"):
        source.read_into(0, memoryview(bytearray(50_000)))
    source.close()


def _raising(error):
    def fail(*arguments, **options):
        raise error

    return fail


def test_short_reads_are_continued(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(DATA)
    source = FileSource(path)
    real, counts = os.preadv, []

    def short(fd, buffers, offset):
        counts.append(offset)
        return real(fd, [buffers[0][:1000]], offset)

    monkeypatch.setattr(sources.os, "preadv", short)
    monkeypatch.setattr(sources.os, "pread", lambda fd, size, offset: b"")
    assert source.read_at(0, 20_000) == DATA[:20_000]
    assert len(counts) == 20
    source.close()


@pytest.mark.parametrize("change", ["grow", "shrink", "rewrite", "empty"])
@pytest.mark.parametrize("size", [10, 20_000], ids=["small", "large"])
def test_a_file_that_changes_is_noticed(tmp_path, change, size):
    path = tmp_path / "x"
    path.write_bytes(DATA)
    os.utime(path, ns=(1, 1))
    source = FileSource(path)
    assert source.read_at(0, 10) == DATA[:10]
    if change == "grow":
        path.write_bytes(DATA + b"more")
    elif change == "rewrite":
        path.write_bytes(DATA[::-1])
    else:
        os.truncate(path, 0 if change == "empty" else 5000)
    with pytest.raises(SourceChanged, match="reload"):
        source.read_at(80_000, size)
    with pytest.raises(SourceChanged):
        source.read_into(80_000, memoryview(bytearray(size)))
    source.close()


def test_a_file_that_is_replaced_or_removed_is_still_the_one_that_was_opened(tmp_path):
    path, other = tmp_path / "x", tmp_path / "y"
    path.write_bytes(DATA)
    other.write_bytes(b"other" * 30_000)
    source = FileSource(path)
    other.replace(path)
    assert source.read_at(50_000, 20_000) == DATA[50_000:70_000]
    path.unlink()
    assert source.read_at(0, 20_000) == DATA[:20_000]
    source.close()


def test_a_closed_file_cannot_be_read(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(DATA)
    source = FileSource(path)
    source.read_at(0, 10)
    source.close()
    source.close()
    for size in (10, 20_000):
        with pytest.raises(Unreadable):
            source.read_at(0, size)


def test_reads_of_many_threads_do_not_disturb_each_other(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(DATA)
    source, wrong = FileSource(path), []

    def read(first):
        for offset in range(first, 100_000, 997):
            for size in (7, 300, 6000):
                wanted = DATA[offset : offset + size]
                if len(wanted) == size and source.read_at(offset, size) != wanted:
                    wrong.append(offset)

    threads = [threading.Thread(target=read, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    source.close()
    assert wrong == []


def test_links_lead_to_the_same_file(tmp_path):
    path, link, other = tmp_path / "x", tmp_path / "link", tmp_path / "y"
    path.write_bytes(b"x")
    other.write_bytes(b"x")
    link.symlink_to(path)
    assert same_file(path, link)
    assert not same_file(path, other)
    assert not same_file(path, tmp_path / "absent")
    assert not same_file(path, "a\0b")


def test_every_error_is_a_checkpoint_error():
    assert issubclass(SourceChanged, CheckpointError)
    assert issubclass(Truncated, CheckpointError)
