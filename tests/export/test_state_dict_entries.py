"""What goes into a state_dict and what does not: names, metadata, extra state, refusals, the choice of a model."""

from collections import OrderedDict

import builders
import pytest
import torch

import ckpt_viewer
from ckpt_viewer.errors import NoSuchNode
from ckpt_viewer.export.plan import plan_export, write

pytestmark = pytest.mark.torch


def test_names_of_every_kind(export):
    names = ["", "a/b", "weight.µ", "\ud800x", "x" * 5000, "storage", "cpu", "0", "torch", "a\nb"]
    value = OrderedDict((name, torch.tensor([float(number)])) for number, name in enumerate(names))
    got, _ = export(value)
    assert list(got) == names
    assert [float(tensor) for tensor in got.values()] == list(range(len(names)))


def test_many_names_in_order(export):
    value = {f"layer.{number * 7919 % 5003}.weight": torch.tensor([number]) for number in range(5003)}
    got, _ = export(value)
    assert list(got) == list(value)
    assert all(got[name].item() == tensor.item() for name, tensor in value.items())


def test_metadata_is_kept(export):
    state = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2)).state_dict()
    state._metadata["1"]["note"] = [1, 2.5, None, True, ("a", -(2**70))]
    got, _ = export(state)
    assert got._metadata == state._metadata
    assert list(got._metadata) == list(state._metadata)


def test_metadata_that_cannot_be_kept_is_said(export):
    state = torch.nn.Linear(2, 2).state_dict()
    state._metadata["x"] = torch.device("cpu")
    got, written = export(state)
    assert not hasattr(got, "_metadata")
    assert "_metadata" in " ".join(written.warnings)


def test_plain_extra_state_is_kept(export):
    extra = {"scale": 1.5, "history": [1, (2, None)], "on": True, "deep": OrderedDict(a={"b": torch.ones(2)})}
    value = OrderedDict([("a.weight", torch.zeros(2)), ("a._extra_state", extra), ("b.weight", torch.ones(1))])
    got, written = export(value, "")
    assert list(got) == ["a.weight", "a._extra_state", "b.weight"]
    kept = got["a._extra_state"]
    assert torch.equal(kept["deep"]["a"].pop("b"), torch.ones(2))
    extra["deep"]["a"].pop("b")
    assert kept == extra
    assert written.dropped == ()
    assert "kept in their form, with the tensors in them: 'a._extra_state'" in written.warnings
    assert written.tensors == 3


def test_other_extra_state_is_left_out(export):
    import argparse

    value = OrderedDict([("a.weight", torch.zeros(2)), ("a._extra_state", argparse.Namespace(x=1))])
    got, written = export(value, "")
    assert list(got) == ["a.weight"]
    assert written.dropped == ("a._extra_state",)
    assert "left out, being neither tensors nor plain values: 'a._extra_state'" in written.warnings


def test_endless_and_explosive_values_are_left_out(export):
    loop = []
    loop.append(loop)
    bomb = [0]
    for _ in range(40):
        bomb = [bomb, bomb]
    value = OrderedDict([("a.weight", torch.zeros(2)), ("loop", loop), ("bomb", bomb), ("long", 1 << 5000)])
    got, written = export(value, "")
    assert list(got) == ["a.weight"]
    assert written.dropped == ("loop", "bomb", "long")


def test_keys_that_are_no_names_are_left_out(export):
    value = {"a.weight": torch.zeros(2), "b.weight": torch.zeros(1), 3: torch.ones(1), (1, None): torch.ones(2)}
    got, written = export(value, "")
    assert list(got) == ["a.weight", "b.weight"]
    assert "2 entries whose keys are no strings are left out" in written.warnings
    assert written.dropped == ("3", "(1, None)")


# --- what is refused ------------------------------------------------------------------------------------------------


def test_meta_tensors(refusal):
    value = {"a.weight": torch.zeros(2), "b.weight": torch.empty(3, device="meta")}
    assert "'b.weight' has no values in this file (a meta tensor)" in refusal(value, "")


def test_lazy_parameters(refusal):
    value = OrderedDict(torch.nn.LazyLinear(3).state_dict())
    assert "'weight' has no values yet" in refusal(value, "")


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_tensors(refusal):
    value = {"a.weight": torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]), "b.weight": torch.zeros(1)}
    assert "'a.weight' is a nested tensor" in refusal(value, "")


def test_values_that_hide_in_a_subclass(refusal, tmp_path):
    shell = builders.call(
        builders.name("torch._utils", "_rebuild_wrapper_subclass"), builders.name("my.lib", "Packed"),
        builders.name("torch", "float32"), builders.many(builders.integer(2)), builders.many(builders.integer(1)),
        builders.integer(0), b"N", builders.call(builders.name("torch", "device"), builders.text("cpu")), b"\x89",
    )  # fmt: skip
    path = tmp_path / "x.pth"
    body = builders.mapped((builders.text("a.weight"), shell))
    path.write_bytes(builders.zip_checkpoint(builders.pickled(body), {}))
    assert "'a.weight' is a my.lib.Packed" in refusal(None, "", path)


def test_a_retyped_tensor_becomes_plain(export, tmp_path):
    plain = builders.many(builders.storage("0", 4), builders.integer(0), builders.many(builders.integer(4)),
                          builders.many(builders.integer(1)), b"\x89", builders.HOOKS)  # fmt: skip
    retyped = builders.call(
        builders.name("torch._tensor", "_rebuild_from_type_v2"), builders.name("torch._utils", "_rebuild_tensor_v2"),
        builders.name("fastai.torch_core", "TensorBase"), plain, b"}",
    )  # fmt: skip
    path = tmp_path / "x.pth"
    body = builders.mapped((builders.text("a.weight"), retyped))
    path.write_bytes(builders.zip_checkpoint(builders.pickled(body), {"0": builders.floats(1, 2, 3, 4)}))
    got, written = export(None, "", path=path)
    assert got["a.weight"].tolist() == [1, 2, 3, 4]
    assert "1 tensor of class fastai.torch_core.TensorBase becomes a plain tensor" in written.warnings


# --- which model ----------------------------------------------------------------------------------------------------


def gan():
    return {"generator": torch.nn.Linear(2, 3).state_dict(), "netD": torch.nn.Linear(4, 5).state_dict(), "epoch": 1}


def test_several_models_are_listed(refusal):
    assert "there are 2 models in this file (/generator, /netD); choose one with --from" in refusal(gan())


@pytest.mark.parametrize(("pointer", "size"), [("/generator", 6), ("/netD", 20)])
def test_a_chosen_model(export, pointer, size):
    got, _ = export(gan(), pointer)
    assert got["weight"].numel() == size


def test_a_model_object(export, tmp_path):
    source = builders.save(gan(), tmp_path / "g.pth")
    with ckpt_viewer.open_checkpoint(source) as checkpoint:
        plan = plan_export(checkpoint, checkpoint.models[1])
        assert write(plan).tensors == 2
    assert torch.load(tmp_path / "g.state_dict.pth")["weight"].numel() == 20


def test_no_model(refusal):
    assert "no model was recognised" in refusal({"epoch": 3})
    assert "no tensor in what was chosen" in refusal({"epoch": 3}, "/epoch")


def test_an_unknown_pointer(tmp_path):
    source = builders.save(gan(), tmp_path / "x.pth")
    with ckpt_viewer.open_checkpoint(source) as checkpoint, pytest.raises(NoSuchNode):
        plan_export(checkpoint, "/nothing")
