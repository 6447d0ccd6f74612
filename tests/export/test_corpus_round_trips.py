"""Every model of a corpus of real files, exported, equals what torch makes of the file; skipped without the corpus.

``CKPT_VIEWER_CORPUS`` names its folder (else ``shared/corpus`` beside the project); the files are read in place.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import safetensors.torch
import torch

import ckpt_viewer
from ckpt_viewer.errors import CannotExport, CheckpointError
from ckpt_viewer.export.choice import Choice
from ckpt_viewer.export.plan import plan_export, write

ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path(os.environ.get("CKPT_VIEWER_CORPUS", ROOT.parent / "shared" / "corpus"))
PARTS = ("trainers", "wild", "made")
LOADERS = {"pth": lambda path: torch.load(path, weights_only=True), "safetensors": safetensors.torch.load_file}
REFUSED = re.compile(
    r"'.*' (is quantised|is sparse|is a nested|has no values|is complex|is a value that holds tensors|is a \S+, whose)"
)
"""What a target may say that it cannot hold."""

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="there is no corpus; set CKPT_VIEWER_CORPUS"),
    pytest.mark.filterwarnings("ignore"),
]


def loaded(path):
    """What torch or safetensors makes of a file; None where they cannot read it."""
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # whatever torch raises: such a file is not compared
        return None


def at(value, path):
    for step in path:
        value = value[step]
    return value


def same(one, other, strided):
    """Bit for bit."""
    if (one.dtype, one.shape, one.layout) != (other.dtype, other.shape, other.layout):
        return False
    if strided and one.layout == torch.strided and one.stride() != other.stride():
        return False
    if one.layout != torch.strided or one.is_quantized:
        return repr(one) == repr(other)
    one, other = one.detach().resolve_conj().resolve_neg(), other.detach().resolve_conj().resolve_neg()
    raw = (
        [tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (one, other)] if one.numel() else [one, other]
    )
    return torch.equal(*raw)


def compare(path, target, name):
    """Export every model of a file; return how many were equal, what was refused, and what differs."""
    equal, refused, wrong = 0, [], []
    whole = loaded(path)
    if whole is None:
        return equal, refused, wrong
    try:
        checkpoint = ckpt_viewer.open_checkpoint(path)
    except CheckpointError:
        return equal, refused, wrong  # whether it should open is what other tests ask
    with checkpoint:
        for model in checkpoint.models:
            held = at(whole, model.path)
            if not isinstance(held, dict):
                continue
            wanted = {
                key: value for key, value in held.items() if isinstance(key, str) and isinstance(value, torch.Tensor)
            }
            choice = Choice(sources=(checkpoint.node(model.path).pointer,), format=name)
            try:
                written = write(plan_export(checkpoint, choice), target, force=True)
            except CannotExport as error:
                refused.append(str(error))
                continue
            got = LOADERS[name](target)
            left = [key for key in wanted if key not in got and key not in written.dropped]
            differ = [key for key in wanted if key in got and not same(wanted[key], got[key], name == "pth")]
            if left or differ or (name == "pth" and [key for key in got if key in wanted] != list(wanted)):
                wrong.append((str(path), model.path, left, differ))
            equal += 1
    return equal, refused, wrong


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", LOADERS)
def test_every_model_of_the_corpus(tmp_path, record_property, part, name):
    equal, refused, wrong = 0, [], []
    for path in sorted((CORPUS / part).rglob("*")):
        if path.is_file() and path.suffix not in (".json", ".csv", ".md"):
            found = compare(path, tmp_path / f"out.{name}", name)
            equal, refused, wrong = equal + found[0], refused + found[1], wrong + found[2]
    assert wrong == []
    assert [text for text in refused if not REFUSED.search(text)] == []
    assert equal > 0
    record_property("compared", f"{equal} equal, {len(refused)} refused: {sorted(set(refused))}")
