"""Broken files: how much is missing, and what is left of them. FORMATS H13."""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import safetensors.torch
import torch
from builders import (
    floats,
    integer,
    legacy_stream,
    mapped,
    pickled,
    save,
    storage,
    tensor,
    text,
    zip_checkpoint,
    zip_file,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from opening import look_at_all, open_broken, read_all

import ckpt_viewer
from ckpt_viewer.cli import main
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.errors import CheckpointError, Damaged, Lost, Truncated
from ckpt_viewer.formats import open_checkpoint

ORIGINAL = {"0": [0.5], "1": [10.0, 11.0], "2": [20.0, 21.0, 22.0], "10": [100.0, 101.0, 102.0, 103.0]}
"""By the key of the storage. Old writers put these in the order of text: "0", "1", "10", "2"."""


def body(*, legacy: bool = False) -> bytes:
    pairs = [
        (text(f"w{key}"), tensor((len(values),), key=key, numel=len(values), legacy=legacy))
        for key, values in ORIGINAL.items()
    ]
    return pickled(mapped(*pairs, (text("epoch"), integer(3))))


def storages() -> dict[str, bytes]:
    return {key: floats(*values) for key, values in ORIGINAL.items()}


def lexicographic() -> bytes:
    return zip_checkpoint(body(), dict(sorted(storages().items())), byteorder=None)


def written_by_others() -> bytes:
    """Sizes and CRCs in the local headers, as zip tools write them."""
    out = bytearray()
    entries = []
    records = {"m/data.pkl": body(), **{f"m/data/{key}": data for key, data in storages().items()}, "m/version": b"3\n"}
    for path, data in records.items():
        method = 8 if path == "m/data/2" else 0
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = packer.compress(data) + packer.flush() if method else data
        sizes = zlib.crc32(data), len(packed), len(data)
        entries.append(struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, method, 0, 33, *sizes, len(path), 0, 0, 0, 0, 0,
                                   len(out)) + path.encode())  # fmt: skip
        out += struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, method, 0, 33, *sizes, len(path), 0) + path.encode() + packed
    directory = b"".join(entries)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, len(entries), len(entries), len(directory), len(out), 0)
    return bytes(out) + directory + end


class _Unseekable(io.BytesIO):
    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        raise OSError

    def seek(self, *_: int) -> int:
        raise OSError


def zip64(*, streamed: bool) -> bytes:
    """Sizes of 64 bits, in an extra field of the local header, or (streamed) in a data descriptor of 24 bytes."""
    out = _Unseekable() if streamed else io.BytesIO()
    records = {"m/data.pkl": body(), **{f"m/data/{key}": data for key, data in storages().items()}, "m/version": b"3\n"}
    with zipfile.ZipFile(out, "w") as archive:
        for path, data in records.items():
            with archive.open(zipfile.ZipInfo(path), "w", force_zip64=True) as record:
                record.write(data)
    return out.getvalue()


FORMS: dict[str, Callable[[], bytes]] = {
    "zip": lambda: zip_checkpoint(body(), storages()),
    "zip without alignment": lambda: zip_checkpoint(body(), storages(), alignment=1),
    "zip without checksums": lambda: zip_checkpoint(body(), storages(), crc=False),
    "zip in the order of old writers": lexicographic,
    "zip of torch 1.4": lambda: zip_checkpoint(body(), storages(), folder="tensors", version=b"1\n"),
    "zip with deflated records": lambda: zip_checkpoint(body(), storages(), deflate=("data.pkl", "data/2")),
    "zip of another program": written_by_others,
    "zip64": lambda: zip64(streamed=False),
    "zip64 streamed": lambda: zip64(streamed=True),
    "legacy": lambda: legacy_stream(body(legacy=True), storages()),
}


def whole(checkpoint: Checkpoint) -> list[str]:
    """Return the names of the tensors that are called whole; each has to equal the original."""
    names = []
    for row, _ in checkpoint.outline.tensors():
        node = checkpoint.node(checkpoint.outline.path(row))
        if row in checkpoint.lost:
            with pytest.raises(Damaged):
                node.numpy(copy=True)
            with pytest.raises(Damaged):
                node.numpy()
            continue
        values = node.numpy(copy=True).tolist()
        assert values == ORIGINAL[node.name[1:]]
        assert node.numpy().tolist() == values
        names.append(node.name)
    return names


@pytest.mark.parametrize("form", FORMS)
def test_cut_at_any_byte_it_says_what_is_missing(form):
    data = FORMS[form]()
    for length in range(1, len(data)):
        with pytest.raises(CheckpointError, match="missing") as refused:
            open_broken(data[:length], salvage=False)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("form", FORMS)
def test_cut_at_any_byte_no_wrong_value_is_shown(form):
    data = FORMS[form]()
    counts, names = [], []
    for length in range(1, len(data)):
        try:
            checkpoint = open_broken(data[:length])
        except CheckpointError:
            assert not counts
            continue
        counts.append(len(whole(checkpoint)))
        listed = [checkpoint.outline.path(row)[-1] for row, _ in checkpoint.outline.tensors()]
        assert listed == [f"w{key}" for key in ORIGINAL][: len(listed)]
        names.append(len(listed))
        assert len(checkpoint.lost) == len(listed) - counts[-1]
        assert [each.code for each in checkpoint.findings].count("tensor-lost") == len(checkpoint.lost)
        values = [node.value for node in checkpoint.root.children if node.name == "epoch"]
        assert values in ([], [3])
    assert (counts, names) == (sorted(counts), sorted(names))
    assert (counts[0], counts[-1]) == (0, len(ORIGINAL) if form != "legacy" else len(ORIGINAL) - 1)
    assert set(counts) >= set(range(len(ORIGINAL)))
    assert (names[-1], values) == (len(ORIGINAL), [3])


@pytest.mark.parametrize("form", [form for form in FORMS if form != "zip with deflated records"])
def test_a_file_that_ends_within_its_pickle_lists_what_stands_before_its_end(form):
    data = FORMS[form]()
    end = data.index(b"\x00w2") + 3  # within the key of the third
    with pytest.raises(CheckpointError, match=r"at least \d+ are missing.*salvage the names and shapes of the 2") as no:
        open_broken(data[:end], salvage=False)
    least = int(re.search(r"of at least (\d+) bytes", str(no.value))[1])
    assert end < least <= len(data)
    assert no.value.salvage == ("the names and shapes of the 2 tensors that stand before its end, but not their values")
    checkpoint = open_broken(data[:end])
    tensors = {node.name: node.shape for node in checkpoint.root.children}
    assert tensors == {"w0": (1,), "w1": (2,)}
    assert len(checkpoint.lost) == 2
    with pytest.raises(Lost, match=r"not in (what is left of )?the file"):
        checkpoint["/w0"].numpy(copy=True)


def test_a_deflated_pickle_that_is_cut_off_is_inflated_as_far_as_it_goes():
    data = FORMS["zip with deflated records"]()
    begin = data.index(b"data.pkl") + 64
    found = set()
    for end in range(begin, data.index(b"archive/data/0") - 30):
        try:
            checkpoint = open_broken(data[:end])
        except CheckpointError:
            continue
        found.add(len(checkpoint.root.children))
        assert whole(checkpoint) == []
    assert found >= {2, 3, 4}


@pytest.mark.parametrize("form", FORMS)
def test_what_is_offered_is_what_salvaging_gives(form):
    data = FORMS[form]()
    for length in range(len(data) * 2 // 5, len(data), 37):
        with pytest.raises(CheckpointError) as refused:
            open_broken(data[:length], salvage=False)
        if refused.value.salvage:
            count = len(whole(open_broken(data[:length])))
            found = re.search(r"(\d+|none) of its (\d+) tensors", refused.value.salvage)
            if found is None:  # the file ends within its pickle
                assert count == 0
                assert re.search("before its end, but not (its|their) values$", refused.value.salvage)
                continue
            assert (found[1], found[2]) == (str(count or "none"), str(len(ORIGINAL)))
            assert "--salvage" in str(refused.value)


@pytest.mark.parametrize(
    ("form", "begin"), [("zip", b"archive/data/0"), ("zip without alignment", b"archive/data/0"), ("legacy", b"2e.")]
)
def test_the_full_length_is_predicted(form, begin):
    data = FORMS[form]()
    for length in range(data.index(begin) + 20, len(data)):
        with pytest.raises(CheckpointError) as refused:
            open_broken(data[:length], salvage=False)
        said = str(refused.value).replace("about ", "")
        missing = len(data) - length
        assert f"{length} of {len(data)} bytes are there, {missing} {'is' if missing == 1 else 'are'} missing" in said


@pytest.mark.parametrize("legacy", [False, True])
def test_files_of_torch_itself(tmp_path, legacy):
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Linear(16, 3)).state_dict()
    path = save({"model": model, "epoch": 3}, tmp_path / "model.pth", legacy=legacy)
    data = path.read_bytes()
    path = tmp_path / "cut.pth"
    for length in range(len(data) // 2, len(data), 29):
        path.write_bytes(data[:length])
        with pytest.raises(CheckpointError, match=rf" {len(data)} bytes are there"):
            open_checkpoint(path)
        with ckpt_viewer.open_checkpoint(path, salvage=True) as checkpoint:
            for row, _ in checkpoint.outline.tensors():
                node = checkpoint.node(checkpoint.outline.path(row))
                if row not in checkpoint.lost:
                    assert numpy.array_equal(node.numpy(), model[node.name].numpy())


@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_is_whole_is_opened_as_ever(form):
    checkpoint = open_broken(FORMS[form]())
    assert not checkpoint.contents.salvaged
    assert len(whole(checkpoint)) == len(ORIGINAL)
    assert "salvaged" not in {each.code for each in checkpoint.findings}


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_a_tensor_without_elements_is_never_lost(tmp_path, kind):
    """Its record may be behind the end of the file: the others are exported with it all the same."""
    tensors = {"whole": torch.ones(3), "large": torch.ones(500), "empty": torch.zeros(0, 3)}
    path, copy = tmp_path / "model.pth", tmp_path / "left.pth"
    if kind == "safetensors":
        safetensors.torch.save_file(tensors, path)
    else:
        save(tensors, path, legacy=kind == "legacy")
    data = path.read_bytes()
    path.write_bytes(data[: data.index(tensors["large"].numpy().tobytes()) + 400])
    assert main(["export", str(path), "--salvage", "--from", "", "--output", str(copy)]) == 0
    left = torch.load(copy, weights_only=True)
    assert left["empty"].shape == (0, 3)
    assert set(left) <= {"whole", "empty"}


# --- damage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [form for form in FORMS if form != "legacy"])
def test_a_damaged_directory_does_not_matter(form):
    data = bytearray(FORMS[form]())
    at = data.index(b"PK\1\2")
    data[at : at + 200] = bytes(200)
    with pytest.raises(Damaged, match=r"directory.*salvage 4 of its 4 tensors"):
        open_broken(bytes(data), salvage=False)
    checkpoint = open_broken(bytes(data))
    assert len(whole(checkpoint)) == len(ORIGINAL)
    finding = next(each for each in checkpoint.findings if each.code == "salvaged")
    assert (finding.severity, finding.path) == ("warning", ())
    assert "4 of its 4 tensors" in finding.message


@pytest.mark.parametrize("form", [form for form in FORMS if form not in ("legacy", "zip without checksums")])
@pytest.mark.parametrize("mask", [0x01, 0xFF])
def test_without_a_directory_any_damaged_byte_costs_tensors_but_shows_no_wrong_one(form, mask):
    """Bytes of the pickle itself are left alone: names and shapes have nothing that they could be held against."""
    data = FORMS[form]()
    broken = bytearray(data[: data.index(b"PK\1\2")])
    begin = data.index(b"/data/") if b"/data/" in data else data.index(b"/tensors/")
    for position in range(begin, len(broken)):
        broken[position] ^= mask
        try:
            checkpoint = open_broken(bytes(broken))
        except CheckpointError:
            continue
        finally:
            broken[position] ^= mask
        assert len(whole(checkpoint)) >= 0


def test_one_damaged_storage_costs_one_tensor():
    data = bytearray(FORMS["zip"]()[:-60])
    data[data.index(floats(*ORIGINAL["2"])) + 2] ^= 1
    checkpoint = open_broken(bytes(data))
    assert len(whole(checkpoint)) == len(ORIGINAL) - 1
    assert "checksum" in next(iter(checkpoint.lost.values()))


@pytest.mark.parametrize("place", [0, 8, 30])
def test_one_damaged_header_costs_one_tensor(place):
    data = bytearray(FORMS["zip"]()[:-60])
    data[data.index(b"archive/data/2") - 30 + place] ^= 0xFF
    checkpoint = open_broken(bytes(data))
    assert [name for name in (f"w{key}" for key in ORIGINAL) if name not in whole(checkpoint)] == ["w2"]


def test_a_damaged_descriptor_costs_one_tensor():
    data = bytearray(FORMS["zip"]()[:-60])
    data[data.index(floats(*ORIGINAL["2"])) + 12 + 9] ^= 0xFF
    assert len(whole(open_broken(bytes(data)))) == len(ORIGINAL) - 1


def test_a_pickle_that_does_not_match_its_checksum_is_told():
    data = bytearray(FORMS["zip"]()[:-60])
    data[data.index(b"epoch") + 6] ^= 1
    assert "crc-mismatch" in {each.code for each in open_broken(bytes(data)).findings}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("step", [1, 5])
def test_a_file_whose_space_was_reserved_and_not_filled(form, step):
    """What a download leaves that makes the file as long as it will be, and stops."""
    data = FORMS[form]()
    for length in range(len(data) // 4, len(data) - 100, 4 * step):
        reserved = data[:length] + bytes(len(data) - length)
        for cut in (len(reserved), len(reserved) - 50):
            try:
                whole(open_broken(reserved[:cut]))
            except CheckpointError as error:
                said = str(error)
            else:
                continue
            assert said


def test_zeros_at_the_end_are_named():
    data = FORMS["zip"]()
    with pytest.raises(Damaged, match="ends in zeros"):
        open_broken(data[:-400] + bytes(2000), salvage=False)


# --- a part of a storage ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("legacy", [False, True])
def test_of_a_storage_that_is_cut_off_the_beginning_is_there(legacy):
    held = storage("0", 1000, legacy=legacy)
    pairs = [(text(name), tensor((10,), offset=at, of=held)) for name, at in (("a", 0), ("b", 500), ("c", 990))]
    data = {"0": floats(*range(1, 1001))}
    file = (legacy_stream if legacy else zip_checkpoint)(pickled(mapped(*pairs)), data)
    end = file.index(floats(506))
    checkpoint = open_broken(file[:end])
    assert checkpoint["/a"].numpy(copy=True).tolist() == list(range(1, 11))
    for name in ("b", "c"):
        with pytest.raises(Lost, match="cut off"):
            checkpoint[f"/{name}"].numpy(copy=True)
    assert [checkpoint.outline.path(row) for row in checkpoint.lost] == [("b",), ("c",)]


def test_zeros_at_the_cut_are_not_trusted():
    held = storage("0", 1000)
    pairs = [(text(name), tensor((10,), offset=at, of=held)) for name, at in (("a", 0), ("b", 500))]
    file = zip_checkpoint(pickled(mapped(*pairs)), {"0": floats(*range(1, 200), *[0] * 801)})
    checkpoint = open_broken(file[: file.index(b"archive/version") - 1000])
    assert [checkpoint.outline.path(row) for row in checkpoint.lost] == [("b",)]


# --- what is not taken for the file's own -------------------------------------------------------------------------


def test_records_of_another_archive_inside_are_not_taken_for_its_own():
    inner = zip_checkpoint(body(), {key: floats(*[-1.0] * len(values)) for key, values in ORIGINAL.items()})
    records = {"archive/data.pkl": body(), "archive/extra": inner}
    records |= {f"archive/data/{key}": data for key, data in storages().items()}
    file = zip_file(records)
    for length in range(file.index(b"archive/extra"), file.rindex(b"PK\6\6"), 3):
        whole(open_broken(file[:length]))
    broken = bytearray(file)
    broken[file.index(b"archive/extra") - 30] ^= 1
    assert whole(open_broken(bytes(broken[: file.rindex(b"PK\1\2")]))) == []


def test_a_storage_that_is_there_twice_is_trusted_in_neither_place():
    once = FORMS["zip"]()
    records = once[: once.index(b"PK\1\2")]
    again = once[once.index(b"archive/data/0") - 30 : once.index(b"archive/data/1") - 30]
    assert "w0" not in whole(open_broken(records + again))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 3000), st.sampled_from(sorted(FORMS)))
def test_only_checkpoint_errors_escape(junk, place, form):
    data = FORMS[form]()
    broken = data[: place % len(data)] + junk + data[place % len(data) + len(junk) :]
    try:
        checkpoint = open_broken(broken[:-30])
        look_at_all(checkpoint)
        read_all(checkpoint)
    except CheckpointError as error:
        assert str(error)  # noqa: PT017


# --- still being written ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_a_file_written_a_moment_ago_may_not_be_done(tmp_path: Path, form, monkeypatch):
    import os

    path = tmp_path / "model.pth"
    path.write_bytes(FORMS[form]()[:-60])
    with pytest.raises(CheckpointError, match=r"changed \d+ s ago and may still be being written.*F5.*--salvage"):
        open_checkpoint(path)
    os.utime(path, (1e9, 1e9))
    with pytest.raises(CheckpointError, match="download") as refused:
        open_checkpoint(path)
    assert "F5" not in str(refused.value)


@pytest.mark.parametrize("data", [b"", bytes(5000), bytes(5000) + b"x"])
def test_an_empty_file_may_not_be_done_either(tmp_path: Path, data):
    path = tmp_path / "model.pth"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="F5"):
        open_checkpoint(path)


def test_a_cut_pickle_tells_that_nothing_is_left(tmp_path: Path):
    path = tmp_path / "model.pth"
    path.write_bytes(FORMS["zip"]()[:70])
    with pytest.raises((Damaged, Truncated), match="cut off after 70 bytes, within what describes its tensors"):
        open_checkpoint(path, salvage=True)
