"""Whether torch.load(weights_only=True) would take a file: our verdict against torch's."""

from __future__ import annotations

import argparse
import collections
import datetime
import pathlib

import numpy
import pytest
import torch
from builders import save

from ckpt_viewer.formats import open_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore")


def optimizer_state() -> dict:
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer.state_dict()


def recursive() -> list:
    made: list = []
    made.append((made,))
    return made


VALUES = {
    "state_dict": lambda: torch.nn.Linear(2, 2).state_dict(),
    "optimizer": optimizer_state,
    "parameter": lambda: torch.nn.Parameter(torch.rand(2)),
    "whole module": lambda: torch.nn.Linear(2, 2),
    "namespace": lambda: argparse.Namespace(lr=1),
    "numpy array": lambda: numpy.arange(3),
    "numpy scalar": lambda: numpy.float64(1.5),
    "counter": lambda: collections.Counter("aab"),
    "defaultdict": lambda: collections.defaultdict(list, a=[1]),
    "deque": lambda: collections.deque([1]),
    "set": lambda: {1, 2},
    "frozenset": lambda: frozenset({1}),
    "bytes": lambda: b"\x00\xff",
    "bytearray": lambda: bytearray(b"x"),
    "complex": lambda: 1 + 2j,
    "path": lambda: pathlib.PurePosixPath("a/b"),
    "date": lambda: datetime.datetime(2024, 1, 2),
    "size": lambda: torch.Size([1]),
    "dtype": lambda: torch.bfloat16,
    "device": lambda: torch.device("cpu"),
    "layout": lambda: torch.strided,
    "big int": lambda: 1 << 2000,
    "huge int": lambda: 1 << 20_000,
    "range": lambda: range(3),
    "slice": lambda: slice(1),
    "quantised": lambda: torch.quantize_per_tensor(torch.rand(2), 0.1, 0, torch.qint8),
    "long list": lambda: list(range(9999)),
    "sparse": lambda: torch.eye(2).to_sparse(),
    "conj": lambda: torch.tensor([1j]).conj(),
    "float8": lambda: torch.zeros(2).to(torch.float8_e5m2),
    "type": lambda: torch.FloatStorage,
    "function": lambda: torch.nn.functional.relu,
    "meta": lambda: torch.zeros(2, device="meta"),
    "generator": lambda: torch.Generator(),
    "none": lambda: None,
    "negative": lambda: -1,
    "recursive": recursive,
}


def refusal(path) -> str:
    """What torch raises; "" if it loads."""
    try:
        torch.load(path, weights_only=True)
    except Exception as error:
        return str(error) or type(error).__name__
    return ""


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("title", VALUES)
def test_the_verdict_is_torchs(tmp_path, title, protocol):
    path = save({"x": VALUES[title]()}, tmp_path / "m.pth", protocol=protocol)
    theirs = refusal(path)
    with open_checkpoint(path) as checkpoint:
        ours = checkpoint.contents.weights_only
    assert bool(ours) == bool(theirs), (ours, theirs[:300])


@pytest.mark.parametrize("title", ["state_dict", "whole module", "namespace", "bytes"])
def test_the_verdict_on_a_legacy_stream(tmp_path, title):
    path = save({"x": VALUES[title]()}, tmp_path / "m.pth", legacy=True)
    with open_checkpoint(path) as checkpoint:
        assert bool(checkpoint.contents.weights_only) == bool(refusal(path))


def test_the_reason_names_what_is_in_the_way(tmp_path):
    path = save({"args": argparse.Namespace(lr=1)}, tmp_path / "m.pth")
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.contents.weights_only == "it names argparse.Namespace"
