"""A trainer's folder opens as one tree, and roles join across its files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

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
        assert "no checkpoint: this is a text file" in checkpoint["/README.md"].value.text
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
    with pytest.raises(OverBudget, match="more than 4 files"):
        open_checkpoint(run)
