"""A tar of torch 0.1 that is cut off: what is called whole is right, and the rest is named. FORMATS 1.4 and H13."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from archives import BLOCK, tar_file, tar_header, tar_storage, tar_tensor, torch_tar
from builders import floats, integer, listed, many, mapped, pickled, text
from opening import open_broken

from ckpt_viewer.cli import main
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.errors import CheckpointError, Damaged, Lost
from ckpt_viewer.formats import open_checkpoint

VALUES: dict[str, list[float]] = {
    "long": [float(n + 1) for n in range(200)],
    "short": [-4.0, 5.5],
    "longer": [float(n + 1) for n in range(400)],
    "empty": [],
    "view": [11.0, 12.0, 13.0],
}
"""The last is a view of the first."""
STORED = {name: number + 11 for number, name in enumerate(VALUES)}
BODY = pickled(
    mapped(*((text(name), text(str(n + 1)) + b"Q") for n, name in enumerate(VALUES)), (text("epoch"), b"K\3"))
)
TENSORS = [tar_tensor(n + 1, STORED[name], (len(v),), (1,)) for n, (name, v) in enumerate(VALUES.items())]
STORAGES = [tar_storage(STORED[name], floats(*VALUES[name])) for name in VALUES if name != "view"]
VIEWS = listed(many(integer(STORED["view"]), integer(STORED["long"]), integer(10), integer(3)))
DATA = torch_tar(BODY, TENSORS, STORAGES, VIEWS)
PLACES = {name: DATA.index(floats(*VALUES[name])) for name in ("long", "short", "longer")}


def whole(checkpoint: Checkpoint) -> dict[str, list[float]]:
    """Return the tensors that are called whole; those that are not raise."""
    found = {}
    for row, _ in checkpoint.outline.tensors():
        node = checkpoint.node(checkpoint.outline.path(row))
        if row in checkpoint.lost:
            with pytest.raises(Damaged):
                node.numpy(copy=True)
        else:
            found[node.name] = node.numpy(copy=True).tolist()
    return found


def test_cut_at_any_byte_what_is_called_whole_is_right():
    kept: list[set[str]] = []
    names: list[int] = []
    for length in (*range(BLOCK, 3 * BLOCK, 7), *range(3 * BLOCK, len(DATA), 3), len(DATA) - 1):
        with pytest.raises(CheckpointError, match="missing") as refused:
            open_broken(DATA[:length], salvage=False)
        assert "\n" not in str(refused.value)
        try:
            checkpoint = open_broken(DATA[:length])
        except CheckpointError:
            assert not refused.value.salvage
            assert not names
            continue
        assert refused.value.salvage
        found = whole(checkpoint)
        assert all(VALUES[name] == values for name, values in found.items())
        kept.append(set(found))
        names.append(len(checkpoint.root.children))
    assert all(before <= after for before, after in pairwise(kept))
    assert (kept[0], kept[-1]) == (set(), set(VALUES))
    assert names == sorted(names)
    assert names[-1] == len(VALUES) + 1


@pytest.mark.parametrize(
    ("end", "there"),
    [
        (PLACES["longer"] + 1000, {"long", "short", "empty"}),
        (PLACES["longer"] + 1600, {"long", "short", "longer", "empty"}),
        (PLACES["longer"] + 1599, {"long", "short", "empty"}),
        (PLACES["long"] + 100, {"empty"}),
    ],
)
def test_in_the_storages_names_shapes_and_dtypes_are_left(end, there):
    checkpoint = open_broken(DATA[:end])
    assert {node.name: node.shape for node in checkpoint.root.children if node.kind == "tensor"} == {
        name: (len(values),) for name, values in VALUES.items()
    }
    assert {tensor.dtype for _, tensor in checkpoint.outline.tensors()} == {"float32"}
    assert set(whole(checkpoint)) == there
    assert checkpoint["/epoch"].value == 3
    if "longer" not in there:
        with pytest.raises(Lost, match=r"storage '?\d+'? is (cut off|not in what is left)"):
            checkpoint["/longer"].numpy(copy=True)


def test_a_view_needs_the_list_behind_the_storages():
    without = open_broken(DATA[: DATA.index(VIEWS)])
    assert set(whole(without)) == set(VALUES) - {"view"}
    beyond = open_broken(DATA[: DATA.index(VIEWS) + len(VIEWS) + 1])
    assert whole(beyond)["view"] == VALUES["view"]


def test_in_the_tensors_the_others_are_named():
    end = DATA.index(TENSORS[2])
    with pytest.raises(CheckpointError, match="salvage the names and shapes of the 2 tensors that stand before"):
        open_broken(DATA[:end], salvage=False)
    checkpoint = open_broken(DATA[:end])
    kinds = {node.name: node.kind for node in checkpoint.root.children}
    assert [name for name, kind in kinds.items() if kind == "tensor"] == ["long", "short"]
    assert list(kinds) == [*VALUES, "epoch"]
    assert "ends before it describes" in checkpoint["/longer"].value.text


def test_in_the_pickle_the_names_before_the_end_are_left():
    checkpoint = open_broken(DATA[: DATA.index(b"longer")])
    assert [node.name for node in checkpoint.root.children] == ["long", "short"]


def test_what_does_not_go_on_behind_its_data_is_not_called_whole():
    """A damaged count of elements, and space at the end that was reserved and never written."""
    data = bytearray(DATA)
    data[PLACES["short"] - 8] = 1
    assert set(whole(open_broken(bytes(data)))) == {"long", "empty"}
    for end in (PLACES["short"] + 4, PLACES["short"] + 8):
        zeros = DATA[:end] + bytes(len(DATA) - end)
        assert set(whole(open_broken(zeros))) == {"long", "empty"}


def test_storages_that_come_first_are_of_no_use_without_the_object():
    members = {"storages": pickled(integer(4)) + b"".join(STORAGES) + pickled(VIEWS), "tensors": pickled(integer(0)),
               "pickle": BODY}  # fmt: skip
    data = tar_file(members)
    with pytest.raises(CheckpointError, match=r"at least .* missing; copy or download it again$"):
        open_broken(data[: data.index(BODY)])
    checkpoint = open_broken(data[: data.index(BODY) + len(BODY)])
    assert [node.name for node in checkpoint.root.children] == [*VALUES, "epoch"]


def test_members_that_torch_never_wrote_are_not_salvaged():
    link = tar_file({"pickle": BODY, "storages": pickled(integer(0))}, kind=b"2")
    with pytest.raises(CheckpointError, match="no regular file"):
        open_broken(link[:-1])
    with pytest.raises(CheckpointError, match="at once"):
        open_broken(tar_header(b"\x80\x02}q\x00.", 0) + DATA[:-1])


def test_what_is_left_is_listed_exported_and_read_by_torch(tmp_path, capsys):
    path, copy = tmp_path / "old.pt", tmp_path / "left.pth"
    path.write_bytes(DATA[: PLACES["longer"] + 100])
    assert main(["ls", str(path), "--salvage"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in VALUES)
    assert main(["stats", "--salvage", str(path), "/long"]) == 0
    assert "200" in capsys.readouterr().out
    assert main(["export", str(path), "--salvage", "--from", "", "--output", str(copy)]) == 0
    loaded = torch.load(copy, weights_only=True)
    assert loaded.pop("epoch") == 3
    assert list(loaded) == ["long", "short", "empty"]
    assert all(loaded[name].tolist() == VALUES[name] for name in loaded)
    with open_checkpoint(path, salvage=True) as checkpoint:
        assert checkpoint.format == "torch-tar"
        assert next(each for each in checkpoint.findings if each.code == "salvaged").message.startswith("the file is")
