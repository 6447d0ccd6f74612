"""Files written by torch.save: we see what torch.load gives, to the bit."""

from __future__ import annotations

import collections
import warnings

import pytest
import torch
from builders import save
from torch_oracle import compare, load, numbers

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.formats import open_checkpoint

BOTH = pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
pytestmark = pytest.mark.filterwarnings("ignore:.*(ComplexHalf|quantiz|nested tensor|Sparse|TypedStorage).*")

NUMBERS = ("float", "complex", "int", "uint", "bool")
PLAIN_DTYPES = [
    name
    for name, row in DTYPES.items()
    if row.kind in NUMBERS and (row.name == "bool" or name[-1:].isdigit() or name.startswith("float8"))
]


def views() -> dict[str, torch.Tensor]:
    base = torch.arange(120, dtype=torch.float32)
    block = torch.arange(24.0).reshape(2, 3, 4)
    return {
        "whole": base, "middle": base[10:50], "strided": base[3:90:7], "turned": base.view(10, 12).T,
        "permuted": block.permute(2, 0, 1), "narrowed": block.narrow(1, 1, 2), "column": block[..., 2],
        "expanded": torch.tensor([3.0]).expand(4, 5), "one by one": block[1:, 1:2, 2:3], "scalar": block[1, 2, 3],
        "fresh scalar": torch.tensor(2.5), "empty": torch.zeros(0), "empty middle": torch.zeros(3, 0, 2),
        "empty view": base[7:7], "channels last": torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        "diagonal": base.view(10, 12).diagonal(), "seven": torch.rand(1, 2, 1, 3, 1, 2, 1),
    }  # fmt: skip


def graph() -> dict[str, object]:
    """Sharing of all sorts, and keys of all sorts."""
    tied = torch.nn.Parameter(torch.rand(3, 3))
    held = torch.rand(2, 2, requires_grad=True)
    return {
        "a": tied, "b": tied, "c": tied.detach(), "grad": held, "half": held.detach()[:1],
        0: torch.rand(1), "0": torch.rand(2), True: "lost", 1.5: torch.rand(3), None: torch.rand(1),
        (1, "x"): torch.rand(1),
        b"bytes": torch.rand(1),
        "list": [torch.rand(1), (torch.rand(2), {"deep": torch.rand(1)})],
        "ordered": collections.OrderedDict(z=torch.rand(1), a=torch.rand(1)), "": torch.rand(1),
        "with/slash~": torch.rand(1),
        "frozen": torch.nn.Parameter(torch.rand(2), requires_grad=False),
    }  # fmt: skip


@BOTH
@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("make", [views, graph])
def test_views_and_graphs_in_every_protocol(tmp_path, make, protocol, legacy):
    torch.manual_seed(protocol)
    given = make()
    path = save(given, tmp_path / "m.pth", legacy=legacy, protocol=protocol)
    # torch writes protocol 0 and cannot read it: its persistent ids are text
    loaded = load(path)[0] if protocol else given
    assert compare(path, loaded) == (17 if make is views else 19)


@BOTH
@pytest.mark.parametrize("tag", ["cuda:0", "cuda:1", "mps", "hpu:0", "xpu", "meta", "a plug-in's"])
def test_device_tags(tmp_path, tag, legacy):
    path = save(views(), tmp_path / "m.pth", legacy=legacy, tag=tag)
    loaded, tags = load(path)
    compare(path, loaded)
    with open_checkpoint(path) as checkpoint:
        assert {node.location for node in checkpoint.root.children} == set(tags) == {tag}


@BOTH
def test_every_storage_has_its_own_tag(tmp_path, legacy):
    tags = [f"cuda:{n % 3}" for n in range(40)]
    given = {str(n): torch.rand(2) for n in range(20)}
    path = save(given, tmp_path / "m.pth", legacy=legacy, tag=lambda number: tags[number])
    loaded, found = load(path)
    compare(path, loaded)
    with open_checkpoint(path) as checkpoint:
        assert [node.location for node in checkpoint.root.children] == tags[:20]
    assert sorted(found) == sorted(tags[:20])


@BOTH
@pytest.mark.parametrize("name", PLAIN_DTYPES)
def test_every_dtype(tmp_path, name, legacy):
    dtype = getattr(torch, name)
    raw = torch.arange(6 * 16, dtype=torch.uint8)
    held = (raw % 2 if dtype is torch.bool else raw).view(dtype).reshape(6, -1)
    given = {"t": held, "part": held[1:3, ::2]}
    path = save(given, tmp_path / "m.pth", legacy=legacy)
    try:
        loaded, _ = load(path)
    except AttributeError:  # torch writes the new dtypes into legacy streams and cannot read them back
        assert legacy
        loaded = given
    assert compare(path, loaded) == 2


def test_the_dtypes_are_many():
    assert len(PLAIN_DTYPES) >= 21


@pytest.mark.parametrize("name", ["float4_e2m1fn_x2", "bits8", "bits16"])
def test_opaque_dtypes(tmp_path, name):
    given = torch.arange(12, dtype=torch.uint8).view(getattr(torch, name))
    path = save({"t": given}, tmp_path / "m.pth")
    with open_checkpoint(path) as checkpoint:
        node = checkpoint["/t"]
        assert (node.dtype, node.shape, node.stride) == (name, tuple(given.shape), given.stride())
        assert node.nbytes == 12


@BOTH
def test_conjugated_and_negated_views(tmp_path, legacy):
    z = torch.tensor([1 + 2j, 3 - 4j])
    given = {"z": z, "conj": z.conj(), "neg": z.clone().conj().imag, "both": torch._neg_view(z.conj())}
    path = save(given, tmp_path / "m.pth", legacy=legacy)
    loaded, _ = load(path)
    assert compare(path, loaded) == 4
    with open_checkpoint(path) as checkpoint:
        for name, tensor in given.items():
            assert numbers(checkpoint, f"/{name}") == tensor.resolve_conj().resolve_neg().tolist()


@BOTH
def test_quantised_tensors(tmp_path, legacy):
    channels = torch.rand(3) + 0.1, torch.tensor([1, 2, 3])
    given = {
        "tensor": torch.quantize_per_tensor(torch.rand(4, 5), 0.02, 7, torch.quint8),
        "int32": torch.quantize_per_tensor(torch.rand(2), 0.5, 0, torch.qint32),
        "channels": torch.quantize_per_channel(torch.rand(4, 3), *channels, 1, torch.qint8),
    }
    path = save(given, tmp_path / "m.pth", legacy=legacy)
    with open_checkpoint(path) as checkpoint:
        for name, tensor in given.items():
            node = checkpoint[f"/{name}"]
            assert (f"torch.{node.dtype}", node.shape) == (str(tensor.dtype), tuple(tensor.shape))
            assert numbers(checkpoint, f"/{name}") == tensor.dequantize().tolist()


@BOTH
def test_sparse_tensors_are_their_parts(tmp_path, legacy):
    dense = torch.tensor([[0.0, 1.0, 0.0], [2.0, 0.0, 3.0]])
    given = {"coo": dense.to_sparse(), "csr": dense.to_sparse_csr(), "csc": dense.to_sparse_csc()}
    path = save(given, tmp_path / "m.pth", legacy=legacy)
    with open_checkpoint(path) as checkpoint:
        for name, tensor in given.items():
            found = checkpoint[f"/{name}"].tensor
            assert (found.layout, found.shape) == (str(tensor.layout).removeprefix("torch."), (2, 3))
            values = found.extra.parts["values"]
            theirs = tensor._values() if name == "coo" else tensor.values()
            assert checkpoint.root.__class__(checkpoint, values).numpy(copy=True).tolist() == theirs.tolist()
            assert found.nbytes == sum(part.nbytes for part in found.extra.parts.values())


def test_nested_and_meta_and_lazy_tensors(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nested = torch.nested.nested_tensor([torch.rand(2, 3), torch.rand(4, 3)])
        path = save({"nested": nested, "meta": torch.zeros(3, 4, device="meta"), "lazy": torch.nn.LazyLinear(3).weight},
                    tmp_path / "m.pth")  # fmt: skip
    with open_checkpoint(path) as checkpoint:
        assert checkpoint["/nested"].shape is None
        assert checkpoint["/nested"].numel == 18
        meta = checkpoint["/meta"]
        assert (meta.shape, meta.location, meta.device, meta.nbytes) == ((3, 4), "meta", "meta", 48)
        assert checkpoint["/lazy"].type == "torch.nn.parameter.UninitializedParameter"
        assert checkpoint["/lazy"].shape is None


@BOTH
def test_a_file_that_is_one_tensor(tmp_path, legacy):
    path = save(torch.arange(3.0), tmp_path / "m.pth", legacy=legacy)
    with open_checkpoint(path) as checkpoint:
        assert len(checkpoint.outline) == 1
        assert checkpoint[""].numpy(copy=True).tolist() == [0, 1, 2]
        assert checkpoint.root.path == ()


@BOTH
def test_a_file_that_is_a_list(tmp_path, legacy):
    path = save([torch.arange(3.0), {"x": torch.rand(1)}, 5, "text"], tmp_path / "m.pth", legacy=legacy)
    loaded, _ = load(path)
    assert compare(path, loaded) == 2


@BOTH
@pytest.mark.parametrize(
    "value", [None, True, 3, -(1 << 80), 2.5, float("inf"), "text", b"bytes", 1 + 2j, [], (), {}], ids=repr
)
def test_plain_values_keep_their_type(tmp_path, value, legacy):
    path = save({"x": value}, tmp_path / "m.pth", legacy=legacy)
    with open_checkpoint(path) as checkpoint:
        node = checkpoint["/x"]
        if value == {}:
            assert (node.kind, node.length) == ("dict", 0)
        else:
            assert node.value == value
            assert type(node.value) is type(value)


def test_torch_values_that_are_no_tensors(tmp_path):
    given = {"dtype": torch.float16, "device": torch.device("cuda", 3), "size": torch.Size([2, 3]), "set": {1, 2},
             "layout": torch.strided, "frozen": frozenset("ab"), "range": range(3),
             "slice": slice(1, None, 2)}  # fmt: skip
    path = save(given, tmp_path / "m.pth")
    with open_checkpoint(path) as checkpoint:
        kinds = {node.name: (node.kind, node.type) for node in checkpoint.root.children}
        texts = {node.name: getattr(node.value, "text", "") for node in checkpoint.root.children}
        assert checkpoint["/size"].value.items == [2, 3]
    assert kinds["dtype"] == ("dtype", "torch.dtype")
    assert kinds["device"] == ("device", "torch.device")
    assert (texts["dtype"], texts["device"]) == ("torch.float16", "cuda:3")
    assert kinds["size"] == ("tuple", "torch.Size")
    assert kinds["set"] == ("set", "set")
    assert kinds["frozen"] == ("set", "frozenset")
    assert (texts["range"], texts["slice"]) == ("range(0, 3, 1)", "slice(1, None, 2)")


@BOTH
def test_numpy_values(tmp_path, legacy):
    numpy = pytest.importorskip("numpy")
    given = {"array": numpy.arange(6, dtype=">i4").reshape(2, 3), "scalar": numpy.float64(2.5),
             "fortran": numpy.asfortranarray(numpy.ones((2, 3), numpy.float32)),
             "objects": numpy.array([{"a": 1}, None], dtype=object)}  # fmt: skip
    path = save(given, tmp_path / "m.pth", legacy=legacy)
    with open_checkpoint(path) as checkpoint:
        array = checkpoint["/array"].value
        assert (array.dtype, array.shape) == (">i4", (2, 3))
        assert numpy.frombuffer(array.data, ">i4").tolist() == [0, 1, 2, 3, 4, 5]
        assert checkpoint["/fortran"].value.fortran
        assert checkpoint["/scalar"].value.shape == ()
        assert [node.kind for node in checkpoint["/objects"].children] == ["dict", "none"]


def test_attributes_of_tensors_are_below_them(tmp_path):
    parameter = torch.nn.Parameter(torch.rand(2))
    parameter.note = {"lr_scale": 0.5}
    path = save({"w": parameter}, tmp_path / "m.pth")
    with open_checkpoint(path) as checkpoint:
        assert isinstance(checkpoint["/w"].value, TensorSpec)
        assert checkpoint["/w/note/lr_scale"].value == 0.5
