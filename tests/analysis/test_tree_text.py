"""`ls` for people."""

from __future__ import annotations

import torch
from builders import call, floats, get, integer, listed, mapped, name, pickled, put, save, tensor, text, zip_checkpoint
from opening import open_bytes

from ckpt_viewer.analysis.tree_text import tree_lines
from ckpt_viewer.formats import open_checkpoint


def lines(body: bytes, storages=None, map_location=None) -> list[str]:
    data = zip_checkpoint(pickled(body, 4), storages if storages is not None else {"0": floats(1, 2, 3, 4)})
    return list(tree_lines(open_bytes(data, map_location)))


def test_a_checkpoint_at_a_glance():
    weights = mapped((text("conv.weight"), tensor((2, 2), location="cuda:1")))
    found = lines(mapped((text("model"), weights), (text("epoch"), b"K\3")), map_location="cpu")
    assert found[0].startswith("training checkpoint, epoch 3 | 4 parameters | 1 tensor | ")
    assert found[0].endswith("torch-zip | cuda:1")
    assert found[1:] == [
        "",
        "(root)  dict of 2",
        "  model  dict of 1  [model]",
        "    conv.weight  2x2 float32 cuda:1 -> cpu 16 B",
        "  epoch  3  [progress]",
    ]


def test_a_device_that_stays_is_told_once():
    assert "  w  4 float32 cuda:1 16 B" in lines(mapped((text("w"), tensor(location="cuda:1"))))


def test_a_key_that_would_not_be_seen_is_quoted():
    found = lines(mapped((text(""), integer(1)), (text(" w "), integer(2)), (text("a b"), integer(3))))
    assert found[-3:] == ['  ""  1', '  " w "  2', "  a b  3"]


def test_text_from_the_file_controls_no_terminal():
    evil = "\x1b[2J\r\n\u202e\ud800"
    found = lines(mapped((text(evil), text(evil)), (text("t"), tensor(location=evil)),
                         (text("o"), call(name("m\x1b[0m", "n"), b"N"))))  # fmt: skip
    for line in found:
        assert not any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in line)
        line.encode("utf-8")
    assert any("\\x1b[2J\\r\\n\\u202e\\ud800" in line for line in found)


def test_long_lists_of_numbers_are_cut():
    found = lines(mapped((text("loss"), listed(*(integer(n) for n in range(500)))), (text("after"), b"N")))
    assert "    … 488 more" in found
    assert "  after  None" in found
    assert len(found) < 20


def test_what_follows_a_long_run_of_numbers_is_shown():
    numbers = [integer(n) for n in range(30)]
    found = lines(listed(*numbers, tensor(), *numbers))
    assert found[-14].strip() == "30  4 float32 cpu 16 B"
    assert [line for line in found if "more" in line] == ["  … 18 more"] * 2


def test_long_names_and_values_are_cut():
    found = lines(mapped((text("k" * 5000), text("v" * 5000))))
    assert max(map(len, found)) < 250


def test_a_number_and_a_text_of_its_digits_stay_apart():
    keys = (text("0"), integer(0), text("-1"), text("None"), b"N", text("0.weight"), text("0\n1"))
    found = lines(mapped(*((key, b"K\7") for key in keys)))
    names = [line.strip().rpartition("  ")[0] for line in found[-len(keys) :]]
    assert names == ['"0"', "0", '"-1"', '"None"', "None", "0.weight", "0\\n1"]


def test_so_do_those_of_many_tensors_side_by_side():
    found = lines(mapped(*((text(name), tensor()) for name in ("a", "0", "b", "True", "c.1"))))
    names = [line.split()[0] for line in found[-5:]]
    assert names == ["a", '"0"', "b", '"True"', "c.1"]


def test_what_is_met_again_is_pointed_to():
    found = lines(mapped((text("a/b"), listed(b"K\1") + put(0)), (text("c"), get(0))))
    assert "  c  list of 1  same as /a~1b" in found


def test_a_list_in_itself_points_to_the_root():
    assert "  0  list of 1  same as (root)" in lines(b"]q\x00h\x00a")


def test_findings_come_before_the_tree():
    found = lines(tensor(), {})
    assert found[1] == "error: storage 0 has no record in the archive, so its tensors cannot be read"


def test_dangerous_names_are_told_and_shown():
    found = lines(call(name("os", "system"), text("rm -rf /")))
    assert "warning: names os.system, which could run code; nothing was run" in found
    assert "  #0  'rm -rf /'" in found


def test_versions_of_modules_are_folded(tmp_path):
    path = save({"model": torch.nn.Sequential(torch.nn.Linear(1, 1)).state_dict()}, tmp_path / "m.pth")
    with open_checkpoint(path) as checkpoint:
        found = list(tree_lines(checkpoint))
    assert "    _metadata  versions of 2 modules" in found
    assert not any("version" in line and "1" in line and "modules" not in line for line in found)


def test_scalars_and_shapes(tmp_path):
    given = {"scalar": torch.tensor(2.0), "empty": torch.zeros(0, 3), "none": None, "flag": True, "text": "a\tb",
             "size": torch.Size([1, 2]), "dtype": torch.float16}  # fmt: skip
    with open_checkpoint(save(given, tmp_path / "m.pth")) as checkpoint:
        found = list(tree_lines(checkpoint))
    for line in ("  scalar  scalar float32 cpu 4 B", "  empty  0x3 float32 cpu 0 B", "  none  None", "  flag  True",
                 "  text  'a\\tb'", "  size  torch.Size of 2", "  dtype  torch.float16"):  # fmt: skip
        assert line in found
