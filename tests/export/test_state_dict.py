"""The params-only state_dict, judged by torch."""

import builders
import pytest
import torch
from writer_contract import WriterContract, checkpoint_value

import ckpt_viewer
from ckpt_viewer.export.plan import plan_export, write

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:ComplexHalf support")]


class TestContract(WriterContract):
    arguments = ("export",)

    def plan(self, checkpoint):
        return plan_export(checkpoint)

    def check(self, source, target):
        wanted, got = checkpoint_value()["model"], torch.load(target, weights_only=True)
        if "model" not in torch.load(source, map_location="cpu"):
            wanted = torch.load(source, map_location="cpu")
        assert list(got) == list(wanted)
        assert all(torch.equal(got[name], wanted[name]) for name in wanted)
        assert {tensor.device.type for tensor in got.values()} == {"cpu"}
        storages = {name: tensor.untyped_storage().data_ptr() for name, tensor in got.items()}
        if len(wanted) > 2:
            assert storages["base.weight"] == storages["view.weight"] != storages["n.weight"]


DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool, torch.complex64, torch.complex128, torch.uint16, torch.uint32, torch.uint64,
    torch.complex32, torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz,
    torch.float8_e8m0fnu,
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype(export, dtype):
    size = torch.empty(0, dtype=dtype).element_size()
    numbers = torch.arange(24 * size, dtype=torch.int64).remainder(2 if dtype == torch.bool else 251).to(torch.uint8)
    value = {"a.weight": numbers.view(dtype).reshape(4, 6), "a.bias": numbers[: 3 * size].clone().view(dtype)}
    got, _ = export(value)
    for name, tensor in value.items():
        assert got[name].dtype == dtype
        assert got[name].untyped_storage().tolist() == tensor.untyped_storage().tolist()


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_layouts_and_sharing(export, legacy):
    base = torch.randn(6, 8)
    value = {
        "base": base, "row": base[2], "column": base[:, 3], "transposed": base.t(), "tied": base,
        "scalar": torch.tensor(2.5), "empty": torch.empty(0, 3), "also empty": torch.empty(2, 0).t(),
        "expanded": torch.arange(4.0).expand(5, 4), "last": torch.nn.Parameter(base[5, 7]),
    }  # fmt: skip
    got, _ = export({f"m.{name}": tensor for name, tensor in value.items()}, legacy=legacy)
    assert list(got) == [f"m.{name}" for name in value]
    for name, tensor in value.items():
        new = got[f"m.{name}"]
        assert (new.shape, new.stride(), new.dtype) == (tensor.shape, tensor.stride(), tensor.dtype)
        assert torch.equal(new, tensor)
        assert not new.requires_grad
    got["m.base"][5, 7] = 99
    got["m.base"][2, 3] = 77
    assert [float(got[f"m.{name}"]) for name in ("last",)] == [99]
    assert [float(got["m.row"][3]), float(got["m.column"][2]), float(got["m.transposed"][3, 2])] == [77] * 3


def test_views_of_a_huge_base_are_cut_out(export):
    base = torch.arange(100_000.0)
    value = {"a.weight": base[500:600].view(10, 10), "a.bias": base[590:610], "b.weight": base[99_000:99_100:3]}
    got, written = export(value)
    assert all(torch.equal(got[name], value[name]) for name in value)
    assert written.bytes < 5000
    assert "no tensor of the model uses" in " ".join(written.warnings)
    got["a.weight"][9, 9] = -1
    assert got["a.bias"][9] == -1
    assert got["a.weight"].untyped_storage().nbytes() == 110 * 4


def test_parts_of_one_whole_buffer_stay_together(export):
    flat = torch.arange(60.0)
    value = {"a.weight": flat[:20].view(4, 5), "a.bias": flat[20:25], "b.weight": flat[25:]}
    got, written = export(value)
    assert len({tensor.untyped_storage().data_ptr() for tensor in got.values()}) == 1
    assert written.warnings == ()


def test_one_storage_seen_as_several_dtypes(export):
    numbers = torch.arange(8, dtype=torch.int16).view(torch.uint16)
    value = {"a.weight": numbers[1:], "b.weight": numbers.view(torch.float8_e5m2)[3:9]}
    got, _ = export(value)
    assert got["a.weight"].tolist() == list(range(1, 8))
    assert got["b.weight"].view(torch.uint8).tolist() == value["b.weight"].view(torch.uint8).tolist()
    assert got["a.weight"].untyped_storage().data_ptr() == got["b.weight"].untyped_storage().data_ptr()


def test_conjugate_and_negative_bits(export):
    numbers = torch.randn(5, dtype=torch.complex64)
    value = {
        "a.weight": numbers.conj(),
        "b.weight": numbers,
        "c.weight": torch.randn(3, dtype=torch.complex64).conj().imag,
    }
    got, _ = export(value)
    assert (got["a.weight"].is_conj(), got["c.weight"].is_neg()) == (True, True)
    assert all(torch.equal(got[name], tensor) for name, tensor in value.items())
    assert got["a.weight"].untyped_storage().data_ptr() == got["b.weight"].untyped_storage().data_ptr()


def quantized(kind):
    values = torch.randn(4, 6)
    if kind == "per tensor":
        return torch.quantize_per_tensor(values, 0.05, 3, torch.qint8)
    dtype = torch.quint4x2 if kind == "packed" else torch.qint32 if kind == "wide" else torch.quint8
    scales, zeros = torch.rand(4, dtype=torch.float64) + 0.1, torch.tensor([1, 2, 3, 4])
    if kind == "packed":
        scales, zeros = scales.float(), zeros.float()
    return torch.quantize_per_channel(values, scales, zeros, 0, dtype)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("kind", ["per tensor", "per channel", "wide", "packed"])
def test_quantised(export, kind):
    value = {"a.weight": quantized(kind), "a.bias": torch.randn(4)}
    got, _ = export(value)
    new, old = got["a.weight"], value["a.weight"]
    assert (new.dtype, new.qscheme(), new.shape) == (old.dtype, old.qscheme(), old.shape)
    assert torch.equal(new.dequantize(), old.dequantize())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_quantised_module(export):
    net = torch.ao.nn.quantized.Linear(3, 2)
    got, written = export(net.state_dict(), "")
    assert list(got) == list(net.state_dict())
    assert "kept in their form, with the tensors in them" in " ".join(written.warnings)
    torch.ao.nn.quantized.Linear(3, 2).load_state_dict(got, strict=True)


SPARSE = {
    "coo": lambda dense: dense.to_sparse_coo(),
    "uncoalesced": lambda dense: torch.sparse_coo_tensor([[0, 0], [1, 1]], [1.0, 2.0], (4, 6)),
    "csr": lambda dense: dense.to_sparse_csr(), "csc": lambda dense: dense.to_sparse_csc(),
    "bsr": lambda dense: dense.to_sparse_bsr((2, 3)), "bsc": lambda dense: dense.to_sparse_bsc((2, 3)),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("layout", SPARSE)
def test_sparse(export, layout):
    dense = torch.zeros(4, 6)
    dense[1, 2], dense[3, 5] = 5, 7
    value = {"a.weight": SPARSE[layout](dense), "a.bias": torch.randn(4)}
    got, _ = export(value)
    new, old = got["a.weight"], value["a.weight"]
    assert (new.layout, new.shape) == (old.layout, old.shape)
    assert torch.equal(new.to_dense(), old.to_dense())
    assert layout not in ("coo", "uncoalesced") or new.is_coalesced() == old.is_coalesced()


@pytest.mark.parametrize("form", ["whole", "cut", "legacy", "no checksums"])
def test_checksums_are_right(tmp_path, form):
    """Taken over where the source states them for the same bytes, computed where not."""
    import zipfile

    from torch.utils.serialization import config

    base = torch.arange(3_000_000.0)
    value = {"a.weight": base[:2_000_000] if form == "cut" else base, "a.bias": torch.arange(5.0)}
    with config.patch("save.compute_crc32", form != "no checksums"):
        source = builders.save(value, tmp_path / "x.pth", legacy=form == "legacy")
    with ckpt_viewer.open_checkpoint(source) as checkpoint:
        written = write(plan_export(checkpoint))
    with zipfile.ZipFile(written.path) as archive:
        assert archive.testzip() is None
        assert all(info.CRC for info in archive.infolist())


def test_a_wrong_checksum_goes_on_telling(tmp_path):
    import zipfile

    source = builders.save({"a.weight": torch.zeros(1000), "a.bias": torch.ones(3)}, tmp_path / "x.pth")
    data = bytearray(source.read_bytes())
    data[data.index(bytes(4000)) + 100] = 1
    source.write_bytes(data)
    with ckpt_viewer.open_checkpoint(source) as checkpoint:
        written = write(plan_export(checkpoint))
    with zipfile.ZipFile(written.path) as archive:
        assert archive.testzip() == "archive/data/0"


def test_big_endian(export, tmp_path):
    def swapped(values, form):
        import struct

        return struct.pack(f">{len(values)}{form}", *values)

    items = {
        "w.f": ("FloatStorage", swapped([1.5, -2.0, 3.0], "f"), (3,)),
        "w.d": ("DoubleStorage", swapped([1.5, -2.0], "d"), (2,)),
        "w.c": ("ComplexFloatStorage", swapped([1.0, 2.0, 3.0, 4.0], "f"), (2,)),
        "w.s": ("ShortStorage", swapped([258, -2], "h"), (2,)),
        "w.b": ("ByteStorage", b"\x01\x02\x03", (3,)),
    }
    pairs = [
        (builders.text(name), builders.tensor(shape, cls=cls, key=name)) for name, (cls, _, shape) in items.items()
    ]
    path = tmp_path / "x.pth"
    data = {name: data for name, (_, data, _) in items.items()}
    path.write_bytes(builders.zip_checkpoint(builders.pickled(builders.mapped(*pairs)), data, byteorder="big"))
    got, _ = export(None, "", path=path)
    assert [tensor.tolist() for tensor in got.values()] == [
        [1.5, -2.0, 3.0], [1.5, -2.0], [1 + 2j, 3 + 4j], [258, -2], [1, 2, 3],
    ]  # fmt: skip


def test_bytes_that_lie_in_the_pickle(export, tmp_path):
    """As torch saves xla tensors."""
    import numpy as np

    array = np.arange(6, dtype="f4").reshape(2, 3)
    value = {"a.weight": Rebuilt(array), "a.bias": torch.zeros(2)}
    path = tmp_path / "x.pth"
    torch.save(value, path)
    got, _ = export(None, "", path=path)
    assert got["a.weight"].tolist() == array.tolist()


class Rebuilt:
    def __init__(self, array):
        self.array = array

    def __reduce__(self):
        function = torch._utils._rebuild_device_tensor_from_numpy
        return function, (self.array, torch.float32, "xla:0", False)
