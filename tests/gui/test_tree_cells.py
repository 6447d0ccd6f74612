from __future__ import annotations

import pytest
from hand_made import mapping
from tree_samples import checkpoint_of, mapping_of, state_dict, tensor, training_checkpoint

from ckpt_viewer.core.location import Locator, leave_on_cpu
from ckpt_viewer.core.tensor import StorageSpec, TensorExtra, TensorSpec
from ckpt_viewer.core.value import Global, Instance, Literal, NdArray, Sequence
from ckpt_viewer.gui.tree import build_index
from ckpt_viewer.gui.tree.cell_words import copied_row, copied_value, spoken, tip
from ckpt_viewer.gui.tree.cells import DEVICE, DTYPE, NAME, PARAMETERS, SHAPE, SIZE, TYPE, Cells
from ckpt_viewer.gui.tree.names import display_name


def cells_of(root, map_location=None, dangerous=frozenset(), **options):
    checkpoint = checkpoint_of(root) if not hasattr(root, "outline") else root
    return Cells(build_index(checkpoint, **options), Locator(map_location), "model_3.pth", dangerous)


def shown(cells, pointer):
    row = cells.index.find(pointer)
    return tuple(cells.shown(row, column) for column in range(7))


def note(cells, pointer):
    return cells.note(cells.index.find(pointer))


def test_a_tensor_shows_all_that_it_is():
    cells = cells_of(mapping(weight=tensor(64, 3, 7, 7)))
    assert shown(cells, "/weight") == (
        "weight", "Tensor", "64 × 3 × 7 × 7", "float32", "cuda:1", "9.41K", "37.6 kB",
    )  # fmt: skip


def test_containers_add_up_what_is_in_them():
    cells = cells_of(training_checkpoint())
    assert shown(cells, "") == ("model_3.pth", "dict", "18 tensors", "", "cuda:1", "108", "432 B")
    assert shown(cells, "/model")[1:3] == ("OrderedDict", "9 tensors")
    assert shown(cells, "/model/layer1.0.")[:3] == ("0", "module", "2 tensors")
    assert shown(cells, "/lr_scheduler")[1:] == ("dict", "2 entries", "", "", "", "")


def test_parameters_are_those_of_models():
    checkpoint = training_checkpoint()
    rows = {name: checkpoint.outline.find((name,)) for name in ("model", "optimizer")}
    cells = cells_of(checkpoint, marks={rows["model"]: "model", rows["optimizer"]: "optimizer"})

    def count(pointer):
        return shown(cells, pointer)[PARAMETERS]

    assert (count(""), count("/model"), count("/optimizer")) == ("54", "54", "")
    assert (count("/model/layer1.0."), count("/optimizer/state")) == ("12", "")
    assert shown(cells, "/optimizer")[SIZE] == "216 B"
    assert copied_row(cells, cells.index.find("/optimizer")).split("\t")[PARAMETERS:] == ["", "216"]
    assert tip(cells, cells.index.find(""), PARAMETERS) == '<p style="white-space:pre-wrap">54 parameters</p>'


def test_an_averaged_copy_has_parameters_of_its_own():
    root = mapping(model=state_dict("a.weight", "a.bias"), ema=state_dict("a.weight", "a.bias"), x=tensor(5))
    checkpoint = checkpoint_of(root)
    rows = {name: checkpoint.outline.find((name,)) for name in ("model", "ema")}
    cells = cells_of(checkpoint, marks={rows["model"]: "model", rows["ema"]: "ema"})
    counts = [shown(cells, pointer)[PARAMETERS] for pointer in ("", "/model", "/ema", "/ema/a.", "/x")]
    assert counts == ["12", "12", "12", "12", ""]


def test_scalars_show_their_value_behind_the_name():
    root = mapping(epoch=3, name="resnet18", lr=0.1, flag=True, none=None, data=b"\x00a", betas=(0.9, 0.999))
    cells = cells_of(root)
    values = {name: note(cells, "/" + name) for name in ("epoch", "lr", "flag", "none", "betas")}
    assert values == {"epoch": "3", "lr": "0.1", "flag": "True", "none": "None", "betas": "(0.9, 0.999)"}
    assert "resnet18" in note(cells, "/name")
    assert cells.shown(cells.index.find("/epoch"), TYPE) == "int"


def test_other_values_say_what_they_are():
    storage = StorageSpec("7", "cpu", "float32", 250, None)
    root = mapping(d=Literal("dtype", "torch.dtype", "torch.bfloat16"), s=storage, f=Global("builtins", "list"))
    cells = cells_of(root)
    assert note(cells, "/d") == "torch.bfloat16"
    assert note(cells, "/s") == "storage 7, 1 kB"
    assert note(cells, "/f") == "<list>"


def test_a_second_way_to_a_container_says_where_the_first_is():
    cells = cells_of(training_checkpoint())
    assert note(cells, "/model_ema") == "same as /model"
    assert shown(cells, "/model_ema")[2:] == ("", "", "", "", "")
    looped = mapping()
    looped.pairs += ["self", looped]
    assert note(cells_of(looped), "/self") == "same as the root"


def test_an_unknown_object_shows_class_arguments_and_state():
    unknown = Instance(Global("my.project", "Net"), (1, "two"))
    unknown.state = mapping(weight=tensor(3), depth=4)
    cells = cells_of(mapping(net=unknown))
    index = cells.index
    assert cells.shown(index.find("/net"), TYPE) == "my.project.Net"
    assert [cells.name(row) for row in index.children(index.find("/net"))] == ["(0)", "(1)", "weight", "depth"]
    assert "not loaded" in tip(cells, index.find("/net"), TYPE)


def test_what_must_not_be_called_is_marked():
    call = Instance(Global("os", "system"), ("echo",))
    cells = cells_of(mapping(x=call, os_system=Global("os", "system")), dangerous=frozenset({"os.system"}))
    for pointer, text in (("/x", ": os.system"), ("/os_system", ", <os.system>")):
        assert cells.mark(cells.index.find(pointer)) == "dangerous"
        assert note(cells, pointer) == f"dangerous, not called{text}"
    assert spoken(cells, cells.index.find("/x"), NAME) == "x, dangerous, not called: os.system"


def test_marks_come_as_a_word_unless_the_name_says_so():
    checkpoint = checkpoint_of(mapping(net=state_dict("a.w"), opt=mapping(x=1), lr_scheduler=mapping(y=1), epoch=3))
    roles = ("model", "optimizer", "lr_scheduler", "progress")
    marks = dict(zip(checkpoint.outline.children(0), roles, strict=True))
    optimizer = checkpoint.outline.find(("opt",))
    cells = cells_of(checkpoint, marks=marks, notes={optimizer: "SGD, momentum 0.9"})
    notes = [note(cells, "/" + name) for name in ("net", "opt", "lr_scheduler", "epoch")]
    assert notes == ["model", "optimizer, SGD, momentum 0.9", "", "3"]
    assert spoken(cells, cells.index.find("/epoch"), NAME) == "epoch, progress, 3"


def test_a_run_says_how_many_blocks_and_parameters():
    cells = cells_of(state_dict(*(f"h.{n}.{part}" for n in range(80) for part in ("a", "b")), shape=(1000, 40)))
    run = cells.index.find("/h.") + 1
    assert (cells.name(run), cells.note(run)) == ("0…79", "80 equal blocks, 6.4 M parameters")
    assert cells.pointer(run) == "/h."


@pytest.mark.parametrize(
    ("step", "name"),
    [("weight", "weight"), ("0", "0"), (0, "[0]"), ("[0]", '"[0]"'), ("", '""'), (" x", '" x"'), ('"', '"""')],
)
def test_keys_of_different_kinds_look_different(step, name):
    assert display_name(step) == name


def test_all_keys_of_a_dict_have_different_names():
    keys = {"0": 1, 0: 2, True: 3, "True": 4, "[True]": 5, None: 6, (0,): 7, 0.5: 8, b"0": 9, "(0)": 10}
    cells = cells_of(mapping_of(keys))
    names = [cells.name(row) for row in cells.index.children(0)]
    assert len(set(names)) == len(keys)
    members = cells_of(Sequence("set", "set", ["a", 1]))
    assert [members.name(row) for row in members.index.children(0)] == ["[#0]", "[#1]"]


def test_nothing_from_a_file_gets_out_unescaped():
    nasty = "<b>\n\x1b[31m\u202e" + "&" * 3
    cells = cells_of(mapping_of({nasty: nasty, "t": Instance(Global(nasty, "X"), ()), "d": tensor(2, tag=nasty)}))
    for row in range(len(cells.index)):
        for column in range(7):
            texts = [cells.shown(row, column), spoken(cells, row, column), copied_row(cells, row).replace("\t", "")]
            assert all(text.isprintable() for text in texts)
            text = tip(cells, row, column).replace('<p style="white-space:pre-wrap">', "").replace("</p>", "")
            text = text.replace("<br>", "")
            assert "<" not in text
            assert text.isprintable()


def test_absurd_sizes_are_cut():
    cells = cells_of(mapping_of({"n" * 10**6: "v" * 10**6, "big": 10**6000, "t": tensor(10**6000, 2)}))
    for row in range(len(cells.index)):
        for column in range(7):
            assert len(cells.shown(row, column)) <= 200
            assert len(tip(cells, row, column)) < 10_000
        assert len(cells.note(row)) < 200
    assert shown(cells, "/t")[2:] == ("absurd", "float32", "cuda:1", "10^6000", "10^6001")
    assert copied_row(cells, cells.index.find("/t")) == (
        "/t\ttorch.Tensor\t[10^6000, 2]\tfloat32\tcuda:1\t10^6000\t10^6001"
    )


def test_arrays_without_torch_show_shape_and_dtype():
    cells = cells_of(mapping(a=NdArray("<f8", (3, 4), b"")))
    assert shown(cells, "/a") == ("a", "numpy.ndarray", "3 × 4", "<f8", "", "", "")


# devices


def two_devices():
    return mapping(a=tensor(2, tag="cuda:0"), b=tensor(2, tag="cuda:1"), c=mapping(d=tensor(2, tag="cpu")))


@pytest.mark.parametrize(
    ("map_location", "devices"),
    [
        (None, ["3 devices", "cuda:0", "cuda:1", "cpu"]),
        ("cpu", ["3 devices → cpu", "cuda:0 → cpu", "cuda:1 → cpu", "cpu"]),
        ({"cuda:1": "cuda:0"}, ["3 devices → cuda:0, cpu", "cuda:0", "cuda:1 → cuda:0", "cpu"]),
        (leave_on_cpu, ["3 devices → cpu", "cuda:0 → cpu", "cuda:1 → cpu", "cpu"]),
    ],
)
def test_devices_show_where_they_were_and_where_they_go(map_location, devices):
    cells = cells_of(two_devices(), map_location)
    assert [cells.device(cells.index.find(pointer)) for pointer in ("", "/a", "/b", "/c")] == devices


def test_a_map_location_that_fails_shows_what_was_saved():
    cells = cells_of(mapping(a=tensor(2)), lambda storage, tag: 3)
    assert cells.device(1) == "cuda:1 → ?"


def test_devices_are_listed_in_tips_and_read_aloud():
    cells = cells_of(two_devices(), "cpu")
    assert tip(cells, 0, DEVICE).count("→ cpu") == 2
    assert spoken(cells, 1, DEVICE) == "saved on cuda:0 loads onto cpu"


def test_a_container_that_knows_no_devices_shows_the_target_alone():
    storage = StorageSpec("0", None, "float32", 2, None)
    root = mapping(a=TensorSpec(storage, "float32", (2,), (1,)))
    assert cells_of(root).device(1) == "cpu"
    assert cells_of(root, "cuda:0").device(1) == "cuda:0"


def test_tensors_on_one_tag_that_are_mapped_differently_are_both_named():
    meta = TensorSpec(None, "float32", (2,), (1,), extra=TensorExtra(device="meta"))
    assert cells_of(mapping(a=meta, b=tensor(2, tag="meta")), "cpu").device(0) == "meta → meta, cpu"


# the clipboard


def test_a_copied_row_has_full_precision_and_plain_signs():
    cells = cells_of(mapping(weight=tensor(64, 3, 7, 7), lr=0.1 + 0.2, name="a\tb"), "cpu")
    row = cells.index.find
    assert copied_row(cells, row("/weight")) == (
        "/weight\ttorch.Tensor\t[64, 3, 7, 7]\tfloat32\tcuda:1 -> cpu\t9408\t37632"
    )
    assert copied_row(cells, row("/lr")) == "/lr\tfloat\t0.30000000000000004\t\t\t\t"
    assert copied_row(cells, row("/name")) == "/name\tstr\ta\\tb\t\t\t\t"
    assert copied_row(cells, 0) == "\tdict\t\t\tcuda:1 -> cpu\t9408\t37632"


def test_values_are_copied_in_full():
    cells = cells_of(mapping(text="x" * 5000, number=10**30, data=b"\xff", empty="", box=mapping(), weight=tensor(2)))
    values = [copied_value(cells, row) for row in cells.index.children(0)]
    assert values == ["x" * 5000, str(10**30), repr(b"\xff"), "", None, None]


def test_columns_have_tips():
    cells = cells_of(mapping(weight=tensor(64, 3, 7, 7)))
    tips = [tip(cells, 1, column) for column in (NAME, TYPE, SHAPE, DTYPE, PARAMETERS, SIZE)]
    for text, part in zip(
        tips, ("/weight", "torch.Tensor", "64 × 3", "float32", "9\u202f408 param", "37\u202f632 bytes"), strict=True
    ):
        assert part in text
