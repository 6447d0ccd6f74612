"""Folders of torch.distributed.checkpoint: the tree of the metadata, bytes assembled from parts, and what is wrong."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.distributed.checkpoint as dcp
from opening import look_at_all, read_all
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex

from ckpt_viewer import summarize
from ckpt_viewer.analysis.overview import overview
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.model import is_distributed
from ckpt_viewer.errors import CheckpointError, Damaged, NotACheckpoint, Unsupported
from ckpt_viewer.export.choice import Choice
from ckpt_viewer.export.plan import plan_export, write
from ckpt_viewer.formats import distributed, distributed_items, open_checkpoint, parts

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


LOADERS = {"pth": torch.load, "safetensors": safetensors.torch.load_file, "npz": np.load}


def model_and_optimizer() -> dict:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 2), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    model(torch.ones(2, 3, 3, 3)).sum().backward()
    optimizer.step()
    return {"model": model.state_dict(), "optim": optimizer.state_dict()}


def save(folder: Path, state: dict, **writer) -> Path:
    dcp.save(state, storage_writer=dcp.FileSystemWriter(folder, **writer), no_dist=True)
    return folder


@pytest.fixture
def folder(tmp_path) -> Path:
    """What one process leaves: a model, its optimizer, a list of mixed things, an epoch."""
    state = {
        **model_and_optimizer(),
        "epoch": 3,
        "list": [1, torch.arange(4.0)],
        "turned": torch.arange(12, dtype=torch.float64).reshape(3, 4).T,
        "half": torch.arange(5).to(torch.bfloat16),
        "nothing": torch.empty(0, 3),
        "a.b": {"c.d": torch.tensor(True)},
    }
    return save(tmp_path / "saved", state)


def edited(folder: Path, edit) -> Path:
    """Let `edit` change the unpickled metadata of a folder that a test has made."""
    metadata = pickle.loads((folder / ".metadata").read_bytes())
    edit(metadata)
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))
    return folder


def codes(checkpoint: Checkpoint) -> set[str]:
    return {finding.code for finding in checkpoint.findings}


def same(ours, theirs, where: str = "") -> int:
    """Hold a node against what torch makes of the folder; return how many tensors were compared."""
    if isinstance(theirs, torch.Tensor):
        assert (list(ours.shape), f"torch.{ours.dtype}") == (list(theirs.shape), str(theirs.dtype)), where
        assert ours.stride == theirs.contiguous().stride() or not theirs.numel(), where
        assert torch.equal(ours.torch(), theirs), where
        return 1
    if isinstance(theirs, dict):
        assert [node.name for node in ours.children] == list(theirs), where
        return sum(same(ours[f"/{key.replace('~', '~0')}"], value, f"{where}/{key}") for key, value in theirs.items())
    if isinstance(theirs, list | tuple):
        assert len(ours.children) == len(theirs), where
        return sum(same(node, value, f"{where}/{node.name}") for node, value in zip(ours.children, theirs, strict=True))
    assert ours.value == theirs, where
    return 0


def as_torch_has_it(folder: Path, target: Path) -> dict:
    dcp_to_torch_save(folder, target)
    return torch.load(target)


class TestOneProcess:
    def test_it_is_what_torch_makes_of_it(self, folder, tmp_path):
        with open_checkpoint(folder) as checkpoint:
            assert checkpoint.format == "distributed"
            assert checkpoint.size == sum(each.stat().st_size for each in folder.iterdir())
            assert same(checkpoint.root, as_torch_has_it(folder, tmp_path / "whole.pt")) > 20
            assert not checkpoint.findings

    def test_names_with_dots_stay_whole_and_lists_are_lists(self, folder):
        with open_checkpoint(folder) as checkpoint:
            assert checkpoint["/a.b/c.d"].numpy(copy=True).tolist() is True
            assert checkpoint["/list/0"].value == 1
            assert checkpoint["/list/1"].numpy(copy=True).tolist() == [0, 1, 2, 3]
            assert checkpoint["/optim/param_groups/0/betas"].value == (0.9, 0.999)

    def test_roles_and_the_state_dict(self, folder):
        with open_checkpoint(folder) as checkpoint:
            view = overview(checkpoint)
            assert view.kind == "training checkpoint"
            assert view.roles["model"][0] == ("model",)
            assert view.roles["optimizer"] == [("optim",)]
            assert "0.weight" in checkpoint.state_dict()
            assert {use.status for use in checkpoint.contents.globals} == {"known"}

    def test_a_tensor_in_one_part_is_mapped_without_a_copy(self, folder):
        with open_checkpoint(folder) as checkpoint:
            node = checkpoint["/model/0.weight"]
            assert not node.numpy().flags.owndata
            assert np.array_equal(node.numpy(), node.numpy(copy=True))

    def test_the_metadata_and_a_data_file_can_be_given_instead(self, folder):
        with open_checkpoint(folder / ".metadata") as checkpoint:
            assert checkpoint.format == "distributed"
            assert checkpoint["/epoch"].value == 3
        with pytest.raises(NotACheckpoint, match=r"one data file of a distributed checkpoint.*; open the folder"):
            open_checkpoint(folder / "__0_0.distcp")

    def test_it_can_be_looked_at_in_every_way(self, folder):
        with open_checkpoint(folder) as checkpoint:
            assert look_at_all(checkpoint) > 1000
            assert read_all(checkpoint) > 20

    def test_nothing_is_opened_before_its_bytes_are_needed(self, folder, monkeypatch):
        opened = []
        real = distributed_items.DataFiles.open
        monkeypatch.setattr(distributed_items.DataFiles, "open", lambda *a: opened.append(a[2]) or real(*a))
        with open_checkpoint(folder) as checkpoint:
            checkpoint.load_outline()
            assert not any("model" in prefix or "exp_avg" in prefix for prefix in opened)
            checkpoint["/model/0.weight"].numpy(copy=True)
            assert opened[-1] == "model.0.weight!"

    def test_safetensors_inside_the_data_files(self, tmp_path):
        state = {"a": torch.arange(6.0), "b": torch.ones(2, 3, dtype=torch.float16), "epoch": 3}
        safetensors = dcp.filesystem.SerializationFormat.SAFETENSORS
        with open_checkpoint(save(tmp_path / "saved", state, serialization_format=safetensors)) as checkpoint:
            assert not checkpoint.findings
            assert checkpoint["/a"].numpy(copy=True).tolist() == [0, 1, 2, 3, 4, 5]
            assert checkpoint["/b"].numpy(copy=True).tolist() == [[1] * 3] * 2
            assert checkpoint["/epoch"].value == 3

    def test_files_of_single_parts_and_of_several_threads(self, tmp_path):
        state = model_and_optimizer()
        for number, writer in enumerate(({"single_file_per_rank": False}, {"thread_count": 3})):
            folder = save(tmp_path / str(number), state, **writer)
            with open_checkpoint(folder) as checkpoint:
                whole = as_torch_has_it(folder, tmp_path / f"{number}.pt")
                assert same(checkpoint.root, whole) > 10


@pytest.fixture(scope="module")
def ranks(tmp_path_factory) -> Path:
    """What three ranks leave, cut by rows, by columns, in the middle, and not at all."""
    base = tmp_path_factory.mktemp("ranks")
    script = Path(__file__).with_name("distributed_ranks.py")
    children = [
        subprocess.Popen([sys.executable, script, str(rank), "3", base], stderr=subprocess.PIPE) for rank in range(3)
    ]
    for child in children:
        _, said = child.communicate(timeout=180)
        assert child.returncode == 0, said.decode()[-2000:]
    return base


class TestSeveralRanks:
    def test_parts_are_assembled(self, ranks, tmp_path):
        with open_checkpoint(ranks / "cut") as checkpoint:
            assert not checkpoint.findings
            assert same(checkpoint.root, as_torch_has_it(ranks / "cut", tmp_path / "whole.pt")) == 6

    def test_what_ranks_hold_together_is_told_from_what_each_has(self, ranks):
        with open_checkpoint(ranks / "cut") as checkpoint:
            found = {tensor.storage.key: is_distributed(tensor) for _, tensor in checkpoint.outline.tensors()}
        assert found["model.rows.weight"]
        assert not all(found.values())

    def test_statistics_and_any_range_of_bytes(self, ranks):
        with open_checkpoint(ranks / "cut") as checkpoint:
            for name, first in (("rows.weight", 0), ("columns.weight", 100)):
                node = checkpoint[f"/model/{name}"]
                summary = summarize(node)
                assert (summary.min, summary.max, summary.numel) == (first, first + 41, 42)
                extent = node.tensor.storage.extent()
                whole = np.arange(first, first + 42, dtype=np.float32).tobytes()
                for start in range(0, len(whole), 5):
                    for end in (start, start + 1, start + 7, start + 40, len(whole)):
                        if start <= end <= len(whole):
                            assert extent.source.read_at(start, end - start) == whole[start:end]
                with pytest.raises(CheckpointError, match="cut off"):
                    extent.source.read_at(1, len(whole))

    @pytest.mark.parametrize(
        ("name", "dtype"), [("pth", ""), ("pth", "float16"), ("safetensors", ""), ("npz", "float32")]
    )
    def test_export_writes_the_assembled_model(self, ranks, tmp_path, name, dtype):
        whole = as_torch_has_it(ranks / "cut", tmp_path / "whole.pt")["model"]
        with open_checkpoint(ranks / "cut") as checkpoint:
            write(plan_export(checkpoint, Choice(format=name, dtype=dtype)), tmp_path / f"out.{name}")
        written = LOADERS[name](tmp_path / f"out.{name}")
        assert sorted(written) == sorted(whole)
        for one, other in ((whole[key], torch.as_tensor(written[key])) for key in whole):
            assert torch.equal(one.to(getattr(torch, dtype)) if dtype and one.is_floating_point() else one, other)

    def test_ranks_that_did_not_talk_leave_metadata_each(self, ranks):
        with open_checkpoint(ranks / "alone") as checkpoint:
            assert not checkpoint.findings
            rows = checkpoint["/rows.weight"].numpy(copy=True)
            assert rows.ravel().tolist() == list(range(42))

    def test_safetensors_of_all_ranks_without_metadata(self, ranks, tmp_path):
        with open_checkpoint(ranks / "hugging") as checkpoint:
            assert checkpoint.format == "distributed"
            assert codes(checkpoint) == {"unstated-ranks"}
            rows, columns = checkpoint["/rows.weight"], checkpoint["/columns.weight"]
            assert rows.numpy(copy=True).tolist() == np.arange(42.0).reshape(7, 6).tolist()
            assert columns.numpy(copy=True).tolist() == (np.arange(42.0).reshape(7, 6) + 100).tolist()
        shutil.copytree(ranks / "hugging", tmp_path / "hugging")
        (tmp_path / "hugging" / "shard-00001-model-00001-of-00001.safetensors").write_bytes(b"x")
        with open_checkpoint(tmp_path / "hugging") as checkpoint:
            assert codes(checkpoint) == {"unreadable-file", "chunks-gap", "unstated-ranks"}

    def test_only_the_parts_that_are_asked_for_are_read(self, ranks, monkeypatch):
        with open_checkpoint(ranks / "cut") as checkpoint:
            extent = checkpoint["/model/rows.weight"].tensor.storage.extent()
            seen = []
            real = distributed_items.Chunks.view
            monkeypatch.setattr(distributed_items.Chunks, "view", lambda self, *a: seen.append(a) or real(self, *a))
            extent.source.read_at(4, 8)
            assert seen == [("rows.weight", 0)] or seen == [("model.rows.weight", 0)]

    def test_a_missing_data_file_costs_only_its_parts(self, ranks, tmp_path):
        shutil.copytree(ranks / "cut", tmp_path / "cut")
        (tmp_path / "cut" / "__2_0.distcp").unlink()
        with open_checkpoint(tmp_path / "cut") as checkpoint:
            assert "missing-shard" in codes(checkpoint)
            assert codes(checkpoint) <= {"missing-shard", "unreadable-item", "salvaged", "tensor-lost"}
            extent = checkpoint["/model/rows.weight"].tensor.storage.extent()
            assert extent.source.read_at(0, 24) == np.arange(6, dtype=np.float32).tobytes()
            with pytest.raises(CheckpointError, match="no such file"):
                checkpoint["/model/rows.weight"].numpy(copy=True)


class TestWhatIsWrong:
    def test_the_metadata_are_missing(self, folder):
        (folder / ".metadata").unlink()
        with pytest.raises(NotACheckpoint, match=r"without its \.metadata"):
            open_checkpoint(folder)
        with pytest.raises(NotACheckpoint, match=r"\.metadata is not there"):
            open_checkpoint(folder / "__0_0.distcp")

    @pytest.mark.parametrize(
        ("chunks", "code"),
        [
            ([((0,), (2,))], "chunks-gap"),
            ([((0,), (3,)), ((2,), (2,))], "chunks-overlap"),
            ([((0,), (2,)), ((1,), (2,))], "chunks-overlap"),
            ([((0,), (2,)), ((3,), (2,))], "chunk-outside"),
            ([((0, 0), (2, 2))], "chunk-outside"),
            ([], "chunks-gap"),
        ],
    )
    def test_parts_that_do_not_make_the_tensor(self, folder, chunks, code):
        def edit(metadata):
            entry = metadata.state_dict_metadata["list.1"]
            entry.chunks = [ChunkStorageMetadata(torch.Size(start), torch.Size(size)) for start, size in chunks]

        with open_checkpoint(edited(folder, edit)) as checkpoint:
            assert code in codes(checkpoint)
            assert next(f for f in checkpoint.findings if f.code == code).path == ("list", 1)
            with pytest.raises(Damaged):
                checkpoint["/list/1"].numpy(copy=True)

    @pytest.mark.parametrize("path", ["../secret.distcp", "/etc/passwd", "a/b", "..", "", "x\0y"])
    def test_names_never_lead_out_of_the_folder(self, folder, path):
        shutil.copy(folder / "__0_0.distcp", folder.parent / "secret.distcp")

        def edit(metadata):
            metadata.storage_data[MetadataIndex("list.1", [0])].relative_path = path

        with open_checkpoint(edited(folder, edit)) as checkpoint:
            assert "missing-shard" in codes(checkpoint)
            with pytest.raises(CheckpointError, match="no plain name"):
                checkpoint["/list/1"].numpy(copy=True)

    @pytest.mark.parametrize(("offset", "length"), [(10**9, 10), (0, 10**12), (3, 2000), (-1, 5), (0, -5), (True, 3)])
    def test_places_that_are_none(self, folder, offset, length):
        def edit(metadata):
            info = metadata.storage_data[MetadataIndex("list.1", [0])]
            info.offset, info.length = offset, length

        with open_checkpoint(edited(folder, edit)) as checkpoint:
            with pytest.raises(CheckpointError):
                checkpoint["/list/1"].numpy(copy=True)
            assert codes(checkpoint) & {"truncated-shard", "bad-metadata", "missing-storage"} or offset == 3
            assert look_at_all(checkpoint)

    def test_a_part_of_another_shape_is_refused(self, folder):
        def edit(metadata):
            data = metadata.storage_data
            data[MetadataIndex("list.1", [0])] = data[MetadataIndex("half", [0])]

        with (
            open_checkpoint(edited(folder, edit)) as checkpoint,
            pytest.raises(Damaged, match=r"is no float32 tensor of size \[4\]"),
        ):
            checkpoint["/list/1"].numpy(copy=True)

    def test_a_part_that_names_more_than_tensors_is_refused(self, folder, tmp_path):
        done = tmp_path / "done"

        class Evil:
            def __reduce__(self):
                return (Path.touch, (done,))

        torch.save([Evil(), torch.arange(4.0)], tmp_path / "evil")
        evil = (tmp_path / "evil").read_bytes()
        (folder / "evil").write_bytes(evil)

        def edit(metadata):
            for key in (MetadataIndex("list.1", [0]), MetadataIndex("epoch")):
                info = metadata.storage_data[key]
                info.relative_path, info.offset, info.length = "evil", 0, len(evil)

        with open_checkpoint(edited(folder, edit)) as checkpoint:
            with pytest.raises(Damaged, match="no tensor does"):
                checkpoint["/list/1"].numpy(copy=True)
            assert any(use.status != "known" for use in checkpoint.contents.globals)
            look_at_all(checkpoint)
        assert not done.exists()

    def test_metadata_that_are_something_else_are_shown(self, folder, tmp_path):
        done = tmp_path / "done"

        class Evil:
            def __reduce__(self):
                return (Path.touch, (done,))

        (folder / ".metadata").write_bytes(pickle.dumps({"x": Evil()}))
        with open_checkpoint(folder) as checkpoint:
            assert codes(checkpoint) == {"bad-metadata"}
            assert checkpoint["/x"].kind == "object"
        assert not done.exists()

    def test_extensions_are_named(self, folder):
        def edit(metadata):
            metadata.storage_data[MetadataIndex("list.1", [0])].transform_descriptors = ["stream.zstd/1"]

        with open_checkpoint(edited(folder, edit)) as checkpoint:
            assert codes(checkpoint) == {"transformed"}
            with pytest.raises(Unsupported, match=r"stream\.zstd/1"):
                checkpoint["/list/1"].numpy(copy=True)

    def test_paths_that_lead_nowhere_stay_flat(self, folder):
        def edit(metadata):
            metadata.planner_data["list.1"] = ("epoch", "x")
            metadata.planner_data["half"] = ("far", 10**9)
            metadata.planner_data["turned"] = ("deep",) * 1000
            del metadata.planner_data["list.0"]

        with open_checkpoint(edited(folder, edit)) as checkpoint:
            assert codes(checkpoint) == {"planner-path"}
            assert checkpoint["/list.1"].shape == (4,)
            assert checkpoint["/turned"].shape == (4, 3)
            assert checkpoint["/list.0"].value == 1
            assert checkpoint["/far/1000000000"].shape == (5,)

    def test_only_so_many_objects_are_opened(self, folder, monkeypatch):
        monkeypatch.setattr(distributed, "MOST_OBJECTS", 3)
        with open_checkpoint(folder) as checkpoint:
            assert codes(checkpoint) == {"objects-not-opened"}
            assert "not opened" in checkpoint["/epoch"].value.text

    def test_one_costly_object_is_not_opened_again_and_again(self, folder, tmp_path, monkeypatch):
        monkeypatch.setattr(parts, "MEMORY", 0)
        torch.save([[] for _ in range(20_000)], tmp_path / "costly")
        costly = (tmp_path / "costly").read_bytes()
        (folder / "costly").write_bytes(costly)

        def edit(metadata):
            for index, info in metadata.storage_data.items():
                if index.offset is None:
                    info.relative_path, info.offset, info.length = "costly", 0, len(costly)

        with open_checkpoint(edited(folder, edit)) as checkpoint:
            assert codes(checkpoint) == {"objects-not-opened"}
            assert len(checkpoint.outline) < 5 * 20_000

    def test_a_file_that_nobody_mentions(self, folder):
        shutil.copy(folder / "__0_0.distcp", folder / "__7_0.distcp")
        with open_checkpoint(folder) as checkpoint:
            assert codes(checkpoint) == {"unused-shard"}

    @pytest.mark.parametrize("mask", [0x01, 0xFF])
    def test_any_damaged_byte_is_refused_or_shown(self, folder, mask):
        data = (folder / ".metadata").read_bytes()
        for position in range(0, len(data), 11):
            broken = bytearray(data)
            broken[position] ^= mask
            (folder / ".metadata").write_bytes(broken)
            with suppress(CheckpointError), open_checkpoint(folder) as checkpoint:
                look_at_all(checkpoint)
                read_all(checkpoint, 3)
