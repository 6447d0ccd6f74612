"""Sharded sets with other device tags: a folder that appears as a whole."""

import json
import os
import stat

import builders
import pytest
import torch
from judge import assert_same, tags
from writer_contract import WriterContract, checkpoint_value

import ckpt_viewer
from ckpt_viewer.cli import main
from ckpt_viewer.errors import Cancelled, CannotExport, SourceChanged, TargetExists, WriteFailed
from ckpt_viewer.export.leftovers import find_leftovers
from ckpt_viewer.export.plan import plan_remap, write

pytestmark = pytest.mark.torch
INDEX = "pytorch_model.bin.index.json"
SHARDS = 3


def shard(number):
    return f"pytorch_model-{number:05}-of-{SHARDS:05}.bin"


@pytest.fixture
def folder(tmp_path):
    """A set as Hugging Face saved it on GPUs, one of its files in the legacy stream."""
    folder = tmp_path / "model"
    folder.mkdir()
    base = torch.randn(100_000)
    parts = [{"a": base, "b": base[5:9]}, {"c": torch.arange(7)}, {"d": torch.ones(2, 3).t()}]
    for number, part in enumerate(parts, 1):
        builders.save(part, folder / shard(number), tag=f"cuda:{number}", legacy=number == 2)
    names = {name: shard(number) for number, part in enumerate(parts, 1) for name in part}
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 400_096}, "weight_map": names}))
    return folder


class TestContract(WriterContract):
    arguments = ("remap", "--map-location", "cpu")
    name = "new"
    says_changed = "was changed since the copy was planned"
    most_a_tensor = 2600  # the set is open, one file of it, and its copy

    def value(self):
        return checkpoint_value()["model"]

    def saved(self, value, folder, *, legacy=False):
        """What shares memory in the first file, the rest in the second one."""
        last = list(value)[-1]
        for number, names in enumerate([[name for name in value if name != last], [last]], 1):
            path = folder / f"model-{number:05}-of-00002.bin"
            builders.save({name: value[name] for name in names}, path, legacy=legacy, tag="cuda:1")
        names = {name: f"model-{1 + (name == last):05}-of-00002.bin" for name in value}
        index = folder / "model.bin.index.json"
        index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": names}))
        return index

    def copied(self, source):
        return source.with_name("model-00001-of-00002.bin")

    def plan(self, checkpoint):
        return plan_remap(checkpoint, "cpu")

    def put(self, target):
        target.mkdir()  # one with something in it is never replaced

    def stayed(self, target):
        return list(target.parent.rglob("*")) == [target] and target.is_dir()

    def check(self, source, target):
        wanted, got = self.value(), {}
        for name in json.loads((target / source.name).read_text())["weight_map"].values():
            got |= torch.load(target / name, weights_only=True)
        assert list(got) == list(wanted)
        assert all(torch.equal(got[name], wanted[name]) for name in wanted)
        storages = {name: tensor.untyped_storage().data_ptr() for name, tensor in got.items()}
        assert storages["base.weight"] == storages["view.weight"] != storages["n.weight"]

    def test_force_replaces_it_and_keeps_its_mode(self, opened, target):
        """It does not replace a folder."""
        target.mkdir()
        (target / "precious").write_bytes(b"old")
        with pytest.raises(TargetExists, match="choose the name of a new folder"):
            write(self.plan(opened), target, force=True)
        assert [path.name for path in target.iterdir()] == ["precious"]

    @pytest.mark.parametrize("how", ["itself", "folder", "link", "hard link"])
    def test_the_source_is_never_the_target(self, opened, source, target, how):
        before = {path: path.read_bytes() for path in source.parent.iterdir()}
        other = {"itself": source, "folder": source.parent}.get(how, target)
        if how == "link":
            target.symlink_to(source.parent)
        elif how == "hard link":
            os.link(self.copied(source), target)
        with pytest.raises(TargetExists, match="choose the name of a new folder"):
            write(self.plan(opened), other, force=True)
        assert {path: path.read_bytes() for path in source.parent.iterdir()} == before


def remapped(path, target, map_location="cpu", **options):
    with ckpt_viewer.open_checkpoint(path, whole=True) as checkpoint:
        return write(plan_remap(checkpoint, map_location), target, **options)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("opened", [INDEX, shard(2)], ids=["index", "shard"])
def test_every_shard_equals_the_original_but_for_tags(folder, tmp_path, opened):
    written = remapped(folder / opened, tmp_path / "new")
    assert (written.path, written.verified, written.tensors) == (tmp_path / "new", "ckpt-viewer", 4)
    assert names(written.path) == names(folder)
    assert (written.path / INDEX).read_bytes() == (folder / INDEX).read_bytes()
    assert written.bytes == sum(path.stat().st_size for path in written.path.iterdir())
    for number in range(1, SHARDS + 1):
        copy = written.path / shard(number)
        assert set(tags(copy)) == {"cpu"}
        assert_same(torch.load(folder / shard(number), map_location="cpu"), torch.load(copy))
    assert names(tmp_path) == ["model", "new"]


def test_devices_and_tables(folder, tmp_path):
    remapped(folder / INDEX, tmp_path / "new", {"cuda:1": "cuda:0", "cuda:3": "cpu"})
    assert [set(tags(tmp_path / "new" / shard(number))) for number in (1, 2, 3)] == [{"cuda:0"}, {"cuda:2"}, {"cpu"}]


def test_what_was_answered_once_is_not_asked_again(folder, tmp_path):
    answers = iter("0123456789")
    remapped(folder / INDEX, tmp_path / "new", lambda storage, tag: storage.cuda(int(next(answers))))
    assert [tags(tmp_path / "new" / shard(number))[0] for number in (1, 2, 3)] == ["cuda:0", "cuda:1", "cuda:2"]


def test_on_the_command_line(folder, tmp_path, capsys):
    """With the default name, and with torch as the witness."""
    assert main(["remap", str(folder / INDEX), "--map-location", "cpu", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    new = folder / "pytorch_model.cpu"
    by = f"torch {torch.__version__.partition('+')[0]}"
    assert (document["written"], document["tensors"], document["verified"]) == (str(new), 4, by)
    assert names(new) == [name for name in names(folder) if name != new.name]
    assert main(["remap", str(folder / INDEX), "--map-location", "cpu", "--dry-run"]) == 2
    assert "exists already; choose the name of a new folder" in capsys.readouterr().err
    assert main(["remap", str(new / INDEX), "--map-location", "cpu"]) == 0
    assert "is on cpu already" in capsys.readouterr().out


def test_the_modes_are_what_saving_would_give(folder, tmp_path):
    mask = os.umask(0o027)
    try:
        remapped(folder / INDEX, tmp_path / "new")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o750
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").iterdir()} == {0o640}


def test_links_of_a_cache_become_files(folder, tmp_path):
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    for name in names(folder):
        (snapshot / name).symlink_to(f"../model/{name}")
    remapped(snapshot / INDEX, tmp_path / "new")
    assert names(tmp_path / "new") == names(folder)
    assert not any(path.is_symlink() for path in (tmp_path / "new").iterdir())


@pytest.mark.parametrize("force", [False, True])
def test_what_is_in_a_folder_is_never_replaced(folder, tmp_path, force):
    (tmp_path / "new").mkdir()
    (tmp_path / "new/precious").write_bytes(b"old")
    (tmp_path / "file").write_bytes(b"old")
    for name in ("new", "file", "model"):
        with pytest.raises(TargetExists, match="choose the name of a new folder"):
            remapped(folder / INDEX, tmp_path / name, force=force)
    assert names(tmp_path / "new") == ["precious"]
    assert names(tmp_path) == ["file", "model", "new"]


def test_an_empty_folder_is_taken(folder, tmp_path):
    (tmp_path / "new").mkdir()
    remapped(folder / INDEX, tmp_path / "new")
    assert names(tmp_path / "new") == names(folder)


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_appears_meanwhile_stays(folder, tmp_path, what):
    class Intruder:
        def step(self, done, total):
            if not (tmp_path / "new").exists() and done:
                if what == "file":
                    (tmp_path / "new").write_bytes(b"other")
                else:
                    (tmp_path / "new").mkdir()
                    (tmp_path / "new/other").write_bytes(b"other")

    with pytest.raises((TargetExists, WriteFailed)):
        remapped(folder / INDEX, tmp_path / "new", context=Intruder())
    assert names(tmp_path) == ["model", "new"]
    assert (tmp_path / "new" / ("other" if what == "folder" else "")).read_bytes() == b"other"


@pytest.mark.parametrize("share", [0.1, 0.6, 0.99])
def test_cancelling_leaves_nothing(folder, tmp_path, share):
    class Stop:
        def step(self, done, total):
            if total and done >= share * total:
                assert find_leftovers(tmp_path) == []  # it is locked
                raise Cancelled

    with ckpt_viewer.open_checkpoint(folder / INDEX) as checkpoint:
        plan = plan_remap(checkpoint, "cpu")
        with pytest.raises(Cancelled):
            write(plan, tmp_path / "new", context=Stop())
    assert names(tmp_path) == ["model"]


def test_a_shard_that_changes_gives_no_result(folder, tmp_path):
    with ckpt_viewer.open_checkpoint(folder / INDEX) as checkpoint:
        plan = plan_remap(checkpoint, "cpu")
        builders.save({"d": torch.zeros(3, 2)}, folder / shard(3), tag="cuda:3")
        with pytest.raises(SourceChanged, match="since the copy was planned"):
            write(plan, tmp_path / "new")
    assert names(tmp_path) == ["model"]


def test_sets_that_are_not_whole_or_have_no_tags(folder, tmp_path):
    import safetensors.torch

    (folder / shard(2)).unlink()
    with pytest.raises(CannotExport, match="the set is not whole"):
        remapped(folder / INDEX, tmp_path / "new")
    safetensors.torch.save_file({"c": torch.arange(7)}, folder / shard(2))
    with pytest.raises(CannotExport, match="format safetensors cannot be copied with other device tags"):
        remapped(folder / INDEX, tmp_path / "new")
