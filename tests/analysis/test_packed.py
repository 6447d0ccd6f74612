"""Packed weights: what they stand for, by the names, shapes and records beside them."""

from __future__ import annotations

import json
import struct

import pytest
import torch
from builders import entry, safetensors_file, save
from opening import look_at_all, open_bytes

from ckpt_viewer.analysis.listing import listing_json
from ckpt_viewer.analysis.overview import overview
from ckpt_viewer.analysis.packed import find_packed
from ckpt_viewer.analysis.tree_text import tree_lines
from ckpt_viewer.core.tensor import TensorExtra, TensorSpec
from ckpt_viewer.formats import open_checkpoint
from ckpt_viewer.gui.panels.facts import node_facts

SIZES = {"I32": 4, "F16": 2, "BF16": 2, "U8": 1, "I8": 1, "F32": 4, "I64": 8, "F8_E4M3": 1}


def model(**tensors):
    """A safetensors file: name -> (dtype, shape) or (dtype, shape, bytes); ``__`` in a name is a dot."""
    header, data = {}, b""
    for name, (dtype, shape, *given) in tensors.items():
        count = SIZES[dtype]
        for size in shape:
            count *= size
        raw = given[0] if given else bytes(count)
        assert len(raw) == count
        header[name.replace("__", ".")] = entry(dtype, shape, len(data), len(data) + count)
        data += raw
    return open_bytes(safetensors_file(header, data))


def packed(checkpoint, name):
    view = overview(checkpoint)
    return view.packed.of(checkpoint[f"/{name}"].tensor), view.parameters


@pytest.mark.parametrize(("bits", "rows"), [(2, 8), (3, 12), (4, 16), (8, 32)])
@pytest.mark.parametrize("order", [True, False], ids=["g_idx", "without"])
def test_gptq_packs_along_the_inputs(bits, rows, order):
    tensors = {"l__qweight": ("I32", [rows, 64]), "l__qzeros": ("I32", [4, 64 * bits // 32]),
               "l__scales": ("F16", [4, 64]), "l__bias": ("F16", [64])}  # fmt: skip
    if order:
        tensors["l__g_idx"] = ("I32", [128])
    found, parameters = packed(model(**tensors), "l.qweight")
    assert found.scheme == "GPTQ, groups of 32"
    assert (found.bits, found.shape, found.dtype) == (bits, (64, 128), "float16")
    assert parameters == 64 * 128 + 64


@pytest.mark.parametrize("bits", [4, 8])
def test_awq_packs_along_the_outputs(bits):
    found, parameters = packed(
        model(l__qweight=("I32", [128, 64 * bits // 32]), l__qzeros=("I32", [4, 64 * bits // 32]),
              l__scales=("F16", [4, 64])),
        "l.qweight",
    )  # fmt: skip
    assert (found.scheme, found.bits, found.shape) == ("AWQ, groups of 32", bits, (64, 128))
    assert parameters == 64 * 128


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
def test_bitsandbytes_says_its_shape_in_json(kind):
    record = json.dumps({"quant_type": kind, "blocksize": 64, "dtype": "bfloat16", "shape": [48, 32]}).encode()
    header = {"l.weight": entry("U8", [48 * 16, 1], 0, 768), "l.weight.absmax": entry("F32", [24], 768, 864)}
    name = f"l.weight.quant_state.bitsandbytes__{kind}"
    header[name] = entry("U8", [len(record)], 864, 864 + len(record))
    checkpoint = open_bytes(safetensors_file(header, bytes(864) + record))
    found, parameters = packed(checkpoint, "l.weight")
    assert (found.scheme, found.bits, found.shape, found.dtype) == (f"bitsandbytes {kind}", 4, (48, 32), "bfloat16")
    assert set(found.helpers) == {"l.weight.absmax", name}
    assert parameters == 48 * 32


@pytest.mark.parametrize("record", [b"", b"{", b"[]", b'{"shape": "x"}', b'{"shape": [-1, 3]}', b'{"shape": [1e9]}',
                                    b'{"shape": [4096, 4096]}', b"[" * 5000, b'{"shape": [true]}'])  # fmt: skip
def test_a_record_that_lies_gives_no_shape(record):
    end = 8 + len(record)
    header = {"w": entry("U8", [8], 0, 8), "w.quant_state.bitsandbytes__nf4": entry("U8", [len(record)], 8, end)}
    checkpoint = open_bytes(safetensors_file(header, bytes(8) + record))
    found, parameters = packed(checkpoint, "w")
    assert (found.bits, found.shape, parameters) == (4, None, 8)


def test_a_record_that_is_too_large_is_not_read():
    size = 1 << 17
    header = {"w": entry("U8", [8], 0, 8), "w.quant_state.bitsandbytes__nf4": entry("U8", [size], 8, 8 + size)}
    found, _ = packed(open_bytes(safetensors_file(header, bytes(8 + size))), "w")
    assert found.shape is None


def test_int8_of_bitsandbytes_keeps_the_shape():
    found, parameters = packed(
        model(l__weight=("I8", [4, 6]), l__SCB=("F32", [4]), l__weight_format=("U8", [])), "l.weight"
    )
    assert (found.bits, found.shape, parameters) == (8, (4, 6), 24)


def test_compressed_tensors_keep_the_shape_in_a_tensor():
    found, parameters = packed(
        model(l__weight_packed=("I32", [64, 16]), l__weight_scale=("BF16", [64, 1]),
              l__weight_shape=("I64", [2], struct.pack("<2q", 64, 128))),
        "l.weight_packed",
    )  # fmt: skip
    assert (found.scheme, found.bits, found.shape, parameters) == ("compressed-tensors", 4, (64, 128), 64 * 128)
    found, parameters = packed(
        model(l__weight_packed=("U8", [64, 16]), l__weight_scale=("F8_E4M3", [64, 2]),
              l__weight_global_scale=("F32", [1])),
        "l.weight_packed",
    )  # fmt: skip
    assert (found.bits, found.shape, parameters) == (4, (64, 32), 64 * 32)


@pytest.mark.parametrize("shape", [(-1, 4), (1 << 40, 1 << 40), (0, 0)])
def test_a_shape_that_cannot_be_is_not_believed(shape):
    checkpoint = model(l__weight_packed=("I32", [4, 1]), l__weight_shape=("I64", [2], struct.pack("<2q", *shape)))
    found, parameters = packed(checkpoint, "l.weight_packed")
    assert found.shape in (None, (0, 0))
    assert parameters <= 4


def test_mxfp4_blocks():
    checkpoint = model(e__gate_up_proj_blocks=("U8", [2, 64, 3, 16]), e__gate_up_proj_scales=("U8", [2, 64, 3]))
    found, parameters = packed(checkpoint, "e.gate_up_proj_blocks")
    assert (found.bits, found.shape, parameters) == (4, (2, 64, 96), 2 * 64 * 96)


def test_float4_of_torch_counts_twice(tmp_path):
    tensor = torch.zeros(4, 6, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    path = save({"a.weight": tensor, "a.bias": torch.zeros(4)}, tmp_path / "m.pth")
    with open_checkpoint(path) as checkpoint:
        found, parameters = packed(checkpoint, "a.weight")
    assert (found.bits, found.shape, parameters) == (4, (4, 12), 4 * 12 + 4)


def test_subclasses_of_torchao_have_their_logical_shape():
    inner = TensorSpec(None, "uint8", (4, 2), (2, 1))
    extra = TensorExtra(device="cpu", rebuilt=True, parts={"qdata": inner})
    tensor = TensorSpec(None, "bfloat16", (4, 4), (4, 1), type="torchao.quantization.Int4Tensor", extra=extra)
    ((name, found),) = find_packed({"w": tensor})
    assert (name, found.scheme, found.shape, found.dtype) == ("w", "torchao Int4Tensor", (4, 4), "bfloat16")


UNKNOWN = {
    "no scales": {"l__qweight": ("I32", [4, 8])},
    "odd scales": {"l__qweight": ("I32", [4, 8]), "l__scales": ("F16", [1, 9])},
    "no integers": {"l__qweight": ("F32", [4, 8]), "l__scales": ("F16", [1, 8])},
    "one dimension": {"l__qweight": ("I32", [4]), "l__scales": ("F16", [4])},
    "no zeros and no order": {"l__qweight": ("I32", [4, 8]), "l__scales": ("F16", [1, 8])},
    "empty": {"l__qweight": ("I32", [0, 0]), "l__scales": ("F16", [0, 0]), "l__qzeros": ("I32", [0, 0])},
    "HQQ": {"l__W_q": ("U8", [4, 8])},
}  # fmt: skip


@pytest.mark.parametrize("title", UNKNOWN)
def test_what_nothing_explains_is_only_marked(title):
    checkpoint = model(**UNKNOWN[title])
    found, _ = packed(checkpoint, next(iter(UNKNOWN[title])).replace("__", "."))
    assert found is not None
    assert found.shape is None
    assert "nothing says" in overview(checkpoint).findings[-1].message
    look_at_all(checkpoint)


PLAIN = {
    "names alone": {"l__blocks": ("F32", [2, 2]), "blocks__0__weight": ("F32", [2, 2]), "l__SCB": ("F32", [2])},
    "blocks of something": {"l__x_blocks": ("U8", [2, 16])},
    "other scales": {"l__x_blocks": ("U8", [2, 16]), "l__x_scales": ("U8", [3])},
    "float weights": {"l__weight": ("F32", [2, 2]), "l__SCB": ("F32", [2])},
}  # fmt: skip


@pytest.mark.parametrize("title", PLAIN)
def test_what_only_sounds_packed_is_not(title):
    view = overview(model(**PLAIN[title]))
    assert (view.packed.found, view.packed.helpers, view.findings) == ({}, frozenset(), ())


def test_everybody_says_so():
    checkpoint = model(l__qweight=("I32", [16, 64]), l__qzeros=("I32", [4, 8]), l__scales=("F16", [4, 64]))
    document = json.loads("".join(listing_json(checkpoint)))
    (found,) = [each for each in document["entries"] if "packed" in each]
    assert (found["path"], found["shape"], found["dtype"]) == (["l.qweight"], [16, 64], "int32")
    assert found["packed"] == {"scheme": "GPTQ, groups of 32", "bits": 4, "shape": [64, 128], "dtype": "float16",
                               "helpers": ["l.qzeros", "l.scales"]}  # fmt: skip
    assert document["summary"]["parameters"] == 64 * 128
    assert [each["code"] for each in document["findings"]] == ["packed-weights"]
    text = "\n".join(tree_lines(checkpoint))
    assert "packed by GPTQ, groups of 32, 4 bits, for 64x128 float16" in text
    assert "info: weights are packed and shown as stored: 1 of GPTQ, groups of 32, 4 bits" in text
    node = checkpoint["/l.qweight"]
    view = overview(checkpoint)
    assert "packed by GPTQ" in node_facts(node, None, view.packed.of(node.tensor))
