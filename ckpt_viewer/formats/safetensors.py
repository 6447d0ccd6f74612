"""safetensors: the length of a JSON header, the header, and the bytes of the tensors one after another.

FORMATS section 1.9. As strict as the reference reader (safetensors/src/tensor.rs), and stricter in one thing: a name
that comes twice is refused, since readers disagree on which of the two counts (hazard H17).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.finding import Note
from ckpt_viewer.core.forms import StorageForm, TensorForm, storage_form, tensor_form
from ckpt_viewer.core.progress import Context, stepped
from ckpt_viewer.core.tensor import Bytes, Extent, StorageSpec, TensorSpec
from ckpt_viewer.core.value import Mapping
from ckpt_viewer.errors import Damaged, Lost, OverBudget, Truncated
from ckpt_viewer.formats.base import HEAD_BYTES, Head, Inside, Opened, Salvaged, described

if TYPE_CHECKING:
    from ckpt_viewer.formats.safetensors_header import Kind, Table

HEADER_LIMIT = 100_000_000
"""Bytes of the largest header, as in the reference reader."""
OTHER_NAME = "torch.load recognises a safetensors file by its name only, which has to end in .safetensors"
_PREFIX = 8


class Safetensors:
    """One safetensors file."""

    name = "safetensors"

    def matches(self, head: Head) -> bool:
        """A length, and behind it what a JSON object begins with."""
        first, behind = head.data[:_PREFIX], head.data[_PREFIX:].lstrip(b" \t\n\r")
        if int.from_bytes(first, "little") not in range(1, HEADER_LIMIT + 1) and not any(
            byte == 0 or byte > 127 for byte in first
        ):
            return False  # a text with a brace in that place
        return behind.startswith(b"{") or (not behind and len(head.data) == HEAD_BYTES)

    def open(self, source: Bytes, context: Context, *, depth: int = 0, prefix: str = "") -> Opened:
        """Read the header; raises CheckpointError."""
        del depth
        opened, end = _read(source, context, prefix)
        _check_size(end, source)
        return opened

    def salvage(self, source: Bytes, inside: Inside) -> Salvaged:
        """Read the header, which says of each tensor whether the file reaches far enough; raises CheckpointError."""
        try:
            opened, end = _read(source, inside.context, inside.prefix)
        except Truncated as error:
            return _beginning(source, inside, error)
        return Salvaged(opened, end if end > source.size else None)


def _read(source: Bytes, context: Context, prefix: str) -> tuple[Opened, int]:
    """Return what the header describes, and where the file should end."""
    from ckpt_viewer.formats.safetensors_header import read_header  # compiles more than other files are worth

    raw = _header(source)
    base = _PREFIX + len(raw)
    table, metadata = read_header(raw, context)
    end = base + table.check(context)
    return _opened(table, metadata, _Data(source, base, table, prefix), context), end


def _beginning(source: Bytes, inside: Inside, cut: Truncated) -> Salvaged:
    """Return what a header names that the file ends in; raises `cut` where that is nothing."""
    from ckpt_viewer.formats.safetensors_header import read_beginning

    if source.size <= _PREFIX:
        raise cut
    table, metadata = read_beginning(source.read_at(_PREFIX, source.size - _PREFIX), inside.context)
    if not table.rows:
        raise cut
    base = cut.offset + cut.wanted
    opened = _opened(table, metadata, _Data(source, base, table, inside.prefix), inside.context)
    return Salvaged(opened, base + max(table.ends), "at least ", open_end=True)


def _check_size(end: int, source: Bytes) -> None:
    if end > source.size:
        raise Truncated("the file", wanted=end, found=source.size, offset=0)
    if end < source.size:
        raise Damaged(
            f"{source.size - end} bytes follow the last tensor, where the file should end; copy or download it again"
        )


def _header(source: Bytes) -> bytes:
    """Return the bytes of the header; raises OverBudget, Truncated."""
    length = int.from_bytes(source.read_at(0, _PREFIX), "little")
    if length > HEADER_LIMIT:
        raise OverBudget(
            f"it announces a safetensors header of {length} bytes, and the format allows {HEADER_LIMIT}; "
            "copy or download the file again"
        )
    if length > source.size - _PREFIX:
        raise Truncated("the safetensors header", wanted=length, found=source.size - _PREFIX, offset=_PREFIX)
    return source.read_at(_PREFIX, length)


class _Data:
    """Where the bytes of each tensor lie."""

    def __init__(self, source: Bytes, base: int, table: Table, prefix: str) -> None:
        self.source, self.base, self.prefix = source, base, prefix
        self._rows, self._begins, self._ends = table.rows, table.begins, table.ends

    def extent(self, key: str) -> Extent:
        """Return where the bytes of a tensor lie; raises Lost where the file ends before."""
        row = self._rows[key]
        begin, end = self._begins[row], self._ends[row]
        if self.base + end > self.source.size:
            raise Lost(
                f"tensor {key[:100]!a} needs the file up to byte {self.base + end}, and it ends at {self.source.size}; "
                "copy or download the file again"
            )
        return Extent(self.source, self.base + begin, end - begin)


def _opened(table: Table, metadata: Mapping | None, data: _Data, context: Context) -> Opened:
    """Return the tree: one dict of tensors, with the file's metadata as an attribute of it."""
    root, unaligned = Mapping(), 0
    if metadata is not None:
        root.state = Mapping()
        root.state.pairs += ("__metadata__", metadata)
    kinds, begins, base, new = table.kinds, table.begins, data.base, object.__new__
    forms: dict[int, tuple[int, StorageForm, TensorForm]] = {}  # by id of the kind, of which there are few
    for name, row in stepped(table.rows.items(), context):
        kind = kinds[row]
        form = forms.get(id(kind))
        if form is None:
            form = forms[id(kind)] = _form(kind)
        storage, tensor = new(StorageSpec), new(TensorSpec)
        storage.form, storage.key, storage.home = form[1], name, data
        tensor.storage, tensor.form, tensor.extra = storage, form[2], None
        root.pairs += (name, tensor)
        unaligned += (base + begins[row]) % form[0] != 0
    notes: tuple[Note, ...] = ()
    if unaligned:
        message = f"tensors do not begin at a multiple of their item size, so programs have to copy them: {unaligned}"
        notes = (Note("info", "unaligned-data", None, message),)
    refused = "" if data.source.name.endswith(".safetensors") else OTHER_NAME
    return Opened(described(root), notes, refused=refused, state_dict=True)


def _form(kind: Kind) -> tuple[int, StorageForm, TensorForm]:
    """Return the item size of tensors of one kind, in bytes, and what they and their storages have in common."""
    item = DTYPES[kind.storage].itemsize if kind.storage else 1
    in_file = storage_form(None, kind.storage, kind.nbytes // item)
    return item, in_file, tensor_form(kind.dtype, kind.shape, kind.stride, 0, False, "torch.Tensor")
