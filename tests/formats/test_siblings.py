"""Names that say that a file is one of several."""

from __future__ import annotations

import pytest
import torch

from ckpt_viewer.analysis.overview import overview
from ckpt_viewer.formats import open_checkpoint
from ckpt_viewer.formats.siblings import family, folder_family, missing_ranks, note_for


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


# --- ranks that have folders of their own -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "others", "mine", "present", "missing"),
    [
        ("mp_rank_00", ["mp_rank_01", "mp_rank_03"], (0,), [(1,), (3,)], [(2,)]),
        ("mp_rank_00_001", ["mp_rank_00_000", "mp_rank_01_000"], (0, 1), [(0, 0), (1, 0)], [(1, 1)]),
        ("mp_rank_01_000_002", ["mp_rank_00"], (1, 0, 2), [], [(0, 0, 0), (0, 0, 1), (0, 0, 2), (1, 0, 0), (1, 0, 1)]),
        ("rank_0", ["rank_1", "ranking_2"], (0,), [(1,)], []),
    ],
)
def test_folders_of_ranks(name, others, mine, present, missing):
    found = folder_family(name, [*others, name])
    assert found is not None
    assert (found.mine, found.present, found.missing) == (mine, present, missing)


@pytest.mark.parametrize("name", ["frank1", "ranks", "checkpoint-3", "mp_rank_00_states", "rank"])
def test_names_of_other_folders(name):
    assert folder_family(name, [name, "rank_0"]) is None
    assert missing_ranks([name]) == ""


@pytest.fixture
def megatron(tmp_path):
    """Three of the four ranks of two by two; a fifth folder has another file."""
    for rank in ("00_000", "00_001", "01_000"):
        folder = tmp_path / "iter_0001000" / f"mp_rank_{rank}"
        folder.mkdir(parents=True)
        torch.save({"iteration": 1000, "model": {"w": torch.ones(2)}}, folder / "model_optim_rng.pt")
    other = tmp_path / "iter_0001000" / "mp_rank_01_001"
    other.mkdir()
    (other / "distrib_optim.pt").write_bytes(b"")
    return tmp_path / "iter_0001000"


def test_a_file_in_a_folder_of_its_rank_names_the_others(megatron):
    with open_checkpoint(megatron / "mp_rank_00_001" / "model_optim_rng.pt") as checkpoint:
        finding = next(each for each in checkpoint.findings if each.code == "one-of-several")
    assert finding.message == (
        "this file is rank 0/1, ranks 0/0 and 1/0 are beside it, rank 1/1 is missing; "
        "open the folder 'iter_0001000' to see them as one"
    )


def test_the_folder_of_all_ranks_names_those_that_are_missing(megatron):
    with open_checkpoint(megatron) as checkpoint:
        assert "missing-rank" not in {each.code for each in checkpoint.findings}
    (megatron / "mp_rank_01_001" / "distrib_optim.pt").unlink()
    (megatron / "mp_rank_01_001").rmdir()
    with open_checkpoint(megatron.parent) as checkpoint:
        finding = next(each for each in checkpoint.findings if each.code == "missing-rank")
    assert (finding.path, finding.message) == (("iter_0001000",), "the folder of rank 1/1 is missing")


def test_the_model_of_several_ranks_is_said_to_be_one(megatron):
    with open_checkpoint(megatron) as checkpoint:
        view = overview(checkpoint)
    models = {pointer: role.detail for pointer, role in view.role_details.items() if role.name == "model"}
    assert models == {
        f"/mp_rank_{rank}/model_optim_rng.pt/model": f"part of rank {text}"
        for rank, text in (("00_000", "0/0"), ("00_001", "0/1"), ("01_000", "1/0"))
    }
    (finding,) = (each for each in view.findings if each.code == "model-of-ranks")
    assert finding.message == "one model is spread over 3 ranks; its number of parameters here is that of rank 0/0"
    with open_checkpoint(megatron / "mp_rank_00_000" / "model_optim_rng.pt") as checkpoint:
        assert "model-of-ranks" not in {each.code for each in overview(checkpoint).findings}
