"""The code that loads a file: each snippet is run in a process of its own, and what it loads is compared."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import mapped, pickled, save, tensor, text, zip_checkpoint
from builders import name as named
from safetensors.torch import save_file
from torch import nn, optim
from torch.optim import lr_scheduler

from ckpt_viewer.analysis.load_code import snippet
from ckpt_viewer.analysis.overview import overview
from ckpt_viewer.formats import open_checkpoint

RUN = """
import json, os, sys, warnings
import torch
warnings.simplefilter("ignore")
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
class Holder:
    def load_state_dict(self, state, strict=True):
        self.state = state
def tell(value):
    if isinstance(value, Holder):
        return tell(getattr(value, "state", None))
    if isinstance(value, torch.nn.Module):
        return tell(value.state_dict())
    if isinstance(value, torch.Tensor):
        return [str(value.device), value.tolist() if value.device.type == "cpu" else None]
    if isinstance(value, dict):
        return {str(key): tell(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [tell(each) for each in value]
    return value if isinstance(value, (int, float, str, type(None))) else type(value).__name__
for line in sys.stdin:
    code, folder, built = json.loads(line)
    os.chdir(folder)
    space = {name: Holder() for name in built}
    try:
        exec(code, space)
        told = {n: tell(v) for n, v in space.items() if not n.startswith("__") and not isinstance(v, type(sys))}
    except BaseException as error:
        told = {"error": repr(error)}
    print(json.dumps(told), file=answers, flush=True)
"""
BUILT = re.compile(r"(model|optimizer|scheduler|scaler)(_\d+)?")


def code_of(path, map_location=None) -> str:
    with open_checkpoint(path, map_location) as checkpoint:
        code = snippet(checkpoint, overview(checkpoint))
    assert code.isascii()
    tree = ast.parse(code)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert names <= KNOWN | {name for name in names if BUILT.fullmatch(name) or re.fullmatch(r"part_\d+", name)}
    return code


KNOWN = set(
    """torch checkpoint state_dict name value start_epoch step int json pathlib io zipfile safetensors glob sorted k v
f ckpt_viewer node nodes each getattr program tensor argparse collections dict storage location""".split()
)


@pytest.fixture(scope="module")
def process():
    """A process with torch that runs one snippet after another: importing torch for each would take minutes."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, "-c", RUN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as made:
        yield made
        made.stdin.close()


@pytest.fixture
def run(process):
    """Run a snippet in a folder, with holders for what it expects; return what its variables are."""

    def call(code: str, folder: Path) -> dict:
        names = (node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name))
        process.stdin.write(json.dumps([code, str(folder), sorted(filter(BUILT.fullmatch, set(names)))]) + "\n")
        process.stdin.flush()
        told = json.loads(process.stdout.readline())
        assert "error" not in told, told
        return told

    return call


def trained(prefix: str = "") -> dict:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    optimizer = optim.AdamW(model.parameters())
    scheduler = lr_scheduler.StepLR(optimizer, 3)
    for parameter in model.parameters():
        parameter.grad = torch.rand_like(parameter)
    optimizer.step()
    scheduler.step()
    state = {prefix + name: value for name, value in model.state_dict().items()}
    return {"model": state, "optimizer": optimizer.state_dict(), "lr_scheduler": scheduler.state_dict(), "epoch": 3}


def names(told: dict, variable: str = "model") -> list[str]:
    return list(told[variable])


BARE = ["0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"]


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("prefix", ["", "module.", "module._orig_mod."])
def test_a_bare_state_dict(run, tmp_path, legacy, prefix):
    state = trained(prefix)["model"]
    code = code_of(save(state, tmp_path / "m.pth", legacy=legacy))
    assert "weights_only=True" in code
    told = run(code, tmp_path)
    assert names(told) == BARE
    assert told["model"]["0.weight"] == ["cpu", state[f"{prefix}0.weight"].tolist()]


def test_a_resume_checkpoint(run, tmp_path):
    value = {**trained("module."), "scaler": torch.amp.GradScaler("cpu").state_dict(), "global_step": 77,
             "rng": torch.get_rng_state(), "model_ema": trained()["model"]}  # fmt: skip
    code = code_of(save(value, tmp_path / "m.pth", tag="cuda:1"), "cpu")
    assert 'start_epoch = checkpoint["epoch"] + 1' in code
    assert "weights_only=True" in code
    told = run(code, tmp_path)
    assert names(told) == BARE
    assert told["optimizer"]["param_groups"][0]["params"] == [0, 1, 2, 3]
    assert told["scheduler"]["last_epoch"] == 1
    assert told["scaler"]["growth_factor"] == 2.0
    assert (told["start_epoch"], told["step"]) == (4, 77)


@pytest.mark.parametrize("map_location", ["cpu", "meta", {"cuda:1": "cpu"}, lambda storage, location: storage])
def test_the_map_location_is_in_it(run, tmp_path, map_location):
    path = save(trained(), tmp_path / "m.pth", tag="cuda:1")
    told = run(code_of(path, map_location), tmp_path)
    assert told["model"]["0.weight"][0] == ("meta" if map_location == "meta" else "cpu")


def test_several_models_and_optimizers(run, tmp_path):
    first, second = trained(), trained()
    value = {"netG": first["model"], "netD": second["model"], "optG": first["optimizer"], "optD": second["optimizer"]}
    told = run(code_of(save(value, tmp_path / "m.pth")), tmp_path)
    assert told["model_2"]["0.bias"] == ["cpu", second["model"]["0.bias"].tolist()]
    assert {"model_1", "model_2", "optimizer_1", "optimizer_2"} <= told.keys()


def test_lists_are_indexed(run, tmp_path):
    value = trained()
    value["optimizer_states"] = [value.pop("optimizer")]
    assert 'checkpoint["optimizer_states"][0]' in code_of(save(value, tmp_path / "m.pth"))


@pytest.mark.parametrize("inside", [False, True])
def test_a_whole_module_comes_with_a_warning(run, tmp_path, inside):
    module = nn.Sequential(nn.Linear(2, 2))
    code = code_of(save({"model": module, "epoch": 1} if inside else module, tmp_path / "m.pth"))
    lines = code.splitlines()
    at = next(number for number, line in enumerate(lines) if "weights_only=False" in line and not line.startswith("#"))
    assert lines[at - 2].startswith("# WARNING")
    assert names(run(code, tmp_path)) == ["0.weight", "0.bias"]


def test_classes_that_only_hold_values_are_allowed_by_name(run, tmp_path):
    code = code_of(save({**trained(), "args": Namespace(lr=0.1)}, tmp_path / "m.pth"))
    assert "safe_globals([argparse.Namespace])" in code
    assert "weights_only=False" not in code
    assert names(run(code, tmp_path)) == BARE


def test_a_class_that_is_not_known_is_never_allowed(run, tmp_path):
    from fractions import Fraction

    code = code_of(save({**trained(), "note": Fraction(1, 2)}, tmp_path / "m.pth"))
    assert "safe_globals" not in code
    assert "# WARNING" in code
    assert names(run(code, tmp_path)) == BARE


def test_a_file_that_would_run_something_is_left_to_this_program(run, tmp_path, monkeypatch):
    command = f"touch {tmp_path / 'pwned'}"
    body = mapped((text("a.weight"), tensor((2,))), (text("x"), b"cos\nsystem\n(" + text(command) + b"tR"))
    path = tmp_path / "m.pth"
    path.write_bytes(zip_checkpoint(pickled(mapped((text("model"), body))), {"0": bytes(8)}))
    code = code_of(path)
    assert "torch.load(" not in code.replace("# torch.load", "")
    assert "safe_globals" not in code
    run(code, tmp_path)
    assert not (tmp_path / "pwned").exists()


def test_tensors_that_have_no_values_in_the_file_are_left_out(run, tmp_path):
    meta = named("torch._utils", "_rebuild_meta_tensor_no_storage") + b"(" + named("torch", "float32")
    meta += b"K\x02\x85K\x01\x85\x89tR"
    model = mapped((text("a.weight"), tensor((2,))), (text("b.weight"), meta))
    path = tmp_path / "m.pth"
    path.write_bytes(
        zip_checkpoint(pickled(mapped((text("model"), model), (text("x"), b"cos\nsystem\n"))), {"0": bytes(8)})
    )
    code = code_of(path)
    assert "# 1 of its 2 tensors have no values in this file" in code
    assert names(run(code, tmp_path)) == ["a.weight"]


HOSTILE = [
    '"]); open("pwned", "w"); (["', "'+open('pwned','w').name+'", "a\nopen('pwned', 'w')\n#", "\\", '\\"]; '
    'open("pwned","w")#',
    "\u202e[open]", "\ud800", "x\x00y", "{open('pwned','w')}", '"""\nopen("pwned","w")\n"""', "\r\nopen('pwned','w')",
    "\u2028open('pwned','w')", "%s{0}",
]  # fmt: skip


@pytest.mark.parametrize("key", HOSTILE, ids=ascii)
def test_no_key_breaks_out_of_its_literal(run, tmp_path, key):
    value = trained()
    hostile = {key: value["model"], f"{key} ema": trained()["model"], f"{key}o": value["optimizer"], "epoch": 1,
               f"{key}s": {key: value["lr_scheduler"]}}  # fmt: skip
    told = run(code_of(save(hostile, tmp_path / "m.pth", protocol=2)), tmp_path)
    assert not (tmp_path / "pwned").exists()
    assert names(told) == BARE
    assert told["scheduler"]["last_epoch"] == 1


def test_no_name_of_a_file_breaks_out_either(run, tmp_path):
    path = tmp_path / """x"); open('pwned', 'w'); ('.pth"""
    told = run(code_of(save(trained(), path)), tmp_path)
    assert not (tmp_path / "pwned").exists()
    assert names(told) == BARE


def test_safetensors(run, tmp_path):
    save_file({"module.a": torch.arange(3.0), "module.b": torch.ones(1)}, tmp_path / "m.safetensors")
    told = run(code_of(tmp_path / "m.safetensors"), tmp_path)
    assert told["model"] == {"a": ["cpu", [0, 1, 2]], "b": ["cpu", [1]]}


@pytest.mark.parametrize("kind", ["bin", "safetensors"])
@pytest.mark.parametrize("count", [2, 6])
def test_a_sharded_set(run, tmp_path, kind, count):
    weights = {f"layer.{n}.weight": torch.full((2,), float(n)) for n in range(count)}
    table = {}
    for number, (name, value) in enumerate(weights.items(), 1):
        shard = f"model-{number:05}-of-{count:05}.{kind}"
        if kind == "bin":
            torch.save({name: value}, tmp_path / shard)
        else:
            save_file({name: value}, tmp_path / shard)
        table[name] = shard
    index = tmp_path / f"model.{kind}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": table}))
    told = run(code_of(index), tmp_path)
    assert {name: each[1] for name, each in told["model"].items()} == {n: v.tolist() for n, v in weights.items()}


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_a_distributed_checkpoint(run, tmp_path, monkeypatch):
    import torch.distributed.checkpoint as dcp

    monkeypatch.chdir(tmp_path)
    value = trained()
    dcp.save({"model": value["model"], "epoch": 5}, storage_writer=dcp.FileSystemWriter("run"), no_dist=True)
    code = code_of("run")
    assert "weights_only=True" in code
    told = run(code, tmp_path)
    assert sorted(told["model"]) == sorted(BARE)
    assert told["start_epoch"] == 6


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_a_distributed_checkpoint_that_torch_does_not_read_back(run, tmp_path, monkeypatch):
    import torch.distributed.checkpoint as dcp

    monkeypatch.chdir(tmp_path)
    as_safetensors = dcp.filesystem.SerializationFormat.SAFETENSORS
    writer = dcp.FileSystemWriter("run", serialization_format=as_safetensors)
    dcp.save({"model": trained()["model"]}, storage_writer=writer, no_dist=True)
    code = code_of("run")
    assert "torch.load does not read this file" in code
    assert names(run(code, tmp_path)) == BARE


def test_a_trainers_folder(run, tmp_path):
    folder, value = tmp_path / "checkpoint-4", trained()
    folder.mkdir()
    save_file(value["model"], folder / "model.safetensors")
    save(value["optimizer"], folder / "optimizer.pt")
    save(value["lr_scheduler"], folder / "scheduler.pt")
    (folder / "trainer_state.json").write_text(json.dumps({"epoch": 2.0, "global_step": 9}))
    told = run(code_of(folder), tmp_path)
    assert sorted(told["model"]) == sorted(BARE)
    assert told["optimizer"]["param_groups"][0]["params"] == [0, 1, 2, 3]
    assert (told["start_epoch"], told["step"]) == (3, 9)


@pytest.mark.parametrize("kind", ["bin", "safetensors"])
@pytest.mark.parametrize("count", [2, 6])
def test_a_set_inside_of_a_trainers_folder(run, tmp_path, kind, count):
    folder, weights = tmp_path / "checkpoint-4", {f"layers.{n}.weight": torch.rand(3) for n in range(count)}
    folder.mkdir()
    files = {name: f"model-{n:05}-of-{count:05}.{kind}" for n, name in enumerate(weights)}
    for name, file in files.items():
        one = {name: weights[name]}
        save_file(one, folder / file) if kind == "safetensors" else torch.save(one, folder / file)
    (folder / f"model.{kind}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))
    (folder / "trainer_state.json").write_text(json.dumps({"epoch": 2.0, "global_step": 9}))
    told = run(code_of(folder), tmp_path)
    assert sorted(told["model"]) == sorted(weights)
    assert told["step"] == 9


def test_arrays_of_numpy_in_a_trainers_folder_need_a_warning(run, tmp_path):
    folder = tmp_path / "saved"
    folder.mkdir()
    torch.save(trained()["model"], folder / "pytorch_model.bin")
    torch.save({"step": 9, "numpy_random_seed": np.arange(3)}, folder / "random_states_0.pkl")
    code = code_of(folder)
    assert code.count("weights_only=False)") == 1
    assert code.index("WARNING") < code.index("weights_only=False")
    told = run(code, tmp_path)
    assert sorted(told["model"]) == sorted(BARE)
    assert told["step"] == 9


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript(run, tmp_path):
    torch.jit.save(torch.jit.script(nn.Linear(2, 1)), tmp_path / "m.pt")
    assert names(run(code_of(tmp_path / "m.pt"), tmp_path)) == ["weight", "bias"]


def test_a_file_cut_off_and_a_plain_pickle_are_read_by_this_program(run, tmp_path, monkeypatch):
    import pickle

    (tmp_path / "m.pkl").write_bytes(pickle.dumps(trained()["model"]))
    assert names(run(code_of(tmp_path / "m.pkl"), tmp_path)) == BARE


def test_the_command_prints_it(run, tmp_path):
    path = save(trained(), tmp_path / "m.pth")
    done = subprocess.run(
        [sys.executable, "-m", "ckpt_viewer", "check", str(path), "--code"], capture_output=True, text=True
    )
    assert done.stdout == code_of(path)
