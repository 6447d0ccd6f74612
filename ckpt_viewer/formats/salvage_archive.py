"""What is left of an archive whose parts come before what describes them: TorchScript, packages, ``.pt2``, any zip.

torch.save puts the pickle first (see `salvage_zip`); these put it behind the bytes of the tensors. So the directory is
rebuilt from local headers, and read as ever. Where the file ends before names and shapes, or within them, the bytes of
the tensors without a name are all that is left of those, and they are shown as such.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from collections.abc import Mapping as Table

from ckpt_viewer.core.outline import build_outline
from ckpt_viewer.core.tensor import Bytes, StorageSpec, TensorSpec
from ckpt_viewer.core.value import Instance, Mapping
from ckpt_viewer.errors import CheckpointError, NotACheckpoint, Truncated
from ckpt_viewer.formats.base import Inside, Opened, Salvaged, ZipFormat, described
from ckpt_viewer.formats.export_weights import UNFINISHED
from ckpt_viewer.formats.rebuilt import RebuiltDirectory
from ckpt_viewer.formats.torch_zip import Records

_STORAGES = ("data/", ".data/", "constants/", "tensors/")
"""Folders in which torch puts bytes of tensors."""
_NO_STORAGES = ("extern_modules", "python_version", "version", "serialization_id", ".json", ".pkl", ".pt")


def salvage(source: Bytes, inside: Inside, formats: Table[str, ZipFormat]) -> Salvaged:
    """Rebuild the directory, and read what it holds.

    Args:
        formats: the zip formats by their names.

    Raises:
        CheckpointError: nothing of it can be read. Cancelled: by the context.
    """
    archive = RebuiltDirectory(source, inside)
    name = _kind(archive)
    wanted = None if archive.has_end else archive.least_size
    nameless = _bytes_of(archive, inside)
    try:
        opened = formats[name].read(archive, inside._replace(salvage=True))
    except CheckpointError as error:
        if nameless is not None:
            return Salvaged(nameless, wanted, "at least ", name, nameless=True)
        if isinstance(error, NotACheckpoint) and wanted is not None:  # what makes it one may be what is missing
            raise Truncated("the archive", wanted=source.size + 1, found=source.size, offset=0) from error
        raise
    if not archive.cut_names and not any(note.code == UNFINISHED for note in opened.notes):
        return Salvaged(opened, wanted, "at least ", name)
    if nameless is not None and not opened.unpickled.storages:
        return Salvaged(nameless, wanted, "at least ", name, nameless=True)
    _add_nameless(opened, archive, inside)
    return Salvaged(opened, wanted, "at least ", name, open_end=True)


def _below_root(archive: RebuiltDirectory) -> list[str]:
    base = f"{archive.root}/" if archive.root else ""
    return [name.removeprefix(base) for name in archive.records]


def _kind(archive: RebuiltDirectory) -> str:
    """Return the name of the format that the records tell of, of which the decisive ones may be lost."""
    names = _below_root(archive)

    def has(*starts: str) -> bool:
        return any(name.startswith(starts) for name in names)

    if has("data/weights/", "data/constants/", "models/", "serialized_", "archive_format"):
        return "torch-export"
    if "data.pkl" not in names and has(".data/"):
        return "torch-package"
    if has("code/", "constants.pkl", "model.json") or (has("data/") and not has("data.pkl")):
        return "torchscript"
    if "data.pkl" in names:
        return "torchscript" if _behind_storages(names) else "torch-zip"
    return "zip"


def _behind_storages(names: Iterable[str]) -> bool:
    """Whether the pickle stands behind bytes of tensors, as TorchScript's does."""
    return next((name for name in names if name == "data.pkl" or name.startswith("data/")), "data.pkl") != "data.pkl"


def _bytes_of(archive: RebuiltDirectory, inside: Inside, known: Container[str] = ()) -> Opened | None:
    """Return the records with bytes of tensors, each as a vector of uint8; None if there are none.

    Args:
        known: names of the records that are left out.
    """
    root, home = Mapping(), Records(archive, inside.prefix, "")
    storages: dict[str, StorageSpec] = {}
    base = f"{archive.root}/" if archive.root else ""
    for path, record in archive.records.items():
        name = path.removeprefix(base)
        if name.startswith(_STORAGES) and not name.endswith(_NO_STORAGES) and record.size and path not in known:
            storages[name] = StorageSpec(name, None, "uint8", record.size, home)
            root.pairs += (name, TensorSpec(storages[name], "uint8", (record.size,), (1,)))
    return Opened(described(root, storages)) if storages else None


def _add_nameless(opened: Opened, archive: RebuiltDirectory, inside: Inside) -> None:
    """Put beside what was described the bytes of storages that are not: the file ends before it comes to them."""
    root, known = opened.unpickled.value, set[str]()
    for _, tensor in build_outline(root, inside.context).tensors():
        storage = tensor.storage
        if storage is not None and isinstance(storage.home, Records) and (record := storage.home.record(storage.key)):
            known.add(record.name)
    others = _bytes_of(archive, inside, known)
    if others is not None and isinstance(root, Mapping | Instance) and isinstance(others.unpickled.value, Mapping):
        root.pairs += others.unpickled.value.pairs
