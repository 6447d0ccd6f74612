from __future__ import annotations

from collections import Counter as Tally

import pytest
from hand_made import mapping
from hypothesis import given, settings
from hypothesis import strategies as st
from tree_samples import (
    Counter,
    checkpoint_of,
    large_checkpoint,
    mapping_of,
    names_below,
    state_dict,
    tensor,
    training_checkpoint,
)

from ckpt_viewer.core.tensor import StorageSpec, TensorExtra, TensorSpec
from ckpt_viewer.core.value import Global, Instance
from ckpt_viewer.errors import Cancelled
from ckpt_viewer.gui.tree import ModuleGroup, build_index
from ckpt_viewer.gui.tree.folding import SHORTEST_BY_NUMBER


def index_of(root, **options):
    return build_index(checkpoint_of(root), **options)


def check_shape(index):
    """Parents come before their children, subtrees are intervals, every outline row has a row of its own."""
    assert index.parents[0] == -1
    assert index.ends[0] == len(index)
    for row in range(1, len(index)):
        parent = index.parents[row]
        assert parent < row < index.ends[row] <= index.ends[parent]
    below = Tally(index.parents)
    assert all(index.count(row) == below[row] for row in range(len(index)))
    assert len(set(index.rows)) == len(index.outline)
    assert all(index.sources[index.rows[row]] == row for row in range(len(index.outline)))
    assert all(index.value(index.rows[row]) is value for row, value in enumerate(index.outline.values))


def test_a_training_checkpoint_is_nested_as_saved():
    index = build_index(training_checkpoint())
    check_shape(index)
    assert names_below(index) == ["model", "optimizer", "lr_scheduler", "epoch", "model_ema"]
    assert names_below(index, index.find("/model")) == ["conv1", "bn1", "layer1", "fc"]
    assert names_below(index, index.find("/model/layer1.0.")) == ["conv1", "bn1"]
    assert names_below(index, index.find("/model/fc.")) == ["weight", "bias"]


def test_flat_keys_are_those_of_the_file():
    index = build_index(training_checkpoint(), grouped=False)
    check_shape(index)
    assert len(index) == len(index.outline)
    assert names_below(index, index.find("/model"))[3] == "layer1.0.conv1.weight"
    assert not index.grouped


def test_entries_of_one_module_meet_even_if_others_stand_between():
    index = index_of(state_dict("a.x.weight", "b.weight", "a.y.weight", "a.x.bias"))
    check_shape(index)
    assert names_below(index) == ["a", "b"]
    assert names_below(index, index.find("/a.")) == ["x", "y"]
    assert names_below(index, index.find("/a.x.")) == ["weight", "bias"]


def test_modules_that_hold_nothing_but_one_another_share_a_row():
    index = index_of(state_dict("module.net.0.conv1.weight", "module.net.0.conv1.bias", "head.weight"))
    check_shape(index)
    assert names_below(index) == ["module.net.0.conv1", "head"]
    assert index.prefix(index.find("/module.net.0.conv1.")) == "module.net.0.conv1"


def test_a_key_can_be_an_entry_and_a_module():
    index = index_of(state_dict("a", "a.b", "a.b.c"))
    check_shape(index)
    assert names_below(index) == ["a", "a"]
    entry, module = index.children(0)
    assert (index.is_entry(entry), index.is_group(module)) == (True, True)
    assert names_below(index, module) == ["b", "b"]


def test_a_key_with_absurdly_many_parts_stays_whole():
    deep, long = ".".join("x" * 200), "y" * 5000 + ".weight"
    index = index_of(state_dict(deep, long, "a.weight"))
    check_shape(index)
    assert names_below(index) == [deep, long, "a"]


def test_attributes_of_a_state_dict_come_after_its_modules():
    weights = state_dict("a.weight", "b.weight")
    weights.state = mapping(_metadata=mapping_of({"": mapping(version=1), "a": mapping(version=1)}))
    index = index_of(mapping(model=weights))
    check_shape(index)
    assert names_below(index, index.find("/model")) == ["a", "b", "_metadata"]


def test_what_is_no_state_dict_is_not_grouped():
    index = index_of(mapping(args=mapping_of({"a.b": 1, "a.c": 2}), model=state_dict("a.b")))
    assert names_below(index, index.find("/args")) == ["a.b", "a.c"]
    assert names_below(index, index.find("/model")) == ["a"]


parts = st.sampled_from(["a", "b", "0", "1", "2", "weight", ""])
keys = st.lists(st.lists(parts, min_size=1, max_size=5).map(".".join), min_size=1, max_size=40, unique=True)


@settings(deadline=None)
@given(keys)
def test_every_key_is_in_the_module_that_its_dots_say(keys):
    index = index_of(state_dict(*keys))
    check_shape(index)
    found = []
    for row in range(1, len(index)):
        if index.is_entry(row):
            prefix = index.prefix(index.parents[row])
            in_module = not index.is_entry(index.parents[row])
            found.append(f"{prefix}.{index.names[row]}" if in_module else index.names[row])
    assert sorted(found) == sorted(keys)


@settings(deadline=None)
@given(keys, st.booleans())
def test_a_row_is_found_by_the_pointer_that_it_says(keys, grouped):
    index = index_of(mapping(model=state_dict(*keys), other=3), grouped=grouped)
    for row in range(len(index)):
        found = index.find(index.pointer(row))
        expected = row
        while index.is_run(expected):
            expected = index.parents[expected]
        twice = index.is_group(expected) and index.pointer(expected) in ("/model/" + key for key in keys)
        assert found == expected or twice, index.pointer(row)


def test_keys_of_every_kind_are_found():
    odd = {"0": 1, 0: 2, True: 3, None: 4, (1, 2): 5, "a/b~c": 6, "": 7, 10**5000: 8, -(10**30): 9}
    index = index_of(mapping_of(odd))
    assert [index.find(index.pointer(row)) for row in range(len(index))] == list(range(len(index)))
    assert index.value(index.find("/0")) == 1
    assert index.find_path((0,)) == 2
    assert index.find_path(("0",)) == 1
    for nowhere in ("/1", "x", "/~299999999999999999999", "/0/0", "/a.", "//", "/--5", "/-", "/²"):
        assert index.find(nowhere) is None


def test_a_name_with_control_characters_is_found_by_what_is_copied_of_it():
    index = index_of(mapping_of({"a\nb": 1, "c\td": 2, "c\\td": 3}))
    assert [index.value(index.find(text)) for text in ("/a\\nb", "/a\nb", "/c\td", "/c\\td")] == [1, 1, 2, 3]
    assert index.find("/a\\tb") is None


def test_a_second_way_to_a_container_is_a_link_that_paths_go_through():
    index = build_index(training_checkpoint())
    link = index.find("/model_ema")
    assert index.same_as(link) == index.find("/model")
    assert index.count(link) == 0
    assert index.find("/model_ema/fc.bias") == index.find("/model/fc.bias")
    assert index.same_as(index.find("/model")) is None


def test_subjects_are_nodes_and_modules():
    checkpoint = training_checkpoint()
    index = build_index(checkpoint)
    node = index.subject(index.find("/optimizer/state/3/momentum_buffer"), checkpoint)
    assert (node.pointer, node.index, node.parent.step) == ("/optimizer/state/3/momentum_buffer", 0, 3)
    assert index.subject(index.find("/lr_scheduler"), checkpoint).index == 2
    group = index.subject(index.find("/model/layer1.0."), checkpoint)
    assert isinstance(group, ModuleGroup)
    assert (group.node.pointer, group.prefix, group.tensors, group.elements, group.nbytes) == (
        "/model", "layer1.0", 2, 12, 48,
    )  # fmt: skip
    assert index.find(group.pointer) == index.find("/model/layer1.0.")


def test_the_position_of_a_node_is_right_where_siblings_have_children():
    checkpoint = checkpoint_of([[1, 2], 3, [4], 5])
    index = build_index(checkpoint)
    assert [index.subject(row, checkpoint).index for row in index.children(0)] == [0, 1, 2, 3]


# what is added up


def test_shared_tensors_count_once_wherever_they_are_seen_together():
    shared = tensor(10)
    root = mapping(a=mapping(x=shared, y=tensor(5)), b=mapping(x=shared, again=shared))
    index = index_of(root)
    elements = {pointer: index.totals.elements(index.find(pointer)) for pointer in ("", "/a", "/b")}
    assert elements == {"": 15, "/a": 15, "/b": 10}
    assert index.totals.tensors(0) == 4
    assert index.totals.nbytes(0) == 60


def test_views_of_one_storage_are_distinct_by_place_and_shape():
    storage = StorageSpec("0", "cpu", "float32", 20, None)
    views = [tensor(10, storage=storage), tensor(10, storage=storage, offset=10), tensor(2, 5, storage=storage)]
    index = index_of(mapping_of(dict(enumerate([*views, tensor(10, storage=storage)]))))
    assert index.totals.elements(0) == 30


def test_a_shape_that_64_bits_do_not_hold_is_added_up_exactly():
    index = index_of(mapping(a=tensor(10**30), b=tensor(7)))
    assert index.totals.elements(0) == 10**30 + 7


@settings(deadline=None)
@given(st.recursive(st.integers(0, 3), lambda inner: st.lists(inner, max_size=5), max_leaves=30))
def test_totals_are_those_of_the_distinct_tensors(tree):
    tensors = [tensor(10**n, tag=f"cuda:{n}") for n in range(4)]

    def build(part):
        return tensors[part] if isinstance(part, int) else [build(each) for each in part]

    index = index_of(build(tree))
    for row in range(len(index)):
        below = [index.value(each) for each in range(row, index.ends[row])]
        found = [value for value in below if isinstance(value, TensorSpec)]
        assert index.totals.tensors(row) == len(found)
        assert index.totals.elements(row) == sum(value.numel for value in set(found))
        assert index.totals.nbytes(row) == sum(value.nbytes for value in set(found))
        assert {sample.location for sample in index.totals.saved(row)} == {value.location for value in found}


def test_tensors_without_a_storage_and_with_attributes_are_added_up():
    meta = TensorSpec(None, "float32", (5,), (1,), extra=TensorExtra(device="meta"))
    extra = TensorExtra(state=mapping(inside=tensor(3)))
    dressed = TensorSpec(StorageSpec("0", "cpu", "float32", 2, None), "float32", (2,), (1,), extra=extra)
    index = index_of(mapping(meta=meta, meta_again=meta, dressed=dressed))
    check_shape(index)
    assert index.totals.elements(0) == 10
    assert [sample.location for sample in index.totals.saved(0)] == ["meta", "cpu", "cuda:1"]


# runs of equal blocks


def blocks(count, *, odd=None, name="h.{}.{}", parts=("attn.weight", "mlp.weight")):
    weights = state_dict("embedding.weight")
    for number in range(count):
        for part in parts:
            shape = (9, 9) if number == odd else (4, 4)
            weights.pairs += [name.format(number, part), tensor(*shape)]
    return weights


def test_equal_blocks_fold_into_one_row():
    index = index_of(blocks(80))
    check_shape(index)
    (run,) = index.children(index.find("/h."))
    assert index.is_run(run)
    assert (index.names[run], index.count(run), index.totals.elements(run)) == ("0…79", 80, 80 * 32)
    assert names_below(index, run)[:3] == ["0", "1", "2"]
    assert index.find("/h.17.attn.weight") is not None
    assert index.prefix(index.find("/h.17.")) == "h.17"


def test_a_block_that_differs_parts_the_run():
    index = index_of(blocks(10, odd=4))
    assert names_below(index, index.find("/h.")) == ["0…3", "4", "5…9"]


@pytest.mark.parametrize(("count", "folded"), [(2, False), (3, True)])
def test_three_equal_blocks_are_a_run(count, folded):
    index = index_of(blocks(count))
    assert any(index.is_run(row) for row in range(len(index))) is folded


def test_blocks_that_share_a_row_with_their_only_module_fold():
    index = index_of(blocks(4, parts=("conv.weight",)))
    assert names_below(index, index.find("/h.")) == ["0…3.conv"]


@pytest.mark.parametrize("name", ["h.x{}y.{}", "q_proj.{}{}"])
def test_only_blocks_that_are_numbered_fold(name):
    index = index_of(blocks(5, name=name))
    assert not any(index.is_run(row) for row in range(len(index)))


def test_a_run_is_named_by_its_first_and_last_block():
    index = index_of(blocks(3, name="block_{:02d}.{}"))
    assert names_below(index) == ["embedding", "block_00…02"]


def test_runs_fold_inside_of_runs():
    names = [f"stage.{a}.layer.{b}.{part}.weight" for a in range(4) for b in range(6) for part in ("x", "y")]
    index = index_of(state_dict("stem.weight", *names))
    check_shape(index)
    (outer,) = index.children(index.find("/stage."))
    assert index.names[outer] == "0…3.layer"
    inner = index.find("/stage.2.layer.")
    assert names_below(index, inner) == ["0…5"]
    assert index.find("/stage.2.layer.5.y.weight") is not None


def test_pickled_modules_fold_and_lists_too():
    def layer():
        made = Instance(Global("torch.nn.modules.linear", "Linear"), ())
        made.state = mapping(_parameters=mapping(weight=tensor(3, 3)))
        return made

    index = index_of(mapping(modules=mapping_of({str(n): layer() for n in range(3)}), many=[layer() for _ in range(4)]))
    check_shape(index)
    assert names_below(index, index.find("/modules")) == ["0…2"]
    assert names_below(index, index.find("/many")) == ["[0…3]"]


@pytest.mark.parametrize(("count", "folded"), [(SHORTEST_BY_NUMBER - 1, False), (SHORTEST_BY_NUMBER, True)])
def test_neighbours_in_an_optimizers_state_fold_only_if_they_are_many(count, folded):
    index = index_of(mapping(state=mapping_of({n: mapping(exp_avg=tensor(4)) for n in range(count)})))
    check_shape(index)
    assert any(index.is_run(row) for row in range(len(index))) is folded


def test_blocks_without_tensors_do_not_fold():
    index = index_of([mapping(lr=0.1), mapping(lr=0.2), mapping(lr=0.3)])
    assert len(index) == 7


# the contract with whoever waits


def test_building_steps_often():
    counter = Counter()
    index = build_index(large_checkpoint(20_000), counter)
    assert counter.steps > 4 * len(index) / 64


def test_building_can_be_cancelled_at_any_step():
    counter = Counter()
    build_index(large_checkpoint(400), counter)
    for raise_at in range(1, counter.steps + 1):
        checkpoint = large_checkpoint(400)
        with pytest.raises(Cancelled):
            build_index(checkpoint, Counter(raise_at, Cancelled))


def test_marks_and_notes_are_kept_by_row():
    checkpoint = training_checkpoint()
    model, optimizer = (checkpoint.outline.find((name,)) for name in ("model", "optimizer"))
    index = build_index(checkpoint, marks={model: "model", optimizer: "optimizer"}, notes={optimizer: "SGD"})
    assert index.marks == {index.find("/model"): "model", index.find("/optimizer"): "optimizer"}
    assert index.notes == {index.find("/optimizer"): "SGD"}


def test_a_file_with_a_single_value_is_one_row():
    for root in (tensor(3), 5, mapping()):
        index = index_of(root)
        check_shape(index)
        assert (len(index), index.find("")) == (1, 0)
