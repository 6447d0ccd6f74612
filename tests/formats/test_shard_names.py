"""What the names of files say about the set that they belong to."""

from __future__ import annotations

import pytest

from ckpt_viewer.formats.shard_names import is_index_name, listed, part_of, part_set


@pytest.mark.parametrize(
    ("name", "expected"),
    [("model-00002-of-00004.safetensors", ("model-", 2, 4, ".safetensors")),
     ("pytorch_model.fp16-1-of-2.bin", ("pytorch_model.fp16-", 1, 2, ".bin")),
     ("00000-of-00008", ("", 0, 8, "")), ("m_003-of-012.tar.pt", ("m_", 3, 12, ".tar.pt")),
     ("shard-00001-model-00001-of-00002.safetensors", ("shard-00001-model-", 1, 2, ".safetensors")),
     ("model-00005-of-00004.bin", ("model-", 5, 4, ".bin"))],
)  # fmt: skip
def test_parts(name, expected):
    part = part_of(name)
    assert (part.stem, part.number, part.total, part.rest) == expected
    assert part.sibling(part.number) == name


@pytest.mark.parametrize("name", ["model.safetensors", "best-of-breed.pth", "model-1-of-0.bin", "a-of-4", "9-of",
                                  "model-1-of-9999999.bin", "part_1_of_2.pt", "x_rank0_of_2.pt"])  # fmt: skip
def test_what_is_no_part(name):
    part = part_of(name)
    assert part is None or part.total < 1_000_000
    if name != "model-1-of-9999999.bin":
        assert part is None


def family(*numbers: str) -> list[str]:
    return [f"m-{number}.bin" for number in numbers]


@pytest.mark.parametrize(
    ("own", "names", "files", "missing", "mixed"),
    [("1-of-3", ["1-of-3", "2-of-3", "3-of-3"], ["1-of-3", "2-of-3", "3-of-3"], [], False),
     ("2-of-3", ["2-of-3"], ["2-of-3"], ["1-of-3", "3-of-3"], False),
     ("0-of-2", ["0-of-2", "1-of-2"], ["0-of-2", "1-of-2"], [], False),
     ("1-of-2", ["0-of-2", "1-of-2"], ["0-of-2", "1-of-2"], [], False),
     ("1-of-3", ["1-of-3", "2-of-3", "3-of-2"], ["1-of-3", "2-of-3", "3-of-2"], [], True),
     ("1-of-2", ["1-of-2", "2-of-3", "3-of-3"], ["1-of-2", "2-of-3", "3-of-3"], [], True),
     ("1-of-2", ["1-of-2", "2-of-2", "1-of-3", "2-of-3", "3-of-3"], ["1-of-2", "2-of-2"], [], False),
     ("10-of-11", ["10-of-11", "9-of-11"], ["9-of-11", "10-of-11"],
      [f"{n}-of-11" for n in (1, 2, 3, 4, 5, 6, 7, 8, 11)], False)],
)  # fmt: skip
def test_sets(own, names, files, missing, mixed):
    part = part_of(f"m-{own}.bin")
    others = ["other-1-of-3.bin", "m-2-of-3.safetensors", "config.json", "m-rank1_of_3.bin"]
    found = part_set(part, [*family(*names), *others])
    expected = [name.lstrip("0") or "0" for name in missing]
    assert [each.removeprefix("m-").removesuffix(".bin").lstrip("0") for each in found.files] == [
        each.lstrip("0") for each in files
    ]
    assert [int(each.split("-")[1]) for each in found.missing] == [int(each.split("-")[0]) for each in expected]
    assert found.mixed == mixed


def test_index_names():
    assert all(map(is_index_name, ["model.safetensors.index.json", "pytorch_model.bin.index.json",
                                   "diffusion_pytorch_model.safetensors.index.fp16.json", "a.index.json"]))  # fmt: skip
    assert not any(map(is_index_name, ["index.json", "model.json", ".index.json", "model.index.jsonl"]))


def test_long_lists_are_cut():
    assert listed(["a", "b"]) == "'a', 'b'"
    assert listed(map(str, range(9))) == "'0', '1', '2' and 6 more"
    assert "\\u202e" in listed(["\u202e"])
