"""The storage ledger: real files of torch, and what an export makes of them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from builders import mapped, pickled, save, tensor, text, zip_checkpoint
from opening import open_bytes
from torch import nn, optim

from ckpt_viewer.analysis.ledger import Ledger, ledger
from ckpt_viewer.analysis.overview import overview
from ckpt_viewer.formats import open_checkpoint


def book(checkpoint) -> Ledger:
    return ledger(checkpoint, overview(checkpoint).role_rows)


def opened(tmp_path, value, **options):
    return open_checkpoint(save(value, tmp_path / "m.pth", **options))


BASE = torch.arange(10_000.0)


@pytest.mark.parametrize(
    ("value", "used", "finding"),
    [
        ({"a": BASE}, 40_000, ""), ({"a": BASE[:100]}, 400, "this tensor uses 400 B of a storage of 40 kB"),
        ({"a": BASE[:100], "b": BASE[50:150]}, 600, "2 tensors use 600 B of a storage"),
        ({"a": BASE[:5000], "b": BASE[5000:]}, 40_000, ""), ({"a": BASE.view(100, 100)[:, 0]}, 400, "uses 400 B"),
        ({"a": BASE.view(100, 100).t()}, 40_000, ""), ({"a": BASE[:9990]}, 39_960, ""),
        ({"a": torch.ones(1).expand(1000)}, 4, ""), ({"a": BASE[:0]}, 0, "uses 0 B"),
        ({"a": BASE, "b": BASE[:100]}, 40_000, ""), ([BASE[:100], BASE[:100].view(10, 10)], 400, "2 tensors use 400 B"),
        ({"s": torch.eye(300).to_sparse()}, 300 * 4 + 600 * 8, ""),
    ],
    ids=str,
)  # fmt: skip
def test_bytes_that_are_used_and_those_that_are_dragged_along(tmp_path, value, used, finding):
    with opened(tmp_path, value) as checkpoint:
        made, view = book(checkpoint), overview(checkpoint)
    assert made.used == used
    assert made.stored == view.storage_bytes
    told = [each for each in view.findings if each.code == "view-bloat"]
    assert [finding in each.message for each in told] == ([True] if finding else [])


def test_an_export_saves_what_it_is_said_to_save(tmp_path):
    source = save({"a.weight": torch.rand(100_000)[:1000], "a.bias": torch.rand(10)}, tmp_path / "m.pth")
    with open_checkpoint(source) as checkpoint:
        made = book(checkpoint)
    saved = sum(line.wasted for line in made.bloated)
    assert saved == 396_000
    target = tmp_path / "out.pth"
    subprocess.run([sys.executable, "-m", "ckpt_viewer", "export", str(source), "-o", str(target)], check=True,
                   capture_output=True)  # fmt: skip
    assert source.stat().st_size - target.stat().st_size == pytest.approx(saved, abs=2000)


def test_tied_and_aliased_names(tmp_path):
    weight = torch.rand(4, 4)
    with opened(tmp_path, {"a": weight, "b": weight, "c": weight[0], "d": torch.rand(2)}) as checkpoint:
        made = book(checkpoint)
    assert made.tied == [[("a",), ("b",)]]
    assert made.aliased == [[("a",), ("c",)]]


def test_the_share_of_each_role(tmp_path):
    model = nn.Linear(10, 10)
    optimizer = optim.Adam(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.rand_like(parameter)
    optimizer.step()
    value = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "more": [torch.rand(5)]}
    with opened(tmp_path, value) as checkpoint:
        assert book(checkpoint).shares == {"optimizer": 888, "model": 440, "other": 20}


def test_records_that_nothing_refers_to():
    data = zip_checkpoint(
        pickled(mapped((text("a"), tensor((4,))))), {"0": bytes(16), "1": bytes(100), "left": bytes(7)}
    )
    found = [each for each in overview(open_bytes(data)).findings if each.code == "unreferenced-records"]
    assert len(found) == 1
    assert found[0].message.startswith("2 records with 107 B belong to no storage")


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_real_files_leave_nothing_unreferenced(tmp_path, legacy):
    with opened(tmp_path, {"a": torch.rand(3), "b": torch.zeros(0), "c": [1, 2]}, legacy=legacy) as checkpoint:
        assert not overview(checkpoint).findings


def test_what_the_command_says(tmp_path):
    path = save({"model": {"w.weight": torch.rand(10_000)[:10]}, "epoch": 1}, tmp_path / "m.pth")
    done = subprocess.run(
        [sys.executable, "-m", "ckpt_viewer", "ls", "--json", str(path)], capture_output=True, text=True
    )
    (finding,) = [each for each in json.loads(done.stdout)["findings"] if each["code"] == "view-bloat"]
    assert (finding["severity"], finding["path"]) == ("warning", ["model", "w.weight"])
    assert "an export saves 40 kB" in finding["message"]
    done = subprocess.run(
        [sys.executable, "-m", "ckpt_viewer", "check", "--json", str(path)], capture_output=True, text=True
    )
    storage = json.loads(done.stdout)["storage"]
    assert (storage["stored_bytes"], storage["used_bytes"], storage["shares"]) == (40_000, 40, {"model": 40_000})
