"""The map of a file's bytes: whole, right to the byte, and honest where many regions share a pixel."""

from __future__ import annotations

import struct

import pytest
import torch
from builders import entry, mapped, pickled, safetensors_file, save, tensor, text, zip_checkpoint
from opening import open_bytes
from safetensors.torch import save_file
from torch import nn, optim

from ckpt_viewer.analysis.byte_layout import byte_maps
from ckpt_viewer.analysis.byte_map import (
    DIRECTORY,
    DRAGGED,
    FRAME,
    MODEL,
    OPTIMIZER,
    OTHER,
    PICKLE,
    PLAIN,
    UNUSED,
    Maps,
)
from ckpt_viewer.analysis.ledger import ledger
from ckpt_viewer.analysis.overview import overview
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.formats import open_checkpoint


def mapped_bytes(checkpoint: Checkpoint) -> Maps:
    return byte_maps(checkpoint, ledger(checkpoint, overview(checkpoint).role_rows))


def is_whole(maps: Maps) -> bool:
    """Whether every byte of every file is in exactly one region."""
    for file in maps.files:
        if list(file.bounds) != sorted(set(file.bounds)) or (file.bounds[0], file.bounds[-1]) != (0, file.size):
            return False
        if sum(file.totals.values()) != file.size:
            return False
    return True


VALUE = {f"t{n}": torch.full((n + 1,), float(n)) for n in range(12)}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_every_region_of_a_storage_holds_the_bytes_of_its_tensor(tmp_path, legacy):
    path = save(VALUE, tmp_path / "m.pth", legacy=legacy)
    data = path.read_bytes()
    with open_checkpoint(path) as checkpoint:
        book = ledger(checkpoint, overview(checkpoint).role_rows)
        maps = byte_maps(checkpoint, book)
        (file,) = maps.files
        for number, line in enumerate(book.lines):
            name = checkpoint.outline.steps[line.uses[0].row]
            index, region = maps.places[number]
            found = file.region(region)
            assert (index, found.line) == (0, number)
            assert data[found.start : found.start + found.nbytes] == VALUE[name].numpy().tobytes()
    assert is_whole(maps)
    assert (file.name, file.size) == ("m.pth", len(data))
    assert maps.elsewhere == maps.overlapping == maps.unused[0] == 0
    assert (DIRECTORY in file.totals) is not legacy
    assert file.totals[PICKLE] > 0


def test_roles_have_kinds_of_their_own(tmp_path):
    model = nn.Linear(3, 2)
    optimizer = optim.Adam(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    value = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "more": torch.rand(5, 5)}
    with open_checkpoint(save(value, tmp_path / "m.pth")) as checkpoint:
        totals = mapped_bytes(checkpoint).files[0].totals
    assert (totals[MODEL], totals[OPTIMIZER], totals[OTHER]) == (32, 72, 100)


def test_what_is_dragged_along_is_a_region_of_its_own(tmp_path):
    base = torch.rand(10_000)
    value = {"a": base[1000:1100], "b": base[1050:1200], "c": base[5000:5100].view(10, 10), "d": torch.rand(50)[:49]}
    with open_checkpoint(save(value, tmp_path / "m.pth")) as checkpoint:
        maps = mapped_bytes(checkpoint)
    (file,) = maps.files
    found = [file.region(number) for number, line in enumerate(file.lines) if line == 0]
    assert [(each.nbytes, each.kind) for each in found] == [
        (4000, DRAGGED), (400, OTHER), (400, OTHER), (15_200, DRAGGED), (400, OTHER), (19_600, DRAGGED)
    ]  # fmt: skip
    assert file.totals[DRAGGED] == 38_800
    assert is_whole(maps)
    assert maps.overlapping == 0


def test_safetensors(tmp_path):
    save_file({"a": torch.rand(4), "b": torch.rand(2, 2)}, tmp_path / "m.safetensors")
    with open_checkpoint(tmp_path / "m.safetensors") as checkpoint:
        maps = mapped_bytes(checkpoint)
    assert is_whole(maps)
    assert list(maps.files[0].kinds) == [PICKLE, MODEL, MODEL]


def test_records_that_nothing_refers_to_are_told_and_named():
    data = zip_checkpoint(
        pickled(mapped((text("a"), tensor((4,))))), {"0": bytes(16), "1": bytes(100), "left": bytes(7)}
    )
    maps = mapped_bytes(open_bytes(data))
    assert is_whole(maps)
    assert maps.unused == (2, 107)
    (file,) = maps.files
    names = [file.region(number).name for number, kind in enumerate(file.kinds) if kind == UNUSED]
    assert [name.rpartition("/")[2] for name in names] == ["1", "left"]
    assert {PICKLE, PLAIN, FRAME, DIRECTORY, UNUSED} <= set(file.totals)


def test_packed_records_are_where_they_lie_packed_and_nothing_is_unpacked(monkeypatch):
    data = zip_checkpoint(pickled(mapped((text("a"), tensor((4000,))))), {"0": bytes(16_000)}, deflate=("data/0",))
    checkpoint = open_bytes(data)
    monkeypatch.setattr("ckpt_viewer.formats.zip_directory.ZipDirectory._inflate", pytest.fail)
    maps = mapped_bytes(checkpoint)
    assert is_whole(maps)
    assert maps.files[0].totals[OTHER] < 1000


def test_a_sharded_set_has_a_map_for_each_file(tmp_path):
    import json

    names = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    for number, name in enumerate(names):
        save_file({f"w{number}": torch.rand(3)}, tmp_path / name)
    index = {"metadata": {"total_size": 24}, "weight_map": {f"w{n}": name for n, name in enumerate(names)}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with open_checkpoint(tmp_path / "model.safetensors.index.json") as checkpoint:
        maps = mapped_bytes(checkpoint)
    assert [file.name for file in maps.files] == names
    assert is_whole(maps)
    assert [file.totals[MODEL] for file in maps.files] == [12, 12]


def test_bytes_that_lie_in_the_pickle_are_said_to_lie_elsewhere():
    inner = zip_checkpoint(pickled(mapped((text("a"), tensor((4,))))), {"0": bytes(16)})
    outer = {"blob": inner}
    import io
    import zipfile

    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("policy.pth", outer["blob"])
    maps = mapped_bytes(open_bytes(held.getvalue()))
    assert is_whole(maps)
    assert (maps.elsewhere, maps.elsewhere_bytes) == (1, 16)


def test_regions_that_claim_the_same_bytes_are_counted_and_the_map_stays_whole():
    header = {"a": entry("F32", [4], 0, 16), "b": entry("F32", [2], 16, 24)}
    maps = mapped_bytes(open_bytes(safetensors_file(header, bytes(24))))
    assert is_whole(maps)
    assert maps.overlapping == 0
    data = bytearray(zip_checkpoint(pickled(mapped((text("a"), tensor((4,))), (text("b"), tensor((4,), key="1")))),
                                    {"0": bytes(16), "1": bytes(16)}))  # fmt: skip
    at = [n for n in range(len(data)) if data[n : n + 4] == b"PK\x01\x02"]
    places = {bytes(data[n + 46 : n + 46 + struct.unpack_from("<H", data, n + 28)[0]]): n for n in at}
    one, other = (places[next(name for name in places if name.endswith(tail))] for tail in (b"/0", b"/1"))
    data[other + 42 : other + 46] = data[one + 42 : one + 46]  # the second record lies where the first does
    maps = mapped_bytes(open_bytes(bytes(data)))
    assert is_whole(maps)
    assert maps.overlapping == 1


def test_a_file_without_tensors(tmp_path):
    with open_checkpoint(save({"epoch": 3}, tmp_path / "m.pth")) as checkpoint:
        maps = mapped_bytes(checkpoint)
    assert is_whole(maps)
    assert maps.places == {}


def test_what_lies_between_two_positions_is_the_sum_of_its_bytes(tmp_path):
    with open_checkpoint(save(VALUE, tmp_path / "m.pth")) as checkpoint:
        (file,) = mapped_bytes(checkpoint).files
    kinds = [kind for number, kind in enumerate(file.kinds) for _ in range(file.region(number).nbytes)]
    for start, end in ((0, file.size), (1, 2), (60, 700), (file.size // 2, file.size), (100, 1500)):
        expected = {kind: kinds[start:end].count(kind) for kind in set(kinds[start:end])}
        assert file.inside(start, end) == expected
    for number in range(len(file)):
        region = file.region(number)
        assert file.at(region.start) == file.at(region.start + region.nbytes - 1) == number
    whole = file.largest(0, file.size)
    assert file.region(whole).nbytes == 48


def test_its_progress_never_goes_back(tmp_path):
    shares = []

    class Heard:
        def step(self, done: int, total: int) -> None:
            shares.append(done / total)

    with open_checkpoint(save({f"t{n}": torch.ones(2) for n in range(200)}, tmp_path / "m.pth")) as checkpoint:
        byte_maps(checkpoint, ledger(checkpoint, {}), Heard())
    assert shares == sorted(shares)
    assert 0.0 <= shares[0] < 0.1
    assert 0.9 < shares[-1] <= 1.0
