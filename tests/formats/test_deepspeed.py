"""DeepSpeed's folders: the step that ``latest`` names, ranks in order, and ranks that are missing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ckpt_viewer.analysis.overview import overview
from ckpt_viewer.formats import open_checkpoint


def step(folder: Path, ranks: int = 3, models: int = 1, stage: int = 1) -> Path:
    """Write what the ranks of one step leave."""
    folder.mkdir(parents=True)
    for model in range(models):
        module = {"layer.weight": torch.full((2, 3), float(model)), "layer.bias": torch.zeros(2)}
        states = {
            "module": module,
            "optimizer": None,
            "lr_scheduler": {"last_epoch": 3, "_step_count": 4},
            "global_steps": 7,
            "dp_world_size": ranks,
            "mp_world_size": models,
            "ds_version": "0.16.0",
        }
        for rank in range(ranks) if stage == 3 else [None]:
            part = f"zero_pp_rank_{rank}_" if rank is not None else ""
            torch.save(states, folder / f"{part}mp_rank_{model:02}_model_states.pt")
        for rank in range(ranks):
            group = {"lr": 0.1, "params": [0]}
            state = {"state": {0: {"step": torch.tensor(7.0), "exp_avg": torch.ones(4)}}, "param_groups": [group]}
            optimizer = {"base_optimizer_state": state, "zero_stage": stage, "partition_count": ranks}
            name = f"bf16_zero_pp_rank_{rank}_mp_rank_{model:02}_optim_states.pt"
            torch.save({"optimizer_state_dict": optimizer, "ds_version": "0.16.0"}, folder / name)
    return folder


@pytest.fixture
def run(tmp_path) -> Path:
    folder = tmp_path / "run"
    step(folder / "global_step7", ranks=11)
    step(folder / "global_step5")
    (folder / "latest").write_text("global_step7\n")
    (folder / "zero_to_fp32.py").write_text("print()\n")
    return folder


def codes(checkpoint) -> set[str]:
    return {finding.code for finding in checkpoint.findings}


def test_latest_says_which_step_is_opened(run):
    with open_checkpoint(run) as checkpoint:
        assert checkpoint.format == "folder"
        assert [node.name for node in checkpoint.root.children] == [
            "latest", "zero_to_fp32.py", "global_step5", "global_step7",
        ]  # fmt: skip
        assert checkpoint["/latest"].value == "global_step7"
        assert checkpoint["/global_step5"].value.text == "not opened, since latest names 'global_step7'"
        assert codes(checkpoint) == {"other-steps"}
        files = [each for each in run.rglob("*") if each.is_file() and each.parent.name != "global_step5"]
        assert checkpoint.size == sum(each.stat().st_size for each in files)


def test_models_come_first_and_ranks_are_in_order(run):
    with open_checkpoint(run) as checkpoint:
        names = [node.name for node in checkpoint["/global_step7"].children]
        assert names[0] == "mp_rank_00_model_states.pt"
        assert names[1:] == [f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt" for rank in range(11)]


def test_roles_join_across_the_ranks(run):
    with open_checkpoint(run) as checkpoint:
        view = overview(checkpoint)
        assert view.kind == "training checkpoint"
        assert view.parameters == 8
        assert view.roles["model"] == [("global_step7", "mp_rank_00_model_states.pt", "module")]
        assert len(view.roles["optimizer"]) == 11
        assert list(checkpoint.state_dict()) == ["layer.weight", "layer.bias"]


def test_a_step_can_be_opened_by_itself(run):
    with open_checkpoint(run / "global_step5") as checkpoint:
        assert not checkpoint.findings
        assert checkpoint["/mp_rank_00_model_states.pt/global_steps"].value == 7


@pytest.mark.parametrize("stage", [1, 3])
def test_missing_ranks_are_named(tmp_path, stage):
    folder = step(tmp_path / "step", ranks=4, stage=stage)
    (folder / "bf16_zero_pp_rank_3_mp_rank_00_optim_states.pt").unlink()
    (folder / "bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt").unlink()
    with open_checkpoint(folder) as checkpoint:
        (finding,) = checkpoint.findings
    assert (finding.code, finding.path) == ("missing-rank", ())
    assert finding.message == "the optimizer states of 2 data-parallel ranks are missing: 1, 3"


def test_model_parallel_ranks(tmp_path):
    folder = step(tmp_path / "step", ranks=2, models=2)
    with open_checkpoint(folder) as checkpoint:
        assert not checkpoint.findings
        assert len(checkpoint.models) == 2
    (folder / "mp_rank_01_model_states.pt").unlink()
    with open_checkpoint(folder) as checkpoint:
        assert [finding.message for finding in checkpoint.findings] == [
            "the model states of 1 model-parallel ranks are missing: 1"
        ]


@pytest.mark.parametrize("tag", ["../outside", "global_step9", "", ".", "global_step7/..", "x" * 5000, "latest"])
def test_latest_never_leads_elsewhere(run, tag):
    step(run.parent / "outside")
    (run / "latest").write_text(tag)
    with open_checkpoint(run) as checkpoint:
        names = [node.name for node in checkpoint.root.children]
        assert names == ["latest", "zero_to_fp32.py", "global_step5", "global_step7"]
        assert checkpoint["/global_step5/mp_rank_00_model_states.pt/global_steps"].value == 7
        assert all("outside" not in str(outline) for outline in checkpoint.outline.steps)


def test_a_lone_file_names_its_siblings(run):
    with open_checkpoint(run / "global_step5" / "bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt") as checkpoint:
        (finding,) = checkpoint.findings
    assert finding.code == "one-of-several"
    assert finding.message.startswith("this file is rank 1/0, ranks 0/0 and 2/0 are beside it")
