"""None of the files that a checkpoint is read from is ever replaced by what is made of it, not even with force."""

import os

import builders
import pytest
import torch
import torch.distributed.checkpoint as dcp

import ckpt_viewer
from ckpt_viewer.errors import CannotExport
from ckpt_viewer.export.choice import Choice
from ckpt_viewer.export.plan import plan_export, write
from ckpt_viewer.export.target import files_read

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]

STATE = {f"layer{number}.weight": torch.full((50,), float(number)) for number in range(3)}


def shards(folder):
    source = builders.save({"model": STATE}, folder.parent / "source.pth")
    with ckpt_viewer.open_checkpoint(source) as checkpoint:
        return write(
            plan_export(checkpoint, Choice(format="safetensors", max_shard_size=1)), folder / "model.safetensors"
        ).path


def distributed(folder):
    dcp.save(STATE, checkpoint_id=folder, no_dist=True)
    return folder


def plain(folder):
    (folder / "inner").mkdir()
    builders.save({"model": STATE}, folder / "a.pth")
    builders.save({"model": STATE}, folder / "inner" / "b.pth")
    return folder


@pytest.fixture(params=["index", "shard", "distributed", "plain"])
def opened(request, tmp_path):
    """A checkpoint of several files, and what to choose of it."""
    folder = tmp_path / "files"
    folder.mkdir()
    if request.param in ("index", "shard"):
        path = shards(folder)
        path = path if request.param == "index" else sorted(folder.glob("*.safetensors"))[1]
    else:
        path = {"distributed": distributed, "plain": plain}[request.param](folder)
    with ckpt_viewer.open_checkpoint(path, whole=True) as checkpoint:
        yield checkpoint, "/a.pth/model" if request.param == "plain" else ""


@pytest.mark.parametrize("how", ["itself", "link", "hard link"])
def test_every_file_stays(opened, tmp_path, how):
    checkpoint, pointer = opened
    files = [path for path in (tmp_path / "files").rglob("*") if path.is_file()]
    assert len(files) >= 2
    before = {path: path.read_bytes() for path in files}
    assert {os.path.realpath(path) for path in files_read(checkpoint)} >= {os.path.realpath(path) for path in files}
    plan = plan_export(checkpoint, Choice((pointer,), format="npz"))
    for number, path in enumerate(files):
        target = path if how == "itself" else tmp_path / f"other{number}"
        if how == "link":
            target.symlink_to(path)
        elif how == "hard link":
            os.link(path, target)
        with pytest.raises(CannotExport, match=r"the target is .* read; choose another name"):
            write(plan, target, force=True)
    assert {path: path.read_bytes() for path in files} == before


def test_a_set_is_not_written_over_itself(tmp_path):
    (tmp_path / "files").mkdir()
    index = shards(tmp_path / "files")
    before = {path: path.read_bytes() for path in index.parent.iterdir()}
    for opened in (index, *index.parent.glob("*-00002-*")):
        with ckpt_viewer.open_checkpoint(opened, whole=True) as checkpoint:
            plan = plan_export(checkpoint, Choice(("",), format="safetensors", max_shard_size=1))
            with pytest.raises(CannotExport, match="choose another name"):
                write(plan, index.parent / "model.safetensors", force=True)
            plan = plan_export(checkpoint, Choice(("",), format="safetensors"))
            write(plan, index.parent / "whole.safetensors")
            (index.parent / "whole.safetensors").unlink()
    assert {path: path.read_bytes() for path in index.parent.iterdir()} == before
