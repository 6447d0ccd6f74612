"""Whether torch.load(weights_only=True) would take a file: our verdict against torch's."""

from __future__ import annotations

import argparse
import collections
import datetime
import decimal
import enum
import fractions
import pathlib
import pickle
import random
import types
import uuid

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


class Colour(enum.IntEnum):
    RED = 1


class Words(str):
    __slots__ = ()


Point = collections.namedtuple("Point", "x y")


def ordered() -> collections.OrderedDict:
    made = collections.OrderedDict(a=torch.ones(2))
    made._metadata = {"version": 1}
    return made


def marked(tensor: torch.Tensor) -> torch.Tensor:
    tensor.tag = "x"
    return tensor


def scheduled(name: str, *arguments: object) -> dict:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    return getattr(torch.optim.lr_scheduler, name)(optimizer, *arguments).state_dict()


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
    "huge int": lambda: 1 << 9000,
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
    "ordered": ordered,
    "ordered by int": lambda: collections.OrderedDict([(1, 2)]),
    "namedtuple": lambda: Point(1, 2),
    "enum": lambda: Colour.RED,
    "str subclass": lambda: Words("a"),
    "simple namespace": lambda: types.SimpleNamespace(a=1),
    "user dict": lambda: collections.UserDict(a=1),
    "chain map": lambda: collections.ChainMap({}),
    "defaultdict of dicts": lambda: collections.defaultdict(dict, {0: {"a": 1}}),
    "defaultdict of none": lambda: collections.defaultdict(None, a=1),
    "empty counter": collections.Counter,
    "empty set": set,
    "long set": lambda: set(range(5000)),
    "frozensets": lambda: frozenset({frozenset({1})}),
    "empty bytes": lambda: b"",
    "long bytes": lambda: b"x" * 70_000,
    "empty bytearray": bytearray,
    "long str": lambda: "x" * 70_000,
    "unicode": lambda: "\u00e9\u2028\n\\",
    "surrogate": lambda: "\ud800",
    "ints": lambda: [255, 256, 65_535, 65_536, (1 << 31) - 1, 1 << 31, -1 << 31, (-1 << 31) - 1, 1 << 63],
    "floats": lambda: (float("inf"), float("nan"), -0.0),
    "tuples": lambda: ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
    "shared tuple": lambda: [(1, 2)] * 2,
    "other keys": lambda: {None: 1, True: 2, 1.5: 3, (1, 2): 4},
    "ellipsis": lambda: ...,
    "decimal": lambda: decimal.Decimal("1.5"),
    "fraction": lambda: fractions.Fraction(1, 2),
    "timedelta": lambda: datetime.timedelta(1),
    "uuid": lambda: uuid.UUID(int=5),
    "random state": random.getstate,
    "numpy random state": lambda: numpy.random.get_state(),
    "torch random state": torch.get_rng_state,
    "numpy dtype": lambda: numpy.dtype("float32"),
    "numpy bool": lambda: numpy.bool_(True),
    "numpy date": lambda: numpy.datetime64("2024-01-01"),
    "numpy strings": lambda: numpy.array(["a"]),
    "numpy objects": lambda: numpy.array([None], dtype=object),
    "numpy record": lambda: numpy.zeros(2, dtype=[("a", "i4")]),
    "numpy columns": lambda: numpy.asfortranarray(numpy.ones((2, 3))),
    "int class": lambda: int,
    "tensor class": lambda: torch.Tensor,
    "module class": lambda: torch.nn.Linear,
    "dict class": lambda: collections.OrderedDict,
    "builtin": lambda: print,
    "qscheme": lambda: torch.per_tensor_affine,
    "cuda device": lambda: torch.device("cuda:1"),
    "returned": lambda: torch.max(torch.ones(2, 2), 0),
    "csr": lambda: torch.eye(2).to_sparse_csr(),
    "csc": lambda: torch.eye(2).to_sparse_csc(),
    "quantised by channel": lambda: torch.quantize_per_channel(
        torch.rand(2, 2), torch.tensor([0.1, 0.2]), torch.tensor([0, 0]), 0, torch.qint8
    ),
    "marked tensor": lambda: marked(torch.ones(2)),
    "marked parameter": lambda: marked(torch.nn.Parameter(torch.ones(2))),
    "buffer": lambda: torch.nn.Buffer(torch.ones(2)),
    "parameters": lambda: torch.nn.ParameterDict({"a": torch.ones(1)}),
    "typed storage": lambda: torch.FloatStorage([1.0]),
    "untyped storage": lambda: torch.ones(2).untyped_storage(),
    "uint16": lambda: torch.zeros(2, dtype=torch.uint16),
    "complex half": lambda: torch.zeros(2, dtype=torch.complex32),
    "empty": lambda: torch.empty(0, 3),
    "scalar": lambda: torch.tensor(1),
    "view": lambda: torch.arange(10)[2:5],
    "transposed": lambda: torch.ones(2, 3).t(),
    "requires_grad": lambda: torch.ones(2, requires_grad=True),
    "optimizer object": lambda: torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1),
    "StepLR": lambda: scheduled("StepLR", 2),
    "MultiStepLR": lambda: scheduled("MultiStepLR", [2, 3]),
    "OneCycleLR": lambda: scheduled("OneCycleLR", 0.1, 5),
}


def refusal(path) -> str:
    """What torch raises; "" if it loads."""
    try:
        torch.load(path, weights_only=True)
    except Exception as error:
        return str(error) or type(error).__name__
    return ""


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("title", VALUES)
def test_the_verdict_is_torchs(tmp_path, title, legacy, protocol):
    path = save({"x": VALUES[title]()}, tmp_path / "m.pth", protocol=protocol, legacy=legacy)
    theirs = refusal(path)
    with open_checkpoint(path) as checkpoint:
        ours = checkpoint.contents.weights_only
    assert bool(ours) == bool(theirs), (ours, theirs[:300])


def test_torch_load_takes_no_plain_pickle(tmp_path):
    path = tmp_path / "m.pkl"
    path.write_bytes(pickle.dumps({"a": 1}, protocol=2))
    assert refusal(path)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.contents.weights_only == "it is a plain pickle, for pickle.load"


def test_the_reason_names_what_is_in_the_way(tmp_path):
    path = save({"args": argparse.Namespace(lr=1)}, tmp_path / "m.pth")
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.contents.weights_only == "it names argparse.Namespace"
