"""torch.package archives: as torch writes them, by hand, and hostile."""

from __future__ import annotations

from typing import ClassVar

import pytest
from archives import package
from builders import floats, integer, many, mapped, name, pickled, tensor, text
from contract import VALUES, FormatContract
from opening import open_bytes
from torch_oracle import tensors_of

from ckpt_viewer.core.value import Instance
from ckpt_viewer.errors import CheckpointError, NotACheckpoint
from ckpt_viewer.formats import open_checkpoint

DATA = floats(*VALUES)
BODY = pickled(mapped((text("weight"), tensor()), (text("epoch"), integer(3))), 3)


def codes(checkpoint) -> set[str]:
    return {finding.code for finding in checkpoint.findings}


class TestTorchPackage(FormatContract):
    name = "torch-package"
    entries: ClassVar = {
        (): None,
        ("model/model.pkl",): None,
        ("model/model.pkl", "weight"): None,
        ("model/model.pkl", "epoch"): 3,
        ("net.py",): "class Net: ...",
        (".data/extern_modules",): "torch\n",
    }

    def file(self) -> bytes:
        return package({"model/model.pkl": BODY, "net.py": b"class Net: ..."}, {"0": DATA})

    def long_file(self) -> bytes:
        return package({"m.pkl": pickled(mapped(*((text(str(n)), integer(n)) for n in range(500))), 3)}, {})


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_what_torch_writes(tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    path = tmp_path / "net.pt"
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    shared = {"weight": net[0].weight, "lr": 0.5}
    with torch.package.PackageExporter(str(path)) as exporter:
        exporter.extern("**")
        exporter.save_pickle("model", "model.pkl", net)
        exporter.save_pickle("extra", "opt.pkl", shared)
        exporter.save_text("docs", "readme.txt", "hello")
        exporter.save_binary("docs", "raw.bin", b"\0\1\2")
        exporter.save_source_string("acme.net", "import os\n")
    loaded = torch.package.PackageImporter(str(path)).load_pickle("model", "model.pkl")
    with open_checkpoint(path) as checkpoint:
        state = checkpoint.state_dict()
        assert list(state) == list(loaded.state_dict())
        for key, value in loaded.state_dict().items():
            assert state[key].numpy(copy=True).tolist() == value.tolist()
        ours = [value for _, value in checkpoint.outline.tensors()]
        assert len(ours) == len(list(tensors_of(loaded))) + 1
        other = checkpoint["/extra~1opt.pkl/weight"].value
        assert other.storage is state["0.weight"].value.storage
        assert checkpoint["/docs~1readme.txt"].value == "hello"
        assert checkpoint["/docs~1raw.bin"].value.text == "3 bytes"
        assert checkpoint["/acme~1net.py"].value == "import os\n"
        assert {"program"} == codes(checkpoint)
    with pytest.raises(RuntimeError) as refused:
        torch.load(path, weights_only=True)
    assert checkpoint.contents.weights_only_says in str(refused.value)
    assert "torch.package" in checkpoint.contents.weights_only


def test_reduced_objects_are_calls_that_nobody_makes(tmp_path):
    canary = tmp_path / "canary"
    arguments = many(text(f"touch {canary}"))
    for head in ((text("reduce_package"), integer(0)), (text("reduce_package"),)):
        pid = many(*head, name("os", "system"), arguments) + b"Q"
        checkpoint = open_bytes(package({"m.pkl": pickled(mapped((text("x"), pid)), 3)}, {}))
        value = checkpoint["/m.pkl/x"].value
        assert isinstance(value, Instance)
        assert value.type == "os.system"
        assert {use.name: use.status for use in checkpoint.contents.globals} == {"os.system": "dangerous"}
    assert not canary.exists()


def test_a_reduced_object_that_we_know_is_shown_as_such():
    size = many(text("reduce_package"), integer(0), name("torch", "Size"), many(many(integer(2), integer(3)))) + b"Q"
    checkpoint = open_bytes(package({"m.pkl": pickled(mapped((text("x"), size)), 3)}, {}))
    assert checkpoint["/m.pkl/x"].value.items == [2, 3]


def test_a_broken_pickle_is_named_and_the_others_are_read():
    checkpoint = open_bytes(package({"a.pkl": BODY[:-5], "b.pkl": BODY}, {"0": DATA}))
    assert checkpoint["/b.pkl/epoch"].value == 3
    assert [f.path for f in checkpoint.findings if f.code == "unreadable-member"] == [("a.pkl",)]


def test_a_missing_storage_is_an_error_of_its_tensor():
    checkpoint = open_bytes(package({"m.pkl": BODY}, {}))
    assert "missing-storage" in codes(checkpoint)
    with pytest.raises(CheckpointError):
        checkpoint["/m.pkl/weight"].numpy(copy=True)


def test_a_package_without_a_pickle_is_named():
    with pytest.raises(NotACheckpoint, match="source code"):
        open_bytes(package({"net.py": b"class Net: ..."}, {}))


def test_bytes_behind_a_pickle_are_a_finding():
    assert "trailing-bytes" in codes(open_bytes(package({"m.pkl": BODY + b"more"}, {"0": DATA})))
