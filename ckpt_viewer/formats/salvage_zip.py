"""What is left of a torch zip whose directory is missing or damaged, found by its local headers.

The headers that torch writes state no sizes. So the pickle, which ends by itself, comes first; it says how long every
storage is; and what stands behind each (a data descriptor with both sizes and the CRC) confirms that the walk is where
it believes to be. Nothing is searched for in the data of storages: a file may hold another archive, whose records would
be taken for its own. Where the walk loses its way, the rest is lost.

Source: FORMATS H13 and 2.2, APPNOTE.TXT 6.3.10, caffe2/serialize/inline_container.cc.
"""

from __future__ import annotations

from collections.abc import Iterator

from zlib_ng.zlib_ng import crc32

from ckpt_viewer.core.finding import Note
from ckpt_viewer.core.tensor import Bytes
from ckpt_viewer.errors import CheckpointError, Damaged, Truncated
from ckpt_viewer.formats.base import Inside, NestedOpener, Opened, Salvaged
from ckpt_viewer.formats.local_headers import Local, Locals, inflate
from ckpt_viewer.formats.salvage_pickle import read_pickle
from ckpt_viewer.formats.salvage_storages import Found, SalvagedStorages
from ckpt_viewer.formats.torch_zip import USUAL
from ckpt_viewer.formats.zip_directory import END, ENTRY_SIZE
from ckpt_viewer.sources import written_end
from ckpt_viewer.unpickle.reader import Unpickled

_BLOCK = 1 << 20
_SMALL = 64
"""Bytes of the records that are read for what they say: byteorder, .storage_alignment."""
_END_RECORDS = 56 + 20 + 22
"""Bytes of the three records that torch's writer ends a zip with."""
_CONFIRMING = 16
_END_RECORD = 22
_TAIL = 65_535 + _END_RECORD


def salvage(source: Bytes, inside: Inside, nested: NestedOpener | None) -> Salvaged | None:
    """Read the pickle and find every storage that is left; None where other records come first, as torch.save's do not.

    Raises:
        CheckpointError: there is no pickle to go by. Cancelled: by the context.
    """
    walk = _Walk(source, inside)
    pickle = walk.find_pickle()
    if pickle is None:
        return None
    if not walk.read_pickle(pickle, nested):
        least = None if _has_end(source) else max(walk.least_size(), source.size + 1)
        return Salvaged(Opened(walk.read, tuple(walk.notes)), least, "at least ", open_end=True)
    walk.run()
    home = walk.home
    home.big_endian = walk.big_endian()
    wanted = None if _has_end(source) else max(walk.expected_size(), source.size + 1)
    return Salvaged(Opened(walk.read, tuple(walk.notes)), wanted, "about ")


def _has_end(source: Bytes) -> bool:
    """Whether the record that ends a zip is there, whole."""
    tail = source.read_at(max(0, source.size - _TAIL), min(source.size, _TAIL))
    return END in tail[: 4 - _END_RECORD]


class _Walk:
    """Goes from local header to local header.

    Attributes:
        home: gets the storages. read: what the pickle describes. notes: what was noticed.
    """

    def __init__(self, source: Bytes, inside: Inside) -> None:
        self.source, self.inside, self.context = source, inside, inside.context
        self.locals = Locals(source, inside.context)
        self.home = SalvagedStorages(source, inside.prefix)
        self.notes: list[Note] = []
        self.others: dict[str, tuple[Local, int]] = {}
        self.keys: dict[str, str] = {}
        self.end = 0
        self.read: Unpickled
        self.pickle: Local
        self.behind_pickle = 0

    # --- the pickle

    def read_pickle(self, local: Local, nested: NestedOpener | None) -> bool:
        """Read ``data.pkl``, or what the file has of it; whether that is all. Raises Truncated, Damaged, OverBudget."""
        self.pickle, self.root = local, local.name[: -len("data.pkl")]
        found = read_pickle(self.locals, local, self.home, self.inside, nested)
        self.read, self.home.sizes = found.read, found.read.storages
        self.keys = {f"{self.root}{folder}/{key}": key for folder in ("data", "tensors") for key in self.home.sizes}
        if found.missing:
            self.end = self.source.size + found.missing
            return False
        after = self.locals.after(local, found.stored, len(found.data))
        self.behind_pickle = after.end if after is not None else local.start + found.stored + _CONFIRMING
        if after is not None and after.crc and crc32(found.data) != after.crc:
            message = "data.pkl does not match its checksum; names, shapes and numbers may be wrong"
            self.notes.append(Note("error", "crc-mismatch", None, message))
        return True

    def find_pickle(self) -> Local | None:
        """Return the header of ``data.pkl``; None where other records come first. Raises Truncated, Damaged."""
        at: int | None = 0
        while at is not None and (local := self.locals.read(at)) is not None:
            name = local.name.partition("/")[2] or local.name
            if name == "data.pkl":
                return local
            if name not in USUAL:
                return None
            at = self._skip(local)
        if not _has_end(self.source):
            raise Truncated("the archive", wanted=self.source.size + 1, found=self.source.size, offset=0)
        raise Damaged("the archive has no readable data.pkl; copy or download the file again")

    def _skip(self, local: Local) -> int | None:
        """Return where the record behind one of unknown content begins; None if that cannot be told."""
        length = self.locals.length(local, None)
        after = None if length is None else self.locals.after(local, length, local.size if not local.streamed else None)
        if length is None or after is None:
            return None
        self.others[local.name] = (local, length)
        return after.end

    # --- the records

    def run(self) -> None:
        """Go through the records until the directory, the end of the file, or a place that makes no sense."""
        at: int | None = 0
        while at is not None and at < self.source.size:
            self.context.step(at, self.source.size)
            self.end = at
            local = self.locals.read(at)
            if local is None or not local.name.startswith(self.root):
                at = self._past(at)
            elif local.header == self.pickle.header:
                at = self.behind_pickle
            elif local.name in self.keys:
                at = self._storage(self.keys[local.name], local)
            else:
                at = self._skip(local)
        self.end = max(self.end, at or 0)

    def _storage(self, key: str, local: Local) -> int | None:
        """Take in one storage and return where the next record begins; None if that is unknown."""
        nbytes = self.home.sizes[key].nbytes
        if key in self.home.found:
            self.home.found[key] = self.home.found[key]._replace(trusted=0, problem="in the file twice")
            return None
        stored = nbytes if not local.method and local.streamed else self._packed(local, nbytes)
        if local.start + stored > self.source.size:
            trusted = 0 if local.method else written_end(self.source, local.start) - local.start
            there = f": {self.source.size - local.start} of its {stored} bytes are there"
            problem = "cut off or damaged" if local.method else f"cut off{there}"
            self.home.found[key] = Found(local, stored, trusted, None, problem)
            return None
        after = self.locals.after(local, stored, nbytes)
        if after is None:
            self.home.found[key] = Found(local, stored, 0, None, "damaged: its size is not confirmed behind its data")
            return self.locals.behind(local, stored, self.root)
        problem = self._mismatch(local, stored, nbytes, after.crc) if self.inside.verify else ""
        self.home.found[key] = Found(local, stored, 0 if problem else nbytes, after.crc, problem)
        return after.end

    def _packed(self, local: Local, nbytes: int) -> int:
        """Return the bytes that a storage takes in the file where the header states them, or where it is deflated."""
        if not local.streamed:
            return local.stored
        try:
            return inflate(self.source, local, nbytes)[1]
        except CheckpointError:
            return self.source.size  # cut off or damaged: nothing behind it can be found

    def _mismatch(self, local: Local, stored: int, nbytes: int, crc: int | None) -> str:
        """Return what is wrong with the content of a storage; ``""`` if nothing is, or nothing can be told."""
        if local.method:
            try:
                data = inflate(self.source, local, nbytes)[0]
            except CheckpointError as error:
                return f"damaged: {str(error).partition(';')[0]}"
            wrong = bool(crc) and crc32(data) != crc
        else:
            wrong = bool(crc) and self._crc(local.start, stored) != crc
        return "damaged: its bytes do not match their checksum" if wrong else ""

    def _crc(self, start: int, size: int) -> int:
        crc, end = 0, start + size
        for at in range(start, end, _BLOCK):
            self.context.step(at, self.source.size)
            crc = crc32(self.source.read_at(at, min(_BLOCK, end - at)), crc)
        return crc

    def _past(self, at: int) -> int | None:
        """Return where the record behind one with a damaged header begins, if the expected storage ends at one."""
        unseen = [key for key in self.home.sizes if key not in self.home.found][:1]
        unseen += sorted(key for key in self.home.sizes if key not in self.home.found)[:1]
        for key in unseen:
            for folder in ("data", "tensors"):
                name = f"{self.root}{folder}/{key}"
                _, end = self.locals.predict(at, len(name.encode()), self.home.sizes[key].nbytes)
                following = self.locals.read(end)
                if following is not None and following.name.startswith(self.root):
                    return end
        return None

    # --- what the file was

    def big_endian(self) -> bool:
        """Whether the archive states that order; raises Damaged where it states none that there is."""
        order = self._small("byteorder")
        if order not in (None, b"little", b"big"):
            raise Damaged(f"the archive states the byte order {order!r}, which torch refuses too")
        return order == b"big"

    def _small(self, name: str) -> bytes | None:
        local, length = self.others.get(self.root + name, (None, 0))
        if local is None or length > _SMALL or local.method:
            return None
        return self.source.read_at(local.start, length)

    def expected_size(self) -> int:
        """Return how long the file has been: what was found, what is missing as torch's writer lays it out, the end."""
        names = [self.pickle.name, *self.others, *(found.local.name for found in self.home.found.values())]
        at = self.end
        for name, size in self._missing():
            _, at = self.locals.predict(at, len(name.encode()), size)
            names.append(name)
        return at + sum(ENTRY_SIZE + len(name.encode()) for name in set(names)) + _END_RECORDS

    def least_size(self) -> int:
        """Return how long the file has been at the least, where it ends in its pickle: no padding, no descriptors."""
        stored = sum(storage.nbytes for storage in self.home.sizes.values()) if not self.pickle.method else 0
        return self.end + stored + (1 + len(self.home.sizes)) * (ENTRY_SIZE + len(self.pickle.name)) + _END_RECORD

    def _missing(self) -> Iterator[tuple[str, int]]:
        for key, storage in self.home.sizes.items():
            found = self.home.found.get(key)
            if found is None or found.local.start + found.stored > self.source.size:
                yield found.local.name if found else f"{self.root}data/{key}", storage.nbytes
        if f"{self.root}version" not in self.others:
            yield f"{self.root}version", 2
        if f"{self.root}.format_version" in self.others and f"{self.root}.data/serialization_id" not in self.others:
            yield f"{self.root}.data/serialization_id", 40
