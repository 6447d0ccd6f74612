"""Machine code is made once, kept in a private folder, and never needed."""

from __future__ import annotations

import json
import os
import stat

import numpy as np
import pytest

import ckpt_viewer.worker
from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.stats import folder, kernels, preparing
from ckpt_viewer.stats.native import Native


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield tmp_path / "cache" / "ckpt-viewer"
    kernels.use(None)


class FakeWorker:
    """Answers as the worker process does; counts how often it is asked."""

    asked = 0

    def __init__(self, answer):
        self.answer = answer

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def request(self, method):
        assert method == "compile_kernels"
        FakeWorker.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def worker(monkeypatch):
    """Let the worker process answer what a test wants: ``worker(answer)``."""
    FakeWorker.asked = 0

    def answers(answer):
        monkeypatch.setattr(ckpt_viewer.worker, "Worker", lambda: FakeWorker(answer))

    return answers


def run():
    preparation = preparing.Preparation()
    preparation.start()
    preparation.start()
    return preparation.wait(60)


def test_it_is_made_once_and_then_loaded(worker, compiled, own_cache):
    worker(compiled)
    assert run()
    assert isinstance(kernels.current(), Native)
    kernels.use(None)
    assert run()
    assert FakeWorker.asked == 1
    (kept,) = (own_cache / "kernels").iterdir()
    assert set(json.loads(kept.read_bytes())) == {"object", "names", "digest"}
    assert [stat.S_IMODE(each.stat().st_mode) for each in (own_cache, own_cache / "kernels")] == [0o700, 0o700]


def test_a_damaged_file_is_made_again(worker, compiled, own_cache):
    worker(compiled)
    assert run()
    (kept,) = (own_cache / "kernels").iterdir()
    whole = json.loads(kept.read_bytes())
    for damaged in (b"", b"{", json.dumps({**whole, "object": whole["object"][:-4] + "zzzz"}).encode(), b"[]"):
        kept.write_bytes(damaged)
        assert preparing.load() is None
    assert run()
    assert FakeWorker.asked == 2
    assert preparing.load() is not None


@pytest.mark.parametrize(
    "answer", [CheckpointError("numba cannot be used"), {"object": "AAAA", "names": {}}, {"names": {}}, {"object": "?"}]
)
def test_without_it_numpy_counts(worker, answer):
    worker(answer)
    assert not run()
    assert kernels.current() is kernels.plain()


def test_little_is_not_worth_it(monkeypatch):
    started = []
    monkeypatch.setattr(preparing.the_preparation, "start", lambda: started.append(1))
    preparing.prepare(preparing.WORTH - 1)
    assert not started
    preparing.prepare(preparing.WORTH)
    assert started


def test_the_worker_process_compiles(own_cache):
    native = preparing.make()
    block, counters = np.ones(100, np.float32), np.zeros(kernels.FLOAT32_COUNTERS, np.uint64)
    assert native.float32(block, counters).finite == 100
    assert len(list((own_cache / "kernels").iterdir())) == 1


class TestFolder:
    """The cache belongs to the user alone, or is not used."""

    def test_others_are_shut_out(self, own_cache):
        own_cache.mkdir(parents=True)
        own_cache.chmod(0o777)
        assert folder.cache_folder("x") == own_cache / "x"
        assert stat.S_IMODE(own_cache.stat().st_mode) == 0o700

    def test_a_link_is_not_followed(self, own_cache, tmp_path):
        (tmp_path / "elsewhere").mkdir()
        own_cache.mkdir(parents=True)
        (own_cache / "x").symlink_to(tmp_path / "elsewhere")
        assert folder.cache_folder("x") is None

    def test_a_file_in_its_place(self, own_cache):
        own_cache.parent.mkdir()
        own_cache.write_text("")
        assert folder.cache_folder("x") is None

    @pytest.mark.skipif(not hasattr(os, "getuid"), reason="Windows has no owners of this kind")
    def test_a_folder_of_somebody_else(self, own_cache, monkeypatch):
        own_cache.mkdir(parents=True)
        monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
        assert folder.cache_folder("x") is None

    def test_relative_places_are_ignored(self, monkeypatch, tmp_path):
        monkeypatch.setenv("XDG_CACHE_HOME", "cache")
        monkeypatch.setenv("HOME", str(tmp_path))
        assert folder.cache_folder("x") == tmp_path / ".cache" / "ckpt-viewer" / "x"

    def test_what_was_used_longest_ago_goes(self, tmp_path):
        for age, name in enumerate("abcd"):
            (tmp_path / name).write_bytes(bytes(100))
            os.utime(tmp_path / name, (1000 - age, 1000 - age))
        folder.shrink(tmp_path, 250, 10)
        assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "b"]
        folder.shrink(tmp_path, 250, 1)
        assert [each.name for each in tmp_path.iterdir()] == ["a"]

    def test_a_file_is_written_whole_or_not_at_all(self, tmp_path):
        def parts():
            yield b"one"
            raise OSError

        assert not folder.store(tmp_path / "x", parts())
        assert list(tmp_path.iterdir()) == []
        assert folder.store(tmp_path / "x", [b"one", b"two"])
        assert (tmp_path / "x").read_bytes() == b"onetwo"
