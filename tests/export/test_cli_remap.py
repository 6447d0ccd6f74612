"""The command remap where no tag changes: whoever names a file has it afterwards."""

import json

import builders
import pytest
import torch

from ckpt_viewer.cli import main

pytestmark = pytest.mark.torch


@pytest.fixture
def run(capsys):
    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("value", [{"model": {"w": torch.arange(6.0)}}, {"epoch": 3}], ids=["tensors", "none"])
def test_a_file_that_was_asked_for_is_written_though_no_tag_changes(run, tmp_path, value, legacy):
    source, out = builders.save(value, tmp_path / "x.pth", legacy=legacy), tmp_path / "new.pth"
    code, text, _ = run("remap", source, "-o", out, "--map-location", "cpu", "--dry-run", "--json")
    assert (code, out.exists(), json.loads(text)["bytes"]) == (0, False, source.stat().st_size)
    code, text, errors = run("remap", source, "-o", out, "--map-location", "cpu")
    assert code == 0
    assert text.startswith(f"wrote {out}: ")
    assert f"verified by torch {torch.__version__.partition('+')[0]}" in text
    assert errors.endswith("so there is nothing to remap; the copy is the source as it is\n")
    assert out.read_bytes() == source.read_bytes()
    code, _, errors = run("remap", source, "-o", source, "--map-location", "cpu", "--force")
    assert (code, "the very file" in errors) == (2, True)


def test_a_set_that_was_asked_for_is_written_though_no_tag_changes(run, tmp_path):
    folder, out = tmp_path / "model", tmp_path / "new"
    folder.mkdir()
    for number in (1, 2):
        value = {f"layer{number}.weight": torch.full((3,), float(number))}
        builders.save(value, folder / f"pytorch_model-0000{number}-of-00002.bin")
    index = {"metadata": {}, "weight_map": {f"layer{n}.weight": f"pytorch_model-0000{n}-of-00002.bin" for n in (1, 2)}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    code, _, _ = run("remap", folder / "pytorch_model.bin.index.json", "-o", out, "--map-location", "cpu")
    assert code == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }
