"""State_dicts in several files, opened by their index or by any of them. FORMATS 1.10, hazard H14."""

from __future__ import annotations

import glob
import json
import os
from pathlib import Path

import pytest
import safetensors.torch
import torch
from builders import entry, safetensors_file
from opening import look_at_all, memory, open_bytes, within

from ckpt_viewer.analysis.loading import load_code
from ckpt_viewer.analysis.overview import overview
from ckpt_viewer.cli import main
from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.errors import Cancelled, CheckpointError, Unreadable, Unsupported
from ckpt_viewer.export.choice import Choice
from ckpt_viewer.export.plan import plan_export, write
from ckpt_viewer.formats import open_checkpoint
from ckpt_viewer.gui.reading import read_file
from ckpt_viewer.sources.pool import MOST_OPEN

INDEX = "model.safetensors.index.json"


def tensors(count: int = 6) -> dict[str, torch.Tensor]:
    return {f"layer{n}.weight": torch.full((2, n + 1), float(n)) for n in range(count)}


def save_set(folder: Path, shards: int = 3, *, binary: bool = False, index: bool = True, count: int = 6, **changes):
    """Write a set as Hugging Face's save_pretrained does; `changes` go into the index. Return its tensors."""
    folder.mkdir(exist_ok=True)
    given = tensors(count)
    names = list(given)
    files = {}
    for number in range(shards):
        stem, suffix = ("pytorch_model", "bin") if binary else ("model", "safetensors")
        name = f"{stem}-{number + 1:05}-of-{shards:05}.{suffix}"
        part = {key: given[key] for key in names[number::shards]}
        if binary:
            torch.save(part, folder / name)
        else:
            safetensors.torch.save_file(part, folder / name, {"format": "pt"})
        files.update(dict.fromkeys(part, name))
    if index:
        size = sum(each.nbytes for each in given.values())
        document = {"metadata": {"total_size": size}, "weight_map": dict(sorted(files.items())), **changes}
        name = "pytorch_model.bin.index.json" if binary else INDEX
        (folder / name).write_text(json.dumps(document, indent=2))
    return given


def shard(folder: Path, number: int = 1, of: int = 3) -> Path:
    return folder / f"model-{number:05}-of-{of:05}.safetensors"


def codes(checkpoint) -> set[str]:
    return {finding.code for finding in checkpoint.findings}


def change_map(folder: Path, **changes: str | None) -> None:
    """Change the file of some tensors in the index; None takes the tensor out."""
    path = folder / INDEX
    document = json.loads(path.read_text())
    for name, file in changes.items():
        name = name.replace("__", ".")
        if file is None:
            del document["weight_map"][name]
        else:
            document["weight_map"][name] = file
    path.write_text(json.dumps(document))


@pytest.mark.parametrize("binary", [False, True], ids=["safetensors", "bin"])
def test_the_index_opens_all_files_as_one_state_dict(tmp_path, binary):
    given = save_set(tmp_path, binary=binary)
    (index,) = tmp_path.glob("*.index.json")
    with open_checkpoint(index) as checkpoint:
        assert (checkpoint.format, overview(checkpoint).kind, checkpoint.findings) == ("sharded", "state_dict", ())
        assert checkpoint.size == sum(path.stat().st_size for path in tmp_path.iterdir() if path != index)
        state_dict = checkpoint.state_dict()
        assert set(state_dict) == set(given)
        for name, node in state_dict.items():
            assert torch.equal(node.torch(), given[name])
            assert node.location == ("cpu" if binary else None)
        keys = [node.storage.unique_key for node in state_dict.values()]
        assert len(set(keys)) == len(keys)
        assert all("-of-00003." in key.partition("!")[0] for key in keys)
        assert checkpoint["/__index__/total_size"].value == sum(each.nbytes for each in given.values())
        if not binary:
            assert checkpoint["/__metadata__/format"].value == "pt"
        look_at_all(checkpoint)


@pytest.mark.parametrize("index", [True, False], ids=["with index", "without"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_any_file_opens_the_whole_set_if_that_is_wanted(tmp_path, number, index):
    given = save_set(tmp_path, index=index)
    with open_checkpoint(shard(tmp_path, number), whole=True) as checkpoint:
        assert (checkpoint.format, checkpoint.path) == ("sharded", str(shard(tmp_path, number)))
        assert set(checkpoint.state_dict()) == set(given)
        assert checkpoint.contents.files == tuple(shard(tmp_path, each).name for each in (1, 2, 3))
    loaded = read_file(str(shard(tmp_path, number)), None, True, SILENT)  # as the window does
    assert loaded.checkpoint.format == "sharded"
    loaded.checkpoint.close()


def test_a_file_by_itself_says_what_it_is_part_of(tmp_path):
    save_set(tmp_path)
    with open_checkpoint(shard(tmp_path, 2)) as checkpoint:
        assert (checkpoint.format, len(checkpoint.state_dict())) == ("safetensors", 2)
        (finding,) = checkpoint.findings
    assert (finding.severity, finding.code) == ("info", "one-of-several")
    assert "file 2 of a set of 3" in finding.message
    assert INDEX in finding.message
    (tmp_path / INDEX).unlink()
    shard(tmp_path, 1).unlink()
    with open_checkpoint(shard(tmp_path, 2)) as checkpoint:
        (finding,) = checkpoint.findings
    assert finding.severity == "warning"
    assert "'model-00001-of-00003.safetensors' is missing" in finding.message
    with open_checkpoint(shard(tmp_path, 2), whole=True) as checkpoint:
        assert checkpoint.format == "safetensors"
        assert codes(checkpoint) == {"one-of-several"}


@pytest.mark.parametrize("name", ["model-00001-of-00001.safetensors", "a-of-b.safetensors", "1-of-0.safetensors"])
def test_a_set_of_one_is_no_set(tmp_path, name):
    safetensors.torch.save_file({"a.weight": torch.rand(1)}, tmp_path / name)
    with open_checkpoint(tmp_path / name, whole=True) as checkpoint:
        assert (checkpoint.format, checkpoint.findings) == ("safetensors", ())


# --- what is wrong with sets --------------------------------------------------------------------------------------


def test_missing_files_are_named_and_the_rest_opens(tmp_path):
    given = save_set(tmp_path)
    shard(tmp_path, 2).unlink()
    for path in (tmp_path / INDEX, shard(tmp_path, 3)):
        with open_checkpoint(path, whole=True) as checkpoint:
            assert set(checkpoint.state_dict()) == {name for n, name in enumerate(given) if n % 3 != 1}
            found = {finding.code: finding for finding in checkpoint.findings}
    assert found["missing-shard"].severity == "error"
    assert "model-00002-of-00003.safetensors" in found["missing-shard"].message
    assert "total-size" in found


def test_without_any_file_the_index_alone_is_refused(tmp_path):
    save_set(tmp_path)
    for number in (1, 2, 3):
        shard(tmp_path, number).unlink()
    with pytest.raises(Unreadable, match=r"model-00001-of-00003\.safetensors"):
        open_checkpoint(tmp_path / INDEX)


def test_a_damaged_file_leaves_the_others_readable(tmp_path):
    save_set(tmp_path)
    shard(tmp_path, 1).write_bytes(shard(tmp_path, 1).read_bytes()[:-1])
    shard(tmp_path, 2).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 9\n")
    with open_checkpoint(tmp_path / INDEX) as checkpoint:
        notes = [finding.message for finding in checkpoint.findings if finding.code == "unreadable-shard"]
        assert len(checkpoint.state_dict()) == 2
    assert "1 missing" in notes[0]
    assert "git lfs pull" in notes[1]


def test_names_that_index_and_files_disagree_on_are_findings(tmp_path):
    given = save_set(tmp_path)
    change_map(tmp_path, nowhere__weight=shard(tmp_path, 1).name, layer0__weight=None,
               layer1__weight=shard(tmp_path, 1).name)  # fmt: skip
    with open_checkpoint(tmp_path / INDEX) as checkpoint:
        found = {finding.code: finding for finding in checkpoint.findings}
        names = set(checkpoint.state_dict())
    assert "'layer1.weight'" in found["missing-tensor"].message
    assert "'nowhere.weight'" in found["missing-tensor"].message
    assert "'layer0.weight'" in found["extra-tensor"].message
    assert "'layer1.weight'" in found["repeated-tensor"].message
    assert names == set(given) - {"layer1.weight"}


@pytest.mark.parametrize(("total", "noted"), [(1, True), ("84", False), (84.0, False), (None, False), ([1], False)])
def test_a_wrong_total_is_only_mentioned(tmp_path, total, noted):
    save_set(tmp_path, metadata={"total_size": total})
    with open_checkpoint(tmp_path / INDEX) as checkpoint:
        assert [(finding.severity, finding.code) for finding in checkpoint.findings] == [("info", "total-size")] * noted


def test_tensors_of_one_name_in_two_files_are_both_shown(tmp_path):
    for number in (1, 2):
        safetensors.torch.save_file({"a": torch.full((2,), float(number))}, shard(tmp_path, number, 2))
    with open_checkpoint(shard(tmp_path, 1, 2), whole=True) as checkpoint:
        assert "repeated-tensor" in codes(checkpoint)
        assert [node.torch().tolist() for node in checkpoint.root.children] == [[1, 1], [2, 2]]


def test_names_that_disagree_on_the_count_are_one_set(tmp_path):
    given = save_set(tmp_path, index=False)
    shard(tmp_path, 3).rename(shard(tmp_path, 3, of=4))
    with open_checkpoint(shard(tmp_path, 1), whole=True) as checkpoint:
        assert checkpoint.format == "safetensors"  # the fourth is missing
    shard(tmp_path, 3, of=4).rename(shard(tmp_path, 3, of=2))
    with open_checkpoint(shard(tmp_path, 1), whole=True) as checkpoint:
        assert codes(checkpoint) == {"mixed-numbering"}
        assert set(checkpoint.state_dict()) == set(given)


# --- what is hostile ----------------------------------------------------------------------------------------------

OUTSIDE = ["/etc/passwd", "../secret.safetensors", "..\\secret.safetensors", "C:secret.safetensors", "", ".", "..",
           "sub/secret.safetensors", "x\0.safetensors", "./secret.safetensors"]  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_never_lead_out_of_the_folder_h14(tmp_path, name, monkeypatch):
    folder = tmp_path / "set"
    save_set(folder)
    (folder / "sub").mkdir()
    for where in (tmp_path, folder / "sub", folder):
        safetensors.torch.save_file({"secret": torch.rand(1)}, where / "secret.safetensors")
    change_map(folder, secret=name)
    opened = []
    usual = os.open
    monkeypatch.setattr(
        os, "open", lambda path, *rest, **more: (opened.append(str(path)), usual(path, *rest, **more))[1]
    )
    with open_checkpoint(folder / INDEX) as checkpoint:
        assert "secret" not in checkpoint.state_dict()
        assert "unsafe-name" in codes(checkpoint)
    assert opened
    assert all(Path(path).parent == folder and "secret" not in path for path in opened)


def test_links_are_followed_to_regular_files_only_h14(tmp_path):
    folder = tmp_path / "set"
    given = save_set(folder)
    os.mkfifo(tmp_path / "fifo")
    (folder / "fifo").symlink_to(tmp_path / "fifo")
    (folder / "up").symlink_to(tmp_path)
    (folder / "loop").symlink_to("loop")
    change_map(folder, a="fifo", b="up", c="loop")
    with within(5), open_checkpoint(folder / INDEX) as checkpoint:
        assert set(checkpoint.state_dict()) == set(given)
        assert "missing-shard" in codes(checkpoint)


def test_a_hugging_face_snapshot_opens_through_its_links(tmp_path):
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "0123abcd"
    given = save_set(blobs)
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted(blobs.iterdir())):
        blob = path.rename(blobs / f"{number:064x}")
        (snapshot / path.name).symlink_to(Path("../../blobs") / blob.name)
    for name in (INDEX, shard(snapshot).name):
        with open_checkpoint(snapshot / name, whole=True) as checkpoint:
            assert checkpoint.findings == ()
            assert {name: node.torch().tolist() for name, node in checkpoint.state_dict().items()} == {
                name: each.tolist() for name, each in given.items()
            }


def test_an_index_that_names_indexes_does_not_go_round_in_circles(tmp_path):
    (tmp_path / "a.json").write_text('{"weight_map": {"x": "b.json"}}')
    (tmp_path / "b.json").write_text('{"weight_map": {"x": "a.json", "y": "b.json"}}')
    with pytest.raises(Unreadable, match="is an index itself"):
        open_checkpoint(tmp_path / "a.json")


HOSTILE = {
    "no map": '{"weight_map_": 1, "x": "weight_map"}', "a list": '{"weight_map": []}', "empty": '{"weight_map": {}}',
    "numbers": '{"weight_map": {"a": 1}}', "cut": '{"weight_map": {"a": "b"',
    "twice": '{"weight_map": {"a": "b", "a": "b"}}',
    "two maps": '{"weight_map": {"a": "b"}, "weight_map": {"a": "c"}}', "behind": '{"weight_map": {"a": "b"}} x',
    "deep": '{"weight_map": {"a": "b"}, "metadata": ' + "[" * 50_000,
    "many": '{"weight_map": {"a": "b"}, "m": [' + "[]," * 300_000,
    "surrogate": '{"weight_map": {"\\ud800": "b"}}', "later": '{"metadata": {"x": NaN}, "weight_map": {"a": "b"}}',
}  # fmt: skip


@pytest.mark.parametrize("title", HOSTILE)
def test_a_broken_index_is_refused_in_a_sentence(tmp_path, title):
    path = tmp_path / "x.index.json"
    path.write_text(HOSTILE[title])
    with within(5), memory() as peak, pytest.raises(CheckpointError) as refused:
        open_checkpoint(path)
    assert "\n" not in str(refused.value)
    assert peak.nbytes < 20 * len(HOSTILE[title]) + (20 << 20)


def test_an_index_without_a_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_set(tmp_path)
    with pytest.raises(Unsupported, match="files lie beside it"):
        open_bytes((tmp_path / INDEX).read_bytes())


def test_a_file_that_is_no_dict_of_tensors_is_left_out(tmp_path):
    torch.save({"a.weight": torch.rand(1)}, tmp_path / "m-1-of-2.bin")
    torch.save([torch.rand(1)], tmp_path / "m-2-of-2.bin")
    with open_checkpoint(tmp_path / "m-1-of-2.bin", whole=True) as checkpoint:
        assert "unreadable-shard" in codes(checkpoint)
        assert list(checkpoint.state_dict()) == ["a.weight"]


# --- large sets, and what is done with them -----------------------------------------------------------------------


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_hundreds_of_files_need_few_descriptors(tmp_path):
    count = 200
    files = {}
    for number in range(1, count + 1):
        name = f"m-{number:05}-of-{count:05}.safetensors"
        (tmp_path / name).write_bytes(safetensors_file({f"t{number}": entry("U8", [1], 0, 1)}, bytes([number])))
        files[f"t{number}"] = name
    (tmp_path / "m.index.json").write_text(json.dumps({"weight_map": files}))
    before = descriptors()
    with open_checkpoint(tmp_path / "m.index.json") as checkpoint:
        assert descriptors() - before <= MOST_OPEN + 2
        assert all(checkpoint[f"/t{n}"].numpy(copy=True).item() == n for n in range(1, count + 1))
        assert descriptors() - before <= MOST_OPEN + 2
    assert descriptors() == before


@pytest.mark.parametrize("name", [INDEX, "model-00002-of-00003.safetensors"])
def test_opening_can_be_cancelled_and_gives_the_files_back(tmp_path, name):
    class Stop:
        left = 3

        def step(self, done, total):
            self.left -= 1
            if not self.left:
                raise Cancelled

    save_set(tmp_path)
    before = descriptors()
    with pytest.raises(Cancelled):
        open_checkpoint(tmp_path / name, context=Stop(), whole=True)
    assert descriptors() == before


@pytest.mark.parametrize("binary", [False, True], ids=["safetensors", "bin"])
@pytest.mark.parametrize("name", ["pth", "safetensors"])
def test_export_writes_the_whole_state_dict(tmp_path, binary, name):
    given = save_set(tmp_path / "set", binary=binary)
    (index,) = (tmp_path / "set").glob("*.index.json")
    target = tmp_path / f"all.{name}"
    with open_checkpoint(index) as checkpoint:
        written = write(plan_export(checkpoint, Choice(format=name)), target, context=SILENT)
    loaded = torch.load(target) if name == "pth" else safetensors.torch.load_file(target)
    assert written.tensors == len(loaded) == 6
    assert all(torch.equal(loaded[name], given[name]) for name in given)


def test_export_of_an_incomplete_set_warns(tmp_path):
    save_set(tmp_path)
    shard(tmp_path, 2).unlink()
    with open_checkpoint(tmp_path / INDEX) as checkpoint:
        assert any("model-00002-of-00003" in warning for warning in plan_export(checkpoint).warnings)


@pytest.mark.parametrize("shards", [3, 6])
@pytest.mark.parametrize("binary", [False, True], ids=["safetensors", "bin"])
@pytest.mark.parametrize("map_location", [None, "cpu"])
def test_the_line_of_code_loads_the_set(tmp_path, monkeypatch, binary, shards, map_location):
    given = save_set(tmp_path, shards, binary=binary)
    monkeypatch.chdir(tmp_path)
    (index,) = tmp_path.glob("*.index.json")
    with open_checkpoint(index, map_location) as checkpoint:
        code = load_code(checkpoint)
    loaded = eval(code, {"torch": torch, "safetensors": safetensors, "glob": glob})
    assert loaded.keys() == given.keys()


@pytest.mark.parametrize("command", [["ls"], ["ls", "--json"], ["stats", "--json"], ["show", "/layer2.weight"]])
def test_set_on_the_command_line(tmp_path, capsys, command):
    save_set(tmp_path)
    arguments = [command[0], str(shard(tmp_path, 1)), *command[1:]]
    code = main(arguments)
    alone = capsys.readouterr().out
    assert code == (2 if command[0] == "show" else 0)
    assert "layer2" not in alone
    assert main([*arguments, "--set"]) == 0
    assert "2" in capsys.readouterr().out if command[0] == "show" else "layer2" in capsys.readouterr().out


def test_export_set_on_the_command_line(tmp_path, capsys):
    given = save_set(tmp_path / "set")
    assert main(["export", "--set", str(shard(tmp_path / "set")), "-o", str(tmp_path / "all.pth")]) == 0
    assert torch.load(tmp_path / "all.pth").keys() == given.keys()


def test_a_set_of_many_tensors_opens_fast_and_small(tmp_path):
    shards, each = 20, 2500
    files = {}
    for number in range(1, shards + 1):
        name = shard(tmp_path, number, shards).name
        header = {f"layers.{number}.{n}.weight": entry("F16", [2, 4], 16 * n, 16 * n + 16) for n in range(each)}
        (tmp_path / name).write_bytes(safetensors_file(header, bytes(16 * each)))
        files.update(dict.fromkeys(header, name))
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": files}))
    with within(10), memory() as peak:
        checkpoint = open_checkpoint(tmp_path / INDEX)
    with checkpoint:
        assert len(checkpoint.root.value) == shards * each
        assert codes(checkpoint) <= {"unaligned-data"}
        assert len(checkpoint.findings) <= 1
    assert peak.nbytes < 800 * shards * each
