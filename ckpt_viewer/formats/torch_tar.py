"""The tar that torch wrote before 0.1.12: members ``pickle``, ``tensors``, ``storages`` and ``sys_info``.

FORMATS section 1.4. Source: `legacy_load` in torch/serialization.py.
"""

from __future__ import annotations

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.finding import GlobalUse, Note, merge_into, merged
from ckpt_viewer.core.tensor import Bytes, Extent, StorageSpec, TensorSpec
from ckpt_viewer.core.value import Global, Value
from ckpt_viewer.errors import Damaged
from ckpt_viewer.formats.base import Inside, NestedOpener, Opened
from ckpt_viewer.formats.tar_members import Member, read_members
from ckpt_viewer.formats.tar_stream import Stream, number_of
from ckpt_viewer.formats.torch_zip import PICKLE_LIMIT
from ckpt_viewer.sources import backing
from ckpt_viewer.unpickle.geometry import problem, sizes
from ckpt_viewer.unpickle.machine import Machine
from ckpt_viewer.unpickle.reader import PickleReader, Unpickled, with_source
from ckpt_viewer.unpickle.storages import ViewHome, storage_dtype
from ckpt_viewer.unpickle.weights_only import TAR

_LIST_LIMIT, _LOOK = 1 << 26, 1 << 20
"""Bytes of the longest list of views, and those of all further members that are looked through."""


def read(source: Bytes, inside: Inside, nested: NestedOpener | None) -> Opened:
    """Read the tree; raises CheckpointError."""
    refuse_pickle(source)
    members, end = read_members(source, inside.context)
    for needed in ("pickle", "storages"):
        if needed not in members:
            raise Damaged(f"the tar archive has no member {needed!r}; copy or download the file again")
    archive = Archive(source, inside)
    archive.read_storages(members["storages"])
    if "tensors" in members:
        archive.read_tensors(members["tensors"])
    archive.look_into([member for name, member in members.items() if name not in ("pickle", "storages", "tensors")])
    opened = archive.opened(archive.read_object(members["pickle"], nested))
    if end == source.size:
        return opened
    behind = Note("warning", "trailing-bytes", None, f"{source.size - end} bytes follow the end of the archive")
    return opened._replace(notes=(*opened.notes, behind))


def refuse_pickle(source: Bytes) -> None:
    """Raise Damaged where a tar begins like a pickle."""
    if source.read_at(0, 1) == b"\x80":
        raise Damaged("the file is a tar archive and a pickle at once, so programs disagree about what is in it")


class Archive:
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
        stream = Stream(self.source, member, self, self.uses)
        self.read_data(stream)
        self.read_views(stream)

    def read_data(self, stream: Stream) -> None:
        """Read the storages, up to the list of views."""
        for number in range(stream.count("storages")):
            self.inside.context.step(number, 0)
            key, location, dtype = stream.storage() or self._storage_head(stream.pickle())
            numel = stream.number("<q")
            nbytes = numel * (DTYPES[dtype].itemsize if dtype else 1)
            if numel < 0 or stream.at + nbytes > stream.size:
                raise Damaged(f"storage {key} of {numel} elements does not fit into the archive")
            self.places[str(key)] = (stream.source.offset + stream.at, nbytes)
            self._add(key, StorageSpec(str(key), location, dtype, numel, self))
            stream.at += nbytes

    def _storage_head(self, value: Value) -> tuple[int, str, str]:
        if type(value) is tuple and len(value) == 3:
            key, location, cls = value
            dtype = storage_dtype(cls.module, cls.name) if isinstance(cls, Global) else None
            if (number := number_of(key)) is not None and type(location) is str and dtype is not None:
                return number, location, dtype
        raise Damaged("the tar archive has a storage without key, location and class; it is damaged")

    def _add(self, key: int, value: Value) -> None:
        if key in self.objects:
            raise Damaged(f"the tar archive describes object {key} twice; it is damaged or hostile")
        self.objects[key] = value
        if isinstance(value, StorageSpec):
            self.storages[value.key] = value

    def read_views(self, stream: Stream) -> None:
        """Take in the storages that are parts of others: (key, key of the whole, offset, elements)."""
        if stream.at >= stream.size:  # some writers leave the list away
            return
        views = stream.pickle(_LIST_LIMIT)
        for view in views if isinstance(views, list) else (None,):
            if type(view) is not tuple or len(view) != 4:
                raise Damaged("the tar archive has a list of views that is none; it is damaged")
            key, root_key, offset, numel = map(number_of, view)
            root = self.objects.get(root_key) if root_key is not None else None
            if key is None or offset is None or numel is None or not isinstance(root, StorageSpec):
                raise Damaged("the tar archive has a view of a storage that is not there; it is damaged")
            if offset + numel > root.numel:
                raise Damaged(f"storage view {key} reaches beyond storage {root.key}")
            home = ViewHome(root, offset * (DTYPES[root.dtype].itemsize if root.dtype else 1))
            self._add(key, StorageSpec(str(key), root.location, root.dtype, numel, home))

    def read_tensors(self, member: Member) -> None:
        """Read ``tensors``: a count, and each tensor's (key, storage's key, class), dimensions and offset."""
        stream = Stream(self.source, member, self, self.uses)
        for number in range(stream.count("tensors")):
            self.inside.context.step(number, 0)
            head = stream.tensor() or stream.pickle()
            if type(head) is not tuple or len(head) != 3 or (key := number_of(head[0])) is None:
                raise Damaged("the tar archive has a tensor without key, storage and class; it is damaged")
            dims = stream.number("<i4x")
            if not 0 <= dims <= 64:
                raise Damaged(f"the tar archive has a tensor of {dims} dimensions; it is damaged")
            size, stride = stream.numbers(dims), stream.numbers(dims)
            self._add(key, self._tensor(key, head, size, stride, stream.number("<q")))

    def _tensor(self, key: int, head: tuple[Value, ...], size: Value, stride: Value, offset: int) -> TensorSpec:
        shape, strides = sizes(size), sizes(stride)
        if shape is None or strides is None or offset < 0:
            raise Damaged(f"the tar archive has a tensor {key} with absurd sizes; it is damaged")
        storage = self.storage_of(head, offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=False)) + 1)
        if storage is None:
            raise Damaged(f"the tar archive has a tensor {key} without a storage; it is damaged")
        dtype = storage.dtype or "uint8"
        wrong = problem(storage, dtype, offset, shape, strides)
        if wrong:
            raise Damaged(f"tensor {key} cannot be read: {wrong}")
        return TensorSpec(storage, dtype, shape, strides, offset)

    def storage_of(self, head: tuple[Value, ...], span: int) -> StorageSpec | None:
        """Return the storage of a tensor, None where there is none.

        Args:
            head: the tensor's (key, storage's key, class). span: elements from the storage's start that it reaches to.
        """
        del span
        number = number_of(head[1])
        storage = self.objects.get(number) if number is not None else None
        return storage if isinstance(storage, StorageSpec) else None

    def read_object(self, member: Member, nested: NestedOpener | None) -> Unpickled:
        """Read ``pickle``, which refers to tensors and storages by number."""
        return self.object_reader(member, nested).read(0)

    def object_reader(self, member: Member, nested: NestedOpener | None) -> PickleReader:
        """Return what reads as much of ``pickle`` as there is; raises Damaged where it is absurdly large."""
        if member.size > PICKLE_LIMIT:
            raise Damaged("its pickle is larger than any that torch wrote")
        data = self.source.read_at(member.offset, min(member.size, self.source.size - member.offset))
        reader = PickleReader(data, self, context=self.inside.context, depth=self.inside.depth, nested=nested,
                              justified=backing(self.source), place="pickle", refer=self._refer)  # fmt: skip
        reader.storages.update(self.storages)
        reader.machine.ids_in_calls = True
        return reader

    def look_into(self, others: list[Member]) -> None:
        """List the names in members that torch does not read, and tell of pickles that do not belong here."""
        left = _LOOK
        for member in others:
            size = min(member.size, left)
            data = self.source.read_at(member.offset, size)
            if data[:1] != b"\x80":
                continue
            from ckpt_viewer.formats.behind import look_into

            left -= size
            notes, uses = look_into(member.name, data, self.inside.context, min(size, backing(self.source)))
            merge_into(self.uses, uses)
            if member.name != "sys_info" or any(note.severity == "error" for note in notes):
                self.notes += notes

    def opened(self, read: Unpickled) -> Opened:
        """Return what was read, with the names that the small pickles refer to."""
        uses = merged((*read.globals, *self.uses.values()))
        read = read._replace(globals=uses, refused=TAR.reason, says=TAR.message, storages=self.storages)
        return Opened(read, tuple(self.notes))

    def _refer(self, machine: Machine, pid: Value) -> Value | None:
        """A number is a tensor or a storage; (class, file, source) is a class whose source was kept for people."""
        del machine
        if type(pid) is tuple and len(pid) == 3 and isinstance(pid[0], Global):
            return with_source(*pid)
        number = number_of(pid)
        return self.object(number) if number is not None else None

    def object(self, number: int) -> Value:
        """Return what a number in the pickle stands for; raises Damaged."""
        if number not in self.objects:
            raise Damaged(f"the pickle refers to object {number}, which is not in the tar archive")
        return self.objects[number]
