"""Which program wrote a file, where its first bytes or the names of a zip's records say it. FORMATS section 1.

Kept apart from the readers, which only few files need.
"""

from __future__ import annotations

from ckpt_viewer.formats.base import Head
from ckpt_viewer.formats.zip_directory import ZipDirectory

TAR_MEMBERS = (b"sys_info", b"pickle", b"tensors", b"storages")
"""What the tar of torch 0.1 holds, in any order."""


def is_torch_tar(head: Head) -> bool:
    """Whether a file is the tar of torch 0.1. One that is a pickle too is taken here, and refused when it is opened."""
    name = head.data[:100].rstrip(b"\0")
    if name in TAR_MEMBERS:
        return True
    if name[:1] != b"\x80" or head.data[257:262] != b"ustar":
        return False
    from ckpt_viewer.formats.tar_members import BLOCK, parse_header

    return parse_header(head.data[:BLOCK]) is not None


def is_shard_index(head: Head) -> bool:
    """Whether a file is the index of a sharded set: a JSON object with a ``weight_map``."""
    return head.data.lstrip(b" \t\n\r").startswith(b"{") and b'"weight_map"' in head.data


def holds_torchscript(archive: ZipDirectory) -> bool:
    """torch.jit.save: ``constants.pkl`` is torch's own test; until torch 1.3 a ``model.json`` instead."""
    if archive.get("constants.pkl") is not None:
        return archive.get("data.pkl") is not None
    return archive.get("model.json") is not None and archive.get("version") is not None


def holds_export(archive: ZipDirectory) -> bool:
    """torch.export.save, since 2.8 with ``archive_format``, before without a root folder."""
    return archive.get("archive_format") is not None or "serialized_exported_program.json" in archive.records


def holds_package(archive: ZipDirectory) -> bool:
    """torch.package: torch's own records are in ``.data``, and no ``data.pkl`` is there."""
    if archive.get("data.pkl") is not None:
        return False
    return archive.get(".data/extern_modules") is not None or archive.get(".data/version") is not None


def holds_files(archive: ZipDirectory) -> bool:
    """Whether it may be an ordinary zip; asked last of all."""
    return bool(archive.records)
