"""Ordinary zips with checkpoints inside, stored and deflated, honest and hostile."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from typing import ClassVar

import pytest
from builders import (
    call,
    floats,
    integer,
    legacy_stream,
    mapped,
    name,
    pickled,
    tensor,
    text,
    zip_checkpoint,
    zip_file,
)
from contract import VALUES, FormatContract
from opening import memory, open_bytes, within

from ckpt_viewer.analysis.overview import overview
from ckpt_viewer.errors import CheckpointError, NotACheckpoint, OverBudget
from ckpt_viewer.formats import open_checkpoint

DATA = floats(*VALUES)
BODY = mapped((text("weight"), tensor()), (text("epoch"), integer(3)))
INNER = zip_checkpoint(pickled(BODY), {"0": DATA})
LONG = pickled(mapped(*((text(str(n)), integer(n)) for n in range(500))))


def codes(checkpoint) -> set[str]:
    return {finding.code for finding in checkpoint.findings}


class TestOrdinaryZip(FormatContract):
    name = "zip"
    entries: ClassVar = {(): None, ("model.pth",): None, ("model.pth", "weight"): None, ("model.pth", "epoch"): 3}

    def file(self) -> bytes:
        return zip_file({"model.pth": INNER}, alignment=1)

    def long_file(self) -> bytes:
        return zip_file({"model.pth": zip_checkpoint(LONG)})


class TestDeflated(TestOrdinaryZip):
    def file(self) -> bytes:
        return zip_file({"model.pth": INNER}, deflate=("model.pth",), alignment=1)


class TestLegacyInside(TestOrdinaryZip):
    """Among other files, and in a folder."""

    entries: ClassVar = {
        (): None,
        ("run/notes.txt",): "lr 0.1",
        ("run/model.pt",): None,
        ("run/model.pt", "weight"): None,
        ("run/model.pt", "epoch"): 3,
        ("__MACOSX/run/._model.pt",): None,
    }

    def file(self) -> bytes:
        body = mapped((text("weight"), tensor(legacy=True)), (text("epoch"), integer(3)))
        stream = legacy_stream(pickled(body), {"0": DATA})
        return zip_file(
            {"run/": b"", "run/notes.txt": b"lr 0.1", "run/model.pt": stream, "__MACOSX/run/._model.pt": INNER},
            alignment=1,
        )

    def test_other_files_are_entries(self):
        checkpoint = open_bytes(self.file())
        assert checkpoint["/run~1notes.txt"].value == "lr 0.1"
        assert checkpoint["/__MACOSX~1run~1._model.pt"].value.text == f"{len(INNER)} bytes"


def test_two_checkpoints_have_storages_of_their_own():
    other = zip_checkpoint(pickled(BODY), {"0": floats(1, 2, 3, 4)})
    checkpoint = open_bytes(zip_file({"a.pth": INNER, "b.pth": other}))
    first, second = checkpoint["/a.pth/weight"], checkpoint["/b.pth/weight"]
    assert first.storage.unique_key == "a.pth!0"
    assert second.storage.unique_key == "b.pth!0"
    assert second.numpy(copy=True).tolist() == [1, 2, 3, 4]


def test_what_stable_baselines3_writes(tmp_path):
    torch = pytest.importorskip("torch")
    net = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.rand(1, 3)).sum().backward()
    optimizer.step()
    evil = pickled(call(name("os", "system"), text("touch done")), 4)
    packed = base64.b64encode(evil).decode()
    settings = {"num_timesteps": 32, "policy_class": {":type:": "ABCMeta", ":serialized:": packed}}
    path = tmp_path / "ppo.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", json.dumps(settings))
        for member, value in (("policy.pth", net.state_dict()), ("policy.optimizer.pth", optimizer.state_dict())):
            buffer = io.BytesIO()
            torch.save(value, buffer)
            archive.writestr(member, buffer.getvalue())
        archive.writestr("_stable_baselines3_version", "2.9.2")
    with open_checkpoint(path) as checkpoint:
        seen = overview(checkpoint)
        assert seen.kind == "training checkpoint"
        assert seen.roles["model"] == [("policy.pth",)]
        assert seen.roles["optimizer"] == [("policy.optimizer.pth",)]
        assert seen.roles["progress"] == [("data", "num_timesteps")]
        assert seen.parameters == 8
        assert {key: node.numpy(copy=True).tolist() for key, node in checkpoint.state_dict().items()} == {
            key: value.tolist() for key, value in net.state_dict().items()
        }
        assert {use.name: use.status for use in checkpoint.contents.globals}["os.system"] == "dangerous"
        assert "nested-pickle" in codes(checkpoint)
        assert checkpoint["/_stable_baselines3_version"].value == "2.9.2"
    assert not (tmp_path / "done").exists()


@pytest.mark.parametrize(
    ("records", "words"),
    [({"readme.txt": b"x"}, "1 files"), ({"a/": b"", "a/b.png": b"\x89PNG"}, "1 files"), ({"w.npy": b"x"}, "npz")],
)
def test_zips_without_a_checkpoint_are_named(records, words):
    with pytest.raises(NotACheckpoint, match=words):
        open_bytes(zip_file(records))


def test_a_broken_member_is_named_and_the_others_are_read():
    checkpoint = open_bytes(zip_file({"broken.pth": INNER[:-30], "model.pth": INNER}))
    assert "unreadable-member" in codes(checkpoint)
    assert checkpoint["/model.pth/epoch"].value == 3
    finding = next(each for each in checkpoint.findings if each.code == "unreadable-member")
    assert finding.path == ("broken.pth",)


def test_an_archive_whose_only_checkpoint_is_broken_is_refused():
    with pytest.raises(CheckpointError, match="cut off"):
        open_bytes(zip_file({"broken.pth": INNER[:-30]}))


def test_archives_in_archives_end():
    data = INNER
    for _ in range(4):
        data = zip_file({"in.zip": data})
    assert open_bytes(data)["/in.zip/in.zip/in.zip/in.zip/epoch"].value == 3
    with pytest.raises(OverBudget):
        open_bytes(zip_file({"in.zip": zip_file({"in.zip": data})}))


def test_members_together_stay_in_budget():
    """Each would be in budget by itself."""
    costly = pickled(b"(" + b"]" * 500_000 + b"l")
    inner = zip_checkpoint(costly, deflate=("data.pkl",))
    whole = zip_file({f"{n}.pth": inner for n in range(5)})
    with memory() as peak:
        checkpoint = open_bytes(whole)
    assert peak.nbytes < 200_000_000
    assert "unreadable-member" in codes(checkpoint)


def test_members_that_inflate_without_end_are_not_unpacked():
    bomb = zip_file({"a": bytes(100 << 20)}, deflate=("a",))
    with memory() as peak, pytest.raises(CheckpointError):
        open_bytes(bomb)
    assert peak.nbytes < 20_000_000


def test_a_long_list_of_members_is_cut(monkeypatch):
    from ckpt_viewer.formats import ordinary_zip

    monkeypatch.setattr(ordinary_zip, "MOST", 3)
    checkpoint = open_bytes(zip_file({"m.pth": INNER, **{f"{n}.txt": b"x" for n in range(9)}}))
    assert len(checkpoint.root.children) == 3
    assert "not-listed" in codes(checkpoint)


def test_members_that_break_off_late_are_not_tried_without_end():
    """Each costs its whole budget before it is refused."""
    evil = b"\x80\x02(" + b"]" * 900_000 + b"N" * 10
    whole = zip_file(
        {"good.pth": INNER, **{f"{n}.pkl": evil for n in range(40)}}, deflate=tuple(f"{n}.pkl" for n in range(40))
    )
    with within(10):
        checkpoint = open_bytes(whole)
    assert checkpoint["/good.pth/epoch"].value == 3
    said = [finding.message for finding in checkpoint.findings if finding.code == "unreadable-member"]
    assert sum("more than is read at once" in message for message in said) > 30
