"""What is particular to safetensors: bytes as the reference writer's, shared tensors, metadata, sets of files."""

import json

import builders
import pytest
import safetensors
import safetensors.torch
import torch

import ckpt_viewer
from ckpt_viewer.errors import CannotExport, TargetExists, WriteFailed
from ckpt_viewer.export import together
from ckpt_viewer.export.atomic import AtomicFile
from ckpt_viewer.export.choice import Choice
from ckpt_viewer.export.plan import plan_export, write
from ckpt_viewer.export.shards import pack

pytestmark = pytest.mark.torch


@pytest.fixture
def export(tmp_path):
    """Save an object, export it; return where the result is, and the report."""

    def export(value, name="out.safetensors", *, force=False, **choice):
        source = builders.save(value, tmp_path / "x.pth", tag="cuda:0")
        folder = tmp_path / "out"
        folder.mkdir(exist_ok=True)
        wanted = Choice(sources=("",), format="safetensors", **choice)
        with ckpt_viewer.open_checkpoint(source) as checkpoint:
            written = write(plan_export(checkpoint, wanted), folder / name, force=force)
        assert written.verified
        return written.path, written

    return export


def metadata_of(path):
    with safetensors.safe_open(path, "pt") as file:
        return file.metadata()


def zoo():
    torch.manual_seed(0)
    dtypes = [
        torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
        torch.uint8, torch.bool, torch.complex64, torch.uint16, torch.uint32, torch.uint64, torch.float8_e4m3fn,
        torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.float8_e8m0fnu,
    ]  # fmt: skip
    value = {f"{number % 5}.{dtype}": torch.ones(3, 2).to(dtype) for number, dtype in enumerate(dtypes)}
    return value | {
        'quoted "\\/\n\x7f': torch.zeros(1),
        "µ.☃.𝛼": torch.zeros(2),
        "empty": torch.zeros(0, 4),
        "": torch.tensor(3),
    }


def test_the_file_is_what_the_reference_writer_makes(export, tmp_path):
    path, _ = export(zoo())
    safetensors.torch.save_file(zoo(), tmp_path / "reference.safetensors", metadata={"format": "pt"})
    assert path.read_bytes() == (tmp_path / "reference.safetensors").read_bytes()


def test_a_model_with_tied_weights_is_what_save_model_makes(export, tmp_path):
    class Tied(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.wte, self.head = torch.nn.Embedding(7, 4), torch.nn.Linear(4, 7, bias=False)
            self.head.weight = self.wte.weight

    model = Tied()
    path, written = export(model.state_dict())
    safetensors.torch.save_model(model, tmp_path / "reference.safetensors", metadata={"format": "pt"})
    ours, theirs = safetensors.torch.load_file(path), safetensors.torch.load_file(tmp_path / "reference.safetensors")
    assert list(ours) == list(theirs) == ["head.weight"]
    assert metadata_of(path) == metadata_of(tmp_path / "reference.safetensors")
    assert metadata_of(path) == {"format": "pt", "wte.weight": "head.weight"}
    assert written.dropped == ("wte.weight",)
    assert written.tensors == 1
    said = "'wte.weight' is the same tensor as 'head.weight', which is the name that is written; the metadata says so"
    assert said in written.warnings
    again = Tied()
    safetensors.torch.load_model(again, path)  # which looks up what is tied
    assert torch.equal(again.wte.weight, model.wte.weight)


def test_tensors_that_share_some_bytes_are_written_in_full(export):
    base = torch.arange(12.0)
    value = {"a.weight": base.view(3, 4), "a.row": base[4:8], "a.rest": base[8:].clone()}
    path, written = export(value)
    got = safetensors.torch.load_file(path)
    assert all(torch.equal(got[name], value[name]) for name in value)
    assert written.warnings == (
        "tensors that share memory in part are written in full, each on its own: 'a.weight', 'a.row'",
    )


def test_parts_of_one_buffer_that_do_not_meet_need_no_warning(export):
    flat = torch.arange(60.0)
    path, written = export({"a.weight": flat[:20].view(4, 5), "a.bias": flat[20:25], "b.weight": flat[25:]})
    assert len(safetensors.torch.load_file(path)) == 3
    assert (written.warnings, written.dropped) == ((), ())


def test_texts_go_into_the_metadata_and_other_values_are_left_out(export):
    value = {"a.weight": torch.ones(2), "note": "µ", "format": "np", "epoch": 3, "none": None, "bad": "\ud800"}
    path, written = export(value)
    assert metadata_of(path) == {"format": "pt", "note": "µ"}
    assert set(written.dropped) == {"epoch", "none", "bad", "format"}
    assert "left out, being no tensors: 'format', 'epoch', 'none', 'bad'" in written.warnings


def test_versions_of_modules_are_left_out_without_a_word(export):
    _, written = export(torch.nn.BatchNorm1d(2).state_dict())
    assert written.warnings == ()


def test_what_else_modules_note_is_said_to_be_left_out(export):
    _, written = export(torch.nn.utils.spectral_norm(torch.nn.Linear(2, 2)).state_dict())
    said = "_metadata (what the modules noted for loading) has no place in a safetensors file and is left out"
    assert written.warnings == (said,)


def test_a_value_that_holds_tensors_is_refused_by_name(export):
    with pytest.raises(CannotExport, match=r"'a\._extra_state' is a value that holds tensors"):
        export({"a.weight": torch.ones(2), "a._extra_state": {"deep": [torch.ones(1)]}}, include=("a",))


def test_data_begins_at_a_multiple_of_eight(export):
    for length in range(8):
        path, _ = export({"x" * length: torch.ones(1)}, f"{length}.safetensors")
        assert (8 + int.from_bytes(path.read_bytes()[:8], "little")) % 8 == 0


# --- sets of files --------------------------------------------------------------------------------------------------


def numbered(*sizes):
    return {f"w{number}": torch.full((size,), number, dtype=torch.uint8) for number, size in enumerate(sizes)}


def held(folder):
    """Which tensors each file of a set holds."""
    return {path.name: sorted(safetensors.torch.load_file(path)) for path in sorted(folder.glob("*.safetensors"))}


def test_a_set_and_its_index(export):
    path, written = export(numbered(40, 50, 30, 500, 20, 60), "model.safetensors", max_shard_size=100)
    folder = path.parent
    assert path.name == "model.safetensors.index.json"
    assert held(folder) == {
        "model-00001-of-00004.safetensors": ["w0", "w1"],
        "model-00002-of-00004.safetensors": ["w3"],
        "model-00003-of-00004.safetensors": ["w2", "w4"],
        "model-00004-of-00004.safetensors": ["w5"],
    }
    index = json.loads(path.read_text())
    assert index["metadata"] == {"total_size": 700}
    assert index["weight_map"] == {name: file for file, names in held(folder).items() for name in names}
    assert path.read_text() == json.dumps(index, indent=2, sort_keys=True) + "\n"
    assert [metadata_of(file) for file in folder.glob("*.safetensors")] == [{"format": "pt"}] * 4
    assert written.bytes == sum(file.stat().st_size for file in folder.iterdir())
    with ckpt_viewer.open_checkpoint(path) as checkpoint:
        assert len(checkpoint.state_dict()) == 6


def test_what_fits_into_one_file_becomes_one(export):
    for name in ("model.safetensors", "other.safetensors.index.json"):
        path, _ = export(numbered(10, 20), name, max_shard_size=1000)
        assert path.name == name.removesuffix(".index.json")
        assert len(safetensors.torch.load_file(path)) == 2


def test_packing_is_that_of_hugging_face():
    """`split_state_dict_into_shards_factory` with max_shard_size=10, run on these sizes."""

    class Sized:
        def __init__(self, nbytes):
            self.nbytes = nbytes

    def packed(*sizes):
        return [[flat.nbytes for flat in shard] for shard in pack([Sized(n) for n in sizes], 10, together_context)]

    assert packed(4, 6, 1) == [[4, 6], [1]]
    assert packed(11, 3, 3) == [[11], [3, 3]]
    assert packed(3, 11, 3) == [[11], [3, 3]]
    assert packed(10, 10) == [[10], [10]]
    assert packed(12) == [[12]]
    assert packed(0, 10, 0, 1) == [[0, 10, 0], [1]]


class _Silent:
    def step(self, done, total):
        """Nobody listens."""


together_context = _Silent()


def test_tied_tensors_of_a_set_are_named_in_the_file_that_has_them(export):
    base = torch.ones(30)
    path, _ = export({"a": torch.zeros(30), "b": base, "c": base}, "m.safetensors", max_shard_size=120)
    files = sorted(path.parent.glob("*.safetensors"))
    assert [metadata_of(file) for file in files] == [{"format": "pt"}, {"format": "pt", "c": "b"}]
    assert json.loads(path.read_text())["weight_map"] == {"a": files[0].name, "b": files[1].name}


@pytest.mark.parametrize("existing", ["m-00002-of-00003.safetensors", "m.safetensors.index.json"])
def test_a_set_replaces_no_file_unasked(export, tmp_path, existing):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / existing).write_bytes(b"precious")
    with pytest.raises(TargetExists, match=existing):
        export(numbered(40, 50, 60), "m.safetensors", max_shard_size=60)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [existing]
    assert (tmp_path / "out" / existing).read_bytes() == b"precious"
    export(numbered(40, 50, 60), "m.safetensors", force=True, max_shard_size=60)
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_the_index_comes_last(export, tmp_path, monkeypatch):
    seen = []
    commit = AtomicFile._commit

    def watched(self):
        commit(self)
        seen.append(self.target.name)

    monkeypatch.setattr(AtomicFile, "_commit", watched)
    export(numbered(40, 50, 60), "m.safetensors", max_shard_size=60)
    assert seen == [f"m-0000{number}-of-00003.safetensors" for number in (1, 2, 3)] + ["m.safetensors.index.json"]


@pytest.mark.parametrize("fails", [1, 2, 3, 4])
@pytest.mark.parametrize("force", [False, True])
def test_a_set_that_cannot_be_put_in_place_leaves_what_was_there(export, tmp_path, monkeypatch, fails, force):
    if force:
        export(numbered(41, 51, 61), "m.safetensors", max_shard_size=70)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} if force else {}
    commit, calls = AtomicFile._commit, []

    def failing(self):
        calls.append(self)
        if len(calls) == fails:
            raise WriteFailed("the disk is on fire")
        commit(self)

    monkeypatch.setattr(AtomicFile, "_commit", failing)
    with pytest.raises(WriteFailed, match="on fire"):
        export(numbered(40, 50, 60), "m.safetensors", force=force, max_shard_size=60)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_too_many_files_are_refused(export, monkeypatch):
    monkeypatch.setattr(together, "MOST_FILES", 3)
    with pytest.raises(CannotExport, match=r"that makes 4 files; choose a larger --max-shard-size \(at most 3 files\)"):
        export(numbered(40, 50, 60), "m.safetensors", max_shard_size=60)


@pytest.mark.parametrize("name", ["pth", "npz", "npy"])
def test_other_formats_are_one_file(tmp_path, name):
    source = builders.save({"a.weight": torch.ones(3)}, tmp_path / "x.pth")
    with (
        ckpt_viewer.open_checkpoint(source) as checkpoint,
        pytest.raises(CannotExport, match="goes with --format safet"),
    ):
        plan_export(checkpoint, Choice(format=name, max_shard_size=10))
