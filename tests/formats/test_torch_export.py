"""torch.export programs in both layouts: as torch writes them, by hand, and hostile."""

from __future__ import annotations

from typing import ClassVar

import pytest
from archives import exported, weight_config
from builders import floats, integer, mapped, pickled, tensor, text, zip_checkpoint, zip_file
from contract import VALUES, FormatContract
from opening import open_bytes
from scripted import Tree

from ckpt_viewer.analysis.overview import overview
from ckpt_viewer.errors import CheckpointError, NotACheckpoint
from ckpt_viewer.formats import open_checkpoint
from ckpt_viewer.formats.export_weights import DTYPE_NUMBERS

torch = pytest.importorskip("torch")
DATA = floats(*VALUES)
GOOD = weight_config("weight_0", (4,), (1,))
GPU = {"type": "cuda", "index": 1}


def codes(checkpoint) -> set[str]:
    return {finding.code for finding in checkpoint.findings}


class TestTorchExport(FormatContract):
    name = "torch-export"
    entries: ClassVar = {
        (): None,
        ("weights",): None,
        ("weights", "weight"): None,
        ("constants",): None,
        ("constants", "epoch"): None,
    }

    def file(self) -> bytes:
        constants = {"epoch": weight_config("tensor_0", (), (), dtype=5)}
        more = {"data/constants/tensor_0": (3).to_bytes(8, "little")}
        return exported(
            {"weight": weight_config("weight_0", (4,), (1,))}, {"weight_0": DATA}, constants=constants, **more
        )

    def long_file(self) -> bytes:
        return exported({}, {}, **{"data/sample_inputs/model.pt": zip_checkpoint(LONG)})

    def test_it_can_be_looked_at_in_every_way(self):
        from opening import look_at_all, read_all

        checkpoint = open_bytes(self.file())
        assert look_at_all(checkpoint) > 100
        assert read_all(checkpoint) == 2

    def test_it_lists_every_entry(self):
        super().test_it_lists_every_entry()
        assert open_bytes(self.file())["/constants/epoch"].numpy(copy=True).tolist() == 3

    @pytest.mark.parametrize("mask", [0xFF])
    def test_any_single_damaged_byte_is_refused_or_shown(self, mask):
        super().test_any_single_damaged_byte_is_refused_or_shown(mask)


LONG = pickled(mapped(*((text(str(n)), integer(n)) for n in range(500))))
NESTED = zip_checkpoint(pickled(mapped((text("weight"), tensor()), (text("epoch"), integer(3)))), {"0": DATA})


class TestOlderTorchExport(FormatContract):
    """torch 2.1 to 2.7: no root folder, torch.save files inside."""

    name = "torch-export"
    entries: ClassVar = {
        (): None,
        ("state_dict",): None,
        ("state_dict", "weight"): None,
        ("state_dict", "epoch"): 3,
    }

    def file(self) -> bytes:
        return older({"serialized_state_dict.pt": NESTED})

    def long_file(self) -> bytes:
        return older({"serialized_state_dict.json": zip_checkpoint(LONG)})


def older(records: dict[str, bytes]) -> bytes:
    return zip_file({"version": b"7.3", **records, "serialized_exported_program.json": b"{}"}, alignment=1)


@pytest.mark.filterwarnings("ignore")
def test_what_torch_writes(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "net.pt2"
    program = torch.export.export(Tree().eval(), (torch.rand(1, 2, 4),))
    torch.export.save(program, str(path), extra_files={"notes.txt": "hello"})
    loaded = torch.export.load(str(path))
    with open_checkpoint(path) as checkpoint:
        weights = {node.name: node for node in checkpoint["/weights"].children}
        wanted = dict(loaded.state_dict)
        assert set(weights) == set(wanted)
        for key, value in wanted.items():
            node = weights[key]
            assert node.numpy(copy=True).tolist() == value.tolist()
            assert (node.shape, node.stride, node.dtype) == (tuple(value.shape), value.stride(), str(value.dtype)[6:])
            assert node.requires_grad == value.requires_grad
        constants = {node.name: node.numpy(copy=True).tolist() for node in checkpoint["/constants"].children}
        assert constants == {key: value.tolist() for key, value in loaded.constants.items()}
        inputs = checkpoint["/sample_inputs"].value[0][0]
        assert inputs.shape == (1, 2, 4)
        assert checkpoint["/extra~1notes.txt"].value == "hello"
        assert overview(checkpoint).kind == "whole model"
        assert list(checkpoint.state_dict()) == list(weights)
        assert codes(checkpoint) == {"program"}
        assert "torch.export" in checkpoint.contents.weights_only
    with pytest.raises(RuntimeError) as refused:
        torch.load(path, weights_only=True)
    assert checkpoint.contents.weights_only_says in str(refused.value)


def test_the_numbers_of_dtypes_are_torchs():
    from torch._export.serde.schema import ScalarType

    names = {member.name.lower(): member.value for member in ScalarType if member.name != "UNKNOWN"}
    assert set(names.values()) == set(DTYPE_NUMBERS)
    for word, dtype in (("long", "int64"), ("char", "int8"), ("half", "float16"), ("float8e8m0fnu", "float8_e8m0fnu")):
        assert DTYPE_NUMBERS[names[word]] == dtype


def test_weights_that_share_a_storage():
    config = {
        "whole": weight_config("weight_0", (4,), (1,)),
        "half": weight_config(
            "weight_0", (2,), (2,), storage_offset={"as_int": 1}, device={"type": "cuda", "index": 1}
        ),
    }
    checkpoint = open_bytes(exported(config, {"weight_0": DATA}))
    assert checkpoint["/weights/whole"].storage is checkpoint["/weights/half"].storage
    assert checkpoint["/weights/half"].numpy(copy=True).tolist()[0] == -1.5
    cuda = exported(
        {"w": weight_config("weight_0", (4,), (1,), device={"type": "cuda", "index": 1})}, {"weight_0": DATA}
    )
    assert open_bytes(cuda)["/weights/w"].location == "cuda:1"


def test_weights_that_were_pickled():
    config = {"w": {"path_name": "weight_0", "is_param": True, "use_pickle": True, "tensor_meta": None}}
    nested = zip_checkpoint(pickled(tensor()), {"0": DATA})
    checkpoint = open_bytes(exported(config, {"weight_0": nested}))
    assert checkpoint["/weights/w"].numpy(copy=True).tolist()[1] == -1.5
    assert checkpoint["/weights/w"].storage.unique_key == "data/weights/weight_0!0"


@pytest.mark.parametrize(
    "config",
    [
        weight_config("weight_0", (5,), (1,)),
        weight_config("weight_0", (4,), (1,), dtype=99),
        weight_config("weight_0", (4,), (1,), dtype=True),
        weight_config("weight_0", (4,), (1,), layout=1),
        weight_config("weight_0", (4,), (1,), sizes=[{"as_expr": "s0"}]),
        weight_config("weight_0", (4,), (1,), sizes=[{"as_int": -4}]),
        weight_config("weight_0", (4,), (1,), storage_offset={"as_int": 1 << 70}),
        weight_config("weight_0", (4,), (1,), strides=7),
        weight_config("weight_9", (4,), (1,)),
        weight_config("../../weight_0", (4,), (1,)),
        {"path_name": 3, "tensor_meta": {}},
    ],
)
def test_a_description_that_cannot_be_is_an_error_at_its_place(config):
    checkpoint = open_bytes(exported({"bad": config, "good": GOOD}, {"weight_0": DATA}))
    assert checkpoint["/weights/good"].numpy(copy=True).tolist()[0] == 0.5
    assert [finding.path for finding in checkpoint.findings if finding.code == "bad-tensor"] == [("weights", "bad")]


@pytest.mark.parametrize("text_", [b"{", b"[]", b'{"config": 3}', b'{"config": ' + b"[" * 100_000, b"\xff"])
def test_a_configuration_that_is_none_is_refused(text_):
    records = {"m/archive_format": b"pt2", "m/data/weights/model_weights_config.json": text_}
    with pytest.raises(CheckpointError):
        open_bytes(zip_file(records))


def test_a_configuration_of_empty_objects_is_refused_in_budget():
    from opening import memory

    config = b'{"config": [' + b"{}," * 3_000_000 + b"{}]}"
    data = zip_file({"m/archive_format": b"pt2", "m/data/weights/model_weights_config.json": config},
                    deflate=("m/data/weights/model_weights_config.json",))  # fmt: skip
    with memory() as peak, pytest.raises(CheckpointError, match="memory"):
        open_bytes(data)
    assert peak.nbytes < 40_000_000


def test_several_models_are_several_children():
    data = exported({"w": GOOD}, {"weight_0": DATA},
                    **{"data/weights/other_weights_config.json": b'{"config": {}}'})  # fmt: skip
    assert [node.name for node in open_bytes(data).root.children] == ["model", "other"]


def test_compiled_code_is_a_warning():
    data = exported({"w": GOOD}, {"weight_0": DATA},
                    **{"data/aotinductor/model/model.so": b"\x7fELF"})  # fmt: skip
    finding = next(each for each in open_bytes(data).findings if each.code == "program")
    assert finding.severity == "warning"
    assert "compiled code" in finding.message


def test_a_program_without_weights_is_named():
    with pytest.raises(NotACheckpoint, match="no weights"):
        open_bytes(zip_file({"m/archive_format": b"pt2", "m/models/model.json": b"{}"}))


def test_a_broken_nested_file_is_named():
    checkpoint = open_bytes(older({"serialized_state_dict.pt": NESTED, "serialized_constants.pt": NESTED[:-9]}))
    assert checkpoint["/state_dict/epoch"].value == 3
    assert [each.path for each in checkpoint.findings if each.code == "unreadable-member"] == [("constants",)]
