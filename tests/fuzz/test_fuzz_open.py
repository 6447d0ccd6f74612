"""The fuzzer's seeds by themselves, so that its script cannot rot while nobody runs it."""

from __future__ import annotations

import pytest
from fuzz_open import MOST_BYTES, WAYS, one_input, seeds, words

from ckpt_viewer.errors import CheckpointError


@pytest.mark.parametrize("way", range(len(WAYS)), ids=[way.__name__ for way in WAYS])
def test_every_seed_is_opened_or_refused(way):
    found = [seed for seed in seeds() if seed[0] == way]
    assert found
    for seed in found:
        assert len(seed) <= MOST_BYTES
        one_input(seed)


def test_a_bug_would_be_told(monkeypatch):
    """An error that is no CheckpointError has to reach the fuzzer."""
    import opening

    def broken(data):
        raise RuntimeError("a bug")

    monkeypatch.setattr(opening, "open_bytes", broken)
    with pytest.raises(RuntimeError):
        one_input(b"\0x")
    monkeypatch.setattr(opening, "open_bytes", lambda data: (_ for _ in ()).throw(CheckpointError("a sentence")))
    one_input(b"\0x")


def test_the_dictionary_has_what_random_bytes_would_not_find():
    assert {b"PK\1\2", b"ctorch._utils\n_rebuild_qtensor\n"} <= set(words())
