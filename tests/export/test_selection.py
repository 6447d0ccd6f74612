"""What a choice comes to: places, patterns, buffers, names, dtypes, ties. Files by torch, judged without writing."""

import argparse
from collections import OrderedDict

import builders
import pytest
import torch

import ckpt_viewer
from ckpt_viewer.errors import CannotExport, NoSuchNode
from ckpt_viewer.export.choice import AUTO, Choice
from ckpt_viewer.export.selection import select

pytestmark = pytest.mark.torch


@pytest.fixture
def chosen(tmp_path):
    """Save an object and return what a choice of it comes to."""

    def chosen(value, *sources, **more):
        path = builders.save(value, tmp_path / "x.pth")
        with ckpt_viewer.open_checkpoint(path) as checkpoint:
            return select(checkpoint, Choice(sources, **more))

    return chosen


def new_names(selection):
    return [line.new for line in selection.lines]


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 2, 1)
        self.bn = torch.nn.BatchNorm2d(2)
        self.table = torch.nn.Buffer(torch.arange(3.0))


@pytest.fixture
def nets():
    return {"generator": Net().state_dict(), "netD": torch.nn.Linear(2, 2).state_dict(), "epoch": 3}


# --- places -----------------------------------------------------------------------------------------------------------


def test_several_models_keep_their_names_apart(chosen, nets):
    selection = chosen(nets, "/netD", "/generator")
    assert new_names(selection) == [*(f"generator.{name}" for name in nets["generator"]), "netD.weight", "netD.bias"]
    modules = [str(key) for key in selection.metadata.pairs[::2]]
    assert modules == ["generator", "generator.conv", "generator.bn", "netD"]


def test_models_beside_tensors_are_no_single_entries(chosen):
    """They have `_metadata`, so they cannot be kept in their form."""
    state = torch.nn.Linear(2, 2).state_dict()
    inner = {"net": torch.nn.BatchNorm1d(2).state_dict(), "epoch": 3}
    value = {"scale": torch.ones(1), "model": state, "inner": inner, "note": {"a": 1}, "epoch": 3}
    value["model"]["again"] = value["model"]
    selection = chosen(value, "")
    names = [*(f"model.{name}" for name in ("weight", "bias")), *(f"inner.net.{name}" for name in inner["net"])]
    assert new_names(selection) == ["scale", *names, "note", "epoch"]
    assert [str(key) for key in selection.metadata.pairs[::2]] == ["model", "inner.net"]
    assert [each.name for each in selection.dropped] == ["model.again", "inner.epoch"]


def test_what_is_said_of_a_dict_is_not_said_of_one_entry(chosen):
    value = {"scale": torch.ones(1), 7: torch.ones(1)}
    assert chosen(value, "/scale").warnings == ()
    assert [each.name for each in chosen(value, "").dropped] == ["7"]


def test_tensors_of_one_state_dict_keep_its_names(chosen, nets):
    selection = chosen(nets, "/generator/bn.weight", "/generator/conv.bias")
    assert new_names(selection) == ["conv.bias", "bn.weight"]
    assert [str(key) for key in selection.metadata.pairs[::2]] == ["", "conv", "bn"]


def test_modules_of_a_state_dict_are_named_as_the_tree_names_them(chosen, nets):
    assert new_names(chosen(nets, "/generator/bn.", "/generator/conv.bias", "/generator/bn.bias")) == [
        "conv.bias", *(f"bn.{name}" for name in torch.nn.BatchNorm2d(2).state_dict()),
    ]  # fmt: skip
    assert new_names(chosen(nets, "/generator/conv.")) == ["conv.weight", "conv.bias"]
    assert new_names(chosen(nets, "/generator/conv.", "/netD/bias")) == [
        "generator.conv.weight", "generator.conv.bias", "netD.bias",
    ]  # fmt: skip
    assert len(new_names(chosen(nets, "/generator/conv.", "/generator"))) == 8
    for pointer in ("/generator/con.", "/generator/conv./x", "/epoch."):
        with pytest.raises(NoSuchNode):
            chosen(nets, pointer)


def test_a_model_that_was_saved_part_by_part_has_the_names_of_its_state_dict(chosen, nets):
    parts = {"language_model": {"embedding": {"words": {"weight": torch.ones(3)}}, "encoder": nets["generator"]}}
    names = ["language_model.embedding.words.weight", *(f"language_model.encoder.{name}" for name in nets["generator"])]
    assert new_names(chosen({"model": parts, "iteration": 3})) == names
    assert new_names(chosen({"model": parts, "more": nets}, "/model", "/more/netD")) == [
        *(f"model.{name}" for name in names), "more.netD.weight", "more.netD.bias",
    ]  # fmt: skip


def test_a_single_tensor_is_called_as_it_is_there(chosen, nets):
    assert new_names(chosen(nets, "/generator/bn.weight")) == ["bn.weight"]


def test_a_tensor_that_is_the_whole_file(chosen):
    assert new_names(chosen(torch.ones(2), "")) == ["tensor"]


def test_what_lies_in_another_choice_goes_once(chosen, nets):
    assert new_names(chosen(nets, "/netD/bias", "/netD", "/netD")) == ["weight", "bias"]


def test_parts_of_a_whole_module_are_called_as_its_state_dict_calls_them(chosen):
    net = torch.nn.Sequential(OrderedDict(one=Net(), two=torch.nn.Linear(2, 2)))
    inner = "/_modules/one/_modules/bn"
    selection = chosen(net, inner, "/_modules/two/_parameters/bias", "/_modules/one/_buffers/table", buffers=False)
    assert new_names(selection) == ["one.bn.weight", "one.bn.bias", "two.bias"]
    assert [each.name for each in selection.dropped] == [
        "one.table", "one.bn.running_mean", "one.bn.running_var", "one.bn.num_batches_tracked",
    ]  # fmt: skip
    assert new_names(chosen(net, inner)) == list(torch.nn.BatchNorm2d(2).state_dict())


def test_any_container_gives_the_tensors_below_it(chosen, nets):
    value = {"nets": [nets, {"deep": (torch.ones(1), "text")}], "loose": {"a": {"b": torch.ones(2)}}}
    selection = chosen(value, "")
    assert new_names(selection) == [
        *(f"nets.0.generator.{name}" for name in nets["generator"]), "nets.0.netD.weight", "nets.0.netD.bias",
        "nets.1.deep.0", "loose.a.b",
    ]  # fmt: skip
    assert [each.name for each in selection.dropped] == ["nets.0.epoch", "nets.1.deep.1"]
    assert "left out, being no tensors: 'nets.0.epoch', 'nets.1.deep.1'" in selection.warnings
    assert "nets.0.generator.bn" in selection.metadata.pairs


def test_a_list_of_tensors(chosen):
    assert new_names(chosen({"best": [torch.ones(1), torch.zeros(2)]}, "/best")) == ["0", "1"]


def test_an_optimizer_keeps_its_form_in_a_pth_and_is_flat_where_names_are_asked_for(chosen):
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([weight])
    weight.sum().backward()
    optimizer.step()
    value = {"optimizer": optimizer.state_dict(), "model": {"weight": weight.detach()}}
    assert new_names(chosen(value, "/optimizer")) == ["state", "param_groups"]
    flat = ["state.0.step", "state.0.exp_avg", "state.0.exp_avg_sq"]
    for more in ({"dtype": "float16"}, {"format": "npz"}, {"include": ("state",)}, {"rename": (("x", "y"),)}):
        assert new_names(chosen(value, "/optimizer", **more)) == flat


def test_a_container_that_contains_itself_ends(chosen):
    loop = [torch.ones(1)]
    loop.append(loop)
    selection = chosen({"x": loop}, "/x")
    assert new_names(selection) == ["0"]
    assert [each.name for each in selection.dropped] == ["1"]


def test_places_that_are_none(chosen, nets):
    with pytest.raises(NoSuchNode, match="there is no 'netE'"):
        chosen(nets, "/netD", "/netE")
    with pytest.raises(NoSuchNode, match="is no pointer"):
        chosen(nets, "netD")
    with pytest.raises(CannotExport, match="there is no tensor in what was chosen"):
        chosen(nets, "/epoch")


def test_many_single_tensors_are_found_in_linear_time(chosen):
    count = 20_000
    value = {f"layer.{number}.weight": torch.zeros(()) for number in range(count)}
    selection = chosen({"model": value}, *(f"/model/layer.{number}.weight" for number in range(0, count, 2)))
    assert len(selection.lines) == count // 2  # the test's time limit is what it would break


# --- what goes and what does not --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("include", "exclude", "wanted"),
    [
        (["bn"], [], ["bn.weight", "bn.bias", "bn.running_mean", "bn.running_var", "bn.num_batches_tracked"]),
        (["*.bias"], [], ["conv.bias", "bn.bias"]),
        (["*.bias", "table"], ["bn.*"], ["conv.bias", "table"]),
        ([], ["bn", "t?ble", "conv.[bx]ias"], ["conv.weight"]),
        (["b"], [], None),
        (["*"], ["*"], None),
    ],
)
def test_patterns(chosen, include, exclude, wanted):
    state = Net().state_dict()
    if wanted is None:
        with pytest.raises(CannotExport, match="nothing is left of the 8 tensors that were chosen"):
            chosen(state, include=tuple(include), exclude=tuple(exclude))
        return
    selection = chosen(state, include=tuple(include), exclude=tuple(exclude))
    assert sorted(new_names(selection)) == sorted(wanted)
    assert {each.name for each in selection.dropped} == set(state) - set(wanted)
    assert selection.warnings == ()


def test_patterns_that_match_nothing_are_told(chosen):
    selection = chosen(Net().state_dict(), include=("bn", "nb"), exclude=("x*",))
    assert selection.warnings == ("the pattern 'nb' matches no name", "the pattern 'x*' matches no name")


def test_where_nothing_is_left_the_pattern_at_fault_is_named(chosen):
    with pytest.raises(CannotExport, match=r"of the 2 tensors .* \(the pattern 'laeyr' matches no name\); leave out"):
        chosen(torch.nn.Linear(2, 2).state_dict(), "", include=("laeyr",))


def test_a_pattern_is_also_what_it_says_to_the_letter(chosen):
    state = {f"block[{number}].weight": torch.ones(2) for number in range(3)} | {"block0.weight": torch.ones(2)}
    assert new_names(chosen(state, "", exclude=("block[0]",))) == ["block[1].weight", "block[2].weight"]
    assert new_names(chosen(state, "", include=("block[[]1].weight",))) == ["block[1].weight"]


def test_buffers_that_the_module_knows(chosen):
    net = Net()
    selection = chosen(net, buffers=False)
    assert new_names(selection) == [name for name, _ in net.named_parameters()]
    assert {each.reason for each in selection.dropped} == {"a buffer, as its module says"}
    assert selection.warnings[0].startswith("buffers left out, as the modules say: 'table', 'bn.running_mean'")


def test_buffers_that_only_their_names_tell(chosen):
    selection = chosen(Net().state_dict(), buffers=False)
    assert new_names(selection) == ["table", "conv.weight", "conv.bias", "bn.weight", "bn.bias"]
    assert selection.warnings == (
        "buffers left out, by their names, since the file does not say: 'bn.running_mean', 'bn.running_var', "
        "'bn.num_batches_tracked'",
    )


def test_buffers_are_kept_unless_they_are_to_go(chosen):
    assert new_names(chosen(Net())) == list(Net().state_dict())


# --- names ------------------------------------------------------------------------------------------------------------


def test_prefixes_of_wrappers_are_taken_off_when_asked(chosen):
    wrapped = OrderedDict((f"module._orig_mod.{name}", tensor) for name, tensor in Net().state_dict().items())
    assert new_names(chosen(wrapped)) == list(wrapped)
    selection = chosen(wrapped, strip_prefix=AUTO)
    assert new_names(selection) == list(Net().state_dict())
    assert selection.renamed["module._orig_mod.table"] == "table"


def test_an_averaged_model_without_its_counter_loads_into_the_model(chosen):
    averaged = torch.optim.swa_utils.AveragedModel(Net())
    selection = chosen(averaged.state_dict(), strip_prefix=AUTO)
    assert new_names(selection) == list(Net().state_dict())
    assert [each.name for each in selection.dropped] == ["n_averaged"]
    assert selection.warnings == (
        "left out with the wrapper: 'n_averaged', which counts the updates of an averaged model",
    )
    assert "n_averaged" in new_names(chosen(averaged.state_dict()))


def test_lightning(chosen):
    state = OrderedDict((f"model.{name}", tensor) for name, tensor in Net().state_dict().items())
    assert new_names(chosen({"state_dict": state}, strip_prefix=AUTO)) == list(state)
    value = {"state_dict": state, "pytorch-lightning_version": "2.1.0", "epoch": 1}
    assert new_names(chosen(value, strip_prefix=AUTO)) == list(Net().state_dict())


def test_a_prefix_that_is_not_there_is_told(chosen):
    state = Net().state_dict()
    assert chosen(state, strip_prefix="net").warnings == ("no name begins with 'net.'",)
    assert chosen(state, strip_prefix="bn").warnings == ("3 of 8 names do not begin with 'bn.'",)


def test_rules_that_match_nothing_are_told(chosen):
    selection = chosen(Net().state_dict(), rename=(("bn", "norm"), ("cnov", "x")))
    assert selection.renamed["bn.weight"] == "norm.weight"
    assert selection.warnings == ("the rename rule cnov=x matches no name",)
    assert [str(key) for key in selection.metadata.pairs[::2]] == ["", "conv", "norm"]


def test_collisions_name_both(chosen):
    selection = chosen(Net().state_dict(), rename=(("conv", "bn"),))
    assert selection.collisions == {
        "bn.weight": ("conv.weight", "bn.weight"), "bn.bias": ("conv.bias", "bn.bias"),
    }  # fmt: skip
    with pytest.raises(CannotExport) as error:
        selection.cargo()
    assert str(error.value) == (
        "'conv.weight', 'bn.weight' would all be called 'bn.weight' (1 more name is wanted twice); change the rules"
    )


# --- dtypes, ties, bytes ----------------------------------------------------------------------------------------------


def test_floats_are_cast_and_nothing_else(chosen):
    names = ["float64", "float32", "float16", "bfloat16", "int64", "bool", "complex64", "float8_e5m2"]
    value = {f"w.{name}": torch.zeros(4, dtype=getattr(torch, name)) for name in names}
    selection = chosen(value, "", dtype="bfloat16")
    assert selection.cast == {f"w.{name}": "bfloat16" for name in ("float64", "float32", "float16", "float8_e5m2")}
    assert [line.new_nbytes for line in selection.lines] == [8, 8, 8, 8, 32, 4, 32, 8]
    assert selection.warnings == (
        "1 tensor keeps its dtype: complex numbers are not cast",
        "1 of the tensors that are cast are 8-bit floats; a scale that lies elsewhere is not applied",
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_quantised_and_sparse_tensors_are_left_alone(chosen):
    value = {
        "q.weight": torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8),
        "s.weight": torch.eye(3).to_sparse(), "w.weight": torch.ones(1),
    }  # fmt: skip
    selection = chosen(value, "", dtype="float16")
    assert selection.cast == {"w.weight": "float16"}
    assert selection.warnings == ("1 tensor keeps its dtype: sparse_coo tensors are not cast",)


@pytest.mark.parametrize("dtype", ["int8", "float8_e5m2", "half"])
def test_dtypes_that_nothing_is_cast_to(chosen, dtype):
    with pytest.raises(CannotExport, match=f"not cast to '{dtype}'; choose float32, float16 or bfloat16"):
        chosen(Net().state_dict(), dtype=dtype)


def test_tied_tensors_are_named_by_their_new_names(chosen):
    net = torch.nn.Sequential(torch.nn.Embedding(3, 2), torch.nn.Linear(2, 3, bias=False))
    net[1].weight = net[0].weight
    selection = chosen(net.state_dict(), rename=(("1", "head"),))
    assert selection.tied == (("0.weight", "head.weight"),)


def test_what_is_no_value_is_dropped_with_its_reason(chosen):
    value = OrderedDict([("a.weight", torch.zeros(2)), ("a.x", argparse.Namespace()), ("a.y", 1)])
    selection = chosen(value, "")
    assert new_names(selection) == ["a.weight", "a.y"]
    assert [tuple(each) for each in selection.dropped] == [("a.x", "neither a tensor nor a plain value")]
    assert selection.tensors == 1
