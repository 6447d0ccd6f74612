"""The work behind the panels that draw nothing: sharing, roll-ups, crumbs, texts, rows of facts."""

from __future__ import annotations

import numpy as np
import pytest
from hand_made import make_checkpoint
from made_tensors import made_tensor
from panel_samples import floats, meta, shared_pair, sparse
from tree_samples import mapping_of, state_dict, tensor

from ckpt_viewer.core.checkpoint import GlobalUse
from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.core.tensor import Quantization, TensorExtra, TensorSpec
from ckpt_viewer.core.value import Global, Instance, Literal, NdArray
from ckpt_viewer.errors import Cancelled
from ckpt_viewer.gui.panels.contents import look_into
from ckpt_viewer.gui.panels.crumbs import crumbs_of, outline_row
from ckpt_viewer.gui.panels.facts import group_facts, node_facts, placed
from ckpt_viewer.gui.panels.rollup import roll_up
from ckpt_viewer.gui.panels.sharing import find_sharing
from ckpt_viewer.gui.panels.storage_facts import place_rows, tensor_rows
from ckpt_viewer.gui.panels.value_text import TEXT_LIMIT, describe
from ckpt_viewer.gui.tree import build_index


class Stop:
    """A context that cancels at its first step."""

    def step(self, done, total):
        raise Cancelled


def rows_named(outline, *pointers, checkpoint):
    return [outline_row(outline, checkpoint[pointer]) for pointer in pointers]


def test_views_and_tied_tensors_share_a_storage():
    checkpoint = make_checkpoint(root=shared_pair())
    outline = checkpoint.outline
    sharing = find_sharing(outline)
    storage = checkpoint["/model/a.weight"].storage
    names = rows_named(outline, "/model/a.weight", "/model/b.weight", "/model/b.part", checkpoint=checkpoint)
    assert list(sharing.rows(storage)) == names
    assert sharing.others(checkpoint["/model/b.part"].tensor) == 2
    assert sharing.others(checkpoint["/model/c"].tensor) == 0


def test_parts_of_a_sparse_tensor_count_as_its_storages():
    whole = sparse()
    root = mapping_of({"sparse": whole, "values": whole.extra.parts["values"]})
    checkpoint = make_checkpoint(root=root)
    assert find_sharing(checkpoint.outline).others(whole) == 1


def test_sharing_can_be_cancelled():
    with pytest.raises(Cancelled):
        find_sharing(make_checkpoint(root=shared_pair()).outline, Stop())


def test_a_roll_up_counts_repeated_tensors_once():
    checkpoint = make_checkpoint(root=shared_pair())
    total = roll_up(checkpoint.outline, [0], checkpoint.locator)
    assert (total.tensors, total.distinct, total.elements, total.nbytes) == (4, 3, 12 + 4 + 1, 4 * 17)
    assert total.dtypes == {"float32": 4}
    assert total.devices == {"cpu": 4}
    assert total.others == 1


def test_a_roll_up_follows_containers_that_are_described_elsewhere_once():
    model = state_dict("a.w", "b.w")
    root = mapping_of({"model": model, "same": model, "again": mapping_of({"deep": model})})
    checkpoint = make_checkpoint(root=root)
    outline = checkpoint.outline
    same, again = rows_named(outline, "/same", "/again", checkpoint=checkpoint)
    assert roll_up(outline, [same], checkpoint.locator).tensors == 2
    assert roll_up(outline, [again], checkpoint.locator).tensors == 2
    assert roll_up(outline, [0], checkpoint.locator).tensors == 2


def test_a_roll_up_ends_in_a_cycle():
    loop = mapping_of({"t": tensor(2)})
    loop.pairs += ["self", loop]
    checkpoint = make_checkpoint(root=loop)
    assert roll_up(checkpoint.outline, [0], checkpoint.locator).tensors == 1


def test_a_roll_up_says_where_tensors_are_mapped():
    checkpoint = make_checkpoint(root=mapping_of({"a": tensor(2), "b": tensor(2, tag="cpu")}))
    checkpoint.map_onto("cpu")
    assert roll_up(checkpoint.outline, [0], checkpoint.locator).devices == {"cuda:1 → cpu": 1, "cpu": 1}


def texts(crumbs):
    return [crumb.text for crumb in crumbs]


def test_crumbs_take_dotted_names_apart():
    checkpoint = make_checkpoint(root=mapping_of({"model": state_dict("layer1.0.conv1.weight", "layer1.0.bn.weight")}))
    index = build_index(checkpoint)
    crumbs = crumbs_of(checkpoint["/model/layer1.0.conv1.weight"], index)
    assert texts(crumbs)[:2] == ["/", "model"]
    assert ".".join(texts(crumbs)[2:]) == "layer1.0.conv1.weight"
    assert len(crumbs) >= 4
    group = crumbs[2].target()
    assert group.node.pointer == "/model"
    assert group.prefix.startswith("layer1")
    assert texts(crumbs_of(group, index)) == texts(crumbs)[:3]
    assert crumbs[1].target().pointer == "/model"
    assert crumbs[-1].target().pointer == "/model/layer1.0.conv1.weight"


def test_crumbs_without_an_index_are_the_keys():
    checkpoint = make_checkpoint(root=mapping_of({"model": state_dict("a.b", "a.c"), 0: [1, 2]}))
    assert texts(crumbs_of(checkpoint["/model/a.b"], None)) == ["/", "model", "a.b"]
    assert texts(crumbs_of(checkpoint["/0/1"], build_index(checkpoint))) == ["/", "[0]", "[1]"]
    assert crumbs_of(None, None) == []


def test_the_row_of_a_node_is_found_through_aliases_and_repeated_steps():
    model = state_dict("a", "b")
    root = mapping_of({"model": model, "same": model})
    root.pairs += ["model", 1]
    checkpoint = make_checkpoint(root=root)
    outline = checkpoint.outline
    assert outline_row(outline, checkpoint["/same/b"]) == outline_row(outline, checkpoint["/model/b"])
    for node in checkpoint.root.children:
        assert outline.values[outline_row(outline, node)] is node.value
    foreign = make_checkpoint(root=mapping_of({"x": mapping_of({"y": 1})}))["/x/y"]
    assert outline_row(outline, foreign) is None


def test_the_facts_of_a_tensor_are_one_line():
    checkpoint = make_checkpoint()
    checkpoint.map_onto("cpu")
    node = checkpoint["/model/conv1.weight"]
    node.storage.home = type("Home", (), {"prefix": ""})()
    assert node_facts(node, 0) == (
        "64 × 3 × 7 × 7 · float32 · 9\u202f408 values · 37.6 kB · cuda:1 → cpu · storage 0, not shared"
    )
    assert node_facts(node, 1).endswith("storage 0, shared with 1 other entry")
    assert node_facts(node).endswith("storage 0")


def test_facts_of_what_is_no_tensor():
    root = mapping_of({"list": [1, 2], "text": "x" * 1000, "blob": b"1", "none": None})
    checkpoint = make_checkpoint(root=root)
    facts = [node_facts(node) for node in checkpoint.root.children]
    assert facts == ["list · 2 entries", "str · 1\u202f000 characters", "bytes · 1 byte", "NoneType"]
    assert node_facts(checkpoint["/list"]) == "list · 2 entries"


def test_a_tag_that_is_not_moved_is_named_once():
    assert placed("cpu", "cpu") == placed(None, "cpu") == "cpu"
    assert placed("cuda:1", "?") == "cuda:1 → ?"
    assert placed("", "cpu") == "'' → cpu"


def test_a_map_location_that_fails_is_a_question_mark():
    checkpoint = make_checkpoint()
    checkpoint.map_onto(lambda storage, tag: 5)
    assert "cuda:1 → ?" in node_facts(checkpoint["/model/conv1.weight"])


def test_contents_of_a_dict_and_of_a_module():
    checkpoint = make_checkpoint(root=shared_pair())
    index = build_index(checkpoint)
    contents = look_into(checkpoint["/model"], index, SILENT)
    facts = {fact.name: fact.shown for fact in contents.facts}
    assert facts["tensors"] == "4, 3 of them distinct"
    assert facts["values"] == "17"
    assert facts["dtypes"] == "float32"
    assert facts["class"] == "collections.OrderedDict"
    module = look_into(index.subject(index.find("/model/b."), checkpoint), index, SILENT)
    facts = {fact.name: fact.copied or fact.shown for fact in module.facts}
    assert (facts["module"], facts["tensors"], facts["values"]) == ("b", "2", "16")
    assert group_facts(index.subject(index.find("/model/b."), checkpoint)) == "module · 2 tensors · 16 values · 64 B"
    assert module.heading == "Entries: 2"


def test_contents_of_much_list_the_first():
    checkpoint = make_checkpoint(root=list(range(1000)))
    contents = look_into(checkpoint.root, build_index(checkpoint), SILENT)
    assert (len(contents.lines), contents.total) == (200, 1000)
    assert contents.heading == "Entries: the first 200 of 1\u202f000; the tree has all"
    assert look_into(make_checkpoint(root=[]).root, build_index(make_checkpoint(root=[])), SILENT).heading == (
        "It is empty."
    )


def rows_of(node, place=()):
    return {fact.name: fact.shown for fact in tensor_rows(node, node.tensor, list(place))}


def test_a_tensor_of_very_many_dimensions_is_told_in_a_few_words():
    """A safetensors header may state a million of them; the window stood still for seconds."""
    count = 100_000
    node = make_checkpoint(root=made_tensor(b"1234", "float32", (1,) * count, (1,) * count)).root
    facts = tensor_rows(node, node.tensor, [])
    stride = next(fact for fact in facts if fact.name == "stride")
    assert stride.shown == "1, 1, 1, 1, 1, 1, 1, 1, … (100000 dimensions)"
    assert sum(len(fact.shown) + len(fact.copied) for fact in facts) < 1000


def test_storage_rows_of_a_view():
    checkpoint = make_checkpoint(root=shared_pair())
    rows = rows_of(checkpoint["/model/b.part"])
    assert rows["offset in it"] == "4 elements"
    assert rows["uses of it"].startswith("33.3 %")
    assert rows["stride"] == "1"
    assert rows["requires_grad"] == "False"
    turned = TensorSpec(checkpoint["/model/a.weight"].storage, "float32", (4, 3), (1, 4))
    node = make_checkpoint(root=turned).root
    assert rows_of(node)["stride"] == "1, 4  (not contiguous)"


def test_storage_rows_of_what_few_tensors_have():
    quantised = made_tensor(
        b"1234", "quint8", (2, 2), quantization=Quantization("per_channel_affine", floats(1, 2), [0, 3], 0),
        state=mapping_of({"tag": "x<b>"}), conj=True,
    )  # fmt: skip
    rows = rows_of(make_checkpoint(root=quantised).root)
    assert rows["quantisation"] == "per_channel_affine"
    assert rows["scale"] == "tensor 2  float32"
    assert rows["zero point"] == "[0, 3]"
    assert rows["channel axis"] == "0"
    assert rows["attribute tag"] == "'x<b>'"
    assert rows["view"] == "the stored values conjugated"
    assert rows_of(make_checkpoint(root=meta()).root)["storage"] == "none in this file"
    rows = rows_of(make_checkpoint(root=sparse()).root)
    assert rows["layout"] == "sparse_coo"
    assert rows["part values"].startswith("2  float32")
    never = TensorSpec(None, "float32", None, None, extra=TensorExtra())
    assert rows_of(make_checkpoint(root=never).root)["shape"] == "?"


def test_the_place_in_the_file_or_why_there_is_none():
    assert place_rows(floats(1, 2).storage, SILENT)[0].shown == "from byte 0 of memory"
    assert "no bytes in this file" in place_rows(meta().storage, SILENT)[0].shown


def told(value, **contents):
    return describe(value, make_checkpoint(root=value, **contents), SILENT)


def test_text_is_shown_plain_with_its_controls_escaped():
    shown = told("a\tb\n<b>\x1b[31m\u202e")
    assert shown.text == "a\tb\n<b>\\x1b[31m\\u202e"
    assert shown.about == "2 lines"


def test_long_texts_are_cut_and_say_so():
    shown = told("x" * 5_000_000)
    assert len(shown.text.replace("\n", "")) == TEXT_LIMIT
    assert max(map(len, shown.text.split("\n"))) == 2000
    assert "5\u202f000\u202f000 characters" in shown.note


@pytest.mark.parametrize(
    ("value", "text"),
    [(3, "3"), (0.1, "0.1"), (None, "None"), (True, "True"), (1 + 2j, "(1+2j)"), ("", ""),
     (Literal("dtype", "torch.dtype", "torch.float16"), "torch.float16")],
)  # fmt: skip
def test_scalars_are_what_python_prints(value, text):
    assert told(value).text == text


def test_an_integer_too_long_for_python_is_hexadecimal():
    shown = told(1 << 20_000)
    assert shown.text.replace("\n", "") == hex(1 << 20_000)
    assert "20\u202f001 bits" in shown.about


def test_bytes_are_dumped():
    shown = told(bytes(range(20)))
    assert shown.text.splitlines() == [
        "00000000  00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f  ................",
        "00000010  10 11 12 13                                      ....",
    ]
    assert "of 100\u202f000 bytes" in told(bytes(100_000)).note


def test_arrays_show_their_first_values():
    data = np.arange(1000.0)
    shown = told(NdArray("<f8", (10, 100), data.tobytes()))
    assert shown.text.splitlines()[:3] == ["0.0", "1.0", "2.0"]
    assert shown.note == "The first 200 of 1\u202f000 values."
    assert "10 × 100" in shown.about
    assert told(NdArray("object", (2,), ["a", 1])).text == "'a'\n1"


@pytest.mark.parametrize("dtype", ["O", "|V8", "<U4", "f4,f4", "{'names': ['a']}", "<f16x"])
def test_dtypes_that_a_file_made_up_are_left_alone(dtype):
    shown = told(NdArray(dtype, (1,), b"12345678"))
    assert shown.text == ""
    assert "not decoded" in shown.note


def test_a_dangerous_name_says_so_and_that_nothing_was_run():
    use = (GlobalUse("posix.system", "dangerous"),)
    call = Instance(Global("posix", "system"), ("touch /tmp/harm",))
    shown = told(call, globals=use)
    assert "Nothing was run" in shown.warning
    assert "argument 0:  'touch /tmp/harm'" in shown.text
    assert "made by calling  posix.system" in shown.text
    assert "Nothing was run" in told(Global("posix", "system"), globals=use).warning


def test_an_unknown_object_is_described():
    value = Instance(Global("argparse", "Namespace"), (), new=True)
    value.state = mapping_of({"lr": 0.1, "names": ["a", "b"]})
    value.items, value.pairs = [1], ["k", 2]
    shown = told(value, globals=(GlobalUse("argparse.Namespace", "unknown"),))
    assert shown.warning == ""
    assert "not imported" in shown.about
    assert "lr:  0.1" in shown.text
    assert "contents (2)" in shown.text
    assert "k:  2" in shown.text


def test_describing_can_be_cancelled():
    with pytest.raises(Cancelled):
        describe("x", make_checkpoint(root="x"), Stop())
