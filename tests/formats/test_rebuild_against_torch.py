"""Every rebuild function of FORMATS 3.4, called by a pickle and made by torch.load: we see the same tensor."""

from __future__ import annotations

import collections
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch._utils import (
    _rebuild_device_tensor_from_cpu_tensor,
    _rebuild_device_tensor_from_numpy,
    _rebuild_meta_tensor_no_storage,
    _rebuild_nested_tensor,
    _rebuild_parameter,
    _rebuild_parameter_with_state,
    _rebuild_qtensor,
    _rebuild_sparse_tensor,
    _rebuild_tensor,
    _rebuild_tensor_v2,
    _rebuild_tensor_v3,
)
from torch.testing._internal.two_tensor import TwoTensor

from ckpt_viewer.core.absent import missing_values
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.decode import to_numpy
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.formats import open_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore:.*(ComplexHalf|quantiz|nested tensor|Sparse|sparse|TypedStorage).*")
BOTH = pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])


class Call:
    """Pickled as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> Any:
        return self.function, self.arguments


class Tagged(torch.Tensor):
    """A subclass without storage tricks."""


def storage(count: int = 12) -> Any:
    return torch.arange(float(count)).storage()


def hooks() -> Any:
    return collections.OrderedDict()


def rebuilt() -> dict[str, Call]:
    """Calls as all writers made them, by name."""
    z = torch.tensor([1 + 2j, 3 - 4j, 5j])
    q8 = torch.quantize_per_tensor(torch.rand(3, 4), 0.1, 3, torch.quint8)
    coo = torch.tensor([[0.0, 1.0], [2.0, 0.0]]).to_sparse()
    csr = torch.tensor([[0.0, 1.0], [2.0, 0.0]]).to_sparse_csr()
    parts = (csr.crow_indices(), csr.col_indices(), csr.values())
    sizes = torch.tensor([[2, 2], [2, 4]])
    strides = torch.tensor([[2, 1], [4, 1]])
    geometry = (0, (3, 4), (4, 1))
    base = torch.arange(12.0)
    square, size = base.reshape(3, 4).numpy(), torch.Size([3, 4])
    by_rows, by_columns = torch.rand(4, 6).to_sparse_bsr((2, 3)), torch.rand(4, 6).to_sparse_bsc((2, 3))
    pairs = coo._indices(), coo._values(), coo.size()
    from_numpy = _rebuild_device_tensor_from_numpy
    return {
        "tensor": Call(_rebuild_tensor, storage(), 2, (2, 3), (1, 2)),
        "v2": Call(_rebuild_tensor_v2, storage(), *geometry, True, hooks()),
        "v2, torch.Size": Call(_rebuild_tensor_v2, storage(), 0, size, torch.Size([4, 1]), False, hooks()),
        "v2, conjugated": Call(_rebuild_tensor_v2, z.storage(), 0, (3,), (1,), False, hooks(), {"conj": True}),
        "v2, negated": Call(_rebuild_tensor_v2, storage(), *geometry, False, hooks(), {"neg": True}),
        "v3": Call(_rebuild_tensor_v3, base.untyped_storage(), *geometry, False, hooks(), torch.int32),
        "v3, conjugated": Call(
            _rebuild_tensor_v3, z.untyped_storage(), 0, (3,), (1,), False, hooks(), torch.complex64, {"conj": True}
        ),
        "parameter": Call(_rebuild_parameter, base, False, hooks()),
        "parameter with a dict": Call(_rebuild_parameter_with_state, base, True, hooks(), {"lr_scale": 0.5}),
        "parameter with slots": Call(_rebuild_parameter_with_state, base, True, hooks(), ({"a": 1}, {"b": 2})),
        "Parameter": Call(torch.nn.Parameter, base, False),
        "per tensor": Call(
            _rebuild_qtensor, q8.storage(), *geometry, (torch.per_tensor_affine, 0.1, 3), False, hooks()
        ),
        "per channel": Call(
            _rebuild_qtensor, q8.storage(), *geometry,
            (torch.per_channel_affine, torch.rand(3).double(), torch.tensor([1, 2, 3]), 0), False, hooks(),
        ),
        "COO": Call(_rebuild_sparse_tensor, torch.sparse_coo, pairs),
        "COO, coalesced": Call(_rebuild_sparse_tensor, torch.sparse_coo, (*pairs, True)),
        "CSR": Call(_rebuild_sparse_tensor, torch.sparse_csr, (*parts, csr.size())),
        "CSC": Call(_rebuild_sparse_tensor, torch.sparse_csc, (*parts, csr.size())),
        "BSR": Call(_rebuild_sparse_tensor, torch.sparse_bsr, blocks(by_rows, "crow", "col")),
        "BSC": Call(_rebuild_sparse_tensor, torch.sparse_bsc, blocks(by_columns, "ccol", "row")),
        "nested": Call(_rebuild_nested_tensor, base, sizes, strides, torch.tensor([0, 4])),
        "meta": Call(_rebuild_meta_tensor_no_storage, torch.bfloat16, (2, 3), (1, 2), True),
        "numpy": Call(from_numpy, square, torch.float32, "cpu", True),
        "numpy, columns first": Call(from_numpy, numpy.asfortranarray(square), torch.float32, "cpu", False),
        "numpy, bfloat16": Call(from_numpy, base.bfloat16().float().numpy(), torch.bfloat16, "cpu", False),
        "numpy, integers": Call(from_numpy, numpy.arange(4), torch.int64, "cpu", False),
        "numpy, bool": Call(from_numpy, numpy.array([True, False]), torch.bool, "cpu", False),
        "a CPU tensor": Call(_rebuild_device_tensor_from_cpu_tensor, base, torch.float32, "cpu", False),
        "a subclass": Call(torch._tensor._rebuild_from_type_v2, _rebuild_tensor_v2, Tagged,
                           (storage(), *geometry, False, hooks()), {"tag": "x"}),
        "a subclass of old": Call(torch._tensor._rebuild_from_type, _rebuild_tensor_v2, Tagged,
                                  (storage(), *geometry, False, hooks()), {"tag": "x"}),
    }  # fmt: skip


def blocks(tensor: torch.Tensor, compressed: str, plain: str) -> tuple[Any, ...]:
    names = (f"{compressed}_indices", f"{plain}_indices", "values")
    return (*(getattr(tensor, name)() for name in names), tensor.size())


def parts_of(tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """The component tensors of what torch loaded, as we name them."""
    if tensor.is_nested and tensor.layout == torch.strided:
        yield "buffer", torch.cat([each.reshape(-1) for each in tensor.unbind()])
    elif tensor.is_nested:
        yield from (("values", tensor.values()), ("offsets", tensor.offsets()))
    elif tensor.layout == torch.sparse_coo:
        yield from (("indices", tensor._indices()), ("values", tensor._values()))
    elif tensor.layout != torch.strided:
        rows = tensor.layout in (torch.sparse_csr, torch.sparse_bsr)
        for name in ("crow_indices", "col_indices") if rows else ("ccol_indices", "row_indices"):
            yield name, getattr(tensor, name)()
        yield "values", tensor.values()


def check(ours: TensorSpec, theirs: torch.Tensor) -> None:
    assert ours.dtype == str(theirs.dtype).removeprefix("torch.")
    assert ours.requires_grad == theirs.requires_grad
    parts = dict(parts_of(theirs))
    if theirs.is_nested:
        assert (ours.shape, ours.numel) == (None, theirs.numel())
    else:
        assert ours.shape == tuple(theirs.shape)
    if not parts:
        assert (ours.stride, ours.offset) == (theirs.stride(), theirs.storage_offset())
        check_values(ours, theirs)
    for name, part in parts.items():
        check_values(ours.extra.parts[name], part)
    assert ours.layout == str(theirs.layout).removeprefix("torch.") or "buffer" in parts


def check_values(ours: TensorSpec, theirs: torch.Tensor) -> None:
    if theirs.device.type == "meta":
        assert "meta tensor" in missing_values(ours)
        return
    theirs = theirs.detach()
    theirs = theirs.dequantize() if theirs.is_quantized else theirs.resolve_conj().resolve_neg()
    found = to_numpy(ours, copy=True)
    wide = numpy.complex128 if theirs.is_complex() else numpy.float64
    expected = theirs.to(torch.complex128 if theirs.is_complex() else torch.float64).numpy()
    assert numpy.array_equal(found.astype(wide), expected)


def open_and_load(value: Any, path: Path, legacy: bool = False) -> tuple[Checkpoint, Any]:
    """Open what torch wrote, and load it with torch; a legacy stream that torch cannot read back it reads as a zip."""
    torch.save({"x": value}, path, _use_new_zipfile_serialization=not legacy)
    try:
        loaded = torch.load(path, weights_only=False)["x"]
    except (RuntimeError, AttributeError):  # storages of legacy streams are filled too late for some, or not known
        assert legacy
        torch.save({"x": value}, path.with_name("as zip.pth"))
        loaded = torch.load(path.with_name("as zip.pth"), weights_only=False)["x"]
    return open_checkpoint(path), loaded


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    TITLES = list(rebuilt())


@BOTH
@pytest.mark.parametrize("title", TITLES)
def test_every_rebuild_function(tmp_path, title, legacy):
    torch.manual_seed(1)
    checkpoint, loaded = open_and_load(rebuilt()[title], tmp_path / "m.pth", legacy)
    with checkpoint:
        node = checkpoint["/x"]
        assert node.kind == "tensor"
        check(node.tensor, loaded)
        assert not checkpoint.findings
        for name in ("lr_scale", "tag", "a", "b"):
            if hasattr(loaded, name):
                assert checkpoint[f"/x/{name}"].value == getattr(loaded, name)
        if type(loaded) is Tagged:
            assert node.type.endswith("Tagged")


@BOTH
@pytest.mark.parametrize("dtype", [torch.quint4x2, torch.quint2x4, torch.quint8])
@pytest.mark.parametrize("shape", [(3, 8), (3, 5), (4, 1)])
def test_packed_numbers_with_scales_for_each_row(tmp_path, dtype, shape, legacy):
    torch.manual_seed(2)
    rows = shape[0]
    tensor = torch.quantize_per_channel(torch.randn(shape), torch.rand(rows) + 0.1, torch.rand(rows), 0, dtype)
    checkpoint, loaded = open_and_load(tensor, tmp_path / "m.pth", legacy)
    with checkpoint:
        check(checkpoint["/x"].tensor, loaded)


SPARSE = {
    "CSR": lambda x: x.to_sparse_csr(), "CSC": lambda x: x.to_sparse_csc(), "COO": lambda x: x.to_sparse(),
    "BSR": lambda x: x.to_sparse_bsr((2, 3)), "BSC": lambda x: x.to_sparse_bsc((2, 3)),
    "hybrid": lambda x: x.to_sparse(1), "batched": lambda x: (x + 1).reshape(2, 2, 6).to_sparse_csr(),
    "twice": lambda x: torch.sparse_coo_tensor([[0, 0], [1, 1]], [1.0, 2.0], (2, 3)),
    "empty": lambda x: torch.sparse_coo_tensor(size=(2, 3)), "parameter": lambda x: torch.nn.Parameter(x.to_sparse()),
}  # fmt: skip


@BOTH
@pytest.mark.parametrize("title", SPARSE)
def test_sparse_tensors_of_every_layout(tmp_path, title, legacy):
    checkpoint, loaded = open_and_load(SPARSE[title](torch.arange(24.0).reshape(4, 6)), tmp_path / "m.pth", legacy)
    with checkpoint:
        check(checkpoint["/x"].tensor, loaded)


@BOTH
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_nested_tensors(tmp_path, layout, legacy):
    tensor = torch.nested.nested_tensor([torch.rand(2, 3), torch.rand(4, 3)], layout=layout)
    checkpoint, loaded = open_and_load(tensor, tmp_path / "m.pth", legacy)
    with checkpoint:
        check(checkpoint["/x"].tensor, loaded)


@BOTH
@pytest.mark.parametrize("wrap", [lambda x: x, torch.nn.Parameter], ids=["tensor", "parameter"])
def test_wrapper_subclasses_show_the_tensors_inside(tmp_path, wrap, legacy):
    checkpoint, loaded = open_and_load(wrap(TwoTensor(torch.rand(3), torch.rand(3))), tmp_path / "m.pth", legacy)
    with checkpoint:
        ours = checkpoint["/x"].tensor
        assert (ours.shape, ours.type) == ((3,), "torch.testing._internal.two_tensor.TwoTensor")
        check_values(ours.extra.parts["a"], loaded.a)
        check_values(ours.extra.parts["b"], loaded.b)
        assert "look at its a and b" in missing_values(ours)


def test_a_dtensor_shows_its_own_shard(tmp_path):
    from torch import distributed
    from torch.distributed.tensor import Shard, distribute_tensor, init_device_mesh

    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        tensor = distribute_tensor(torch.arange(6.0).reshape(3, 2), init_device_mesh("cpu", (1,)), [Shard(0)])
        torch.save({"x": tensor, "p": torch.nn.Parameter(tensor)}, tmp_path / "m.pth")
    finally:
        distributed.destroy_process_group()
    with open_checkpoint(tmp_path / "m.pth") as checkpoint:
        for name in "xp":
            ours = checkpoint[f"/{name}"].tensor
            assert (ours.shape, ours.type) == ((3, 2), "torch.distributed.tensor.DTensor")
            assert to_numpy(ours.extra.parts["local_tensor"], copy=True).tolist() == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize(
    ("array", "dtype"),
    [(numpy.arange(4, dtype=numpy.float64), torch.float32), (numpy.arange(4, dtype=">f4"), torch.float32),
     (numpy.arange(4), torch.bfloat16)],
)  # fmt: skip
def test_an_array_that_torch_would_convert_is_kept_as_a_call(tmp_path, array, dtype):
    torch.save({"x": Call(_rebuild_device_tensor_from_numpy, array, dtype, "xla:0", False)}, tmp_path / "m.pth")
    with open_checkpoint(tmp_path / "m.pth") as checkpoint:
        assert checkpoint["/x"].kind == "object"
        assert [node.kind for node in checkpoint["/x"].children][:2] == ["ndarray", "dtype"]


@pytest.mark.parametrize("make", [torch.nn.UninitializedParameter, torch.nn.UninitializedBuffer])
def test_lazy_parameters_and_buffers_have_no_shape(tmp_path, make):
    checkpoint, _ = open_and_load(make(), tmp_path / "m.pth")
    with checkpoint:
        assert (checkpoint["/x"].kind, checkpoint["/x"].shape) == ("tensor", None)
        assert checkpoint["/x"].type == f"torch.nn.parameter.{make.__name__}"
