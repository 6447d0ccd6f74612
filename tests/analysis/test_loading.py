"""Where a checkpoint would load: torch.load's own answers, in its own words."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from builders import mapped, pickled, save, tensor, text, zip_checkpoint
from opening import open_bytes

from ckpt_viewer.analysis.loaders import load_error
from ckpt_viewer.analysis.loading import distinct_storages, load_code, load_problems, targets
from ckpt_viewer.formats import open_checkpoint

HERE = ["cpu", *(f"cuda:{n}" for n in range(torch.cuda.device_count())), *(["mps"] if torch.mps.is_available() else [])]
TAGS = ["cpu", "meta", "cuda:0", "cuda:1", "cuda", "mps", "mps:0", "hpu:0", "hpu", "xpu:1", "mtia", "mtia:1", "npu:0",
        "privateuseone", "cuda0", "mtia0", "mpsX", "cpu:0", "", "gpu", "CUDA:0", "cuda:99"]  # fmt: skip


def refusal(path, map_location=None) -> str:
    """What torch.load raises; "" if it loads."""
    try:
        torch.load(path, map_location=map_location)
    except (RuntimeError, AssertionError) as error:
        return str(error)
    return ""


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_tag_fails_here_as_it_does_in_torch(tmp_path, tag, legacy):
    path = save({"a": torch.rand(2)}, tmp_path / "m.pth", tag=tag, legacy=legacy)
    with open_checkpoint(path) as checkpoint:
        problems = load_problems(checkpoint, HERE)
    theirs = refusal(path)
    assert [(problem.tag, problem.target) for problem in problems] == ([(tag, tag)] if theirs else [])
    assert all(problem.message in theirs for problem in problems)


@pytest.mark.parametrize("target", [None, "cpu", "cuda:0", "meta", "gpu", {"cuda:1": "cpu"}, {"cuda": "cpu"}], ids=str)
def test_a_map_location_fails_here_as_it_does_in_torch(tmp_path, target):
    path = save({"a": torch.rand(2)}, tmp_path / "m.pth", tag="cuda:1")
    with open_checkpoint(path, target) as checkpoint:
        problems = load_problems(checkpoint, HERE)
    theirs = refusal(path, target)
    assert len(problems) == bool(theirs)
    assert all(problem.message in theirs for problem in problems)


@pytest.mark.parametrize(
    ("target", "devices", "words"),
    [
        ("cuda:1", ["cpu", "cuda:0"], "CUDA device 1 but torch.cuda.device_count() is 1"),
        ("cuda", ["cpu", "cuda:0"], ""), ("cuda:0", ["cpu", "cuda:0"], ""), ("mps", ["cpu", "mps"], ""),
        ("xpu:3", ["cpu", "xpu:0", "xpu:1"], "XPU device 3 but torch.xpu.device_count() is 2"),
        ("cuda:" + "9" * 5000, ["cpu", "cuda:0"], "CUDA device 999999999 but"), ("cuda:0", None, ""),
        ("gpu", None, "don't know"), ("cpu", [], ""), ("meta", [], ""),
    ],
)  # fmt: skip
def test_errors_on_other_machines(target, devices, words):
    error = load_error(target, devices)
    assert error == words if not words else words in error


def file_of(*tags: str) -> bytes:
    body = mapped(*((text(f"t{n}"), tensor((n + 1,), key=str(n), location=tag)) for n, tag in enumerate(tags)))
    return zip_checkpoint(pickled(body), {str(n): bytes(4 * n + 4) for n in range(len(tags))})


def test_targets_are_summed_in_order_of_appearance():
    checkpoint = open_bytes(file_of("cuda:1", "cpu", "cuda:1", "mps"), {"mps": "cpu"})
    assert targets(checkpoint) == {("cuda:1", "cuda:1"): 16, ("cpu", "cpu"): 8, ("mps", "cpu"): 16}
    assert list(targets(checkpoint)) == [("cuda:1", "cuda:1"), ("cpu", "cpu"), ("mps", "cpu")]


def test_each_tag_is_reported_once():
    problems = load_problems(open_bytes(file_of("cuda:1", "cuda:1", "cuda:0", "cpu")), ["cpu"])
    assert [problem.tag for problem in problems] == ["cuda:1", "cuda:0"]


def test_parts_of_sparse_tensors_have_storages_too(tmp_path):
    path = save({"s": torch.eye(3).to_sparse()}, tmp_path / "m.pth", tag="cuda:0")
    with open_checkpoint(path) as checkpoint:
        assert len(list(distinct_storages(checkpoint))) == 2
        assert load_problems(checkpoint, ["cpu"])[0].tag == "cuda:0"


@pytest.mark.parametrize(
    ("map_location", "expected"),
    [(None, 'torch.load("model_3.pth")'), ("cpu", 'torch.load("model_3.pth", map_location="cpu")'),
     ({"cuda:1": "cpu"}, 'torch.load("model_3.pth", map_location={"cuda:1": "cpu"})')],
)  # fmt: skip
def test_the_line_of_code(map_location, expected):
    checkpoint = open_bytes(file_of("cuda:1"), map_location, name="some/folder/model_3.pth")
    assert load_code(checkpoint) == expected


def test_the_line_of_code_can_be_run(tmp_path, monkeypatch):
    path = save({"a": torch.arange(3)}, tmp_path / 'it\'s "quoted" é.pth', tag="cuda:1")
    monkeypatch.chdir(tmp_path)
    for map_location in ("cpu", {"cuda:1": "cpu"}, lambda storage, location: storage):
        with open_checkpoint(path, map_location) as checkpoint:
            loaded = eval(load_code(checkpoint), {"torch": torch})
        assert loaded["a"].tolist() == [0, 1, 2]


def test_a_name_that_would_run_code_does_not():
    evil = 'x"); __import__("os").system("true") or torch.load("x.pth'
    line = load_code(open_bytes(file_of("cpu"), name=evil))
    assert eval(line, {"torch": type("T", (), {"load": staticmethod(lambda name: name)})}) == evil


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_the_line_of_code_for_folders(tmp_path, monkeypatch):
    import torch.distributed.checkpoint as dcp
    import torch.distributed.checkpoint.format_utils

    monkeypatch.chdir(tmp_path)
    dcp.save({"a": torch.arange(3)}, storage_writer=dcp.FileSystemWriter("run 1"), no_dist=True)
    with open_checkpoint("run 1/") as checkpoint:
        first, second = load_code(checkpoint).split("; ")
    eval(first, {"torch": torch})
    assert eval(second, {"torch": torch})["a"].tolist() == [0, 1, 2]
    Path("run 1/.metadata").rename("run 1/__0.metadata")  # torch makes no file of what ranks have saved apart
    with open_checkpoint("run 1") as checkpoint:
        assert load_code(checkpoint) == 'ckpt_viewer.open_checkpoint("run 1")'
    with open_checkpoint(tmp_path) as checkpoint:
        assert (checkpoint.format, load_code(checkpoint)) == ("folder", "")
