"""What is particular to numpy's files: headers, members of the archive, names, what has no place."""

import io
import zipfile

import builders
import numpy as np
import pytest
import torch

import ckpt_viewer
from ckpt_viewer.errors import CannotExport
from ckpt_viewer.export.choice import Choice
from ckpt_viewer.export.plan import plan_export, write
from ckpt_viewer.export.writers.numpy import DESCR, npy_header

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("dtype", DESCR)
@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (4, 5, 6), (1,) * 64, (10**15,)], ids=len)
def test_the_header_is_numpys(dtype, shape):
    numpy_made = io.BytesIO()
    fields = {"descr": np.dtype(dtype).newbyteorder("<").str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(numpy_made, fields)
    ours = npy_header(dtype, shape)
    assert len(ours) % 64 == 0
    read = io.BytesIO(ours)
    assert np.lib.format.read_magic(read) == (1, 0)
    assert np.lib.format.read_array_header_1_0(read) == (shape, False, np.dtype(dtype))
    assert read.read() == b""
    assert ours[10:].rstrip(b" \n") == numpy_made.getvalue()[10:].rstrip(b" \n")


@pytest.fixture
def export(tmp_path):
    def export(value, name="out.npz", **choice):
        source = builders.save(value, tmp_path / "x.pth", tag="cuda:0")
        wanted = Choice(format=name.rpartition(".")[2], **{"sources": ("",), **choice})
        with ckpt_viewer.open_checkpoint(source) as checkpoint:
            written = write(plan_export(checkpoint, wanted), tmp_path / name)
        assert written.verified == "ckpt-viewer"
        return written.path, written

    return export


def test_the_archive_is_an_ordinary_one_with_right_checksums(export):
    value = {"a.weight": torch.randn(1000, 300), "b/c": torch.arange(5), "empty": torch.zeros(0, 2)}
    path, _ = export(value)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["a.weight.npy", "b/c.npy", "empty.npy"]
        assert archive.testzip() is None
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
    with np.load(path, allow_pickle=False) as arrays:
        assert list(arrays) == list(value)
        assert all(np.array_equal(arrays[name], value[name].numpy()) for name in value)


def test_an_array_can_be_mapped(export):
    value = {"a.weight": torch.randn(30, 40)}
    path, _ = export(value, "out.npy")
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    assert np.array_equal(mapped, value["a.weight"].numpy())


def test_one_tensor_is_chosen_by_its_place(export):
    value = {"model": {"a.weight": torch.ones(2), "b.weight": torch.randn(3, 3)}, "epoch": 3}
    path, written = export(value, "out.npy", sources=("/model/b.weight",))
    assert np.array_equal(np.load(path), value["model"]["b.weight"].numpy())
    assert written.tensors == 1


def test_what_numpy_lacks_is_refused_with_advice(export):
    for dtype in (torch.bfloat16, torch.float8_e4m3fn):
        value = {"a.weight": torch.ones(4).to(dtype)}
        with pytest.raises(
            CannotExport, match=r"'a\.weight' is .*, which numpy does not have \(cast it: --dtype float32\)"
        ):
            export(value)
        path, _ = export(value, f"{dtype}.npz".removeprefix("torch."), dtype="float32")
        with np.load(path) as arrays:
            assert arrays["a.weight"].tolist() == [1] * 4


def test_tied_tensors_are_written_in_full_and_that_is_said(export):
    base = torch.randn(4, 3)
    path, written = export({"a.weight": base, "tied.weight": base, "row.weight": base[1]})
    with np.load(path) as arrays:
        assert np.array_equal(arrays["a.weight"], arrays["tied.weight"])
        assert np.array_equal(arrays["row.weight"], base[1].numpy())
    said = "tensors that share memory are written in full, each on its own: 'tied.weight', 'a.weight', 'row.weight'"
    assert written.warnings == (said,)


def test_what_is_no_tensor_is_left_out(export):
    _, written = export({"a.weight": torch.ones(2), "epoch": 3, "note": "text"})
    assert written.dropped == ("epoch", "note")
    assert "left out, being no tensors: 'epoch', 'note'" in written.warnings


def test_names_that_numpy_would_confuse_are_refused(export):
    with pytest.raises(CannotExport, match=r"'a\.npy' has a name that numpy takes for that of 'a'"):
        export({"a": torch.ones(2), "a.npy": torch.ones(3)})


def test_a_npy_file_holds_exactly_one_tensor(export):
    for value in ({"a.weight": torch.ones(2), "b.weight": torch.ones(2)}, {"a.weight": torch.ones(2), "epoch": 3}):
        with pytest.raises(CannotExport, match="holds one tensor, and these are 2 entries; choose one"):
            export(value, "out.npy")
