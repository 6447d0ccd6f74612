"""Archives whose tensors come before what describes them, cut off: TorchScript, packages, ``.pt2``, zips of files."""

from __future__ import annotations

import io
import zipfile
from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from archives import CODE, exported, package, script_module, script_tensor, torchscript, weight_config
from builders import floats, integer, mapped, pickled, tensor, text, zip_checkpoint, zip_file
from opening import open_broken

from ckpt_viewer.cli import main
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.formats import open_checkpoint

VALUES = {"0": [0.5, 1.5], "1": [10.0, 11.0, 12.0], "2": [20.0, 21.0, 22.0, 23.0]}
DATA = {key: floats(*values) for key, values in VALUES.items()}


def _state_dict() -> bytes:
    return pickled(mapped(*((text(f"w{key}"), tensor((len(v),), key=key, numel=len(v))) for key, v in VALUES.items())))


def script(**more: bytes) -> bytes:
    module = script_module(
        ("__torch__", "Net"), *((text(f"w{key}"), script_tensor(key, len(v), grad=True)) for key, v in VALUES.items())
    )
    return torchscript(pickled(module), DATA, code={"__torch__.py": CODE}, more=more)


def _package() -> bytes:
    storages = dict(DATA)
    return package({"model/model.pkl": _state_dict(), "model/more.pkl": pickled(integer(3), 3)}, storages)


def _new_program() -> bytes:
    config = {f"w{key}": weight_config(f"weight_{key}", (len(v),), (1,)) for key, v in VALUES.items()}
    return exported(config, {f"weight_{key}": data for key, data in DATA.items()})


def _old_program() -> bytes:
    return _zipped({
        "version": b"7.3",
        "serialized_exported_program.json": b"{}",
        "serialized_state_dict.pt": zip_checkpoint(_state_dict(), DATA),
        "serialized_constants.pt": zip_checkpoint(pickled(b"}"), {}),
        "serialized_example_inputs.pt": zip_checkpoint(pickled(b"N"), {}),
    })  # fmt: skip


def _zip_of_files() -> bytes:
    return _zipped({"data": b'{"a": 1}', "policy.pth": zip_checkpoint(_state_dict(), DATA), "version.txt": b"2.0"})


def _zipped(members: dict[str, bytes]) -> bytes:
    """As Python's zipfile writes it, the sizes before the data."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for member, data in members.items():
            archive.writestr(zipfile.ZipInfo(member), data)
    return out.getvalue()


FORMS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "TorchScript": ("torchscript", script),
    "package": ("torch-package", _package),
    "new program": ("torch-export", _new_program),
    "old program": ("torch-export", _old_program),
    "zip of files": ("zip", _zip_of_files),
}
INNER = ("old program", "zip of files")
"""Forms that hold a whole file of torch.save, in which the pickle comes first."""


def named(checkpoint: Checkpoint) -> list[str]:
    """Return the names of the tensors that are called whole, each of which has to equal the original."""
    found = []
    for row, _ in checkpoint.outline.tensors():
        node = checkpoint.node(checkpoint.outline.path(row))
        if row in checkpoint.lost:
            with pytest.raises(CheckpointError):
                node.numpy(copy=True)
        elif node.name[:1] == "w":
            assert node.numpy(copy=True).tolist() == VALUES[node.name[1:]]
            found.append(node.name)
        else:
            key = next(key for key in VALUES if node.name.endswith((f"/{key}", f"/{key}.storage", f"weight_{key}")))
            assert DATA[key].startswith(node.numpy(copy=True).tobytes())
            assert node.dtype == "uint8"
    return found


@pytest.mark.parametrize("form", FORMS)
def test_cut_at_any_byte_what_is_called_whole_is_right(form):
    format_name, make = FORMS[form]
    data, counts = make(), []
    for length in (*range(1, len(data) - 30, 5), *range(len(data) - 30, len(data))):
        with pytest.raises(CheckpointError, match=r"missing|cut off|no checkpoint") as refused:
            open_broken(data[:length], salvage=False)
        assert "\n" not in str(refused.value)
        try:
            checkpoint = open_broken(data[:length])
        except CheckpointError:
            assert not refused.value.salvage
            continue
        assert refused.value.salvage
        assert "--salvage" in str(refused.value)
        assert checkpoint.contents.salvaged
        assert checkpoint.format == format_name
        counts.append(len(named(checkpoint)))
    assert counts == sorted(counts)
    assert counts[-1] == len(VALUES)
    if form in INNER:
        assert set(counts) == set(range(len(VALUES) + 1))


@pytest.mark.parametrize("form", [form for form in FORMS if form not in INNER])
def test_before_the_names_the_bytes_are_left(form):
    data = FORMS[form][1]()
    end = data.index(DATA["2"]) + 8
    with pytest.raises(CheckpointError, match="or salvage the bytes of 3 storages, without the names") as refused:
        open_broken(data[:end], salvage=False)
    assert refused.value.salvage.startswith("the bytes of 3 storages")
    checkpoint = open_broken(data[:end])
    found = [node.numpy(copy=True).tobytes() for node in checkpoint.root.children]
    assert found[:2] == [DATA["0"], DATA["1"]]
    assert DATA["2"].startswith(found[2])
    assert "without the names" in next(each.message for each in checkpoint.findings if each.code == "salvaged")


@pytest.mark.parametrize("form", ["TorchScript", "package"])
def test_within_the_names_those_before_the_end_have_their_values(form):
    data = FORMS[form][1]()
    end = data.index(b"w1") + 2
    with pytest.raises(CheckpointError, match="salvage the 3 tensors that stand before its end") as refused:
        open_broken(data[:end], salvage=False)
    assert "at least" in str(refused.value)
    checkpoint = open_broken(data[:end])
    assert named(checkpoint) == ["w0"]
    nodes = (checkpoint.node(checkpoint.outline.path(row)) for row, _ in checkpoint.outline.tensors())
    tensors = {node.name: node.numpy(copy=True).tobytes() for node in nodes}
    names = [f".data/{key}.storage" if form == "package" else f"data/{key}" for key in ("1", "2")]
    assert tensors == {"w0": DATA["0"], names[0]: DATA["1"], names[1]: DATA["2"]}
    assert not checkpoint.lost


def test_within_the_json_of_a_program_those_before_the_end_have_their_names():
    data = _new_program()
    end = data.index(b'"w2"') + 30
    with pytest.raises(CheckpointError, match="salvage the 3 tensors that stand before its end") as refused:
        open_broken(data[:end], salvage=False)
    assert "at least" in str(refused.value)
    checkpoint = open_broken(data[:end])
    assert named(checkpoint) == ["w0", "w1"]
    assert checkpoint["/data~1weights~1weight_2"].numpy(copy=True).tobytes() == DATA["2"]
    assert "unfinished-names" in {each.code for each in checkpoint.findings}


@pytest.mark.parametrize("broken", [b"?", b"}", b"]", b"\xff", b'"', b"\0"])
def test_json_that_is_damaged_in_a_whole_archive(broken):
    data = bytearray(_new_program())
    at = data.index(b'"w1"') - 1
    data[at : at + 1] = broken
    with pytest.raises(CheckpointError, match=r"(damaged|UTF-8).*or salvage the 3 tensors that stand"):
        open_broken(bytes(data), salvage=False)
    checkpoint = open_broken(bytes(data))
    assert named(checkpoint) == ["w0"]
    codes = {each.code for each in checkpoint.findings}
    assert codes >= {"salvaged", "unfinished-names", "crc-mismatch"}


def test_of_names_that_are_damaged_in_a_whole_archive_the_bytes_are_left():
    data = bytearray(script())
    data[data.index(b"\x80\x02", data.index(b"data.pkl"))] = 0xFF
    with pytest.raises(CheckpointError, match="or salvage the bytes of 3 storages"):
        open_broken(bytes(data), salvage=False)
    checkpoint = open_broken(bytes(data))
    assert [node.numpy(copy=True).tobytes() for node in checkpoint.root.children] == [*DATA.values()]


def test_a_program_of_torch_itself_is_exported_from_what_is_left(tmp_path):
    weights = {"a.weight": torch.arange(128.0).reshape(16, 8), "a.bias": torch.arange(16.0)}
    model = torch.nn.Sequential(OrderedDict(a=torch.nn.Linear(8, 16), b=torch.nn.Linear(16, 3)))
    model.load_state_dict(weights, strict=False)
    path, copy = tmp_path / "net.pt2", tmp_path / "left.pth"
    torch.export.save(torch.export.export(model, (torch.ones(2, 8),)), path)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b'"b.weight"') + 20])
    assert main(["export", str(path), "--salvage", "--from", "/weights", "--output", str(copy)]) == 0
    left = torch.load(copy, weights_only=True)
    assert list(left) == list(weights)
    assert all(torch.equal(left[name], weights[name]) for name in weights)


@pytest.mark.parametrize("form", FORMS)
def test_a_damaged_directory_does_not_matter(form):
    data = bytearray(FORMS[form][1]())
    at = data.rindex(b"PK\1\2")
    data[at : at + 40] = bytes(40)
    checkpoint = open_broken(bytes(data))
    assert named(checkpoint) == ["w0", "w1", "w2"]
    assert checkpoint.contents.salvaged


@pytest.mark.parametrize("form", FORMS)
def test_a_damaged_byte_shows_no_wrong_value(form):
    """Where the directory is gone too. Pickles are left alone: nothing is there that names could be held against."""
    data = FORMS[form][1]()
    cut = bytearray(data[: data.rindex(b"PK\1\2")])
    for key in VALUES:
        at = cut.index(DATA[key])
        cut[at] ^= 1
        try:
            assert f"w{key}" not in named(open_broken(bytes(cut)))
        except CheckpointError as error:  # a file inside that does not match its checksum is lost as a whole
            assert form in INNER, error  # noqa: PT017
        cut[at] ^= 1


def test_an_archive_in_a_record_is_not_taken_for_the_outer_one():
    inner = zip_file({"net/data/0": floats(-1.0, -1.0), "net/data/1": floats(-1.0, -1.0, -1.0)})
    data = script(**{"extra/inner.zip": inner})
    for length in range(data.index(b"extra/inner.zip"), len(data), 3):
        named(open_broken(data[:length]))


def test_what_is_left_is_listed_and_exported(tmp_path, capsys):
    path, copy = tmp_path / "net.pt", tmp_path / "left.pth"
    data = _new_program()
    path.write_bytes(data[: data.index(b"models/model.json")])
    assert main(["ls", str(path), "--salvage"]) == 0
    out = capsys.readouterr().out
    assert all(f"w{key}" in out for key in VALUES)
    assert main(["export", str(path), "--salvage", "--output", str(copy)]) == 0
    with open_checkpoint(copy) as made:
        assert sorted(named(made)) == ["w0", "w1", "w2"]
