"""Models inside a file, by structure."""

from __future__ import annotations

import pytest
from builders import HOOKS, call, get, integer, listed, many, mapped, name, pickled, put, tensor, text
from opening import open_bytes, within

from ckpt_viewer.core.model import is_optimizer_state, is_state_dict
from ckpt_viewer.core.module import state_dict_entries
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.value import Mapping
from ckpt_viewer.errors import CannotExport, CheckpointError

W = tensor((2, 2), key="0")
STATE_DICT = mapped((text("conv.weight"), W), (text("conv.bias"), tensor((2,), key="1")))
ORDERED = HOOKS + text("a") + W + b"s"
STATE = mapped((integer(0), mapped((text("exp_avg"), W))))
GROUPS = listed(mapped((text("lr"), b"K\1"), (text("params"), listed(b"K\0"))))
OPTIMIZER = mapped((text("state"), STATE), (text("param_groups"), GROUPS))


def module(parameters: bytes = b"}", modules: bytes = b"}", **more: bytes) -> bytes:
    fields = {"_parameters": parameters, "_buffers": b"}", "_modules": modules, **more}
    return name("my", "Net") + b")\x81" + mapped(*((text(key), value) for key, value in fields.items())) + b"b"


def models(body: bytes) -> list[tuple]:
    return [(model.path, model.kind, model.ema) for model in open_bytes(pickled(body, 4)).models]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (STATE_DICT, [((), "state_dict", False)]),
        (ORDERED, [((), "state_dict", False)]),
        (mapped((text("model"), STATE_DICT)), [(("model",), "state_dict", False)]),
        (mapped((text("net"), mapped((text("plain"), W)))), [(("net",), "state_dict", False)]),
        (mapped((text("anything"), mapped((text("plain"), W)))), []),
        (mapped((text("anything"), mapped((text("weight"), W)))), [(("anything",), "state_dict", False)]),
        (mapped((text("netG"), STATE_DICT), (text("netD"), STATE_DICT)),
         [(("netG",), "state_dict", False), (("netD",), "state_dict", False)]),
        (mapped((text("model_ema"), STATE_DICT), (text("model"), ORDERED)),
         [(("model",), "state_dict", False), (("model_ema",), "state_dict", True)]),
        (mapped((text("ema"), mapped((text("shadow"), STATE_DICT)))), [(("ema", "shadow"), "state_dict", True)]),
        (listed(STATE_DICT, ORDERED), [((0,), "state_dict", False), ((1,), "state_dict", False)]),
        (OPTIMIZER, []),
        (mapped((text("optimizer"), OPTIMIZER)), []),
        (b"}", []),
        (mapped((integer(0), W), (text("a.weight"), W)), []),
        (mapped((text("a.weight"), W), (text("b"), b"K\1"), (text("c"), b"K\1")), []),
        (module(mapped((text("w"), W))), [((), "module", False)]),
        (mapped((text("model"), module())), [(("model",), "module", False)]),
        (mapped((text("model"), module(modules=mapped((text("sub"), module()))))), [(("model",), "module", False)]),
        (call(name("torch._dynamo.eval_frame", "OptimizedModule"), module(mapped((text("w"), W))), b"N"),
         [((), "module", False)]),
        (W, []),
        (name("my", "Net") + b")\x81", []),
    ],
)  # fmt: skip
def test_models_are_found_by_structure(body, expected):
    assert models(body) == expected


def test_metadata_is_proof():
    body = HOOKS + text("x") + b"K\1s" + mapped((text("_metadata"), mapped((text(""), b"}")))) + b"b"
    assert models(mapped((text("whatever"), body))) == [(("whatever",), "state_dict", False)]
    entries = state_dict_entries(open_bytes(pickled(body)).root.value)
    assert entries.metadata is not None
    assert entries.others == {"x": 1}


def test_a_model_that_is_met_again_is_one():
    assert len(models(mapped((text("model"), STATE_DICT + put(0)), (text("also"), get(0))))) == 1


PARTS = mapped((text("embedding"), mapped((text("words"), STATE_DICT))), (text("encoder"), ORDERED))


@pytest.mark.parametrize("key", ["model", "module", "model0", "anything"])
def test_a_model_that_was_saved_part_by_part_is_one(key):
    body = mapped((text(key), mapped((text("language_model"), PARTS), (text("lm_head"), STATE_DICT))))
    assert models(body) == [((key,), "state_dict", False)]
    with open_bytes(pickled(body, 4)) as checkpoint:
        found = {name: node.path for name, node in checkpoint.state_dict().items()}
    assert found["language_model.embedding.words.conv.weight"] == (
        key, "language_model", "embedding", "words", "conv.weight",
    )  # fmt: skip
    assert "lm_head.conv.weight" in found


def test_what_is_no_model_part_by_part():
    gan = mapped((text("netG"), STATE_DICT), (text("netD"), STATE_DICT))
    assert len(models(mapped((text("model"), gan)))) == 2
    settings = mapped((text("language_model"), mapped((text("layers"), b"K\3"), (text("w"), W))))
    assert models(mapped((text("model"), settings))) == []


def test_parts_that_hold_each_other_end():
    body = (
        b"}" + put(5) + text("language_model") + b"}" + put(6) + text("again") + get(5) + b"s" + text("w") + W + b"ss"
    )
    assert models(body) == []
    shared = mapped((text("w"), W)) + put(7)
    for level in range(8, 40):
        shared = mapped((text("language_model"), shared), (text("more"), get(level - 1))) + put(level)
    with within(5):
        assert models(shared) == []


def test_a_compiled_module_keeps_its_prefix():
    body = call(name("torch._dynamo.eval_frame", "OptimizedModule"), module(mapped((text("w"), W))), b"N")
    assert list(open_bytes(pickled(body)).state_dict()) == ["_orig_mod.w"]
    nested = module(modules=mapped((text("sub"), body)))
    assert list(open_bytes(pickled(nested)).state_dict()) == ["sub._orig_mod.w"]


def test_parameters_that_are_none_and_buffers_that_do_not_persist_are_left_out():
    body = module(mapped((text("w"), W), (text("absent"), b"N")),
                  _buffers=mapped((text("kept"), tensor((1,), key="3")), (text("scratch"), tensor((1,), key="4"))),
                  _non_persistent_buffers_set=b"\x8f(" + text("scratch") + b"\x90")  # fmt: skip
    entries = state_dict_entries(open_bytes(pickled(body, 4)).root.value)
    assert [(entry.name, entry.buffer) for entry in entries.entries] == [("w", False), ("kept", True)]


def test_a_child_that_is_no_module_is_told():
    entries = state_dict_entries(open_bytes(pickled(module(modules=mapped((text("odd"), b"K\1"))))).root.value)
    assert any("odd is no module" in note for note in entries.notes)


def test_hooks_are_told():
    entries = state_dict_entries(
        open_bytes(pickled(module(_state_dict_hooks=mapped((b"K\0", name("a", "f")))))).root.value
    )
    assert any("hooks" in note for note in entries.notes)


def test_other_keys_of_a_dict_are_told():
    entries = state_dict_entries(open_bytes(pickled(mapped((b"K\0", W), (text("a.weight"), W)))).root.value)
    assert [entry.name for entry in entries.entries] == ["a.weight"]
    assert any("1 entry whose key is no string" in note for note in entries.notes)


def test_state_dict_gives_nodes_in_order():
    checkpoint = open_bytes(pickled(mapped((text("model"), STATE_DICT), (text("epoch"), b"K\1"))))
    state_dict = checkpoint.state_dict()
    assert list(state_dict) == ["conv.weight", "conv.bias"]
    assert state_dict["conv.weight"].shape == (2, 2)
    assert state_dict["conv.bias"].name == "conv.bias"


def test_a_file_without_a_model_has_no_state_dict():
    with pytest.raises(CannotExport, match="no model"):
        open_bytes(pickled(many(b"K\1"))).state_dict()
    with pytest.raises(CheckpointError):
        open_bytes(pickled(OPTIMIZER)).state_dict()


@pytest.mark.parametrize(
    ("body", "expected"),
    [(OPTIMIZER, True), (b"}", False), (mapped((text("state"), b"}"), (text("param_groups"), b"]")), True),
     (mapped((text("state"), b"}"), (text("param_groups"), listed(b"}"))), False),
     (mapped((text("state"), b"}")), False), (b"]", False),
     (mapped((text("state"), b"]"), (text("param_groups"), b"]")), False)],
)  # fmt: skip
def test_optimizer_states(body, expected):
    assert is_optimizer_state(open_bytes(pickled(body)).root.value) is expected


def distributed(kind: str = "torch.distributed.tensor.DTensor") -> TensorSpec:
    return TensorSpec(None, "float32", (4, 2), (2, 1), type=kind)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ({"first": distributed(), "second": distributed(), "step": 12}, True),
        ({"only": distributed("torch.distributed._shard.sharded_tensor.api.ShardedTensor")}, True),
        ({"first": distributed(), "lr": 0.1, "eps": 1e-8}, False),
        ({"first": distributed(), "more": Mapping()}, False),
        ({"exp_avg": distributed(), "exp_avg_sq": distributed(), "step": distributed()}, False),
        ({"first": distributed("torch.Tensor"), "second": distributed("torch.Tensor")}, False),
    ],
)  # fmt: skip
def test_what_ranks_hold_together_are_parameters(pairs, expected):
    value = Mapping()
    value.pairs += [each for pair in pairs.items() for each in pair]
    assert is_state_dict(value, "anything") is expected
