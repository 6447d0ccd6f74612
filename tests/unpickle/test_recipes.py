"""What calls of known names describe: forms that old and odd writers used, which no torch of today writes."""

from __future__ import annotations

import collections
import datetime
import pathlib
import pickle
import struct
from argparse import Namespace

import numpy
import pytest
from builders import (
    HOOKS,
    STOP,
    call,
    floats,
    integer,
    listed,
    many,
    mapped,
    name,
    pickled,
    storage,
    tensor,
    text,
    zip_checkpoint,
)
from opening import open_bytes, read_pickle

from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.value import Instance, Literal, Mapping, NdArray, Sequence

DATA = {"0": floats(1, 2, 3, 4)}
PARAMETER = "torch.nn.parameter.Parameter"


def read(body: bytes, protocol: int = 4):
    return read_pickle(pickled(body, protocol)).value


def values(body: bytes):
    return open_bytes(zip_checkpoint(pickled(body, 4), DATA)).root.numpy(copy=True).tolist()


def utils(function: str, *arguments: bytes) -> bytes:
    return call(name("torch._utils", function), *arguments)


# --- tensors ------------------------------------------------------------------------------------------------------

PAIR, STRIDE = many(b"K\2", b"K\2"), many(b"K\2", b"K\1")
GEOMETRY = (b"K\0", PAIR, STRIDE)
SIZE = call(name("torch", "Size"), PAIR)
OLD = {
    "_rebuild_tensor": utils("_rebuild_tensor", storage(), *GEOMETRY),
    "sizes as a list": utils("_rebuild_tensor", storage(), b"K\0", listed(b"K\2", b"K\2"), listed(b"K\2", b"K\1")),
    "sizes as a torch.Size": utils("_rebuild_tensor_v2", storage(), b"K\0", SIZE, STRIDE, b"\x89", b"N"),
    "no hooks": utils("_rebuild_tensor_v2", storage(), *GEOMETRY, b"\x89"),
    "0.1, REDUCE and BUILD": name("torch", "FloatTensor") + b")R" + many(storage(), *GEOMETRY) + b"b",
    "0.1, NEWOBJ and BUILD": name("torch", "FloatTensor") + b")\x81" + many(storage(), *GEOMETRY) + b"b",
    "0.1 on a GPU": name("torch.cuda", "FloatTensor") + b")\x81" + many(storage(module="torch.cuda"), *GEOMETRY) + b"b",
    "Variable": call(name("torch.autograd.variable", "Variable"), tensor((2, 2)))
    + many(b"\x89", b"\x89", HOOKS)
    + b"b",
    "Tensor.__setstate__": name("torch", "Tensor")
    + b")\x81"
    + many(tensor((2, 2)), b"N", HOOKS, b"\x89", b"\x89")
    + b"b",
}


@pytest.mark.parametrize("title", OLD)
def test_tensors_of_old_writers(title):
    found = read(OLD[title])
    assert isinstance(found, TensorSpec)
    assert (found.dtype, found.shape, found.stride) == ("float32", (2, 2), (2, 1))
    assert (found.offset, found.requires_grad) == (0, False)
    assert values(OLD[title]) == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("body", "grad"),
    [
        (utils("_rebuild_parameter", tensor((4,)), b"\x88", HOOKS), True),
        (utils("_rebuild_parameter", tensor((4,)), b"\x89", HOOKS), False),
        (call(name("torch.nn.parameter", "Parameter"), tensor((4,))), True),
        (call(name("torch.nn.parameter", "Parameter"), tensor((4,)), b"\x89"), False),
        (name("torch.nn.parameter", "Parameter") + many(tensor((4,))) + b"\x81", True),
        (call(name("torch.nn.parameter", "Parameter"), tensor((4,))) + many(b"\x89", b"\x89", HOOKS) + b"b", False),
    ],
)
def test_parameters_of_all_writers(body, grad):
    found = read(body)
    assert (found.type, found.requires_grad, found.shape) == (PARAMETER, grad, (4,))
    assert values(body) == [1, 2, 3, 4]


def test_a_parameter_does_not_change_the_tensor_that_it_was_made_of():
    inner, outer = read(many(tensor((4,)) + b"q\0", utils("_rebuild_parameter", b"h\0", b"\x88", HOOKS)))
    assert (inner.type, inner.requires_grad) == ("torch.Tensor", False)
    assert (outer.type, outer.requires_grad) == (PARAMETER, True)
    assert inner.storage is outer.storage


def test_a_tensor_of_a_subclass():
    inner = many(storage(), *GEOMETRY, b"\x89", HOOKS)
    body = call(name("torch._tensor", "_rebuild_from_type_v2"), name("torch._utils", "_rebuild_tensor_v2"),
                name("my", "Tagged"), inner, mapped((text("tag"), text("x"))))  # fmt: skip
    found = read(body)
    assert (found.type, found.shape) == ("my.Tagged", (2, 2))
    assert open_bytes(pickled(body))["/tag"].value == "x"


def test_a_tensor_whose_bytes_lie_in_the_pickle():
    """As XLA and friends are written: an array, its dtype, its device."""
    written = pickle.dumps(numpy.arange(4, dtype=numpy.float32), 4)
    array = written[written.index(b"\x8c") : -1]
    body = utils("_rebuild_device_tensor_from_numpy", array, name("torch", "float32"), text("xla:0"), b"\x88")
    node = open_bytes(pickled(body, 4)).root
    assert (node.location, node.dtype, node.requires_grad) == ("xla:0", "float32", True)
    assert node.numpy(copy=True).tolist() == [0, 1, 2, 3]
    assert node.storage.unique_key == "pickle!0"


@pytest.mark.parametrize(
    ("location", "expected"),
    [(None, "maia:0"), ("cpu", "cpu"), ({"maia:0": "cuda:1"}, "cuda:1"), ({"x": "y"}, "maia:0")],
)
def test_rebuilt_tensors_follow_the_device_argument(location, expected):
    body = utils(
        "_rebuild_device_tensor_from_cpu_tensor", tensor((4,)), name("torch", "float32"), text("maia:0"), b"\x89"
    )
    node = open_bytes(zip_checkpoint(pickled(body), DATA), location).root
    assert (node.location, node.device) == ("cpu", expected)  # its storage is tagged with the CPU
    assert node.numpy(copy=True).tolist() == [1, 2, 3, 4]


def test_a_shell_with_tensors_inside():
    """DTensor: the wrapper has the whole size, its state the local shard."""
    shell = many(name("torch.distributed.tensor", "DTensor"), name("torch", "float32"), many(b"K\x08"), many(b"K\1"),
                 b"K\0", call(name("torch.serialization", "_get_layout"), text("torch.strided")),
                 call(name("torch", "device"), text("cuda"), b"K\1"), b"\x89")  # fmt: skip
    state = many(b"N", mapped((text("_local_tensor"), tensor((4,))), (text("_spec"), b"}")))
    body = call(name("torch._tensor", "_rebuild_from_type_v2"), name("torch._utils", "_rebuild_wrapper_subclass"),
                name("torch.distributed.tensor", "DTensor"), shell, state)  # fmt: skip
    found = read(body)
    assert (found.type, found.shape, found.location) == ("torch.distributed.tensor.DTensor", (8,), "cuda:1")
    assert found.extra.parts["local_tensor"].shape == (4,)


def test_a_jagged_tensor():
    fields = mapped((text("_values"), tensor((4,))), (text("_offsets"), tensor((2,))), (text("_ragged_idx"), b"K\1"))
    found = read(call(name("torch.nested._internal.nested_tensor", "_rebuild_njt"), fields))
    assert (found.layout, found.shape, found.numel) == ("jagged", None, 4)


REST = (b"\x89", HOOKS)
COO = call(name("torch.serialization", "_get_layout"), text("torch.sparse_coo"))


@pytest.mark.parametrize(
    "body",
    [
        utils("_rebuild_tensor_v2"),
        utils("_rebuild_tensor_v2", b"N", *GEOMETRY, *REST),
        utils("_rebuild_tensor_v2", storage(), integer(-1), PAIR, STRIDE, *REST),
        utils("_rebuild_tensor_v2", storage(), b"\x88", PAIR, STRIDE, *REST),
        utils("_rebuild_tensor_v2", storage(), b"K\1", PAIR, STRIDE, *REST),
        utils("_rebuild_tensor_v2", storage(), b"K\0", many(b"K\2"), STRIDE, *REST),
        utils("_rebuild_tensor_v2", storage(), b"K\0", many(b"K\2", integer(-2)), STRIDE, *REST),
        utils("_rebuild_tensor_v2", storage(), b"K\0", many(b"K\2", text("2")), STRIDE, *REST),
        utils("_rebuild_tensor_v2", storage(), b"K\0", many(b"K\2", integer(1 << 62)), STRIDE, *REST),
        utils("_rebuild_tensor_v2", storage(), b"K\0", many(b"K\2", b"\x88"), STRIDE, *REST),
        utils("_rebuild_tensor_v2", storage(), b"K\0", many(*[b"K\1"] * 65), many(*[b"K\1"] * 65), *REST),
        utils("_rebuild_tensor_v3", storage(), *GEOMETRY, *REST, text("float32")),
        utils("_rebuild_qtensor", storage(), *GEOMETRY, b"N", *REST),
        utils("_rebuild_sparse_tensor", text("x"), many(b"N", b"N", b"N")),
        utils("_rebuild_sparse_tensor", COO, many(b"N", tensor(), PAIR)),
        utils("_rebuild_nested_tensor", b"N"),
    ],
)
def test_a_call_that_makes_no_sane_tensor_is_kept_and_told(body):
    found = read_pickle(pickled(body, 4))
    assert isinstance(found.value, Instance)
    assert "bad-tensor" in [note.code for note in found.notes]


@pytest.mark.parametrize(
    ("shape", "stride", "offset", "numel", "fits"),
    [((4,), (1,), 0, 4, True), ((4,), (1,), 1, 4, False), ((2, 2), (1, 2), 0, 4, True), ((5,), (0,), 3, 4, True),
     ((5,), (0,), 4, 4, False), ((0, 5), (9, 9), 999, 0, True), ((), (), 3, 4, True), ((), (), 4, 4, False),
     ((2,), (3,), 0, 4, True), ((2,), (4,), 0, 4, False)],
)  # fmt: skip
def test_views_stay_inside_their_storage(shape, stride, offset, numel, fits):
    found = read(tensor(shape, stride, offset, numel=numel))
    assert isinstance(found, TensorSpec) is fits


def test_packed_numbers_fill_bytes_by_rows():
    """3 x 5 numbers of 4 bits in 9 bytes, as torch counts them."""
    held = storage(numel=9, cls="QUInt4x2Storage")
    scheme = many(name("torch", "per_tensor_affine"), b"G?\xe0\0\0\0\0\0\0", b"K\1")
    body = utils("_rebuild_qtensor", held, b"K\0", many(b"K\3", b"K\5"), many(b"K\5", b"K\1"), scheme, *REST)
    found = read(body)
    assert (found.dtype, found.shape, found.nbytes) == ("quint4x2", (3, 5), 9)
    assert found.extra.quantization.scale == 0.5


def test_uninitialised_parameters_and_buffers():
    parameter = read(call(name("torch.nn.parameter", "UninitializedParameter"), b"\x88"))
    buffer = read(call(name("torch.nn.parameter", "UninitializedBuffer")))
    assert (parameter.shape, parameter.requires_grad, parameter.dtype) == (None, True, "")
    assert buffer.type == "torch.nn.parameter.UninitializedBuffer"


def test_persistent_ids_as_text():
    """Protocol 0 writes the repr of the tuple."""
    pid = b"P('storage', <class 'torch.FloatStorage'>, '0', 'cuda:1', 4)\n"
    found = read(utils("_rebuild_tensor_v2", pid, *GEOMETRY, *REST), 0)
    assert (found.dtype, found.location, found.shape) == ("float32", "cuda:1", (2, 2))


@pytest.mark.parametrize("body", [b"N", many(), many(text("storage")), many(text("other"), b"N", b"N", b"N", b"N"),
                                  text("('storage', 1)"), integer(5)])  # fmt: skip
def test_persistent_ids_of_no_known_form_are_kept_and_told(body):
    found = read_pickle(pickled(body + b"Q"))
    assert isinstance(found.value, Instance)
    assert [note.code for note in found.notes] == ["unknown-persistent-id"]


# --- objects ------------------------------------------------------------------------------------------------------


def test_an_optimizer_with_step_counts_as_numbers():
    """torch makes tensors of them while it loads the object."""
    state = mapped((text("state"), mapped((b"K\0", mapped((text("step"), b"K\x07"))))), (text("param_groups"), b"]"))
    found = read_pickle(pickled(name("torch.optim.adam", "Adam") + b")\x81" + state + b"b"))
    step = found.value.state.get("state").pairs[1].get("step")
    assert isinstance(step, TensorSpec)
    assert struct.unpack("<f", step.storage.extent().source.read_at(0, 4)) == (7.0,)
    assert [note.code for note in found.notes] == ["step-number"]


def test_packed_weights_name_their_class():
    body = name("torch", "ScriptObject") + b")\x81" + many(many(), text("__torch__.LinearPackedParams")) + b"b"
    found = read_pickle(pickled(body))
    assert isinstance(found.value, Literal)
    assert (found.value.type, found.value.text) == ("torch.ScriptObject", "__torch__.LinearPackedParams")


def test_a_bound_method_is_named():
    found = read(call(name("builtins", "getattr"), name("my", "Hook") + b")\x81", text("run")))
    assert (found.kind, found.text) == ("object", "my.Hook.run")


PLAIN = [
    (collections.OrderedDict([("b", 1), ("a", 2)]), lambda v: v.pairs == ["b", 1, "a", 2]),
    (collections.Counter("aab"), lambda v: (v.type, v.pairs) == ("collections.Counter", ["a", 2, "b", 1])),
    (collections.defaultdict(list, k=[1]), lambda v: (v.type, v.pairs) == ("collections.defaultdict", ["k", [1]])),
    (collections.deque([1, 2], 5), lambda v: (v.type, v.items) == ("collections.deque", [1, 2])),
    ({1, 2}, lambda v: (v.type, sorted(v.items)) == ("set", [1, 2])),
    (frozenset("ab"), lambda v: (v.type, sorted(v.items)) == ("frozenset", ["a", "b"])),
    (b"\x00\xff", lambda v: v == b"\x00\xff"),
    (b"", lambda v: v == b""),
    (bytearray(b"\x80x"), lambda v: v == b"\x80x"),
    (1 + 2j, lambda v: v == 1 + 2j),
    (range(1, 9, 2), lambda v: v.text == "range(1, 9, 2)"),
    (slice(None, 3), lambda v: v.text == "slice(None, 3, None)"),
    (pathlib.PurePosixPath("/a/b"), lambda v: v.text == "PurePosixPath('/a/b')"),
    (datetime.datetime(2024, 2, 3, 4, 5, 6, 7), lambda v: v.text == "2024-02-03 04:05:06.000007"),
    (numpy.arange(6, dtype=">i4").reshape(2, 3), lambda v: (v.dtype, v.shape) == (">i4", (2, 3))),
    (numpy.float32(1.5), lambda v: v.data == struct.pack("<f", 1.5)),
    (numpy.array(["ab", "c"]), lambda v: (v.dtype, v.shape, len(v.data)) == ("<U2", (2,), 16)),
    (numpy.dtype("<f4"), lambda v: (v.kind, v.text) == ("dtype", "<f4")),
]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(("value", "check"), PLAIN, ids=lambda each: "" if callable(each) else type(each).__name__)
def test_values_of_python_and_numpy_in_every_protocol(value, check, protocol):
    assert check(read_pickle(pickle.dumps(value, protocol)).value)


def test_an_array_of_objects_has_them_as_children():
    checkpoint = open_bytes(pickle.dumps(numpy.array([{"a": 1}, None], dtype=object), 2))
    assert isinstance(checkpoint.root.value, NdArray)
    assert checkpoint["/0/a"].value == 1


@pytest.mark.parametrize("protocol", range(6))
def test_objects_of_unknown_classes_in_every_protocol(protocol):
    checkpoint = open_bytes(pickle.dumps(Namespace(lr=0.5, names=["a"]), protocol))
    assert checkpoint.root.type == "argparse.Namespace"
    assert [node.name for node in checkpoint.root.children] == ["lr", "names"]
    assert checkpoint["/names/0"].value == "a"


class Listing(list):
    """Pickled by reference to this module; the class need not exist for the reader."""


class Table(dict):
    """As above."""


@pytest.mark.parametrize("protocol", range(6))
def test_subclasses_of_list_and_dict(protocol):
    listing = open_bytes(pickle.dumps(Listing([1, 2]), protocol))
    table = open_bytes(pickle.dumps(Table(a=1), protocol))
    assert [node.value for node in listing.root.children] == [1, 2]
    assert [(node.name, node.value) for node in table.root.children] == [("a", 1)]
    assert listing.root.type.endswith("Listing")


@pytest.mark.parametrize(
    "body",
    [
        call(name("collections", "OrderedDict"), b"K\1"),
        call(name("collections", "OrderedDict"), listed(b"K\1")),
        call(name("_codecs", "encode"), text("é"), text("ascii")),
        call(name("_codecs", "encode"), text("\u20ac"), text("latin1")),
        call(name("builtins", "bytearray"), b"K\x09"),
        call(name("builtins", "set"), b"K\1"),
        call(name("builtins", "complex"), text("x")),
        call(name("builtins", "range"), text("x")),
        call(name("datetime", "datetime"), b"C\x03abc"),
        call(name("pathlib", "PosixPath"), b"K\1"),
        call(name("torch", "Size"), b"K\1"),
        call(name("torch", "device"), b"K\1"),
        call(name("copyreg", "_reconstructor"), b"K\1"),
        call(name("numpy", "dtype"), b"K\1"),
        call(name("builtins", "getattr"), text("x"), text("y")),
    ],
)
def test_known_names_with_unknown_arguments_are_kept_as_calls(body):
    assert isinstance(read(body), Instance)
    assert open_bytes(pickled(body, 4)).root.children


def test_sequences_and_mappings_know_their_length():
    assert len(Mapping()) == 0
    assert len(Sequence("set", "set", [1, 2])) == 2
    assert read_pickle(b"\x80\x02" + HOOKS + STOP).value.get("absent", 5) == 5
