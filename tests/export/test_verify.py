"""What the comparison after writing notices. Byte errors are in the contract of the writers; here it is structure."""

import builders
import pytest
import torch

import ckpt_viewer
from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.errors import WriteFailed
from ckpt_viewer.export import remap_zip
from ckpt_viewer.export.plan import plan_export, plan_remap, write
from ckpt_viewer.export.writers import pth
from ckpt_viewer.unpickle.relocate import Relocated, relocate

pytestmark = pytest.mark.torch

TAG = "cuda:1"
VALUE = {TAG: "a user's key", "w": torch.arange(4.0), "v": torch.ones(2), "n": [1, 2.5, float("nan"), None, True]}


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        (b"K\x04\x85", b"K\x03\x85", "w"),  # another shape
        (b"X\x01\x00\x00\x00w", b"X\x01\x00\x00\x00x", "w"),  # another name
        (b"K\x01G@\x04", b"K\x02G@\x04", "n/0"),
        (b"G@\x04", b"G@\x05", "n/1"),
        (b"N\x88e", b"\x88\x88e", "n/3"),
        (b"N\x88e", b"N\x89e", "n/4"),
        (b"N\x88e", b"NK\x01e", "n/4"),  # 1 equals True, but is another value
        (b"N\x88e", b"N\x88Ne", "its outline"),
        (b"cpu", b"mps", "w"),  # another tag than was asked for
    ],
)
def test_a_pickle_that_says_something_else(tmp_path, monkeypatch, old, new, where):
    source = builders.save(VALUE, tmp_path / "x.pth", tag=TAG)

    def wrong(data, retag, context):
        right = relocate(data, retag, context)
        assert old in right.data
        return right._replace(data=right.data.replace(old, new, 1))

    monkeypatch.setattr(remap_zip, "relocate", wrong)
    assert (
        refusal(source)
        == f"the copy differs from the source at {where}, so it was removed; check the disk and try again"
    )


def test_the_naive_way_to_change_tags(tmp_path, monkeypatch):
    """Replacing the text of the tag renames a key that is the same string."""
    source = builders.save(VALUE, tmp_path / "x.pth", tag=TAG)

    def naive(data, retag, context):
        length = len(relocate(data, retag, context).data)
        assert length > len(data)
        return Relocated(data.replace(b"X\x06\x00\x00\x00cuda:1", b"X\x03\x00\x00\x00cpu"), 2)

    monkeypatch.setattr(remap_zip, "relocate", naive)
    assert "differs from the source at cuda:1" in refusal(source)


def refusal(source):
    target = source.with_name("out.pth")
    with ckpt_viewer.open_checkpoint(source) as checkpoint, pytest.raises(WriteFailed) as error:
        write(plan_remap(checkpoint, "cpu"), target)
    assert not target.exists()
    return str(error.value)


def test_records_that_are_swapped(tmp_path, monkeypatch):
    value = {"a": torch.arange(4.0), "b": torch.ones(4)}
    source = builders.save(value, tmp_path / "x.pth", tag=TAG)
    real, held = remap_zip.ZipWriter.add, []

    def swapped(self, entry):
        if b"/data/" not in entry.name:
            real(self, entry)
            return
        held.append(entry)
        if len(held) == 2:
            real(self, held[0]._replace(offset=held[1].offset))
            real(self, held[1])

    monkeypatch.setattr(remap_zip.ZipWriter, "add", swapped)
    with ckpt_viewer.open_checkpoint(source) as checkpoint, pytest.raises(ckpt_viewer.CheckpointError):
        write(plan_remap(checkpoint, "cpu"), tmp_path / "out.pth")
    assert len({entry.name for entry in held}) == 2
    assert not (tmp_path / "out.pth").exists()


@pytest.mark.parametrize(
    ("attribute", "value", "where"),
    [
        ("items", lambda items: dict(reversed(items.items())), "the names of its entries"),
        ("items", lambda items: {**items, "extra": 1}, "the names of its entries"),
        ("items", lambda items: {**items, "epoch": 4}, "epoch"),
        (
            "items",
            lambda items: {**items, "a.weight": items["a.weight"].with_(shape=(2, 2), stride=(2, 1))},
            "a.weight",
        ),
        ("items", lambda items: {**items, "a.weight": items["b.weight"]}, "a.weight"),
        ("metadata", lambda metadata: None, "_metadata"),
    ],
)
def test_a_state_dict_that_is_not_what_was_planned(tmp_path, monkeypatch, attribute, value, where):
    real = pth.StateDict.write

    def write_another(self, copier):
        cargo, parts = self.cargo._replace(**{attribute: value(getattr(self.cargo, attribute))}), []
        pth._emit(cargo.items, cargo.metadata, self.pieces, SILENT, lambda part: parts.append(bytes(part)))
        real(self._replace(cargo=cargo, pickle=len(b"".join(parts))), copier)

    monkeypatch.setattr(pth.StateDict, "write", write_another)
    assert f"differs from the source at {where}," in refused_export(tmp_path)


def test_a_state_dict_of_another_dtype(tmp_path, monkeypatch):
    real = pth._emit

    def emit_another(items, metadata, pieces, context, take):
        parts = []
        needs = real(items, metadata, pieces, context, lambda part: parts.append(bytes(part)))
        take(bytearray(b"".join(parts).replace(b"FloatStorage", b"IntStorage")))
        return needs

    monkeypatch.setattr(pth, "_emit", emit_another)
    assert "differs from the source at a.weight," in refused_export(tmp_path)


def refused_export(folder):
    state = torch.nn.Module().state_dict()
    state.update({"a.weight": torch.arange(4.0), "b.weight": torch.ones(4), "epoch": 3})
    source, target = builders.save(state, folder / "x.pth"), folder / "out.pth"
    with ckpt_viewer.open_checkpoint(source) as checkpoint, pytest.raises(WriteFailed) as error:
        write(plan_export(checkpoint, ""), target)
    assert not target.exists()
    return str(error.value)
