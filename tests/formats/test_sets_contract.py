"""What every container of several files has to keep: sharded sets, distributed checkpoints, folders."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import ClassVar

import numpy
import pytest
import torch
import torch.distributed.checkpoint as dcp
from builders import entry, floats, safetensors_file
from contract import VALUES
from opening import look_at_all, read_all

from ckpt_viewer.errors import Cancelled, CheckpointError
from ckpt_viewer.formats import open_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


class SetContract:
    """Inherited by one test class for each container of several files.

    Attributes:
        name: what the format calls itself. weight: path of a vector of `VALUES`. part: the file that holds it.
        location: the device tag of its tensors; None where the container knows none.
    """

    name: str
    weight: ClassVar[tuple[str, ...]] = ("weight",)
    part: str
    location: str | None = "cpu"

    def make(self, folder: Path) -> Path:
        """Write the files into a folder, and return what is opened."""
        raise NotImplementedError

    @pytest.fixture
    def opened(self, tmp_path: Path) -> Path:
        """Return what is opened."""
        folder = tmp_path / "saved"
        folder.mkdir()
        return self.make(folder)

    @staticmethod
    def files_open(path: Path) -> int:
        """How many files of the set this process has open."""
        folder = path if path.is_dir() else path.parent
        links = [os.path.realpath(each) for each in Path("/proc/self/fd").iterdir()]
        return sum(link.startswith(f"{folder.resolve()}/") for link in links)

    def file(self, opened: Path) -> Path:
        """Return the path of the file that holds the tensor."""
        return (opened if opened.is_dir() else opened.parent) / self.part

    def test_it_says_its_name_and_lists(self, opened):
        with open_checkpoint(opened) as checkpoint:
            assert checkpoint.format == self.name
            assert checkpoint.path == str(opened)
            assert self.part in checkpoint.contents.files
            assert self.weight in {checkpoint.outline.path(row) for row, _ in checkpoint.outline.tensors()}
            assert look_at_all(checkpoint) > 100
            assert read_all(checkpoint) >= 1
            assert not [each for each in checkpoint.findings if each.severity == "error"]

    def test_a_tensor_has_its_bytes(self, opened):
        with open_checkpoint(opened) as checkpoint:
            weight = checkpoint.node(self.weight)
            assert (weight.shape, weight.dtype, weight.location) == ((4,), "float32", self.location)
            assert weight.numpy(copy=True).tolist() == numpy.float32(VALUES).tolist()
            assert weight.numpy().tolist() == numpy.float32(VALUES).tolist()

    def test_closing_gives_every_file_back(self, opened):
        checkpoint = open_checkpoint(opened)
        checkpoint.node(self.weight).numpy(copy=True)
        assert self.files_open(opened) >= 1
        checkpoint.close()
        checkpoint.close()
        assert self.files_open(opened) == 0
        assert len(checkpoint.outline) > 1

    def test_a_cancelled_opening_gives_every_file_back(self, opened):
        class Stop:
            def step(self, done, total):
                raise Cancelled

        with pytest.raises(Cancelled):
            open_checkpoint(opened, context=Stop())
        assert self.files_open(opened) == 0

    def test_a_file_that_is_missing_is_named(self, opened):
        self.file(opened).unlink()
        self.refused_or_told(opened)

    def test_a_file_that_is_cut_off_is_named(self, opened):
        file = self.file(opened)
        data = file.read_bytes()
        for length in range(0, len(data), max(1, len(data) // 40)):
            file.write_bytes(data[:length])
            self.refused_or_told(opened)

    def refused_or_told(self, opened: Path) -> None:
        """Check that opening fails in a sentence, or says in a finding what is wrong, and gives all files back."""
        try:
            with open_checkpoint(opened) as checkpoint:
                told = [each.message for each in checkpoint.findings if each.severity == "error"]
        except CheckpointError as error:
            told = [str(error)]
        assert told
        assert all("\n" not in each for each in told)
        assert self.files_open(opened) == 0


def vector() -> bytes:
    return safetensors_file({"weight": entry("F32", (4,), 0, 16)}, floats(*VALUES))


class TestSharded(SetContract):
    name, part, location = "sharded", "model-00001-of-00002.safetensors", None

    def make(self, folder):
        other = safetensors_file({"bias": entry("F32", (1,), 0, 4)}, floats(1.0))
        (folder / self.part).write_bytes(vector())
        (folder / "model-00002-of-00002.safetensors").write_bytes(other)
        where = {"weight": self.part, "bias": "model-00002-of-00002.safetensors"}
        index = folder / "model.safetensors.index.json"
        index.write_text(json.dumps({"metadata": {"total_size": 20}, "weight_map": where}))
        return index


class TestDistributed(SetContract):
    name, part, location = "distributed", "__0_0.distcp", None

    def make(self, folder):
        state = {"weight": torch.tensor(VALUES), "epoch": 3}
        dcp.save(state, storage_writer=dcp.FileSystemWriter(folder), no_dist=True)
        return folder


class TestDistributedSafetensors(SetContract):
    name, part, location = "distributed", "shard-00000-model-00001-of-00001.safetensors", None

    def make(self, folder):
        (folder / self.part).write_bytes(vector())
        second = safetensors_file({"bias": entry("F32", (1,), 0, 4)}, floats(1.0))
        (folder / "shard-00001-model-00001-of-00001.safetensors").write_bytes(second)
        return folder

    def test_a_file_that_is_missing_is_named(self, opened):
        """Nothing lists the shards: what is not there leaves no trace."""
        self.file(opened).unlink()
        with open_checkpoint(opened) as checkpoint:
            assert [node.name for node in checkpoint.root.children] == ["bias"]


class TestFolder(SetContract):
    name, part = "folder", "model.pt"
    weight = ("model.pt", "weight")

    def make(self, folder):
        torch.save({"weight": torch.tensor(VALUES)}, folder / "model.pt")
        torch.save({"epoch": 3}, folder / "state.pt")
        return folder

    def test_a_file_that_is_missing_is_named(self, opened):
        """Nothing lists the files of a plain folder."""
        self.file(opened).unlink()
        with open_checkpoint(opened) as checkpoint:
            assert [node.name for node in checkpoint.root.children] == ["state.pt"]


class TestDeepSpeed(SetContract):
    name, part = "folder", "mp_rank_01_model_states.pt"
    weight = ("mp_rank_01_model_states.pt", "module", "weight")

    def make(self, folder):
        for rank in ("00", "01"):
            state = {"module": {"weight": torch.tensor(VALUES)}, "mp_world_size": 2, "dp_world_size": 1}
            torch.save(state, folder / f"mp_rank_{rank}_model_states.pt")
        return folder
