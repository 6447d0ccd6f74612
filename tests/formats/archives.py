"""Archives of torch other than torch.save's: tars of torch 0.1, TorchScript, torch.package, torch.export."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping

from builders import (
    HOOKS,
    call,
    integer,
    many,
    mapped,
    name,
    pickled,
    text,
    zip_file,
)

BLOCK = 512


def tar_file(members: Mapping[str, bytes], *, kind: bytes = b"0", magic: bytes = b"ustar  \0", end: int = 2) -> bytes:
    """An uncompressed tar of regular files, or of members of another kind, with `end` blocks of zeros."""
    out = bytearray()
    for member, data in members.items():
        out += tar_header(member.encode(), len(data), kind, magic) + data + bytes(-len(data) % BLOCK)
    return bytes(out) + bytes(end * BLOCK)


def tar_header(member: bytes, size: int, kind: bytes = b"0", magic: bytes = b"ustar  \0") -> bytes:
    """One header block with its checksum."""
    fields = (member, b"0000644\0", b"0000000\0", b"0000000\0", b"%011o\0" % size, b"00000000000\0", b" " * 8, kind,
              b"", magic)  # fmt: skip
    block = struct.pack("<100s8s8s8s12s12s8s1s100s8s", *fields).ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def tar_storage(key: int, data: bytes, cls: str = "FloatStorage", item: int = 4, location: str = "cpu") -> bytes:
    """One entry of the member ``storages``."""
    head = pickled(many(integer(key), text(location), name("torch", cls)))
    return head + struct.pack("<q", len(data) // item) + data


def tar_tensor(key: int, storage: int, shape: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    """One entry of the member ``tensors``."""
    head = pickled(many(integer(key), integer(storage), name("torch", "FloatTensor")))
    dims = len(shape)
    return head + struct.pack(f"<i4x{dims}q{dims}qq", dims, *shape, *stride, offset)


def torch_tar(
    pickle: bytes, tensors: list[bytes], storages: list[bytes], views: bytes = b"]", **layout: object
) -> bytes:
    """What torch 0.1 wrote."""
    members = {
        "sys_info": pickled(mapped((text("protocol_version"), integer(1000)))),
        "pickle": pickle,
        "tensors": pickled(integer(len(tensors))) + b"".join(tensors),
        "storages": pickled(integer(len(storages))) + b"".join(storages) + pickled(views),
    }
    return tar_file(members, **layout)  # type: ignore[arg-type]


def script_module(cls: tuple[str, str], *attributes: tuple[bytes, bytes]) -> bytes:
    """A TorchScript module: GLOBAL, NEWOBJ, a dict of attributes, BUILD."""
    return name(*cls) + b")\x81" + mapped(*attributes) + b"b"


def script_tensor(key: str, numel: int, *, grad: bool = False, location: str = "cpu") -> bytes:
    """A float32 vector as torch.jit.save pickles it."""
    storage = many(text("storage"), name("torch", "FloatStorage"), text(key), text(location), integer(numel)) + b"Q"
    flag = b"\x88" if grad else b"\x89"
    shape, stride = many(integer(numel)), many(integer(1))
    return call(name("torch._utils", "_rebuild_tensor_v2"), storage, integer(0), shape, stride, flag, HOOKS)


CODE = """class Net(Module):
  __parameters__ = ["weight", ]
  __buffers__ = []
  weight : Tensor
  epoch : int
"""


def torchscript(
    pickle: bytes,
    storages: Mapping[str, bytes],
    *,
    constants: bytes = pickled(b")"),
    code: Mapping[str, str] | None = None,
    more: Mapping[str, bytes] | None = None,
) -> bytes:
    """What torch.jit.save writes, its code deflated."""
    inner = {f"data/{key}": data for key, data in storages.items()}
    inner["data.pkl"] = pickle
    programs = {f"code/{path}": program.encode() for path, program in (code or {"__torch__.py": CODE}).items()}
    inner.update({**programs, "constants.pkl": constants, "version": b"3\n", "byteorder": b"little", **(more or {})})
    return zip_file({f"net/{path}": data for path, data in inner.items()}, deflate=tuple(f"net/{p}" for p in programs))


def package(pickles: Mapping[str, bytes], storages: Mapping[str, bytes], **more: bytes) -> bytes:
    """What torch.package's exporter writes."""
    records = {f"p/.data/{key}.storage": data for key, data in storages.items()}
    records.update({f"p/{path}": data for path, data in pickles.items()})
    records.update({f"p/{path}": data for path, data in more.items()})
    records.update({"p/.data/extern_modules": b"torch\n", "p/.data/version": b"6\n", "p/byteorder": b"little"})
    return zip_file(records)


def weight_config(path: str, shape: tuple[int, ...], stride: tuple[int, ...], **changes: object) -> dict[str, object]:
    """One entry of a weights configuration."""
    meta: dict[str, object] = {
        "dtype": 7,
        "sizes": [{"as_int": size} for size in shape],
        "strides": [{"as_int": step} for step in stride],
        "storage_offset": {"as_int": 0},
        "requires_grad": True,
        "device": {"type": "cpu", "index": None},
        "layout": 7,
    }
    meta.update(changes)
    return {"path_name": path, "is_param": True, "use_pickle": False, "tensor_meta": meta}


def exported(
    config: Mapping[str, object],
    records: Mapping[str, bytes],
    *,
    constants: Mapping[str, object] | None = None,
    **more: bytes,
) -> bytes:
    """What torch.export.save writes since 2.8; `records` are below ``data/weights/``."""
    inner = {f"data/weights/{path}": data for path, data in records.items()}
    inner["data/weights/model_weights_config.json"] = json.dumps({"config": config}).encode()
    inner["data/constants/model_constants_config.json"] = json.dumps({"config": constants or {}}).encode()
    inner.update(
        {"models/model.json": b"{}", "archive_format": b"pt2", "archive_version": b"0", "byteorder": b"little"}
    )
    inner.update({**more, ".data/version": b"6\n"})
    return zip_file({f"m/{path}": data for path, data in inner.items()})
