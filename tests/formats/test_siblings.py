"""Names that say that a file is one of several."""

from __future__ import annotations

import pytest
import torch

from ckpt_viewer.formats import open_checkpoint
from ckpt_viewer.formats.siblings import family, note_for


@pytest.mark.parametrize(
    ("name", "others", "mine", "present", "missing", "total"),
    [
        ("model_rank0_of_4.pt", ["model_rank1_of_4.pt"], (0,), [(1,)], [(2,), (3,)], 4),
        ("rng_state_1.pth", ["rng_state_0.pth", "rng_state_3.pth"], (1,), [(0,), (3,)], [(2,)], None),
        ("random_states_0.pkl", ["random_states_1.pkl"], (0,), [(1,)], [], None),
        ("mp_rank_00_model_states.pt", ["mp_rank_01_model_states.pt"], (0,), [(1,)], [], None),
        (
            "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt",
            ["bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt", "bf16_zero_pp_rank_1_mp_rank_01_optim_states.pt"],
            (0, 0), [(1, 0), (1, 1)], [(0, 1)], None,
        ),
        ("pytorch_model-00002-of-00003.bin", ["pytorch_model-00003-of-00003.bin"], (2,), [(3,)], [(1,)], 3),
        ("model_world_size_2_rank_1.pt", [], (1,), [], [(0,)], 2),
        ("epoch_3_rank_0.pt", ["epoch_4_rank_1.pt", "epoch_3_rank_1.pt"], (0,), [(1,)], [], None),
    ],
)  # fmt: skip
def test_ranks_and_shards(name, others, mine, present, missing, total):
    found = family(name, [*others, name, "config.json"])
    assert found is not None
    assert (found.mine, found.present, found.missing, found.total) == (mine, present, missing, total)


@pytest.mark.parametrize(
    "name",
    [
        "model_3.pth",
        "checkpoint-100.pt",
        "ranker.pt",
        "frank1.pt",
        "epoch=2-step=9.ckpt",
        "v1_of_mine.pt",
        "compartment3",
    ],
)
def test_names_of_whole_files(name):
    assert family(name, [name, name.replace("1", "2")]) is None


def test_a_set_that_claims_to_be_huge_is_not_counted():
    found = family("x_rank_0_of_999999.pt", [])
    assert found is not None
    assert (found.total, found.missing) == (999999, [])
    assert family("x_rank_99999999999999999999.pt", []).missing == []


def test_a_lone_rank_names_the_others(tmp_path):
    for rank in (0, 2):
        torch.save({"x": torch.ones(2)}, tmp_path / f"state_rank{rank}_of_4.pt")
    with open_checkpoint(tmp_path / "state_rank2_of_4.pt") as checkpoint:
        (finding,) = checkpoint.findings
    assert (finding.severity, finding.code, finding.path) == ("warning", "one-of-several", ())
    assert finding.message == (
        "this file is rank 2 of 4, rank 0 is beside it, ranks 1 and 3 are missing; open the folder to see them as one"
    )


def test_the_only_one_of_its_kind_says_nothing(tmp_path):
    torch.save({"x": torch.ones(2)}, tmp_path / "mp_rank_00_model_states.pt")
    with open_checkpoint(tmp_path / "mp_rank_00_model_states.pt") as checkpoint:
        assert not checkpoint.findings
    assert note_for(str(tmp_path / "gone" / "rank_0.pt")) is None
