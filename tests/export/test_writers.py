"""Every writer of an export, held to the contract and judged by the library that owns its format."""

import json

import numpy as np
import pytest
import safetensors.torch
import torch
from export_contract import ExportContract, meta, nested
from writer_contract import checkpoint_value

from ckpt_viewer.errors import CannotExport
from ckpt_viewer.export.choice import Choice
from ckpt_viewer.export.writers import WRITERS, writer_for, writer_named

pytestmark = pytest.mark.torch

NO_NUMPY = frozenset({
    torch.bfloat16, torch.complex32, torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz,
    torch.float8_e5m2fnuz, torch.float8_e8m0fnu,
})  # fmt: skip


class TestPth(ExportContract):
    arguments = ("export", "--format", "pth")
    choice = Choice(format="pth")
    refused_kinds = (nested, meta)

    def load(self, path):
        return torch.load(path, weights_only=True)


class TestSafetensors(ExportContract):
    arguments = ("export", "--format", "safetensors")
    name = "new.safetensors"
    choice = Choice(format="safetensors")
    refused_dtypes = frozenset({torch.complex128, torch.complex32})
    refused_names = frozenset({"__metadata__", "\ud800x"})

    def load(self, path):
        return safetensors.torch.load_file(path)

    def in_order(self, value):
        return sorted(value)


class TestShards(TestSafetensors):
    arguments = ("export", "--format", "safetensors", "--max-shard-size", "60kB")
    name = "new.safetensors.index.json"
    choice = Choice(format="safetensors", max_shard_size=60_000)
    most_a_tensor = 1600  # the index has their names
    uncertain = 100  # the index names the files, whose names nobody knows while planning

    def load(self, path):
        if not path.exists():
            path = path.with_name(path.name.removesuffix(".index.json"))
        if not path.name.endswith(".index.json"):
            return safetensors.torch.load_file(path)
        found = {}
        for name, file in json.loads(path.read_text())["weight_map"].items():
            with safetensors.safe_open(path.with_name(file), "pt") as shard:
                found[name] = shard.get_tensor(name)
        return found

    @pytest.mark.parametrize("how", ["link", "hard link"])
    def test_the_source_is_never_the_target(self, opened, source, target, how):
        super().test_the_source_is_never_the_target(opened, source, target, how)


class TestNpz(ExportContract):
    most_a_tensor = 1500  # each is a file in the archive, with a header of its own
    arguments = ("export", "--format", "npz")
    name = "new.npz"
    choice = Choice(format="npz")
    refused_dtypes = NO_NUMPY
    refused_names = frozenset({"a\nb", "../../etc/passwd", "/root", "C:x", "a\\b", "\ud800x", "\x1b[31mred", "a\0"})

    def load(self, path):
        with np.load(path, allow_pickle=False) as archive:
            return {name: torch.from_numpy(archive[name]) for name in archive.files}


class TestNpy(ExportContract):
    arguments = ("export", "--format", "npy", "--from", "/model/base.weight")
    name = "new.npy"
    choice = Choice(format="npy", sources=("/model/base.weight",))
    refused_dtypes = NO_NUMPY

    def load(self, path):
        return {"a.weight": torch.from_numpy(np.load(path, allow_pickle=False))}

    def check(self, source, target):
        assert torch.equal(self.load(target)["a.weight"], checkpoint_value()["model"]["base.weight"])

    def export(self, value, tmp_path, **more):
        got, written = super().export(value, tmp_path, **more)
        return dict(zip(value, got.values(), strict=True)), written

    def large(self):
        return {"model": {"base.weight": torch.zeros(40_000_000)}}

    def many(self, count):
        return {"model": {"base.weight": torch.zeros(4), **super().many(count)}}

    def test_every_name_comes_back_or_is_refused(self, tmp_path):
        got, _ = self.export({"../a/\ud800": torch.tensor([1.5])}, tmp_path)  # the file does not hold it
        assert got["../a/\ud800"].tolist() == [1.5]

    def test_names_keep_their_order(self, tmp_path):
        said = self.refusal({"a.weight": torch.zeros(2), "b.weight": torch.zeros(3)}, tmp_path)
        assert "a .npy file holds one tensor, and these are 2 entries; choose one, or write an .npz" in said


def test_writers_are_found_by_name_and_by_suffix():
    assert [writer_named(writer.name) for writer in WRITERS] == list(WRITERS)
    assert writer_for("model.SAFETENSORS") is writer_named("safetensors")
    assert writer_for("model.gguf") is None
    with pytest.raises(CannotExport, match="there is no writer for 'gguf'; choose one of pth, safetensors, npz, npy"):
        writer_named("gguf")
