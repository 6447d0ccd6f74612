"""Files that ask for more than they hold, given to each command: time and memory stay those of a small file.

`tests/bench/bench_attacks.py` measures all attacks with all commands; here are those that once took too much.
"""

from __future__ import annotations

import io
import json

import pytest
from builders import integer, mapped, pickled, put, safetensors_file, tensor, text, zip_checkpoint
from opening import memory, open_bytes, within

from ckpt_viewer.analysis.diff import diff
from ckpt_viewer.cli import main
from ckpt_viewer.core.outline import Pointers
from ckpt_viewer.core.text import shape_text

HASHED = (1 << 61) - 1
"""Whole multiples of it have one hash in CPython."""
MANY = 200_000


def of_one_hash(numbers: list[int]) -> bytes:
    raws = [number.to_bytes(number.bit_length() // 8 + 1, "little") for number in numbers]
    return pickled(b"}(" + b"".join(b"\x8a" + bytes([len(raw)]) + raw + b"N" for raw in raws) + b"u")


@pytest.mark.parametrize("step", [1, -1])
def test_comparing_keys_of_one_hash_takes_linear_time(step):
    """In the same places, where nothing is looked up, and in others."""
    keys = [number * HASHED for number in range(1, 40_001)]
    a, b = open_bytes(of_one_hash(keys)), open_bytes(of_one_hash([*keys[::step], HASHED * 50_000]))
    with within(10):
        found = diff(a, b)
    assert (found.same, found.only_a, len(found.only_b), found.changed) == (len(keys), [], 1, [])


def test_comparing_what_lies_deep_makes_no_path_of_each_entry():
    def saved(name: str) -> bytes:
        body = b"](" + b"K\1" * 100_000 + b"e"
        for level in range(300):
            body = mapped((text(f"module.{name}{level}"), body))
        return pickled(body)

    a, b = open_bytes(saved("a")), open_bytes(saved("b"))
    assert len(a.outline) == len(b.outline) == 100_301
    with memory() as peak:
        found = diff(a, b)
    assert (len(found.only_a), len(found.only_b)) == (1, 1)
    assert peak.nbytes < 80_000_000


def test_comparing_many_entries_takes_some_bytes_for_each():
    a, b = (open_bytes(pickled(b"](" + b"K\1" * MANY + b"e")) for _ in range(2))
    assert len(a.outline) == len(b.outline)
    with memory() as peak:
        assert diff(a, b).same == MANY
    assert peak.nbytes < 30 * MANY


@pytest.fixture
def repeated(tmp_path):
    """One tensor in very many places of a list."""
    path = tmp_path / "repeated.pth"
    body = pickled(tensor((4,)) + put(0) + b"0(" + b"h\0" * MANY + b"l")
    path.write_bytes(zip_checkpoint(body, {"0": bytes(16)}))
    return path


def test_statistics_of_one_tensor_in_many_places_are_made_once(repeated, capsys):
    with memory() as peak:
        assert main(["stats", str(repeated)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == MANY + 1
    assert printed[-1].split() == [f"/{MANY - 1}", "4", "float32", "0.0", "0.0", "0.0", "0.0", "4", "0", "0"]
    assert {len(line) for line in printed} == {len(printed[0])}
    assert peak.nbytes < 600 * MANY  # what is printed among it


def test_a_document_of_one_tensor_in_many_places(repeated, capsys, monkeypatch):
    assert main(["stats", "--json", "--bins", "1", str(repeated)]) == 0
    tensors = json.loads(capsys.readouterr().out)["tensors"]
    assert [each["path"] for each in tensors] == [[number] for number in range(MANY)]
    assert all(each == {**tensors[0], "path": each["path"]} for each in tensors[:: MANY // 10])


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_showing_a_container_makes_no_object_of_each_member(tmp_path, monkeypatch, form):
    path, out = tmp_path / "long.pth", io.StringIO()
    path.write_bytes(pickled(b"](" + b"K\1" * MANY + b"e"))
    monkeypatch.setattr("sys.stdout", out)
    with memory() as peak:
        assert main(["show", *form, str(path), ""]) == 0
    if form:
        assert json.loads(out.getvalue())["children"] == list(range(MANY))
    else:
        assert f"{MANY - 100} more" in out.getvalue()
    assert peak.nbytes < 60 * MANY
    assert main(["show", str(path), f"/{MANY - 1}"]) == 0
    assert out.getvalue().endswith("\n1\n")


def test_pointers_of_rows_in_any_order():
    inner = mapped((text("a/b"), integer(1)), (integer(7), integer(2)), (text("7"), b"](K\1K\2e"))
    checkpoint = open_bytes(pickled(mapped((text("x"), inner), (text("y"), integer(3)))))
    outline = checkpoint.outline
    wanted = [checkpoint.node(outline.path(row)).pointer for row in range(len(outline))]
    assert wanted == ["", "/x", "/x/a~1b", "/x/~21", "/x/7", "/x/7/0", "/x/7/1", "/y"]
    for order in (range(len(outline)), reversed(range(len(outline))), [6, 0, 2, 5, 1, 7, 4, 3]):
        texts = Pointers(outline)
        assert all(texts.of(row) == wanted[row] for row in order)


def test_a_tensor_of_a_million_dimensions_is_told_in_a_few_words(tmp_path, capsys):
    """The format allows it, and torch knows no more than 64."""
    shape = (1,) * 1_000_000
    assert shape_text(shape, "x") == "1x1x1x1x1x1x1x1x… (1000000 dimensions)"
    assert shape_text((2,) * 64, "x").count("2") == 64
    path = tmp_path / "m.safetensors"
    path.write_bytes(safetensors_file({"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, 4]}}, bytes(4)))
    for words in (["ls"], ["stats"], ["check", "--no-values"]):
        with within(10):
            assert main([*words, str(path)]) in (0, 1)
        assert len(capsys.readouterr().out) < 2000
