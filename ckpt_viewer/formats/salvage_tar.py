"""What is left of a tar of torch 0.1 that is cut off or damaged.

torch wrote the object first, then what its numbers stand for: tensors (shape, stride, class, number of their storage),
and last the storages, each with its bytes. So a file that is cut off has lost storages as a rule, and names, shapes and
dtypes are there. A storage is whole where another one, or the list of views, begins behind it, or the file ends there.
"""

from __future__ import annotations

from ckpt_viewer.core.forms import storage_form
from ckpt_viewer.core.tensor import Bytes, Extent, StorageSpec
from ckpt_viewer.core.value import Global, Literal, Value
from ckpt_viewer.errors import Damaged, Lost, Truncated
from ckpt_viewer.formats.base import Inside, NestedOpener, Salvaged
from ckpt_viewer.formats.salvage_pickle import left_of
from ckpt_viewer.formats.tar_members import Member, members_left
from ckpt_viewer.formats.tar_stream import SMALL_PICKLE, Stream, number_of
from ckpt_viewer.formats.torch_tar import Archive, refuse_pickle
from ckpt_viewer.sources import CutSource, written_end
from ckpt_viewer.unpickle.reader import Unpickled
from ckpt_viewer.unpickle.storages import storage_dtype

_AGAIN = "copy or download the file again"
_PICKLE = b"\x80\x02"
"""How every pickle of torch 0.1 begins."""


def salvage(source: Bytes, inside: Inside, nested: NestedOpener | None) -> Salvaged:
    """Read the members that are there, and the beginning of the one in which the file ends.

    Raises:
        CheckpointError: nothing of the object is left. Cancelled: by the context.
    """
    refuse_pickle(source)
    members, wanted = members_left(source, inside.context)
    archive = _Left(source, inside)
    if "storages" in members:
        archive.read_storages(members["storages"])
    if "tensors" in members:
        archive.read_tensors(members["tensors"])
    read = archive.object_left(members["pickle"], nested) if "pickle" in members else None
    if read is None:
        missing = max(1, (wanted or 0) - source.size)
        raise Truncated("the tar archive", wanted=missing, found=0, offset=source.size)
    padded = "storages" in members and all(each.offset + each.size <= source.size for each in members.values())
    return Salvaged(archive.opened(read), wanted, "at least ", open_end=archive.open_end, padded=padded)


class _Left(Archive):
    """What the members say as far as they go.

    Attributes:
        lost: key of a storage -> why its bytes are not there, a sentence.
        open_end: whether the file ends before it has described all tensors.
    """

    def __init__(self, source: Bytes, inside: Inside) -> None:
        super().__init__(source, inside)
        self.lost: dict[str, str] = {}
        self.open_end = False

    def extent(self, key: str) -> Extent:
        """Return where the bytes of a storage lie; raises Lost. A part that is cut off raises Lost when it is read."""
        if key in self.lost:
            raise Lost(self.lost[key])
        extent = super().extent(key)
        there = max(0, self.source.size - extent.offset)
        if there >= extent.nbytes:
            return extent
        problem = f"storage {key!r} is cut off: {there} of its {extent.nbytes} bytes are there; {_AGAIN}"
        trusted = written_end(self.source, min(extent.offset, self.source.size))
        return extent._replace(source=CutSource(self.source, trusted, problem))

    def read_storages(self, member: Member) -> None:
        """Read the storages, and the views of them, until the file ends or makes no sense."""
        stream = Stream(self.source, member, self, self.uses)
        try:
            self.read_data(stream)
            self.read_views(stream)
        except (Damaged, Truncated) as error:
            key = next(reversed(self.places), None)
            if key is not None and not _ends_in_pickle(stream, sum(self.places[key]), error):
                self.lost[key] = f"storage {key!r} is damaged, or what follows it is; {_AGAIN}"

    def read_tensors(self, member: Member) -> None:
        """Read the tensors until the file ends or makes no sense."""
        try:
            super().read_tensors(member)
        except (Damaged, Truncated):
            self.open_end = True

    def storage_of(self, head: tuple[Value, ...], span: int) -> StorageSpec | None:
        """Return the storage of a tensor: one that is lost is as large as its tensors need it."""
        storage, key = super().storage_of(head, span), number_of(head[1])
        if key is None or (storage is not None and storage.key not in self.lost):
            return storage
        if storage is None and key not in self.objects:
            cls = head[2]
            module, name = (cls.module, cls.name) if isinstance(cls, Global) else ("torch", str(cls))
            dtype = storage_dtype(module, name.replace("Tensor", "Storage"))
            if dtype is None:
                return None
            self.lost[str(key)] = f"storage {key} is not in what is left of the file; {_AGAIN}"
            storage = StorageSpec(str(key), None, dtype, 0, self)
            self._add(key, storage)
        if storage is not None and storage.numel < span < 1 << 62:
            storage.form = storage_form(storage.location, storage.dtype, span)
        return storage

    def object_left(self, member: Member, nested: NestedOpener | None) -> Unpickled | None:
        """Return what the pickle describes, or what is whole of it; None where that is nothing."""
        reader = self.object_reader(member, nested)
        try:
            return reader.read(0)
        except Truncated:
            self.open_end = True
            return left_of(reader)

    def object(self, number: int) -> Value:
        """Return what a number in the pickle stands for, or what says that nothing tells any more."""
        if number in self.objects:
            return self.objects[number]
        self.open_end = True
        return Literal("object", "torch.Tensor", f"object {number}, which the file ends before it describes")


def _ends_in_pickle(stream: Stream, at: int, error: Damaged | Truncated) -> bool:
    """Whether what stands behind a storage, which ends at `at`, is the beginning of a pickle that the file ends in."""
    whole, end = stream.source.source, stream.source.offset + stream.source.size
    if not isinstance(error, Truncated) or end - at >= SMALL_PICKLE:
        return False
    return at >= end or _PICKLE.startswith(whole.read_at(at, min(len(_PICKLE), end - at)))
