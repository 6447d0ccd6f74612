"""`ls --json`: what INTERFACE promises, field by field."""

from __future__ import annotations

import json
import math

import pytest
import torch
from builders import (
    HOOKS,
    call,
    floats,
    get,
    integer,
    listed,
    many,
    mapped,
    name,
    pickled,
    put,
    save,
    storage,
    tensor,
    zip_checkpoint,
)
from builders import text as string
from hypothesis import given, settings
from hypothesis import strategies as st
from opening import open_bytes

from ckpt_viewer.analysis.listing import PIECE, VALUE_LIMIT, listing_json, scalar_fields
from ckpt_viewer.formats import open_checkpoint

FIELDS = ["schema", "file", "bytes", "format", "kind", "map_location", "summary", "roles", "globals",
          "weights_only", "findings", "entries"]  # fmt: skip
TENSOR_FIELDS = ["path", "kind", "type", "shape", "stride", "dtype", "storage_offset", "numel", "nbytes", "location",
                 "device", "layout", "requires_grad", "storage"]  # fmt: skip


def parse(pieces) -> dict:
    """As a strict parser would: no NaN, no Infinity, no repeated member."""

    def once(pairs):
        assert len({key for key, _ in pairs}) == len(pairs)
        return dict(pairs)

    def constant(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads("".join(pieces), object_pairs_hook=once, parse_constant=constant)


def listing(body: bytes, storages=None, map_location=None, protocol: int = 4) -> dict:
    data = zip_checkpoint(pickled(body, protocol), storages)
    return parse(listing_json(open_bytes(data, map_location)))


def entries(body: bytes, **options) -> list[dict]:
    return listing(body, **options)["entries"]


def test_the_document_has_all_that_was_promised():
    body = mapped(
        (string("model"), mapped((string("conv.weight"), tensor((4,), location="cuda:1")))), (string("epoch"), b"K\3")
    )
    document = listing(body, {"0": floats(1, 2, 3, 4)}, "cpu")
    assert list(document) == FIELDS
    assert (document["schema"], document["format"], document["kind"]) == (1, "torch-zip", "training checkpoint")
    assert document["file"] == "x.pth"
    assert document["map_location"] == "cpu"
    assert document["summary"] == {
        "tensors": 1,
        "parameters": 4,
        "tensor_bytes": 16,
        "storages": 1,
        "storage_bytes": 16,
    }
    assert document["roles"] == {"model": [["model"]], "progress": [["epoch"]]}
    rebuild = next(use for use in document["globals"] if use["name"] == "torch._utils._rebuild_tensor_v2")
    assert (rebuild["status"], rebuild["calls"], rebuild["weights_only"]) == ("known", 1, True)
    assert document["findings"] == []
    assert document["entries"][0] == {"path": [], "kind": "dict", "type": "dict", "length": 2}
    assert document["entries"][2] == {
        "path": ["model", "conv.weight"], "kind": "tensor", "type": "torch.Tensor", "shape": [4], "stride": [1],
        "dtype": "float32", "storage_offset": 0, "numel": 4, "nbytes": 16, "storage": "0", "location": "cuda:1",
        "device": "cpu", "layout": "strided", "requires_grad": False,
    }  # fmt: skip
    assert document["entries"][3] == {"path": ["epoch"], "kind": "int", "type": "int", "value": 3}
    assert set(document["entries"][2]) == set(TENSOR_FIELDS)


def test_a_file_that_is_one_tensor_has_one_entry():
    (entry,) = entries(tensor((2, 2)))
    assert (entry["path"], entry["kind"], entry["shape"]) == ([], "tensor", [2, 2])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"N", {"kind": "none", "type": "NoneType", "value": None}),
        (b"\x88", {"kind": "bool", "type": "bool", "value": True}),
        (integer(-5), {"kind": "int", "type": "int", "value": -5}),
        (integer((1 << 63) - 1), {"kind": "int", "type": "int", "value": (1 << 63) - 1}),
        (integer(-(1 << 63)), {"kind": "int", "type": "int", "value": -(1 << 63)}),
        (integer(1 << 63), {"kind": "int", "type": "int", "value": str(1 << 63)}),
        (integer(-(1 << 63) - 1), {"kind": "int", "type": "int", "value": str(-(1 << 63) - 1)}),
        (b"G?\xf8\0\0\0\0\0\0", {"kind": "float", "type": "float", "value": 1.5}),
        (b"G\x7f\xf8\0\0\0\0\0\0", {"kind": "float", "type": "float", "value": "NaN"}),
        (b"G\x7f\xf0\0\0\0\0\0\0", {"kind": "float", "type": "float", "value": "Infinity"}),
        (b"G\xff\xf0\0\0\0\0\0\0", {"kind": "float", "type": "float", "value": "-Infinity"}),
        (string("text"), {"kind": "str", "type": "str", "value": "text"}),
        (string("\ud800\x1b"), {"kind": "str", "type": "str", "value": "\ud800\x1b"}),
        (b"C\x02\x01\xff", {"kind": "bytes", "type": "bytes", "value": "01ff", "length": 2}),
        (b"]", {"kind": "list", "type": "list", "length": 0}),
        (b")", {"kind": "tuple", "type": "tuple", "length": 0}),
        (b"\x8f", {"kind": "set", "type": "set", "length": 0}),
        (HOOKS, {"kind": "dict", "type": "collections.OrderedDict", "length": 0}),
        (call(name("torch", "Size"), many()), {"kind": "tuple", "type": "torch.Size", "length": 0}),
        (name("torch", "bfloat16"), {"kind": "dtype", "type": "torch.dtype", "value": "torch.bfloat16"}),
        (call(name("torch", "device"), string("cuda"), b"K\1"),
         {"kind": "device", "type": "torch.device", "value": "cuda:1"}),
        (call(name("builtins", "complex"), b"G?\xf8\0\0\0\0\0\0", b"K\0"),
         {"kind": "object", "type": "complex", "value": "(1.5+0j)"}),
        (name("my", "Net"), {"kind": "global", "type": "my.Net", "value": "<my.Net>"}),
        (name("my", "Net") + b")\x81", {"kind": "object", "type": "my.Net", "length": 0}),
        (storage(numel=2, cls="LongStorage", location="mps"),
         {"kind": "storage", "type": "torch.storage.TypedStorage", "storage": "0", "dtype": "int64", "numel": 2,
          "nbytes": 16, "location": "mps"}),
        (call(name("builtins", "range"), b"K\0", b"K\3", b"K\1"),
         {"kind": "object", "type": "range", "value": "range(0, 3, 1)"}),
    ],
    ids=repr,
)  # fmt: skip
def test_every_kind_of_entry(body, expected):
    (entry,) = entries(body)
    assert entry == {"path": [], **expected}


@pytest.mark.parametrize("length", [VALUE_LIMIT - 1, VALUE_LIMIT, VALUE_LIMIT + 1, 100_000])
def test_long_values_are_cut_and_say_so(length):
    (entry,) = entries(string("x" * length))
    assert len(entry["value"]) == min(length, VALUE_LIMIT)
    assert entry.get("truncated", False) is (length > VALUE_LIMIT)
    (entry,) = entries(b"B" + length.to_bytes(4, "little") + b"\xab" * length)
    assert entry["value"] == "ab" * min(length, VALUE_LIMIT)
    assert (entry.get("truncated", False), entry["length"]) == (length > VALUE_LIMIT, length)


def test_an_int_of_a_million_bits():
    (entry,) = entries(integer(1 << 1_000_000))
    assert entry["truncated"] is True
    assert entry["value"].startswith("0x1000")


def test_steps_of_every_sort():
    keys = (integer(0), string("0"), b"\x88", b"N", many(b"K\1", string("x")), b"G\x7f\xf8\0\0\0\0\0\0", string("0"),
            tensor((1,)), integer(-7))  # fmt: skip
    body = mapped(*((key, b"N") for key in keys))
    assert [entry["path"] for entry in entries(body)][1:] == [
        [0], ["0"], [{"repr": "True"}], [{"repr": "None"}], [{"repr": "(1, 'x')"}], [{"repr": "nan"}], [{"item": 6}],
        [{"repr": "<tensor>"}], [-7],
    ]  # fmt: skip


def test_arguments_state_items_and_members():
    body = many(name("a", "B") + b"(K\x01tR" + mapped((string("s"), b"K\2")) + b"b", b"\x8f(K\x05\x90", listed(b"K\6"))
    assert [(entry["path"], entry.get("value")) for entry in entries(body)] == [
        ([], None), ([0], None), ([0, {"arg": 0}], 1), ([0, "s"], 2), ([1], None), ([1, {"item": 0}], 5), ([2], None),
        ([2, 0], 6),
    ]  # fmt: skip


def test_what_is_met_again_is_named_and_not_described():
    body = mapped((string("a"), listed(b"K\1") + put(0)), (string("b"), get(0)), (string("t"), tensor((1,)) + put(1)),
                  (string("u"), get(1)), (string("p"), many(b"K\1") + put(2)), (string("q"), get(2)))  # fmt: skip
    found = {json.dumps(entry["path"]): entry for entry in entries(body)}
    assert found['["b"]'] == {"path": ["b"], "kind": "list", "type": "list", "same_as": ["a"]}
    assert '["b", 0]' not in found
    assert found['["u"]']["kind"] == "tensor"
    assert found['["q", 0]']["value"] == 1


def test_a_storage_is_unique_in_the_document(tmp_path):
    import pickle

    path = tmp_path / "raw.pkl"
    path.write_bytes(pickle.dumps({"a": torch.rand(2), "b": torch.rand(2)}))
    with open_checkpoint(path) as checkpoint:
        document = parse(listing_json(checkpoint))
    keys = [entry["storage"] for entry in document["entries"] if entry["kind"] == "tensor"]
    assert len(set(keys)) == 2
    assert all("!" in key for key in keys)


def test_special_tensors_say_what_they_are(tmp_path):
    given = {"conj": torch.tensor([1j]).conj(), "sparse": torch.eye(2).to_sparse(),
             "meta": torch.zeros(2, device="meta"), "parameter": torch.nn.Parameter(torch.rand(1)),
             "lazy": torch.nn.LazyLinear(2).weight}  # fmt: skip
    path = save(given, tmp_path / "m.pth")
    with open_checkpoint(path) as checkpoint:
        found = {entry["path"][-1]: entry for entry in parse(listing_json(checkpoint))["entries"][1:]}
    assert found["conj"]["conj"] is True
    assert found["sparse"]["layout"] == "sparse_coo"
    assert found["sparse"]["stride"] is None
    assert found["sparse"]["storage"] is None
    assert set(found["sparse"]["parts"]) == {"indices", "values"}
    assert found["meta"]["location"] == found["meta"]["device"] == "meta"
    assert found["parameter"]["requires_grad"] is True
    assert found["parameter"]["type"] == "torch.nn.parameter.Parameter"
    assert found["lazy"]["shape"] is None
    assert found["lazy"]["dtype"] is None


def test_findings_carry_severity_code_path_and_message():
    document = listing(mapped((string("w"), tensor())))
    (finding,) = document["findings"]
    assert list(finding) == ["severity", "code", "path", "message"]
    assert (finding["severity"], finding["code"]) == ("error", "missing-storage")


@pytest.mark.parametrize(
    ("map_location", "text", "device"),
    [(None, "as-saved", "cuda:1"), ("cpu", "cpu", "cpu"), ({"cuda:1": "mps"}, "cuda:1=mps", "mps"),
     (lambda storage, tag: None, "callable", "cuda:1")],
)  # fmt: skip
def test_the_map_location_and_what_it_makes(map_location, text, device):
    document = listing(tensor(location="cuda:1"), map_location=map_location)
    assert document["map_location"] == text
    assert document["entries"][0]["device"] == device
    assert document["entries"][0]["location"] == "cuda:1"


@settings(max_examples=100, deadline=None)
@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=4),
    max_leaves=12,
))  # fmt: skip
def test_any_plain_value_comes_back_from_the_document(value):
    import pickle

    document = parse(listing_json(open_bytes(zip_checkpoint(pickle.dumps(value, 2)))))
    assert rebuilt(document["entries"]) == plain(value)


def rebuilt(rows):
    """The value that the entries describe."""
    made = {}
    for row in rows:
        if row["kind"] in ("dict", "list"):
            value = [] if row["kind"] == "list" else {}
        else:
            value = (row["kind"], row["value"])
        made[json.dumps(row["path"])] = value
        if row["path"]:
            parent, step = made[json.dumps(row["path"][:-1])], row["path"][-1]
            if isinstance(parent, list):
                parent.append(value)
            else:
                parent[f"{type(step).__name__}:{step}"] = value
    return made["[]"]


def plain(value):
    if isinstance(value, dict):
        # a key that is no string or int would be a repr; an int beyond 4096 bits too
        return {f"{type(key).__name__}:{key}": plain(child) for key, child in value.items()}
    if isinstance(value, list):
        return [plain(child) for child in value]
    kind = {type(None): "none"}.get(type(value), type(value).__name__)
    return kind, scalar_fields(value)["value"]


def test_scalars_by_hand():
    assert scalar_fields(math.inf) == {"value": "Infinity"}
    assert scalar_fields(0.1) == {"value": 0.1}
    assert scalar_fields("\0") == {"value": "\0"}


def test_a_large_listing_comes_in_pieces():
    body = listed(*(integer(n) for n in range(2000)))
    pieces = list(listing_json(open_bytes(zip_checkpoint(pickled(body)))))
    assert len(pieces) > sum(map(len, pieces)) / (2 * PIECE)
    assert max(map(len, pieces)) < 2 * PIECE
