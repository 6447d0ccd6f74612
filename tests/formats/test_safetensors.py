"""The safetensors reader: the contract, and the reference reader's opinion on every header. FORMATS 1.9, hazard H17."""

from __future__ import annotations

import json
import random
import re

import pytest
import safetensors
import safetensors.torch
import torch
from builders import entry, floats, safetensors_file
from contract import VALUES, FormatContract
from hypothesis import given, settings
from hypothesis import strategies as st
from opening import look_at_all, memory, open_and_look, open_broken, open_bytes, within

from ckpt_viewer.analysis.loading import load_code
from ckpt_viewer.analysis.overview import overview
from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.errors import CheckpointError, Damaged, Lost, OverBudget, Truncated
from ckpt_viewer.export.plan import plan_export, plan_remap, write
from ckpt_viewer.formats import open_checkpoint
from ckpt_viewer.formats.safetensors_header import DTYPE_OF

FOUR = bytes(4)
ONE = '"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'


def reference(data: bytes, path) -> dict[str, tuple[str, list[int]]] | None:
    """What the reference reader finds in a file: name -> dtype and shape; None where it refuses."""
    path.write_bytes(data)
    try:
        with safetensors.safe_open(path, "pt") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
            return {name: (each.get_dtype(), each.get_shape()) for name, each in slices.items()}
    except safetensors.SafetensorError:
        return None


class TestSafetensors(FormatContract):
    name = "safetensors"
    entries = {(): None, ("__metadata__",): None, ("__metadata__", "epoch"): "3", ("weight",): None}  # noqa: RUF012
    location = None

    def file(self) -> bytes:
        return safetensors_file({"__metadata__": {"epoch": "3"}, "weight": entry("F32", [4], 0, 16)}, floats(*VALUES))

    def long_file(self) -> bytes:
        return safetensors_file({f"t{n}": entry("U8", [1], n, n + 1) for n in range(500)}, bytes(500))


def with_field(field: str, value: str) -> str:
    """A header of one tensor with another value of a field, or a field more."""
    fields = {"dtype": '"F32"', "shape": "[1]", "data_offsets": "[0,4]", field: value}
    return '{"a":{' + ",".join(f'"{name}":{text}' for name, text in fields.items()) + "}}"


SHARED = [
    ("{}", b""), ("{" + ONE + "}", FOUR), ("   {" + ONE + "}", FOUR), ("\n\t{" + ONE + "}\r\n ", FOUR),
    ('{ "a" : { "dtype" : "F32" , "shape" : [ 1 ] , "data_offsets" : [ 0 , 4 ] } }', FOUR),
    ('{"a":{"shape":[1],"data_offsets":[0,4],"dtype":"F32"}}', FOUR),
    ('{"":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', FOUR),
    ('{"\\ud83d\\ude00\\n\\"":{"dtype":"F\\u0033\\u0032","sh\\u0061pe":[1],"data_offsets":[0,4]}}', FOUR),
    ('{"é":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}', FOUR),
    ('{"__metadata__":null,' + ONE + "}", FOUR), ('{"__metadata__":{},' + ONE + "}", FOUR),
    ("{" + ONE + ',"__meta\\u0064ata__":{"a":"b","c":"\\u00e9"}}', FOUR),
    (with_field("more", '{"x":[1,-2.5e3,null,true,"\\u0000"]}'), FOUR), (with_field("more", "-0"), FOUR),
    (with_field("more", "1" * 300), FOUR), (with_field("more", "[" * 125 + "]" * 125), FOUR),
    (json.dumps({"b": entry("F32", [1], 4, 8), "a": entry("F32", [1], 0, 4)}), FOUR * 2),
    (json.dumps({"a": entry("F32", [0], 0, 0), "b": entry("F32", [1], 0, 4), "c": entry("I8", [3, 0], 4, 4)}), FOUR),
    (json.dumps({"a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 4, 8), "c": entry("I8", [0], 4, 4)}), FOUR * 2),
    (json.dumps({"a": entry("F32", [0, 1 << 32, 1 << 32], 0, 0)}), b""),
    (json.dumps({"a": entry("I8", [0, 1 << 63], 0, 0)}), b""), (json.dumps({"a": entry("F32", [1] * 100, 0, 4)}), FOUR),
    (json.dumps({"u": entry("U8", [1], 0, 1), "f": entry("F32", [1], 1, 5)}), bytes(5)),
    (json.dumps({"a": entry("F4", [2, 4], 0, 4)}), FOUR), (json.dumps({"a": entry("F4", [8, 1], 0, 4)}), FOUR),
    (json.dumps({"a": entry("F6_E2M3", [4], 0, 3)}), bytes(3)), ('{"__metadata__":{"a":"b"}}', b""),
]  # fmt: skip
REFUSED = [
    ("", b""), ("[]", b""), ("null", b""), ("{" + ONE + "}\0\0", FOUR), ("{" + ONE + ",}", FOUR),
    ("{" + ONE + "}{}", FOUR), ("{" + ONE, FOUR), ('{"a"}', b""), ("{a:1}", b""), ("{'a':1}", b""), ('{"a":}', b""),
    ("{" + ONE + "}", b""), ("{" + ONE + "}", FOUR + b"x"), ("{}", b"x"), ("\ufeff{" + ONE + "}", FOUR),
    (b'{"\xff":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', FOUR),
    ('{"\\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', FOUR),
    ('{"a\x01":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', FOUR), ('{"a":null}', b""), ('{"a":3}', b""),
    *((with_field("shape", text), FOUR) for text in
      ("[1.0]", "[1e0]", "[-1]", "[-0]", "[true]", '"1"', "1", "null", "[01]", "[1,]", '["1"]', "[2]", "{}")),
    *((with_field("data_offsets", text), FOUR) for text in
      ("[0,4,4]", "[0]", "[]", "[4,0]", "[0,3]", "[0,4.0]", "[1,5]", "[-4,0]", "null", '"0,4"')),
    *((with_field("dtype", text), FOUR) for text in ('"f32"', '"C128"', '"X"', '""', "null", "3", '["F32"]')),
    *((with_field("more", text), FOUR) for text in
      ("NaN", "Infinity", "1e999", "1" * 400, "[" * 130 + "]" * 130, "'x'", "tru", '"\x02"')),
    ('{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}', FOUR),
    ('{"a":{"dtype":"F32","shape":[1]}}', FOUR), ('{"a":{"shape":[1],"data_offsets":[0,4]}}', FOUR),
    ('{"a":{"dtype":"F32","data_offsets":[0,4]}}', FOUR),
    *(('{"__metadata__":' + text + "," + ONE + "}", FOUR) for text in
      ('{"a":1}', '{"a":null}', "[]", '"a"', "3", '{"a":{"b":"c"}}')),
    ('{"__metadata__":{},"__metadata__":{}}', b""),
    ('{"__metadata__":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', FOUR),
    (json.dumps({"a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 0, 4)}), FOUR),
    (json.dumps({"a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 8, 12)}), FOUR * 3),
    (json.dumps({"a": entry("F32", [2], 0, 8), "b": entry("F32", [2], 4, 12)}), FOUR * 3),
    (json.dumps({"a": entry("F32", [2], 0, 8), "b": entry("I8", [0], 4, 4)}), FOUR * 2),
    (json.dumps({"a": entry("F32", [2], 0, 8), "b": entry("I8", [0], 12, 12)}), FOUR * 2),
    (json.dumps({"a": entry("F32", [1 << 32, 1 << 32], 0, 0)}), b""),
    (json.dumps({"a": entry("F32", [1 << 32, 1 << 32, 0], 0, 0)}), b""),
    (json.dumps({"a": entry("F32", [1 << 62], 0, 0)}), b""), (json.dumps({"a": entry("F32", [1 << 64], 0, 0)}), b""),
    (json.dumps({"a": entry("F4", [], 0, 0)}), b""), (json.dumps({"a": entry("F4", [3], 0, 1)}), b"x"),
    (json.dumps({"a": entry("F6_E3M2", [3], 0, 2)}), b"xx"),
]  # fmt: skip
STRICTER = [
    ("{" + ONE + "," + ONE + "}", "comes twice"), (with_field("more", '1,"more":2'), "readers agree on"),
    ('{"__metadata__":{"a":"b","a":"c"},' + ONE + "}", "twice"), ('{"a":["F32",[1],[0,4]]}', "no.* JSON object"),
    (with_field("dtype", '{"F32":null}'), "has the dtype"),
]  # fmt: skip


@pytest.mark.parametrize(("header", "data"), SHARED)
def test_what_the_reference_reader_takes_is_taken(tmp_path, header, data):
    file = safetensors_file(header, data)
    theirs = reference(file, tmp_path / "x.safetensors")
    assert theirs is not None
    checkpoint = open_bytes(file)
    tensors = {str(outline_path[-1]): tensor for outline_path, tensor in paths(checkpoint)}
    assert tensors.keys() == theirs.keys()
    for name, (dtype, shape) in theirs.items():
        assert tensors[name].dtype == DTYPE_OF[dtype]
        if dtype != "F4":
            assert list(tensors[name].shape) == shape
    look_at_all(checkpoint)


def paths(checkpoint):
    return [(checkpoint.outline.path(row), tensor) for row, tensor in checkpoint.outline.tensors()]


@pytest.mark.parametrize(("header", "data"), REFUSED)
def test_what_the_reference_reader_refuses_is_refused_in_a_sentence(tmp_path, header, data):
    file = safetensors_file(header, data)
    assert reference(file, tmp_path / "x.safetensors") is None
    with pytest.raises(CheckpointError) as refused:
        open_bytes(file)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("header", "words"), STRICTER)
def test_what_readers_disagree_on_is_refused_h17(tmp_path, header, words):
    file = safetensors_file(header, FOUR)
    assert reference(file, tmp_path / "x.safetensors") is not None
    with pytest.raises(Damaged, match=words):
        open_bytes(file)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_damaged_header_is_taken_that_the_reference_reader_refuses(tmp_path_factory, data):
    header = bytearray(
        json.dumps({"__metadata__": {"k": "v"}, "a": entry("F32", [1], 0, 4), "b": entry("U8", [2, 2], 4, 8)}).encode()
    )
    for _ in range(data.draw(st.integers(1, 2))):
        at = data.draw(st.integers(0, len(header) - 1))
        header[at : at + data.draw(st.integers(0, 1))] = data.draw(st.sampled_from([b"", *map(bytes, zip(range(128)))]))
    file = safetensors_file(bytes(header), bytes(8))
    theirs = reference(file, tmp_path_factory.getbasetemp() / "fuzz.safetensors")
    ours = open_and_look(file)
    assert ours is None or (ours.format, theirs is not None) == ("safetensors", True)


@pytest.mark.parametrize("length", [0, 1, 89, 100_000_000, 100_000_001, 1 << 63, (1 << 64) - 1])
def test_a_length_that_lies_is_refused(length):
    data = length.to_bytes(8, "little") + b"{" + ONE.encode() + b"}" + FOUR
    with pytest.raises(CheckpointError):
        open_bytes(data)


def test_a_cut_file_says_how_much_is_missing():
    whole = safetensors_file({"a": entry("F32", [100], 0, 400)}, bytes(400))
    for cut, missing in ((1, 1), (399, 399), (400, 400), (410, 10)):  # the last ends in the header
        with pytest.raises(Truncated, match=f" {missing} missing"):
            open_bytes(whole[:-cut])


def test_what_a_cut_file_has_left_can_be_salvaged(tmp_path):
    path = tmp_path / "cut.safetensors"
    header = {"a": entry("F32", [2], 0, 8), "b": entry("F32", [2], 8, 16), "c": entry("F32", [0], 16, 16)}
    path.write_bytes(safetensors_file(header, floats(1, 2, 3, 4))[:-4])
    with pytest.raises(Truncated, match=r"4 are missing; .* salvage 2 of its 3 tensors"):
        open_checkpoint(path)
    with open_checkpoint(path, salvage=True) as checkpoint:
        assert "salvaged" in {finding.code for finding in checkpoint.findings}
        assert checkpoint["/a"].numpy(copy=True).tolist() == [1, 2]
        with pytest.raises(Lost, match="ends at"):
            checkpoint["/b"].numpy()
    path.write_bytes(safetensors_file(header, floats(1, 2, 3, 4)) + b"more")
    with open_checkpoint(path, salvage=True) as checkpoint:
        assert checkpoint["/b"].numpy(copy=True).tolist() == [3, 4]


def test_of_a_file_that_ends_in_its_header_the_names_before_the_end_are_left():
    """None of the bytes are: all are named as lost. Cut at each byte, also within a character."""
    header = {"__metadata__": {"of": "the file"}, "wä": entry("F32", [2], 0, 8), "e": entry("F32", [0, 3], 8, 8),
              "half": entry("F16", [3], 8, 14)}  # fmt: skip
    whole = safetensors_file(header, bytes(range(14)))
    end, counts = 8 + int.from_bytes(whole[:8], "little"), []
    for length in range(9, end):
        with pytest.raises(Truncated, match="missing") as refused:
            open_broken(whole[:length], salvage=False)
        try:
            checkpoint = open_broken(whole[:length])
        except Truncated:
            assert not refused.value.salvage
            assert not counts
            continue
        assert "before its end" in refused.value.salvage
        shapes = {node.name: node.shape for node in checkpoint.root.children if node.kind == "tensor"}
        assert list(shapes.items()) == [("wä", (2,)), ("e", (0, 3)), ("half", (3,))][: len(shapes)]
        assert len(checkpoint.lost) == len(shapes) - ("e" in shapes)
        with pytest.raises(Lost, match=f"ends at {length}"):
            checkpoint["/wä"].numpy(copy=True)
        least = re.search(r"of at least (\d+) bytes", str(refused.value))
        assert least is not None
        assert length < int(least[1]) <= len(whole)
        counts.append(len(shapes))
    assert counts == sorted(counts)
    assert set(counts) == {1, 2, 3}


@pytest.mark.parametrize(
    "wrong", [entry("F32", [5], 8, 24), entry("F9", [2], 8, 16), entry("F32", [2], 0, 8), {"dtype": "F32"}, []]
)
def test_of_a_header_that_is_cut_off_and_wrong_what_stands_before_is_left(wrong):
    """The fuzzer found the first: a tensor whose bytes do not fit its shape, behind others."""
    data = safetensors_file({"a": entry("F32", [2], 0, 8), "bad": wrong, "c": entry("F32", [2], 16, 24)}, bytes(24))
    checkpoint = open_broken(data[: data.index(b'"c"') + 20])
    names = [node.name for node in checkpoint.root.children]
    assert names == ["a", "bad"] if wrong == entry("F32", [2], 0, 8) else ["a"]  # which of two lies there, nothing says


def test_a_header_beyond_the_limit_is_refused_before_it_is_read():
    data = (100_000_001 | 0xFF << 56).to_bytes(8, "little") + b'{"a":'
    with pytest.raises(OverBudget, match="100000000"):
        open_bytes(data)


DTYPES = sorted(set(DTYPE_OF.values()) - {"float6_e2m3fn", "float6_e3m2fn"})


@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype_is_what_safetensors_wrote(tmp_path, name):
    dtype = getattr(torch, name)
    raw = torch.arange(6 * 16, dtype=torch.uint8)
    tensor = (raw % 2 if dtype is torch.bool else raw).view(dtype).reshape(6, -1)
    safetensors.torch.save_file({"t": tensor, "part": tensor[:2].clone()}, tmp_path / "m.safetensors")
    with open_checkpoint(tmp_path / "m.safetensors") as checkpoint:
        node = checkpoint["/t"]
        assert (node.dtype, node.shape, node.stride) == (name, tuple(tensor.shape), tensor.stride())
        assert (node.location, node.device, node.nbytes) == (None, "cpu", tensor.nbytes)
        assert node.torch().view(torch.uint8).tolist() == tensor.view(torch.uint8).tolist()


@pytest.mark.parametrize("name", ["F6_E2M3", "F6_E3M2"])
def test_numbers_of_six_bits_have_shape_and_size_but_no_values(name):
    checkpoint = open_bytes(safetensors_file({"a": entry(name, [2, 4], 0, 6)}, bytes(6)))
    assert (checkpoint["/a"].shape, checkpoint["/a"].nbytes) == ((2, 4), 6)
    with pytest.raises(CheckpointError, match="6 bits"):
        checkpoint["/a"].numpy()
    with pytest.raises(CheckpointError, match="dtype float6"):
        plan_export(checkpoint)


def test_float4_counts_bytes_as_torch_does():
    header = {"even": entry("F4", [2, 4], 0, 4), "odd": entry("F4", [2, 1], 4, 5)}
    checkpoint = open_bytes(safetensors_file(header, b"\x21\x43\x65\x07\x21"))
    assert (checkpoint["/even"].shape, checkpoint["/odd"].shape) == ((2, 2), (1,))
    assert checkpoint["/even"].numpy(copy=True).tolist() == [[0.5, 1, 1.5, 2], [3, 4, 6, 0]]
    assert checkpoint["/odd"].numpy(copy=True).tolist() == [0.5, 1]


def test_the_writers_own_order_and_metadata(tmp_path):
    given_tensors = {
        "b.weight": torch.rand(3, 4), "a.ids": torch.arange(5), "a.mask": torch.tensor([True, False]),
        "a.scale": torch.tensor(2.5), "empty": torch.zeros(0, 3), "h": torch.rand(2, 2).half(),
    }  # fmt: skip
    safetensors.torch.save_file(given_tensors, tmp_path / "m.safetensors", {"format": "pt", "note": "ü"})
    loaded = safetensors.torch.load_file(tmp_path / "m.safetensors")
    with open_checkpoint(tmp_path / "m.safetensors") as checkpoint:
        assert checkpoint["/__metadata__/note"].value == "ü"
        state_dict = checkpoint.state_dict()
        assert state_dict.keys() == loaded.keys()
        for name, node in state_dict.items():
            assert torch.equal(node.torch(), loaded[name])
        assert len({node.storage.unique_key for node in state_dict.values()}) == len(loaded)


def test_unaligned_numbers_are_noted_and_read_h17():
    data = b"\x07" + floats(1.5, -2.5)
    checkpoint = open_bytes(safetensors_file({"u": entry("U8", [1], 0, 1), "f": entry("F32", [2], 1, 9)}, data))
    assert {finding.code for finding in checkpoint.findings} == {"unaligned-data"}
    assert checkpoint["/f"].numpy(copy=True).tolist() == [1.5, -2.5]


def test_it_is_a_state_dict_whatever_the_names(tmp_path):
    safetensors.torch.save_file({"codes": torch.arange(6), "x": torch.rand(2)}, tmp_path / "m.safetensors")
    with open_checkpoint(tmp_path / "m.safetensors") as checkpoint:
        view = overview(checkpoint)
        assert (view.kind, view.parameters, view.roles) == ("state_dict", 8, {"model": [()]})
        assert checkpoint.models[0].path == ()


def test_without_tensors_it_is_no_model():
    assert open_bytes(safetensors_file({"__metadata__": {}})).models[0:] != ()
    assert open_bytes(safetensors_file({})).models == ()


def test_export_writes_what_load_file_gives_and_remap_has_nothing_to_do(tmp_path):
    safetensors.torch.save_file({"a.weight": torch.rand(3, 4), "a.f8": torch.rand(4).to(torch.float8_e4m3fn)},
                                tmp_path / "m.safetensors")  # fmt: skip
    with open_checkpoint(tmp_path / "m.safetensors") as checkpoint:
        written = write(plan_export(checkpoint), tmp_path / "m.pth", context=SILENT)
        with pytest.raises(CheckpointError, match=r"only one of torch\.save"):
            plan_remap(checkpoint, "cpu")
    assert written.tensors == 2
    ours, theirs = torch.load(tmp_path / "m.pth"), safetensors.torch.load_file(tmp_path / "m.safetensors")
    assert {name: each.float().tolist() for name, each in ours.items()} == {
        name: each.float().tolist() for name, each in theirs.items()
    }


@pytest.mark.parametrize(
    ("name", "map_location", "code"),
    [("m.safetensors", None, 'safetensors.torch.load_file("m.safetensors")'),
     ("m.safetensors", "cpu", 'safetensors.torch.load_file("m.safetensors")'),
     ("m.bin", "cuda:1", 'safetensors.torch.load_file("m.bin", device="cuda:1")'),
     ("m.bin", {"cpu": "cuda:0"}, 'safetensors.torch.load_file("m.bin", device="cuda:0")'),
     ("m.bin", {"cuda:0": "cpu"}, 'safetensors.torch.load_file("m.bin")')],
)  # fmt: skip
def test_the_line_of_code_is_that_of_its_own_library(name, map_location, code):
    checkpoint = open_bytes(TestSafetensors().file(), map_location, name=name)
    assert load_code(checkpoint) == code


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_torch_load_takes_it_by_its_name_only(tmp_path, suffix):
    path = tmp_path / f"m{suffix}"
    safetensors.torch.save_file({"a": torch.rand(2)}, path)
    with open_checkpoint(path) as checkpoint:
        refused = checkpoint.contents.weights_only
    if refused:
        with pytest.raises(Exception, match=r"\S"):
            torch.load(path, weights_only=True)
    else:
        torch.load(path, weights_only=True)
    assert bool(refused) == (suffix == ".bin")


def test_a_header_of_very_many_tensors_is_read_in_little_memory():
    count = 50_000
    names = [f'"layers.{n}.weight":{{"dtype":"F16","shape":[2,4],"data_offsets":[{16 * n},{16 * n + 16}]}}'
             for n in range(count)]  # fmt: skip
    file = safetensors_file("{" + ",".join(names) + "}", bytes(16 * count))
    with within(10), memory() as peak:
        checkpoint = open_bytes(file)
    assert len(checkpoint.root.value) == count
    assert peak.nbytes < 600 * count


@pytest.mark.parametrize("magic", [b"\x1f\x8b\x08", b"\x80\x02\x01", b"(\x02\x01", b"]"])
def test_a_length_that_looks_like_another_format_is_a_length(tmp_path, magic):
    length = int.from_bytes(magic, "little")
    header = json.dumps({"a": entry("U8", [2], 0, 2)}).encode().ljust(length)
    path = tmp_path / "m.safetensors"
    path.write_bytes(safetensors_file(header, b"xy"))
    assert path.read_bytes().startswith(magic)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.format == "safetensors"
        assert checkpoint["/a"].numpy(copy=True).tolist() == list(b"xy")


def test_header_order_may_differ_from_offset_order():
    numbers = list(range(300))
    random.Random(1).shuffle(numbers)
    header = {f"t{n}": entry("U8", [1], n, n + 1) for n in numbers}
    checkpoint = open_bytes(safetensors_file(header, bytes(n % 256 for n in range(300))))
    assert [node.name for node in checkpoint.root.children] == [f"t{n}" for n in numbers]
    assert all(checkpoint[f"/t{n}"].numpy(copy=True).item() == n % 256 for n in numbers[:50])


HOSTILE = {
    "deep lists": '{"a":' + "[" * 100_000, "deep objects": '{"a":{' * 50_000, "empty lists": '{"a":[' + "[]," * 400_000,
    "empty objects": '{"a":[' + "{}," * 400_000, "long number": '{"a":' + "1" * 1_000_000,
    "no end": '{"' + "x" * 1_000_000, "escapes": '{"' + "\\u0041" * 200_000, "blanks": "{" + " " * 1_000_000,
    "many metadata": '{"__metadata__":{' + ",".join(f'"{n}":""' for n in range(100_000)),
    "unknown dtypes": "{" + ",".join(f'"{n}":{{"dtype":"X","shape":[],"data_offsets":[0,0]}}' for n in range(20_000)),
    "broken entries": "{" + ",".join(f'"{n}":{{"dtype" :"F32"' for n in range(50_000)),
    "half entries": '{"a":{"dtype":"F32","shape":[' + "1," * 500_000,
}  # fmt: skip


@pytest.mark.parametrize("title", HOSTILE)
def test_hostile_headers_cost_little(title):
    file = safetensors_file(HOSTILE[title])
    with within(5), memory() as peak, pytest.raises(CheckpointError) as refused:
        open_bytes(file)
    assert peak.nbytes < 20 * len(file) + (20 << 20)
    assert len(str(refused.value)) < 500


def test_very_many_dimensions_are_taken_in_linear_time():
    """The reference reader has no limit for them."""
    data = safetensors_file({"w": entry("F32", (1,) * 200_000, 0, 4)}, floats(7))
    with within(10):
        checkpoint = open_bytes(data)
        assert look_at_all(checkpoint) > 0
        tensor = checkpoint["/w"].value
        assert (len(tensor.shape), tensor.stride[:2], tensor.stride[-1]) == (200_000, (1, 1), 1)
