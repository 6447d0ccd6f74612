"""TorchScript archives: as torch writes them, by hand, and hostile."""

from __future__ import annotations

import json
from typing import ClassVar

import pytest
from archives import CODE, script_module, script_tensor, torchscript
from builders import call, floats, integer, mapped, name, pickled, text, zip_file
from contract import VALUES, FormatContract
from opening import memory, open_bytes
from scripted import Plain, Shared, Tree

from ckpt_viewer.analysis.overview import overview
from ckpt_viewer.cli import main
from ckpt_viewer.core.module import state_dict_entries
from ckpt_viewer.errors import CheckpointError, Damaged, OverBudget
from ckpt_viewer.formats import open_checkpoint

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore:.*deprecated.*", "ignore:.*looks like a TorchScript.*"
)
DATA = floats(*VALUES)
NET = ("__torch__", "Net")


def codes(checkpoint) -> set[str]:
    return {finding.code for finding in checkpoint.findings}


class TestTorchScript(FormatContract):
    name = "torchscript"
    entries: ClassVar = {
        (): None,
        ("weight",): None,
        ("epoch",): 3,
        ("code/__torch__.py",): CODE,
    }

    def file(self) -> bytes:
        root = script_module(NET, (text("weight"), script_tensor("0", 4, grad=True)), (text("epoch"), integer(3)))
        return torchscript(pickled(root), {"0": DATA})

    def long_file(self) -> bytes:
        root = script_module(NET, *((text(f"n{n}"), integer(n)) for n in range(500)))
        return torchscript(pickled(root), {})


class TestOldTorchScript(FormatContract):
    """torch 1.0 to 1.3: a protobuf as JSON instead of a pickle."""

    name = "torchscript"
    entries: ClassVar = {(): None, ("weight",): None}

    def file(self) -> bytes:
        tensor = {"dims": ["4"], "offset": "0", "strides": ["1"], "requiresGrad": True, "dataType": "FLOAT",
                  "data": {"key": "tensors/0"}, "device": "cpu"}  # fmt: skip
        main = {"name": "net", "parameters": [{"isBuffer": False, "tensorId": "0", "name": "weight"}]}
        return old_archive({"mainModule": main, "tensors": [tensor]}, {"0": DATA})

    def long_file(self) -> bytes:
        modules = [{"name": f"m{n}"} for n in range(500)]
        return old_archive({"mainModule": {"submodules": modules}, "tensors": []}, {str(n): b"" for n in range(99)})

    def test_opening_reports_progress(self, tmp_path):
        """There is no pickle whose length would be known; the directory of the archive reports."""
        count = []

        class Steps:
            def step(self, done, total):
                count.append(done)

        path = tmp_path / "long.pt"
        path.write_bytes(self.long_file())
        open_checkpoint(path, context=Steps()).close()
        assert len(count) > 0


def old_archive(model: dict, tensors: dict[str, bytes]) -> bytes:
    records = {"m/version": b"1\n", **{f"m/tensors/{key}": data for key, data in tensors.items()}}
    return zip_file({**records, "m/model.json": json.dumps(model).encode()})


@pytest.mark.parametrize("make", [Plain, Tree, Shared], ids=lambda make: make.__name__)
@pytest.mark.parametrize("lite", [False, True], ids=["full", "lite"])
def test_the_state_dict_is_torchs(tmp_path, make, lite):
    torch.manual_seed(0)
    module = torch.jit.script(make())
    path = tmp_path / "net.pt"
    if lite:
        module._save_for_lite_interpreter(str(path))
    else:
        torch.jit.save(module, str(path))
    wanted = torch.jit.load(str(path)).state_dict()
    with open_checkpoint(path) as checkpoint:
        found = checkpoint.state_dict()
        assert list(found) == list(wanted)
        for key, tensor in wanted.items():
            assert found[key].numpy(copy=True).tolist() == tensor.tolist()
            assert (found[key].dtype, found[key].stride) == (str(tensor.dtype)[6:], tensor.stride())
        buffers = {entry.name for entry in state_dict_entries(checkpoint.root.value).entries if entry.buffer}
        assert buffers == {key for key, _ in torch.jit.load(str(path)).named_buffers(remove_duplicate=False)}
        assert overview(checkpoint).kind == "torchscript"
        assert "program" in codes(checkpoint)


def test_traced_modules_and_extra_files(tmp_path):
    path = tmp_path / "net.pt"
    module = torch.jit.trace(
        torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)).eval(), torch.rand(4, 3)
    )
    torch.jit.save(module, str(path), _extra_files={"labels.txt": "cat\ndog", "meta.json": '{"lr": 0.5}'})
    with open_checkpoint(path) as checkpoint:
        assert list(checkpoint.state_dict()) == list(torch.jit.load(str(path)).state_dict())
        assert checkpoint["/extra~1labels.txt"].value == "cat\ndog"
        assert checkpoint["/extra~1meta.json/lr"].value == 0.5


def test_a_frozen_module_keeps_its_tensors_as_constants(tmp_path):
    path = tmp_path / "net.pt"
    module = torch.jit.script(Plain()).eval()
    weight = module.lin.weight.tolist()
    torch.jit.save(torch.jit.freeze(module), str(path))
    with open_checkpoint(path) as checkpoint:
        constants = checkpoint["/constants.pkl"].children
        assert weight in [node.numpy(copy=True).tolist() for node in constants]
        assert {node.storage.unique_key.partition("/")[0] for node in constants} == {"constants"}


def test_a_state_dict_is_exported(tmp_path):
    path, copy = tmp_path / "net.pt", tmp_path / "copy.pth"
    torch.jit.save(torch.jit.script(Tree()), str(path))
    wanted = torch.jit.load(str(path)).state_dict()
    assert main(["export", str(path), "-o", str(copy), "--no-verify"]) == 0
    found = torch.load(copy, weights_only=True)
    assert list(found) == list(wanted)
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


def test_without_declared_buffers_every_tensor_is_one():
    """As torch 1.5 wrote it; torch of today loses them."""
    code = {"__torch__.py": 'class Net(Module):\n  __parameters__ = ["weight", ]\n  weight : Tensor\n  mean : Tensor\n'}
    root = script_module(NET, (text("mean"), script_tensor("1", 4)), (text("weight"), script_tensor("0", 4)))
    checkpoint = open_bytes(torchscript(pickled(root), {"0": DATA, "1": DATA}, code=code))
    entries = state_dict_entries(checkpoint.root.value).entries
    assert [(entry.name, entry.buffer) for entry in entries] == [("weight", False), ("mean", True)]


def test_without_a_program_what_is_trained_is_a_parameter():
    root = script_module(
        NET, (text("mean"), script_tensor("1", 4)), (text("training"), b"\x88"),
        (text("weight"), script_tensor("0", 4, grad=True)),
    )  # fmt: skip
    checkpoint = open_bytes(torchscript(pickled(root), {"0": DATA, "1": DATA}, code={"__torch__/x.py": "pass"}))
    entries = state_dict_entries(checkpoint.root.value).entries
    assert [(entry.name, entry.buffer) for entry in entries] == [("weight", False), ("mean", True)]


def test_calls_in_its_pickles_are_listed_and_not_made(tmp_path):
    canary = tmp_path / "canary"
    evil = call(name("os", "system"), text(f"touch {canary}"))
    data = torchscript(
        pickled(mapped((text("x"), evil))), {}, constants=pickled(b"(" + call(name("os", "popen"), text("x")) + b"t"),
        more={"bytecode.pkl": pickled(call(name("os", "exec"), text("x"))), "other.pkl": pickled(evil)},
    )  # fmt: skip
    checkpoint = open_bytes(data)
    status = {use.name: use.status for use in checkpoint.contents.globals}
    assert {status[f"os.{each}"] for each in ("system", "popen", "exec")} == {"dangerous"}
    assert [finding.message for finding in checkpoint.findings if finding.code == "extra-pickle"]
    assert not canary.exists()


def test_the_verdict_of_weights_only_is_torchs(tmp_path):
    path = tmp_path / "net.pt"
    torch.jit.save(torch.jit.script(Plain()), str(path))
    with pytest.raises(RuntimeError) as refused:
        torch.load(path, weights_only=True)
    with open_checkpoint(path) as checkpoint:
        assert "TorchScript" in checkpoint.contents.weights_only
        assert checkpoint.contents.weights_only_says in str(refused.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mainModule": None}, "no module"),
        ({"tensors": [{"dataType": "STRING"}]}, "without dtype"),
        ({"tensors": [{"dataType": "FLOAT", "data": {"key": "tensors/9"}, "dims": ["4"], "strides": ["1"]}]}, "cannot"),
        ({"tensors": [{"dataType": "FLOAT", "data": {"key": "tensors/0"}, "dims": ["x"]}]}, "number"),
        ({"mainModule": {"parameters": [{"tensorId": "5", "name": "w"}]}}, "no tensor 5"),
        ({"mainModule": {"parameters": [{"tensorId": "0"}]}}, "without a name"),
    ],
)
def test_an_old_description_that_cannot_be_is_refused(change, words):
    with pytest.raises(Damaged, match=words):
        open_bytes(old_archive({"mainModule": {"name": "m"}, "tensors": [], **change}, {"0": DATA}))


def test_deep_old_modules_are_refused():
    main: dict = {"name": "m"}
    for _ in range(300):
        main = {"name": "m", "submodules": [main]}
    with pytest.raises(CheckpointError):
        open_bytes(old_archive({"mainModule": main}, {}))


def test_modules_without_end_are_refused_in_budget():
    main_ = {"name": "m", "submodules": [{"name": "x"}] * 200_000}
    records = {"m/version": b"1\n", "m/model.json": json.dumps({"mainModule": main_}).encode()}
    data = zip_file(records, deflate=("m/model.json",))
    with memory() as peak, pytest.raises(OverBudget):
        open_bytes(data)
    assert peak.nbytes < 150_000_000
