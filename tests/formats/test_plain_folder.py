"""A trainer's folder opens as one tree, and roles join across its files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from builders import pickled, zip_checkpoint

from ckpt_viewer.analysis.overview import overview
from ckpt_viewer.core.finding import Finding
from ckpt_viewer.errors import Cancelled, CannotExport, NotACheckpoint, OverBudget
from ckpt_viewer.export.plan import plan_remap
from ckpt_viewer.formats import open_checkpoint, plain_folder


@pytest.fixture
def run(tmp_path):
    """What a trainer leaves: model, optimizer and scheduler in files of their own, its progress as JSON."""
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    folder = tmp_path / "checkpoint-7"
    folder.mkdir()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    torch.save(optimizer.state_dict(), folder / "optimizer.pt", _use_new_zipfile_serialization=False)
    torch.save(scheduler.state_dict(), folder / "scheduler.pt")
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": 7, "epoch": 1.5, "log_history": []}))
    (folder / "README.md").write_text("# A model\n")
    return folder


def open_files(folder: Path) -> int:
    """How many files of a folder this process has open."""
    links = [os.path.realpath(each) for each in Path("/proc/self/fd").iterdir()]
    return sum(link.startswith(f"{folder}/") for link in links)


def codes(findings: tuple[Finding, ...]) -> set[str]:
    return {finding.code for finding in findings}


def test_each_file_is_a_child(run):
    with open_checkpoint(run) as checkpoint:
        assert checkpoint.format == "folder"
        assert checkpoint.size == sum(each.stat().st_size for each in run.iterdir())
        assert [node.name for node in checkpoint.root.children] == [
            "README.md", "optimizer.pt", "pytorch_model.bin", "scheduler.pt", "trainer_state.json",
        ]  # fmt: skip
        assert checkpoint["/README.md"].value.text == "10 B, no checkpoint"
        assert not checkpoint.findings


def test_roles_join_across_files(run):
    with open_checkpoint(run) as checkpoint:
        view = overview(checkpoint)
    assert view.kind == "training checkpoint"
    assert view.parameters == 8
    assert view.roles["model"] == [("pytorch_model.bin",)]
    assert view.roles["optimizer"] == [("optimizer.pt",)]
    assert view.roles["lr_scheduler"] == [("scheduler.pt",)]
    assert view.roles["progress"] == [("trainer_state.json", "global_step"), ("trainer_state.json", "epoch")]


def test_tensors_have_their_values_and_their_storages_names_of_their_own(run):
    saved = torch.load(run / "pytorch_model.bin")
    moments = torch.load(run / "optimizer.pt")["state"][0]["exp_avg"]
    with open_checkpoint(run) as checkpoint:
        assert checkpoint["/pytorch_model.bin/weight"].numpy(copy=True).tolist() == saved["weight"].tolist()
        assert checkpoint["/pytorch_model.bin/weight"].numpy().tolist() == saved["weight"].tolist()
        assert checkpoint["/optimizer.pt/state/0/exp_avg"].numpy(copy=True).tolist() == moments.tolist()
        storages = [tensor.storage.unique_key for _, tensor in checkpoint.outline.tensors()]
    assert len(set(storages)) == len(storages) == 8
    assert "pytorch_model.bin!0" in storages


def test_weights_only_is_refused_where_it_is_for_any_file(run):
    with open_checkpoint(run) as checkpoint:
        assert checkpoint.contents.weights_only == ""
    torch.save(torch.nn.Linear(2, 2), run / "whole.pt")
    with open_checkpoint(run) as checkpoint:
        assert "torch.nn.modules.linear.Linear" in checkpoint.contents.weights_only


def test_its_state_dict_is_the_models(run):
    with open_checkpoint(run) as checkpoint:
        assert list(checkpoint.state_dict()) == ["weight", "bias"]
        with pytest.raises(CannotExport, match="remap the files"):
            plan_remap(checkpoint, "cpu")


def test_folders_below_are_children_too(run):
    with open_checkpoint(run.parent) as checkpoint:
        assert [node.name for node in checkpoint.root.children] == ["checkpoint-7"]
        assert checkpoint["/checkpoint-7/trainer_state.json/global_step"].value == 7
        storage = checkpoint["/checkpoint-7/pytorch_model.bin/bias"].storage
        assert storage is not None
        assert storage.unique_key == "checkpoint-7/pytorch_model.bin!1"


def test_a_damaged_file_is_named_and_the_rest_opens(run):
    (run / "optimizer.pt").write_bytes((run / "optimizer.pt").read_bytes()[:100])
    (run / "trainer_state.json").write_text("{")
    with open_checkpoint(run) as checkpoint:
        assert codes(checkpoint.findings) == {"unreadable-file"}
        assert [finding.path for finding in checkpoint.findings] == [("optimizer.pt",), ("trainer_state.json",)]
        assert list(checkpoint.state_dict()) == ["weight", "bias"]


def test_a_folder_without_a_checkpoint_says_what_is_in_it(tmp_path):
    with pytest.raises(NotACheckpoint, match="this folder is empty"):
        open_checkpoint(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(NotACheckpoint, match=r"no checkpoint in this folder \('config.json', 'notes.txt'\)"):
        open_checkpoint(tmp_path)


def test_every_file_is_given_back(run, tmp_path):
    checkpoint = open_checkpoint(run)
    assert open_files(run) == 5
    checkpoint.close()
    assert open_files(run) == 0
    (run / "pytorch_model.bin").unlink()
    for each in run.glob("*.pt"):
        each.unlink()
    with pytest.raises(NotACheckpoint):
        open_checkpoint(run)
    assert open_files(run) == 0


def test_opening_can_be_cancelled(run):
    class Stop:
        def step(self, done, total):
            raise Cancelled

    with pytest.raises(Cancelled):
        open_checkpoint(run, context=Stop())


def test_too_many_files_are_refused(run, monkeypatch):
    monkeypatch.setattr(plain_folder, "MOST_FILES", 4)
    monkeypatch.setattr(plain_folder.Walk, "file", lambda *_: pytest.fail("a file was opened"))
    with pytest.raises(OverBudget, match="more than 4 files"):
        open_checkpoint(run)


class TestFoldersInFolders:
    """What accelerate, FSDP and diffusers leave: checkpoints that are folders, inside a trainer's folder."""

    @pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
    def test_a_distributed_checkpoint_below_opens_as_one(self, run):
        dcp = pytest.importorskip("torch.distributed.checkpoint")
        state = {"model": {"layer.weight": torch.arange(6.0).reshape(2, 3)}}
        dcp.save(state, storage_writer=dcp.FileSystemWriter(run / "pytorch_model_fsdp_0"), no_dist=True)
        with open_checkpoint(run) as checkpoint:
            node = checkpoint["/pytorch_model_fsdp_0/model/layer.weight"]
            assert node.numpy(copy=True).tolist() == [[0, 1, 2], [3, 4, 5]]
            assert node.storage is not None
            assert node.storage.unique_key == "pytorch_model_fsdp_0/model.layer.weight"
            assert checkpoint.size == sum(each.stat().st_size for each in run.rglob("*") if each.is_file())
            assert ("pytorch_model_fsdp_0", "model") in overview(checkpoint).roles["model"]

    def test_a_broken_one_below_is_named_and_the_rest_opens(self, run):
        below = run / "pytorch_model_fsdp_0"
        below.mkdir()
        (below / "__0_0.distcp").write_bytes(b"PK")
        with open_checkpoint(run) as checkpoint:
            assert codes(checkpoint.findings) == {"unreadable-folder"}
            assert checkpoint["/pytorch_model_fsdp_0"].value.text == "cannot be read"
            assert "weight" in checkpoint.state_dict()

    def test_a_sharded_set_is_one_child_and_its_files_are_short(self, run):
        for number, name in ((1, "a"), (2, "b")):
            torch.save({f"{name}.weight": torch.full((2,), float(number))}, run / f"model-0000{number}-of-00002.bin")
        weight_map = {f"{name}.weight": f"model-0000{number}-of-00002.bin" for number, name in ((1, "a"), (2, "b"))}
        (run / "model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
        with open_checkpoint(run) as checkpoint:
            assert checkpoint["/model.bin.index.json/b.weight"].numpy(copy=True).tolist() == [2, 2]
            assert "a part of 'model.bin.index.json'" in checkpoint["/model-00001-of-00002.bin"].value.text
            assert checkpoint.size == sum(each.stat().st_size for each in run.iterdir())
            (run / "model.bin.index.json").write_text('{"weight_map": 3}')
        with open_checkpoint(run) as checkpoint:
            assert "unreadable-set" in codes(checkpoint.findings)
            assert checkpoint["/model-*-of-00002.bin/a.weight"].shape == (2,)

    def test_numbers_in_names_count_as_numbers(self, run):
        for rank in (0, 2, 10):
            torch.save({"cpu": torch.zeros(3, dtype=torch.uint8)}, run / f"rng_state_{rank}.pth")
        with open_checkpoint(run) as checkpoint:
            names = [node.name for node in checkpoint.root.children]
        assert [name for name in names if "rng" in name] == ["rng_state_0.pth", "rng_state_2.pth", "rng_state_10.pth"]

    def test_a_pipeline_of_models_is_a_tree_of_models(self, tmp_path):
        for part in ("unet", "vae"):
            (tmp_path / part).mkdir()
            torch.save({"conv.weight": torch.ones(2, 2)}, tmp_path / part / "diffusion_pytorch_model.bin")
            (tmp_path / part / "config.json").write_text("{}")
        (tmp_path / "model_index.json").write_text('{"_class_name": "Pipeline"}')
        with open_checkpoint(tmp_path) as checkpoint:
            assert [model.path for model in checkpoint.models] == [
                ("unet", "diffusion_pytorch_model.bin"), ("vae", "diffusion_pytorch_model.bin"),
            ]  # fmt: skip


# --- sets without an index ----------------------------------------------------------------------------------------


@pytest.fixture
def numbered(run):
    """The same, with the model in two files and no index."""
    state = torch.load(run / "pytorch_model.bin")
    (run / "pytorch_model.bin").unlink()
    for number, (name, value) in enumerate(state.items(), 1):
        torch.save({name: value}, run / f"pytorch_model-0000{number}-of-00002.bin")
    return run


def test_a_set_without_an_index_is_one_model(numbered):
    with open_checkpoint(numbered) as checkpoint:
        names = [node.name for node in checkpoint.root.children]
        assert names[2:5] == [
            "pytorch_model-*-of-00002.bin", "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin",
        ]  # fmt: skip
        assert [node.name for node in checkpoint["/pytorch_model-*-of-00002.bin"].children] == ["weight", "bias"]
        assert "a part of 'pytorch_model-*-of-00002.bin'" in checkpoint["/pytorch_model-00001-of-00002.bin"].value.text
        assert checkpoint.size == sum(each.stat().st_size for each in numbered.iterdir())
        view = overview(checkpoint)
        assert view.kind == "training checkpoint"
        assert view.parameters == 8
        assert view.roles["model"] == [("pytorch_model-*-of-00002.bin",)]
        assert checkpoint["/pytorch_model-*-of-00002.bin/weight"].numpy().shape == (2, 3)
        assert not checkpoint.findings


def test_of_a_set_without_an_index_the_missing_files_are_named(numbered):
    (numbered / "pytorch_model-00001-of-00002.bin").unlink()
    with open_checkpoint(numbered) as checkpoint:
        finding = next(each for each in checkpoint.findings if each.code == "missing-shard")
        assert "'pytorch_model-00001-of-00002.bin'" in finding.message


def test_numbered_files_that_are_no_state_dicts_stay_files(run):
    for number in (1, 2):
        torch.save([torch.ones(number)], run / f"state-{number}-of-2.pt")
    with open_checkpoint(run) as checkpoint:
        assert checkpoint["/state-1-of-2.pt/0"].shape == (1,)


@pytest.mark.parametrize(("kept", "kind"), [
    (("pytorch_model.bin", "config.json"), "state_dict"),
    (("pytorch_model.bin", "optimizer.pt", "config.json"), "training checkpoint"),
    (("pytorch_model.bin", "trainer_state.json"), "training checkpoint"),
    (("optimizer.pt",), "optimizer state"),
])  # fmt: skip
def test_what_kind_of_folder_it_is(run, kept, kind):
    (run / "config.json").write_text(json.dumps({"architectures": ["Net"], "hidden_size": 3}))
    for each in run.iterdir():
        if each.name not in kept:
            each.unlink()
    with open_checkpoint(run) as checkpoint:
        assert overview(checkpoint).kind == kind


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 9\n", "git lfs pull"),
        (b"", "'model.safetensors' is said: the file is empty"),
        (zip_checkpoint(pickled(b"N"))[:-60], "cut off"),
    ],
)
def test_a_folder_without_a_checkpoint_tells_what_is_there_instead(tmp_path, data, words):
    """As a clone of a repository without Git LFS leaves it."""
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(NotACheckpoint, match=words) as refused:
        open_checkpoint(tmp_path)
    assert str(refused.value).count("; ") == 1
