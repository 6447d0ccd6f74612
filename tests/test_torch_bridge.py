"""What is handed to torch, held against what torch.load makes of the same file."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_tensors import made_from, made_tensor

import ckpt_viewer
from ckpt_viewer.core.tensor import TensorExtra, TensorSpec
from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.torch_bridge import devices, load_error, to_torch

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:.*(quantiz|ComplexHalf|Sparse|nested|prototype)"),
]


def generator():
    return torch.Generator().manual_seed(5)


def dense():
    x = torch.randn(6, 10, generator=generator())
    yield "plain", x
    yield "transposed", x.t()
    yield "window", x[1:5, 2:9:3]
    yield "expanded", x[:, :1].expand(6, 4)
    yield "column", torch.randn(100, 100)[:, 3]
    yield "scalar", torch.tensor(3.5)
    yield "empty", torch.empty(0, 3)
    yield "grad", torch.nn.Parameter(x)
    yield "conj", torch.tensor([1 + 2j, 3j]).conj()
    yield "neg", torch.tensor([1 + 2j, 3j]).conj().imag
    yield "half-complex", torch.tensor([1 + 2j]).to(torch.complex32)
    for dtype in ("bfloat16", "float16", "float64", "float8_e4m3fn", "float8_e5m2"):
        yield dtype, x.to(getattr(torch, dtype))
    for dtype in ("int8", "uint8", "int16", "int64", "bool", "uint16"):
        yield dtype, (x * 3).to(torch.int8).to(getattr(torch, dtype))


DENSE = ["plain", "transposed", "window", "expanded", "column", "scalar", "empty", "grad", "conj", "neg",
         "half-complex", "bfloat16", "float16", "float64", "float8_e4m3fn", "float8_e5m2", "int8", "uint8", "int16",
         "int64", "bool", "uint16"]  # fmt: skip


@pytest.mark.parametrize("name", DENSE)
def test_dense_tensors_are_as_torch_load_makes_them(tmp_path, name):
    given = dict(dense())[name]
    path = tmp_path / "x.pth"
    torch.save({"x": given}, path)
    theirs = torch.load(path)["x"]
    with ckpt_viewer.open_checkpoint(path) as checkpoint:
        ours = checkpoint["/x"].torch()
    assert (ours.dtype, ours.shape, ours.is_conj(), ours.is_neg()) == (
        theirs.dtype, theirs.shape, theirs.is_conj(), theirs.is_neg()
    )  # fmt: skip
    assert ours.requires_grad == theirs.requires_grad
    if name != "column":  # its memory would be a hundred times its elements
        assert ours.stride() == theirs.stride()
    assert bytes(
        ours.detach().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8).tolist()
    ) == bytes(theirs.detach().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8).tolist())


def quantised():
    x = torch.randn(4, 6, generator=generator())
    yield torch.quantize_per_tensor(x, 0.05, 3, torch.quint8)
    yield torch.quantize_per_tensor(x, 0.05, 0, torch.qint32)
    yield torch.quantize_per_channel(x, torch.rand(4) * 0.1, torch.arange(4), 0, torch.qint8)
    yield torch.quantize_per_channel(x[:, :5], torch.rand(4) * 0.1, torch.rand(4), 0, torch.quint4x2)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("number", range(4))
def test_quantised_tensors(tmp_path, number):
    given = list(quantised())[number]
    path = tmp_path / "q.pth"
    torch.save({"q": given}, path)
    with ckpt_viewer.open_checkpoint(path) as checkpoint:
        ours, values = checkpoint["/q"].torch(), checkpoint["/q"].numpy()
    assert ours.qscheme() == given.qscheme()
    assert torch.equal(ours.dequantize(), given.dequantize())
    assert np.array_equal(values, given.dequantize().numpy())


def test_sparse_tensors(tmp_path):
    x = torch.eye(4)
    for layout in (torch.sparse_coo, torch.sparse_csr, torch.sparse_csc):
        path = tmp_path / "s.pth"
        torch.save({"s": x.to_sparse(layout=layout)}, path)
        with ckpt_viewer.open_checkpoint(path) as checkpoint:
            ours = checkpoint["/s"].torch()
        assert ours.layout == layout
        assert torch.equal(ours.to_dense(), x)


def test_lying_sparse_indices_are_refused():
    parts = {"indices": made_from(np.array([[0, 99]])), "values": made_from(np.array([1.0, 2.0]))}
    sparse = TensorSpec(None, "float64", (9,), None, extra=TensorExtra(layout="sparse_coo", parts=parts))
    with pytest.raises(CheckpointError, match=r"cannot make this tensor: .*size"):
        to_torch(sparse, "cpu")


@pytest.mark.filterwarnings("ignore")
def test_nested_tensors(tmp_path):
    members = [torch.randn(2, 3), torch.randn(4, 3)]
    path = tmp_path / "n.pth"
    for layout in (torch.strided, torch.jagged):
        torch.save({"n": torch.nested.nested_tensor(members, layout=layout)}, path)
        with ckpt_viewer.open_checkpoint(path) as checkpoint:
            ours = checkpoint["/n"].torch()
        assert all(torch.equal(a, b) for a, b in zip(ours.unbind(), members, strict=True))


def test_lying_offsets_of_a_jagged_tensor_are_refused():
    parts = {"values": made_from(np.zeros((4, 2), np.float32)), "offsets": made_from(np.array([0, 9]))}
    jagged = TensorSpec(None, "float32", None, None, extra=TensorExtra(layout="jagged", parts=parts))
    with pytest.raises(CheckpointError, match="lead out of its values"):
        to_torch(jagged, "cpu")


def test_on_meta_nothing_is_read():
    tensor = made_tensor(np.zeros(6, np.float32).tobytes(), "float32", (2, 3))
    ours = to_torch(tensor, "meta")
    assert (ours.device.type, ours.shape) == ("meta", (2, 3))
    assert tensor.storage.extent().source.read == 0
    shell = TensorSpec(None, "float32", (2,), (1,), extra=TensorExtra(device="meta"))
    assert to_torch(shell, "cpu").device.type == "meta"


def test_a_device_that_is_not_here_gets_torchs_own_words(tmp_path):
    absent = next(f"cuda:{n}" for n in range(99) if n >= torch.cuda.device_count())
    path = tmp_path / "x.pth"
    torch.save({"x": torch.zeros(2)}, path)
    with pytest.raises(RuntimeError) as theirs:
        torch.load(path, map_location=absent)
    assert load_error(absent) == " ".join(str(theirs.value).split())
    with ckpt_viewer.open_checkpoint(path, map_location=absent) as checkpoint, pytest.raises(CheckpointError) as ours:
        checkpoint["/x"].torch()
    assert str(ours.value) == load_error(absent)
    assert load_error("cpu") == ""
    assert "don't know how to restore" in load_error("CPU")
    assert load_error("npu:0") != ""


def test_the_devices_here():
    first, *others = devices()
    assert first.tag == "cpu"
    assert len(others) >= torch.cuda.device_count()


def test_tensors_that_cannot_be_made_get_a_sentence():
    for tensor in (TensorSpec(None, "", None, None), made_tensor(b"a", "float99", (1,))):
        for device in ("cpu", "meta"):
            with pytest.raises(CheckpointError):
                to_torch(tensor, device)
