"""Every file of a corpus of real ones, remapped, equals the original but for tags; skipped without the corpus.

Our reader compares the whole tree and every byte. Where torch loads the original with ``weights_only=True``, it has to
load the copy too, and to find in it what our reader found in the original.

``CKPT_VIEWER_CORPUS`` names its folder (else ``shared/corpus`` beside the project); the files are read in place.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from judge import tags
from test_proof import TORCH, Here

import ckpt_viewer
from ckpt_viewer import worker_main
from ckpt_viewer.errors import CannotExport, CheckpointError
from ckpt_viewer.export.plan import plan_remap, write
from ckpt_viewer.export.proof import Prover

ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path(os.environ.get("CKPT_VIEWER_CORPUS", ROOT.parent / "shared" / "corpus"))
PARTS = ("trainers", "wild", "made", "hostile")
LOCATIONS = {"cpu": "cpu", "cuda": "cuda:7", "table": {"cpu": "mps", "cuda:0": "cpu", "cuda:1": "cuda:0"}}
FORMATS = ("torch-zip", "torch-legacy")
UNPROVEN = ("it holds a nested tensor", "it holds a set of tensors", "it holds an object", "it holds a tensor of class")
"""What the proof does not look into, though torch loads it."""

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="there is no corpus; set CKPT_VIEWER_CORPUS"),
    pytest.mark.filterwarnings("ignore"),
]


def loads(path):
    """Whether torch loads a file without unpickling anything but tensors; hostile ones are not shown to it."""
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # whatever torch raises
        return False
    return True


def remap(path, target, map_location, prover):
    """Remap a file; return what was written, None where there is nothing to do or it is refused."""
    try:
        checkpoint = ckpt_viewer.open_checkpoint(path)
    except CheckpointError:
        return None  # whether it should open is what other tests ask
    with checkpoint:
        if checkpoint.format not in FORMATS:
            return None
        try:
            written = write(plan_remap(checkpoint, map_location), target, force=True, prover=prover)
        except CannotExport:
            return None
        except CheckpointError:
            if "hostile" in path.parts:  # a copy would be as broken
                return None
            raise
        unknown = any(use.status != "known" for use in checkpoint.contents.globals)
    return None if written.path is None else (written, unknown)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("where", LOCATIONS)
def test_every_file_of_the_corpus(tmp_path, monkeypatch, record_property, part, where):
    monkeypatch.setattr(worker_main, "allow", lambda nbytes: None)
    monkeypatch.setattr("ckpt_viewer.export.proof._free_memory", lambda: None)
    remapped, proven, wrong = 0, 0, []
    for path in sorted((CORPUS / part).rglob("*")):
        if not path.is_file() or path.suffix in (".json", ".csv", ".md"):
            continue
        with Prover(Here) as prover:
            found = remap(path, tmp_path / "out.pth", LOCATIONS[where], prover)
        if found is None:
            continue
        written, unknown = found
        remapped, proven = remapped + 1, proven + (written.verified == TORCH)
        if where == "cuda" and not set(tags(written.path)) <= {"cuda:7", None, "meta", "cpu", "xla:0"}:
            wrong.append((str(path), "tags", set(tags(written.path))))
        explained = written.verified == TORCH or unknown or written.unproven.startswith(UNPROVEN)
        if not explained and part != "hostile" and loads(path):
            wrong.append((str(path), written.unproven))
    assert wrong == []
    assert remapped > 0 or where == "cpu" or part == "hostile"
    record_property("remapped", f"{remapped}, of which {proven} proven by torch")
