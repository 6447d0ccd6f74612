"""Taking entries out gives the same whether tensors are passed in one step or opcode by opcode."""

from __future__ import annotations

import tracemalloc
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_shortcut import data_pickle, files, legacy_pickle

from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.unpickle import cut as module
from ckpt_viewer.unpickle.cut import cut
from ckpt_viewer.unpickle.origins import trace

torch = pytest.importorskip("torch")

KEYS = {
    "resume": {"optimizer"}, "resume on two devices": {"model"}, "many": {"layer.0.weight", "layer.70.weight"},
    "legacy": {f"layer.{n}.{n % 3}.weight" for n in range(0, 150, 7)}, "legacy resume": {"optimizer"},
    "shapes": {"plain", "five", "nine"}, "user strings": {"storage"}, "protocol 4": {"optimizer"},
}  # fmt: skip


def outcome(data, keys, *, shortcut):
    with pytest.MonkeyPatch.context() as patched:
        if not shortcut:
            patched.setattr(module, "pass_tensor", lambda *_: 0)
        try:
            return cut(data, keys)
        except CheckpointError as error:
            return str(error)


@cache
def shared() -> bytes:
    """Tensors that the entries which go define, and others refer to."""
    gone = {f"m.{n}": torch.full((n % 4 + 1,), float(n)) for n in range(40)}
    return data_pickle({"gone": gone, "kept": {name: gone[name] for name in ("m.3", "m.7", "m.39")}, "last": gone})


@pytest.mark.parametrize("title", KEYS)
def test_real_pickles(title):
    data = files()[title]
    left = outcome(data, KEYS[title], shortcut=True)
    assert isinstance(left, bytes)
    assert left == outcome(data, KEYS[title], shortcut=False)


def test_what_others_refer_to():
    left = outcome(shared(), {"gone"}, shortcut=True)
    assert isinstance(left, bytes)
    assert left == outcome(shared(), {"gone"}, shortcut=False)


@pytest.mark.filterwarnings("ignore:invalid escape:DeprecationWarning")  # of pickletools, about a damaged text
@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(["many", "legacy resume", "shared"]))
def test_pickles_with_wrong_bytes(drawn, title):
    """Most of what a byte may be is another number somewhere."""
    data = bytearray(shared() if title == "shared" else files()[title])
    for _ in range(drawn.draw(st.integers(1, 3))):
        data[drawn.draw(st.integers(0, len(data) - 1))] = drawn.draw(st.integers(0, 255))
    keys = {"shared": {"gone"}, "many": {"layer.70.weight"}}.get(title, {"optimizer"})
    assert outcome(bytes(data), keys, shortcut=True) == outcome(bytes(data), keys, shortcut=False)


@pytest.mark.parametrize("saved", [data_pickle, legacy_pickle])
def test_a_tensor_takes_little(saved):
    """Five hundred bytes in objects; 100,000 of them are to be told in 20 MB."""
    count = 8000
    data = saved({"gone": {f"m.{n}": torch.zeros(2, 3) for n in range(count)}, "kept": 1})
    data = data[: trace(data).end]
    tracemalloc.start()
    try:
        cut(data, {"gone"})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200 * count
