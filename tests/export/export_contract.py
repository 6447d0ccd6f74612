"""What every writer of an export owes besides: the values torch has under their names, or a refusal by name."""

from __future__ import annotations

import builders
import pytest
import torch
from judge import NEW_DTYPES, OLD_DTYPES, bits
from writer_contract import WriterContract, checkpoint_value

import ckpt_viewer
from ckpt_viewer.errors import CannotExport, WriteFailed
from ckpt_viewer.export.atomic import AtomicFile
from ckpt_viewer.export.choice import Choice
from ckpt_viewer.export.plan import plan_export, write

NAMES = [
    "", "a/b", "weight.µ", "x" * 5000, "storage", "cpu", "0", "a\nb", "../../etc/passwd", "/root", "C:x", "a\\b",
    "__metadata__", "format", "\ud800x", "a.npy", "\x1b[31mred", "\u202eright", "con", '"quoted"', "a" + "\0",
]  # fmt: skip
FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2fnuz]


def quantised():
    return torch.quantize_per_tensor(torch.randn(4, 6), 0.05, 3, torch.qint8)


def sparse():
    return torch.eye(4).to_sparse()


def nested():
    return torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])


def meta():
    return torch.empty(3, device="meta")


@pytest.mark.filterwarnings(
    "ignore:ComplexHalf support",
    "ignore:The PyTorch API of nested",
    "ignore::DeprecationWarning",
    "ignore::UserWarning",
)
class ExportContract(WriterContract):
    """Subclasses say which writer it is and what can read its files.

    Attributes:
        choice: the format and what else is asked for. refused_dtypes, refused_names: what it cannot hold.
        refused_kinds: makers of tensors that it cannot hold either.
    """

    choice: Choice
    refused_dtypes: frozenset[torch.dtype] = frozenset()
    refused_names: frozenset[str] = frozenset()
    refused_kinds = (quantised, sparse, nested, meta)

    def load(self, path):
        """Return the tensors of a file by name, read by the library that owns the format."""
        raise NotImplementedError

    def plan(self, checkpoint):
        return plan_export(checkpoint, self.choice)

    def export(self, value, tmp_path, **more):
        """Save, export, load; return the tensors and the report."""
        source = builders.save(value, tmp_path / "x.pth", tag="cuda:1")
        choice = self.choice._replace(sources=("",), **more)
        with ckpt_viewer.open_checkpoint(source) as checkpoint:
            written = write(plan_export(checkpoint, choice), tmp_path / f"written {self.name}")
        assert written.verified
        return self.load(written.path), written

    def refusal(self, value, tmp_path, **more):
        source = builders.save(value, tmp_path / "x.pth")
        choice = self.choice._replace(sources=("",), **more)
        with ckpt_viewer.open_checkpoint(source) as checkpoint, pytest.raises(CannotExport) as error:
            plan_export(checkpoint, choice)
        return str(error.value)

    def clear(self, folder):
        for path in folder.glob("written*"):
            path.unlink()

    def check(self, source, target):
        wanted, got = checkpoint_value()["model"], self.load(target)
        if "model" not in (saved := torch.load(source, map_location="cpu")):
            wanted = saved
        assert set(got) == set(wanted)
        assert all(torch.equal(got[name], wanted[name]) for name in wanted)

    # --- names ------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("name", NAMES, ids=ascii)
    def test_every_name_comes_back_or_is_refused(self, tmp_path, name):
        value = {name: torch.tensor([1.5]), "b.weight": torch.tensor([2.5])}
        if name in self.refused_names:
            assert repr(name) in self.refusal(value, tmp_path)
            assert [path.name for path in tmp_path.iterdir()] == ["x.pth"]
            return
        got, _ = self.export(value, tmp_path)
        assert {name: float(tensor) for name, tensor in got.items()} == {name: 1.5, "b.weight": 2.5}

    def test_names_keep_their_order(self, tmp_path):
        value = {f"layer.{number * 7919 % 503}.weight": torch.tensor([number]) for number in range(503)}
        got, _ = self.export(value, tmp_path)
        assert list(got) == self.in_order(value)
        assert all(got[name].item() == tensor.item() for name, tensor in value.items())

    def in_order(self, value):
        """Return the names of a state_dict as a file has them."""
        return list(value)

    # --- values -----------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("dtype", OLD_DTYPES + NEW_DTYPES, ids=str)
    def test_every_dtype_comes_back_or_is_refused_by_name(self, tmp_path, dtype):
        value = {"a.weight": bits(24, dtype).reshape(4, 6)}
        if dtype in self.refused_dtypes:
            said = self.refusal(value, tmp_path)
            assert "'a.weight' is " + str(dtype).removeprefix("torch.") in said
            return
        got, written = self.export(value, tmp_path)
        assert got["a.weight"].dtype == dtype
        assert got["a.weight"].shape == (4, 6)
        assert got["a.weight"].contiguous().view(torch.uint8).tolist() == value["a.weight"].view(torch.uint8).tolist()
        assert written.tensors == 1

    @pytest.mark.parametrize("big", [False, True], ids=["small", "large"])
    def test_every_layout_comes_back(self, tmp_path, big):
        base = torch.randn(1200, 900) if big else torch.randn(6, 8)
        views = {
            "row": base[2], "column": base[:, 3], "transposed": base.t(), "steps": base[::2, 1::3],
            "scalar": base[1, 1], "empty": torch.empty(0, 3), "expanded": torch.arange(4.0).expand(5, 4),
            "permuted": torch.randn(3, 4, 50 if big else 5).permute(2, 0, 1), "one": torch.ones(1, 1).t(),
            "conj": torch.randn(5, dtype=torch.complex64).conj(),
            "neg": torch.randn(5, dtype=torch.complex64).conj().imag,
        }  # fmt: skip
        for name, tensor in views.items():
            got, _ = self.export({f"m.{name}": tensor}, tmp_path)
            assert torch.equal(got[f"m.{name}"], tensor), name
            assert got[f"m.{name}"].shape == tensor.shape
            self.clear(tmp_path)

    @pytest.mark.parametrize("maker", [quantised, sparse, nested, meta], ids=lambda maker: maker.__name__)
    def test_what_it_cannot_hold_is_refused_by_name(self, tmp_path, maker):
        value = {"a.odd": maker()}
        if maker in self.refused_kinds:
            assert "'a.odd' " in self.refusal(value, tmp_path)
            assert [path.name for path in tmp_path.iterdir()] == ["x.pth"]
        else:
            got, _ = self.export(value, tmp_path)
            one, other = got["a.odd"], value["a.odd"]
            assert (one.layout, one.dtype, one.is_quantized) == (other.layout, other.dtype, other.is_quantized)

    def test_values_hidden_in_a_subclass_are_refused_by_name(self, tmp_path):
        shell = builders.call(
            builders.name("torch._utils", "_rebuild_wrapper_subclass"), builders.name("my.lib", "Packed"),
            builders.name("torch", "float32"), builders.many(builders.integer(2)), builders.many(builders.integer(1)),
            builders.integer(0), b"N", builders.call(builders.name("torch", "device"), builders.text("cpu")), b"\x89",
        )  # fmt: skip
        path = tmp_path / "x.pth"
        body = builders.mapped((builders.text("a.weight"), shell))
        path.write_bytes(builders.zip_checkpoint(builders.pickled(body), {}))
        choice = self.choice._replace(sources=("",))
        with ckpt_viewer.open_checkpoint(path) as checkpoint, pytest.raises(CannotExport) as error:
            plan_export(checkpoint, choice)
        assert "'a.weight' is a my.lib.Packed" in str(error.value)

    # --- casts ------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("target", [torch.float32, torch.float16, torch.bfloat16], ids=str)
    @pytest.mark.parametrize("dtype", FLOATS, ids=str)
    def test_a_cast_is_that_of_torch(self, tmp_path, dtype, target):
        torch.manual_seed(1)
        numbers = (torch.randn(300, 70, dtype=torch.float64) * 10.0 ** torch.randint(-9, 9, (300, 70))).to(dtype)
        value = {"a.weight": numbers.t()}
        if target in self.refused_dtypes:
            assert "'a.weight' is bfloat16" in self.refusal(value, tmp_path, dtype="bfloat16")
            return
        got, written = self.export(value, tmp_path, dtype=str(target).removeprefix("torch."))
        assert got["a.weight"].dtype == target
        before, wanted = numbers.t().to(torch.float64), numbers.t().to(target)
        assert torch.equal(got["a.weight"].isnan(), wanted.isnan())
        assert torch.equal(got["a.weight"].nan_to_num(7.0), wanted.nan_to_num(7.0))
        overflow, underflow = wanted.isinf() & before.isfinite(), (wanted == 0) & (before != 0)
        lost = tuple(int(found.sum()) for found in (overflow, underflow, wanted.isnan()))
        assert written.counts == ({"a.weight": lost} if any(lost) and dtype != target else {})

    def test_a_cast_leaves_other_numbers_alone(self, tmp_path):
        for tensor in (torch.arange(5), torch.tensor([True, False])):
            got, written = self.export({"a.number": tensor}, tmp_path, dtype="float16")
            assert got["a.number"].dtype == tensor.dtype
            assert torch.equal(got["a.number"], tensor)
            assert written.cast == {}
            self.clear(tmp_path)

    def test_nan_is_counted_and_kept(self, tmp_path):
        value = {"a.weight": torch.tensor([1.0, float("nan"), float("inf"), 1e9, -1e-30])}
        got, written = self.export(value, tmp_path, dtype="float16")
        assert got["a.weight"].isnan().tolist() == [False, True, False, False, False]
        assert written.counts == {"a.weight": (1, 1, 1)}

    def test_a_wrong_byte_is_noticed_behind_a_cast_too(self, opened, target, monkeypatch):
        real, wrong = AtomicFile.write, []

        def write_wrong(self, data):
            if len(data) > 30_000 and not wrong:
                wrong.append(True)
                data = bytearray(data)
                data[20_001] ^= 1
            real(self, data)

        monkeypatch.setattr(AtomicFile, "write", write_wrong)
        plan = plan_export(opened, self.choice._replace(dtype="float16"))
        with pytest.raises(WriteFailed, match="differs from the source at"):
            write(plan, target)
        assert wrong
        assert list(target.parent.iterdir()) == []

    def test_a_cast_of_a_large_file_takes_little_memory(self, tmp_path, target):
        source = builders.save(self.large(), tmp_path / "large.pth", tag="cuda:0")
        _, memory = self.measured(source, target, "--dtype", "float16")
        assert sum(path.stat().st_size for path in target.parent.iterdir()) > 80_000_000
        assert memory < 120_000_000
