"""An old torch loads what was exported and remapped, and finds in it what this one finds in the original.

``CKPT_VIEWER_OLD_TORCH`` names an interpreter that has one (1.13 or older, on its own Python); skipped without. Files
of the corpus (see ``test_corpus_remaps``) are compared too where there is one.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections import OrderedDict
from pathlib import Path

import builders
import pytest
import torch
from judge import OLD_DTYPES, zoo

import ckpt_viewer
from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.export.choice import Choice
from ckpt_viewer.export.plan import plan_export, plan_remap, plan_slim, write

ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path(os.environ.get("CKPT_VIEWER_CORPUS", ROOT.parent / "shared" / "corpus"))
OLD = os.environ.get("CKPT_VIEWER_OLD_TORCH", "")
PARTS = ("trainers", "wild", "made")

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(not OLD, reason="there is no old torch; set CKPT_VIEWER_OLD_TORCH"),
    pytest.mark.filterwarnings("ignore"),
]

JUDGE = """
import ctypes, hashlib, inspect, json, sys, warnings
import torch
warnings.simplefilter("ignore")

def rows(value, out, owners, depth=0):
    if isinstance(value, torch.Tensor):
        plain = value.layout == torch.strided and not value.is_quantized
        flat = value.detach() if plain else None
        for name in ("resolve_conj", "resolve_neg"):
            flat = getattr(flat, name)() if flat is not None and hasattr(flat, name) else flat
        raw = b"" if flat is None or not flat.numel() else None
        if raw is None:
            flat = flat.contiguous()
            raw = ctypes.string_at(flat.data_ptr(), flat.numel() * flat.element_size())
        owner = owners.setdefault(value.data_ptr(), len(out)) if plain and value.numel() else -1
        stride = list(value.stride()) if plain else []
        out.append(["tensor", str(value.dtype), list(value.shape), stride, owner, hashlib.sha256(raw).hexdigest()])
    elif isinstance(value, dict):
        out.append([type(value).__name__, [repr(key) for key in value if not isinstance(key, torch.Tensor)]])
        for each in value.values():
            rows(each, out, owners, depth + 1)
    elif isinstance(value, (list, tuple)):
        out.append([type(value).__name__, len(value)])
        for each in value:
            rows(each, out, owners, depth + 1)
    elif value is None or isinstance(value, (bool, int, float, str)):
        out.append([repr(value)])
    else:
        out.append(["?"])
    return out

def load(path, tags):
    safe = {"weights_only": True} if "weights_only" in inspect.signature(torch.load).parameters else {}
    def here(storage, tag):
        tags.add(tag)
        return storage
    return torch.load(path, map_location=here, **safe)

if __name__ == "__main__":
    print(torch.__version__, flush=True)
    for line in sys.stdin:
        path, tags = json.loads(line), set()
        try:
            found = rows(load(path, tags), [], {})
        except Exception as error:
            found = str(error)[:300]
        print(json.dumps([found, sorted(tags)]), flush=True)
"""


class OldTorch:
    """An interpreter with an old torch that loads one file after another."""

    def __init__(self, folder):
        script = folder / "judge.py"
        script.write_text(JUDGE)
        self.here = {"__name__": "judge"}
        exec(JUDGE, self.here)
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self.child = subprocess.Popen(
            [OLD, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
        )
        self.version = self.child.stdout.readline().strip()

    def load(self, path):
        """Return what it finds in a file, or its complaint; and the device tags."""
        self.child.stdin.write(json.dumps(str(path)) + "\n")
        self.child.stdin.flush()
        return json.loads(self.child.stdout.readline())

    def wanted(self, path):
        """Return what this torch finds in a file; None where it reads it with no safe unpickler."""
        try:
            return self.rows(self.here["load"](path, set()))
        except Exception:  # whatever torch raises: such a file is not compared
            return None

    def rows(self, value):
        return json.loads(json.dumps(self.here["rows"](value, [], {})))


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    old = OldTorch(tmp_path_factory.mktemp("old"))
    with old.child:  # closes its pipes and waits
        yield old
    assert old.child.returncode == 0


def test_it_is_old(old):
    assert tuple(map(int, old.version.split(".")[:2])) <= (1, 13)


@pytest.mark.parametrize("legacy", [False, True])
def test_everything_that_an_old_torch_has(tmp_path, old, legacy):
    value = {name: tensor for name, tensor in zoo(OLD_DTYPES).items() if isinstance(tensor, torch.Tensor)}
    for name in ("conj", "neg", *(["torch.bfloat16"] if legacy else [])):
        value.pop(name, None)
    source = builders.save({"model": value, "epoch": 3}, tmp_path / "x.pth", legacy=legacy, tag="cuda:1")
    with ckpt_viewer.open_checkpoint(source) as checkpoint:
        exported = write(plan_export(checkpoint, Choice(("/model",))), tmp_path / "out.pth").path
        remapped = write(plan_remap(checkpoint, "cpu"), tmp_path / "cpu.pth").path
    plain = OrderedDict((name, tensor.detach()) for name, tensor in value.items())
    assert old.load(exported) == [old.rows(plain), ["cpu"]]
    found, tags = old.load(remapped)
    assert (tags, found[0], found[-1]) == (["cpu"], ["dict", ["'model'", "'epoch'"]], ["3"])
    assert found == old.wanted(source)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_checkpoint_without_its_optimizer(tmp_path, old, legacy):
    net = torch.nn.Linear(30, 30)
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.randn(4, 30)).sum().backward()
    optimizer.step()
    value = {"optimizer": optimizer.state_dict(), "model": net.state_dict(), "epoch": 3}
    source = builders.save(value, tmp_path / "x.pth", legacy=legacy)
    with ckpt_viewer.open_checkpoint(source) as checkpoint:
        written = write(plan_slim(checkpoint), tmp_path / "slim.pth")
    del value["optimizer"]
    assert old.load(written.path)[0] == old.rows(value)


def copies(checkpoint, target):
    """Yield the copies of a checkpoint that can be made: what is written, and whether it is remapped."""
    plans = [(lambda: plan_remap(checkpoint, "cuda:7"), True)]
    for model in checkpoint.models:
        choice = Choice((checkpoint.node(model.path).pointer,))
        plans.append((lambda choice=choice: plan_export(checkpoint, choice), False))
    for make, is_remap in plans:
        try:
            written = write(make(), target, force=True)
        except CheckpointError:
            continue  # refusing is what other tests ask
        if written.path is not None:
            yield written, is_remap


@pytest.mark.skipif(not CORPUS.is_dir(), reason="there is no corpus; set CKPT_VIEWER_CORPUS")
@pytest.mark.parametrize("part", PARTS)
def test_every_file_of_the_corpus(tmp_path, old, record_property, part):
    remapped, exported, wrong = 0, 0, []
    for path in sorted((CORPUS / part).rglob("*")):
        if not path.is_file() or path.suffix in (".json", ".csv", ".md"):
            continue
        if old.wanted(path) is None:
            continue
        original, _ = old.load(path)
        try:
            checkpoint = ckpt_viewer.open_checkpoint(path)
        except CheckpointError:
            continue
        with checkpoint:
            for written, is_remap in copies(checkpoint, tmp_path / "out.pth"):
                found, tags = old.load(written.path)
                if is_remap and isinstance(original, list):
                    remapped += 1
                    if found != original or not set(tags) <= {"cuda:7"}:
                        wrong.append((str(path), found if isinstance(found, str) else "other rows", tags))
                elif not is_remap and not any("or newer is needed" in text for text in written.warnings):
                    exported += 1
                    if found != old.wanted(written.path):
                        wrong.append((str(path), found))
    assert wrong == []
    assert remapped + exported > 0
    record_property("compared", f"{remapped} remapped, {exported} exported, with torch {old.version}")
