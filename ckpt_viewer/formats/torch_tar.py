"""The tar that torch wrote before 0.1.12: members ``pickle``, ``tensors``, ``storages`` and ``sys_info``.

FORMATS section 1.4. Source: `legacy_load` in torch/serialization.py.
"""

from __future__ import annotations

import re
import struct

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.finding import GlobalUse, Note, merge_into, merged
from ckpt_viewer.core.path import python_repr
from ckpt_viewer.core.tensor import Bytes, Extent, StorageSpec, TensorSpec
from ckpt_viewer.core.value import Global, Value
from ckpt_viewer.errors import Damaged, Truncated
from ckpt_viewer.formats.base import Inside, NestedOpener, Opened
from ckpt_viewer.formats.tar_members import Member, read_members
from ckpt_viewer.formats.torch_zip import PICKLE_LIMIT
from ckpt_viewer.sources import SliceSource, backing
from ckpt_viewer.unpickle.geometry import problem, sizes
from ckpt_viewer.unpickle.machine import Machine
from ckpt_viewer.unpickle.reader import PickleReader, Unpickled, with_source
from ckpt_viewer.unpickle.storages import ViewHome, storage_dtype
from ckpt_viewer.unpickle.weights_only import TAR

_WINDOW = 512
_SMALL_PICKLE = 1 << 16
"""Bytes of the largest pickle in front of a storage's data."""
_LIST_LIMIT = 1 << 26
_KEY = rb"(K.|M..|J....|\x8a\x04.{4}|\x8a\x05.{5}|\x8a\x06.{6}|\x8a\x07.{7}|\x8a\x08.{8})"
_CLASS = rb"c(torch(?:\.cuda)?)\n(\w+)\n(?:q.)?(?:\x87|t)(?:q.)?\."
_STORAGE = re.compile(rb"\x80\x02\(?" + _KEY + rb"(?:X(.)\0\0\0|U(.))([a-z0-9:]{2,40})(?:q.)?" + _CLASS, re.DOTALL)
_TENSOR = re.compile(rb"\x80\x02\(?" + _KEY + _KEY + _CLASS, re.DOTALL)
"""The pickle in front of a storage or a tensor, as torch wrote it; anything else is read by the machine."""


def read(source: Bytes, inside: Inside, nested: NestedOpener | None) -> Opened:
    """Read the tree; raises CheckpointError."""
    if source.read_at(0, 1) == b"\x80":
        raise Damaged("the file is a tar archive and a pickle at once, so programs disagree about what is in it")
    members, end = read_members(source, inside.context)
    for needed in ("pickle", "storages"):
        if needed not in members:
            raise Damaged(f"the tar archive has no member {needed!r}; copy or download the file again")
    archive = _Archive(source, inside)
    archive.read_storages(members["storages"])
    if "tensors" in members:
        archive.read_tensors(members["tensors"])
    if members["pickle"].size > PICKLE_LIMIT:
        raise Damaged("its pickle is larger than any that torch wrote")
    read = archive.read_object(members["pickle"], nested)
    uses = merged((*read.globals, *archive.uses.values()))
    notes = [*archive.notes]
    if end < source.size:
        notes.append(
            Note("warning", "trailing-bytes", None, f"{source.size - end} bytes follow the end of the archive")
        )
    return Opened(
        read._replace(globals=uses, refused=TAR.reason, says=TAR.message, storages=archive.storages), tuple(notes)
    )


class _Archive:
    """What the members say.

    Attributes:
        objects: what the numbers in the object's pickle stand for, storages and tensors alike.
        storages: by key. places: of their bytes, offset from the start of the file and length.
        uses: the names in the small pickles. notes: what was noticed.
    """

    def __init__(self, source: Bytes, inside: Inside) -> None:
        self.source, self.inside, self.prefix = source, inside, inside.prefix
        self.objects: dict[int, Value] = {}
        self.storages: dict[str, StorageSpec] = {}
        self.places: dict[str, tuple[int, int]] = {}
        self.uses: dict[str, GlobalUse] = {}
        self.notes: list[Note] = []

    def extent(self, key: str) -> Extent:
        """Return where the bytes of a storage lie; raises Damaged if there is none of that name."""
        if key not in self.places:
            raise Damaged(f"storage {key!r} is not in the archive; copy or download the file again")
        offset, nbytes = self.places[key]
        return Extent(self.source, offset, nbytes)

    def read_storages(self, member: Member) -> None:
        """Read ``storages``: a count, each storage's (key, location, class), element count and data, and a list."""
        stream = _Stream(SliceSource(self.source, member.offset, member.size, member.name), self)
        for number in range(stream.count("storages")):
            self.inside.context.step(number, 0)
            key, location, dtype = stream.storage() or self._storage_head(stream.pickle())
            numel = stream.number("<q")
            nbytes = numel * (DTYPES[dtype].itemsize if dtype else 1)
            if numel < 0 or stream.at + nbytes > stream.source.size:
                raise Damaged(f"storage {key} of {numel} elements does not fit into the archive")
            self.places[str(key)] = (member.offset + stream.at, nbytes)
            self._add(key, StorageSpec(str(key), location, dtype, numel, self, len(self.storages)))
            stream.at += nbytes
        if stream.at < stream.source.size:  # some writers leave the list of views away
            self._read_views(stream.pickle(_LIST_LIMIT))

    def _storage_head(self, value: Value) -> tuple[int, str, str]:
        if type(value) is tuple and len(value) == 3:
            key, location, cls = value
            dtype = storage_dtype(cls.module, cls.name) if isinstance(cls, Global) else None
            if (number := _number(key)) is not None and type(location) is str and dtype is not None:
                return number, location, dtype
        raise Damaged("the tar archive has a storage without key, location and class; it is damaged")

    def _add(self, key: int, value: Value) -> None:
        if key in self.objects:
            raise Damaged(f"the tar archive describes object {key} twice; it is damaged or hostile")
        self.objects[key] = value
        if isinstance(value, StorageSpec):
            self.storages[value.key] = value

    def _read_views(self, views: Value) -> None:
        """Take in the storages that are parts of others: (key, key of the whole, offset, elements)."""
        for view in views if isinstance(views, list) else (None,):
            if type(view) is not tuple or len(view) != 4:
                raise Damaged("the tar archive has a list of views that is none; it is damaged")
            key, root_key, offset, numel = map(_number, view)
            root = self.objects.get(root_key) if root_key is not None else None
            if key is None or offset is None or numel is None or not isinstance(root, StorageSpec):
                raise Damaged("the tar archive has a view of a storage that is not there; it is damaged")
            if offset + numel > root.numel:
                raise Damaged(f"storage view {key} reaches beyond storage {root.key}")
            home = ViewHome(root, offset * (DTYPES[root.dtype].itemsize if root.dtype else 1))
            self._add(key, StorageSpec(str(key), root.location, root.dtype, numel, home, root.order))

    def read_tensors(self, member: Member) -> None:
        """Read ``tensors``: a count, and each tensor's (key, storage's key, class), dimensions and offset."""
        stream = _Stream(SliceSource(self.source, member.offset, member.size, member.name), self)
        for number in range(stream.count("tensors")):
            self.inside.context.step(number, 0)
            head = stream.tensor() or stream.pickle()
            if type(head) is not tuple or len(head) != 3 or (key := _number(head[0])) is None:
                raise Damaged("the tar archive has a tensor without key, storage and class; it is damaged")
            dims = stream.number("<i4x")
            if not 0 <= dims <= 64:
                raise Damaged(f"the tar archive has a tensor of {dims} dimensions; it is damaged")
            size, stride = stream.numbers(dims), stream.numbers(dims)
            self._add(key, self._tensor(key, head[1], size, stride, stream.number("<q")))

    def _tensor(self, key: int, storage_key: Value, size: Value, stride: Value, offset: int) -> TensorSpec:
        number = _number(storage_key)
        storage = self.objects.get(number) if number is not None else None
        shape, strides = sizes(size), sizes(stride)
        if not isinstance(storage, StorageSpec) or shape is None or strides is None or offset < 0:
            raise Damaged(f"the tar archive has a tensor {key} without a storage or with absurd sizes; it is damaged")
        dtype = storage.dtype or "uint8"
        wrong = problem(storage, dtype, offset, shape, strides)
        if wrong:
            raise Damaged(f"tensor {key} cannot be read: {wrong}")
        return TensorSpec(storage, dtype, shape, strides, offset)

    def read_object(self, member: Member, nested: NestedOpener | None) -> Unpickled:
        """Read ``pickle``, which refers to tensors and storages by number."""
        data = self.source.read_at(member.offset, member.size)
        reader = PickleReader(data, self, context=self.inside.context, depth=self.inside.depth, nested=nested,
                              justified=backing(self.source), place="pickle", refer=self._refer)  # fmt: skip
        reader.storages.update(self.storages)
        reader.machine.ids_in_calls = True
        return reader.read(0)

    def _refer(self, machine: Machine, pid: Value) -> Value | None:
        """A number is a tensor or a storage; (class, file, source) is a class whose source was kept for people."""
        del machine
        if type(pid) is tuple and len(pid) == 3 and isinstance(pid[0], Global):
            return with_source(*pid)
        number = _number(pid)
        if number is not None and number not in self.objects:
            raise Damaged(f"the pickle refers to object {number}, which is not in the tar archive")
        return self.objects[number] if number is not None else None


def _number(value: Value) -> int | None:
    """Return a key, which is an int or its decimal text; None for anything else."""
    if type(value) is str and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    return value if type(value) is int and 0 <= value < 1 << 64 else None


def _pushed(opcode: bytes) -> int:
    """Return the number that an opcode pushes."""
    start = 2 if opcode[:1] == b"\x8a" else 1
    return int.from_bytes(opcode[start:], "little", signed=start == 2 or len(opcode) == 5)


class _Stream:
    """Pickles and numbers one after another."""

    def __init__(self, source: Bytes, archive: _Archive) -> None:
        self.source, self.archive, self.at = source, archive, 0

    def storage(self) -> tuple[int, str, str] | None:
        """Return (key, location, dtype) where the next pickle has torch's form; there may be 100,000 of them."""
        found = _STORAGE.match(self.source.read_at(self.at, min(_WINDOW, self.source.size - self.at)))
        if found is None or (found[2] or found[3])[0] != len(found[4]):
            return None
        module, name = found[5].decode(), found[6].decode("utf-8", "replace")
        key, dtype = _pushed(found[1]), storage_dtype(module, name)
        if dtype is None or key < 0:
            return None
        self._named(module, name)
        self.at += found.end()
        return key, found[4].decode(), dtype

    def tensor(self) -> tuple[Value, ...] | None:
        """Return (key, storage's key, class) where the next pickle has torch's form."""
        found = _TENSOR.match(self.source.read_at(self.at, min(_WINDOW, self.source.size - self.at)))
        if found is None:
            return None
        module, name = found[3].decode(), found[4].decode("utf-8", "replace")
        if not name.endswith("Tensor"):
            return None
        self._named(module, name)
        self.at += found.end()
        return _pushed(found[1]), _pushed(found[2]), name

    def _named(self, module: str, name: str) -> None:
        """Let the machine judge a name once."""
        if f"{module}.{name}" not in self.archive.uses:
            word = f"\x80\x02c{module}\n{name}\n.".encode("latin-1")
            read = PickleReader(word, self.archive, place=self.source.name).read(0)
            merge_into(self.archive.uses, read.globals)

    def pickle(self, limit: int = _SMALL_PICKLE) -> Value:
        """Return the value of the next pickle; raises Damaged if it is longer than `limit` or refers to objects."""
        window = _WINDOW
        while True:
            size = min(window, self.source.size - self.at)
            try:
                read = PickleReader(self.source.read_at(self.at, size), self.archive, place=self.source.name).read(0)
                break
            except Truncated:
                if size < window or window >= limit:
                    raise
                window *= 8
        merge_into(self.archive.uses, read.globals)
        self.at += read.end
        return read.value

    def count(self, what: str) -> int:
        """Return how many follow; raises Damaged where they could not be in the member."""
        value = self.pickle()
        if type(value) is not int or not 0 <= value <= self.source.size // 8:
            raise Damaged(f"the tar archive states {python_repr(value)} {what}; it is damaged")
        return value

    def number(self, layout: str) -> int:
        """Return the next number in a layout of `struct`."""
        size = struct.calcsize(layout)
        value: int = struct.unpack(layout, self.source.read_at(self.at, size))[0]
        self.at += size
        return value

    def numbers(self, count: int) -> tuple[int, ...]:
        """Return so many 64-bit numbers."""
        data = self.source.read_at(self.at, 8 * count)
        self.at += 8 * count
        return struct.unpack(f"<{count}q", data)
