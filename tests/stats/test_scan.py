"""The whole file in one pass: the numbers of `summarize_tensor`, each byte once, stopped and paused at will."""

from __future__ import annotations

import threading
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from made_tensors import CountingSource, made_from, made_tensor

import ckpt_viewer
from ckpt_viewer.core.tensor import Quantization
from ckpt_viewer.errors import Cancelled, CheckpointError, SourceChanged
from ckpt_viewer.stats import crew, scan_plan
from ckpt_viewer.stats.profile import Profile
from ckpt_viewer.stats.scan import Scan
from ckpt_viewer.stats.summary import summarize_tensor, summary_of

pytestmark = pytest.mark.usefixtures("each_way")
RNG = np.random.default_rng(4)


@pytest.fixture(params=[1, 3])
def threads(request, monkeypatch):
    monkeypatch.setattr(crew, "cores", lambda: request.param)
    return request.param


def numbers(summary):
    """Everything but the histogram."""
    return {name: getattr(summary, name) for name in summary.__dataclass_fields__ if name != "histogram"}


def many_kinds():
    generator = torch.Generator().manual_seed(7)
    base = torch.randn(700, 900, generator=generator)
    flat = torch.randn(400_000, generator=generator)
    return {
        "base": base, "tied": base, "transposed": base.t(), "columns": base[:, ::3], "part": base[10:20],
        "flat": flat, "first": flat[:1000].view(10, 100), "second": flat[1000:300_000],
        "half": base.half(), "brain": base.bfloat16(), "double": base.double() * 1.1,
        "eight": base.to(torch.float8_e5m2),
        "long": torch.randint(-(1 << 62), 1 << 62, (5000,), generator=generator), "int": torch.arange(300_000).int(),
        "short": torch.arange(-300, 300).short(), "byte": torch.arange(256).byte(), "flag": base > 0,
        "complex": torch.complex(base[0], base[1]), "conj": torch.complex(base[0], base[1]).conj(),
        "expanded": torch.arange(5.0).expand(1000, 5), "empty": torch.empty(0, 3), "scalar": torch.tensor(3.5),
        "meta": torch.empty(3, device="meta"), "sparse": torch.eye(40).to_sparse(),
        "bad": torch.tensor([float("nan"), float("inf"), -float("inf"), 1.0, 0.0, -0.0]),
        "quantised": torch.quantize_per_tensor(base, 0.1, 3, torch.qint8),
        "channels": torch.quantize_per_channel(base, torch.rand(700) + 0.1, torch.zeros(700), 0, torch.qint8),
        "small": [torch.randn(n, generator=generator) for n in range(1, 60)],
    }  # fmt: skip


@pytest.fixture(scope="module", params=[True, False], ids=["zip", "legacy"])
def path(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "kinds.pth"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # quantised tensors are deprecated, and found in files
        content = many_kinds()
    if not request.param:
        del content["eight"]
    torch.save(content, path, _use_new_zipfile_serialization=request.param)
    return path


def tensors_of(checkpoint):
    return [tensor for _, tensor in checkpoint.outline.tensors()]


def test_the_numbers_are_those_of_each_tensor_alone(path, threads, monkeypatch):
    monkeypatch.setattr(scan_plan, "WINDOW", 1 << 16)
    with ckpt_viewer.open_checkpoint(path) as checkpoint:
        tensors = tensors_of(checkpoint)
        scan = Scan(tensors, cached=False)
        scan.run()
        assert scan.done == len(scan.plan.items)
        for tensor in tensors:
            found = scan.outcome(tensor)
            if isinstance(found, CheckpointError):
                with pytest.raises(CheckpointError, match=str(found)):
                    summarize_tensor(tensor)
                continue
            expected = summarize_tensor(tensor)
            assert numbers(summary_of(found)) == numbers(expected), tensor
            assert found.cells.size == expected.finite
            assert summarize_tensor(tensor, known=found) == expected


def shared(count=300_000):
    """A source with tensors that overlap in every way, and how many bytes it has."""
    values = RNG.normal(size=count).astype(np.float32)
    source = CountingSource(values.tobytes())

    def view(shape, stride=None, offset=0, **more):
        return made_tensor(b"", "float32", shape, stride, offset, source=source, **more)

    return source, view


class Ordered(CountingSource):
    """Also remembers where it was read."""

    def __init__(self, data):
        super().__init__(data)
        self.places = []

    def read_at(self, offset, size):
        self.places.append((offset, size))
        return super().read_at(offset, size)


@pytest.mark.parametrize("odd", [False, True], ids=["ranges", "strides"])
def test_each_byte_is_read_once_in_file_order(odd, monkeypatch):
    monkeypatch.setattr(crew, "cores", lambda: 1)
    monkeypatch.setattr(scan_plan, "WINDOW", 1 << 16)
    source = Ordered(RNG.normal(size=300_000).astype(np.float32).tobytes())

    def view(shape, stride=None, offset=0):
        return made_tensor(b"", "float32", shape, stride, offset, source=source)

    tensors = [view((300_000,)), view((1000,), offset=299_000), view((100, 50), offset=7), view((300_000,))]
    if odd:
        tensors += [view((500, 100), (600, 3)), view((50, 2), (2, 1000), 33)]
    scan = Scan(tensors, cached=False)
    scan.run()
    expected = [summarize_tensor(tensor) for tensor in tensors]
    scanned = source.places[
        : next(n for n in range(1, 99) if sum(size for _, size in source.places[:n]) == source.size)
    ]
    starts = [offset for offset, _ in scanned]
    assert starts == sorted(starts)
    assert all(a + n == b for (a, n), (b, _) in pairwise(scanned))
    assert scan.plan.nbytes == source.size
    assert [numbers(summary_of(scan.outcome(tensor))) for tensor in tensors] == [numbers(each) for each in expected]


def test_tensors_with_equal_elements_are_one_item():
    _, view = shared()
    one, other = view((100, 30)), view((30, 100), (1, 30))
    scan = Scan([one, other, one], cached=False)
    scan.run()
    assert len(scan.plan.items) == 1
    assert scan.outcome(one) is scan.outcome(other)


def test_quantised_in_four_bytes_and_big_endian_and_packed():
    whole = RNG.integers(-1000, 1000, 5000).astype(np.int32)
    tensors = [
        made_from(whole, "qint32", quantization=Quantization("per_tensor_affine", 0.5, 3)),
        made_tensor(whole.byteswap().tobytes(), "int32", (5000,), big_endian=True),
        made_tensor(bytes(range(100)), "quint4x2", (200,), quantization=Quantization("per_tensor_affine", 1.0, 0)),
    ]
    scan = Scan(tensors, cached=False)
    scan.run()
    for tensor in tensors:
        assert numbers(summary_of(scan.outcome(tensor))) == numbers(summarize_tensor(tensor))


class Watcher:
    """Counts steps, and does something at one of them."""

    def __init__(self, at=10**9, act=None):
        self.steps, self.at, self.act = [], at, act

    def step(self, done, total):
        self.steps.append((done, total))
        if len(self.steps) == self.at:
            self.act()


def cancel():
    raise Cancelled


def test_progress_and_cancelling(threads):
    tensor = made_from(RNG.normal(size=4_000_000).astype(np.float32))
    watcher = Watcher()
    Scan([tensor], cached=False).run(watcher)
    counted = [step for step in watcher.steps if step[1]]
    assert counted == sorted(counted)
    assert counted[-1] == (16_000_000, 16_000_000)
    source = tensor.storage.extent().source
    source.read = 0
    scan = Scan([tensor], cached=False)
    with pytest.raises(Cancelled):
        scan.run(Watcher(3, cancel))
    if threads == 1:
        assert source.read <= 3 << 20
        assert scan.outcome(tensor) is None
    assert not [each for each in threading.enumerate() if each.name == "numbers"]


def test_pausing(threads):
    tensor = made_from(RNG.normal(size=4_000_000).astype(np.float32))
    scan = Scan([tensor], cached=False)
    scan.gate.pause()
    seen, held = [], []

    class Pausing:
        def step(self, done, total):
            seen.append(done)
            if len(seen) == 8:
                held.append(done)
                scan.gate.resume()

    scan.run(Pausing())
    assert held[0] < seen[-1] == tensor.nbytes, "each thread stops after what it had begun"
    assert scan.outcome(tensor).numel == 4_000_000


def test_what_cannot_be_read_is_said_and_the_rest_is_counted(threads):
    class Holed(CountingSource):
        def read_into(self, offset, buffer):
            if offset <= 5000 < offset + len(buffer):
                raise CheckpointError("a hole")
            super().read_into(offset, buffer)

    source = Holed(bytes(80_000))
    tensors = [made_tensor(b"", "float32", (500,), offset=500 * k, source=source) for k in range(40)]
    scan = Scan(tensors, cached=False)
    scan.run()
    outcomes = [scan.outcome(tensor) for tensor in tensors]
    assert [number for number, each in enumerate(outcomes) if not isinstance(each, Profile)] == [2]
    assert str(outcomes[2]) == "a hole"
    assert outcomes[3].census.zeros == 500


def test_a_file_that_changes_ends_it():
    class Changed(CountingSource):
        def read_into(self, offset, buffer):
            raise SourceChanged("changed")

    tensor = made_tensor(b"", "float32", (500,), source=Changed(bytes(2000)))
    with pytest.raises(SourceChanged):
        Scan([tensor], cached=False).run()


def test_memory_stays_small():
    import tracemalloc

    source = CountingSource(bytes(40_000_000))
    tensors = [made_tensor(b"", "float32", (1_000_000,), offset=1_000_000 * k, source=source) for k in range(10)]
    tracemalloc.start()
    Scan(tensors, cached=False).run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6
