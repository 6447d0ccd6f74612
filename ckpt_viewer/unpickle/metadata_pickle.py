"""The pickle of torch.distributed.checkpoint's metadata, whose chunks and places are taken in bulk.

Source of the classes: torch/distributed/checkpoint/metadata.py and filesystem.py; of the opcodes: what CPython's pickle
of protocol 4 and 5 makes of them.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left

from ckpt_viewer.core.progress import SILENT, Context
from ckpt_viewer.core.regions import Box
from ckpt_viewer.core.tensor import Bytes, StorageHome
from ckpt_viewer.core.value import Global, Literal, Value
from ckpt_viewer.unpickle.budget import budget_for
from ckpt_viewer.unpickle.fastpath import SkippedSlot
from ckpt_viewer.unpickle.long_pickle import PIECE, LongMachine
from ckpt_viewer.unpickle.metadata_forms import PLACE_STATE, RUN, boxes_of, integer, integers
from ckpt_viewer.unpickle.reader import PickleReader

_CLASSES = "torch.distributed.checkpoint.metadata"
CHUNK, INDEX = f"{_CLASSES}.ChunkStorageMetadata", f"{_CLASSES}.MetadataIndex"
PLACE = "torch.distributed.checkpoint.filesystem._StorageInfo"
ROWS = "rows of places"
_KEPT_RUNS = 2000
_OBJECT_COST, _STEP, _LEAST = 60, 32, 4096
"""Bytes that a place is charged with; places between two reports; bytes ahead without which none is taken."""

_WORDS = ("fqn", "index", "offset", "torch.Size", PLACE, "relative_path", "offset", "length")


class Texts:
    """Strings by number, as the pickle spells them or refers to them."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._numbers: dict[str, int] = {}
        self._spelled: dict[bytes, int] = {}

    def number(self, m: LongMachine, code: bytes) -> int:
        """Return the number of a string; -1 where the opcodes are none."""
        number = self._spelled.get(code)
        if number is None:
            if code[0] == 0x8C:
                text: Value = code[2:-1].decode("ascii") if code[1] == len(code) - 3 else None
            else:
                text = m.get(int.from_bytes(code[1:], "little"))
            if type(text) is not str:
                return -1
            number = self._numbers.setdefault(text, len(self.texts))
            if number == len(self.texts):
                self.texts.append(text)
            self._spelled[code] = number
        return number


class MetadataBulk:
    """Takes chunks and places.

    A run of chunks becomes a tuple of `Box` in the list of chunks. A run of places becomes rows here, and one pair in
    the mapping: a `Literal` of type `ROWS`, whose `inner` says which rows.

    Attributes:
        names, files: what the rows refer to. starts: index of the first element of a part; None for an object.
        name, start, file, offset, length: of each row; the first three by number.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Drop everything that was taken."""
        self.names, self.files = Texts(), Texts()
        self.starts: list[tuple[int, ...] | None] = []
        self.name, self.start, self.file = array("I"), array("I"), array("I")
        self.offset, self.length = array("q"), array("q")
        self._start_numbers: dict[bytes, int] = {}
        self._runs: dict[bytes, tuple[tuple[Box, ...], int]] = {}
        self._known: set[tuple[bytes, ...]] = set()
        self._slots, self._slot_names = array("I"), array("I")

    def recall(self, slot: int) -> Value:
        """Return the name that was spelled out in a memo slot; raises SkippedSlot."""
        at = bisect_left(self._slots, slot)
        if at < len(self._slots) and self._slots[at] == slot:
            return self.names.texts[self._slot_names[at]]
        raise SkippedSlot

    def take(self, m: LongMachine, at: int) -> int:
        """Take the chunks or places that begin here; return the position behind them, 0 if there are none."""
        cls = m.stack[-2] if len(m.stack) > 1 else None
        if type(cls) is not Global or type(m.stack[-1]) is not tuple or m.stack[-1]:
            return 0
        if cls.qualified == CHUNK:
            return self._chunks(m, at, cls)
        return self._places(m, at, cls) if cls.qualified == INDEX else 0

    # --- chunks ---------------------------------------------------------------------------------------------------

    def _chunks(self, m: LongMachine, at: int, cls: Global) -> int:
        found = RUN.match(m.data, at)
        if found is None:
            return 0
        start, kind, size, chunk = found.group("start", "cls", "size", "chunk")
        words = (start, kind, size, chunk or b"")
        if words not in self._known:
            meant = [_meant(m, code) for code in (start, kind, size)]
            if meant != ["offsets", "torch.Size", "sizes"] or (chunk and _value(m, chunk) is not cls):
                return 0
            self._known.add(words)
        raw = found[0]
        run = self._runs.get(raw)
        if run is None:
            run = boxes_of(raw)
            if run is None:
                return 0
            if len(self._runs) < _KEPT_RUNS:
                self._runs[raw] = run
        boxes, slots = run
        m.stack.pop()
        m.stack[-1] = boxes
        m.skipped += slots
        m.charged += _OBJECT_COST * len(boxes)
        return found.end()

    # --- places ---------------------------------------------------------------------------------------------------

    def _places(self, m: LongMachine, at: int, cls: Global) -> int:
        data, behind, count, match = m.data, 0, 0, PLACE_STATE.match
        again = b""
        slot = m.next_slot
        while (found := match(data, at)) is not None:
            *codes, following = found.groups(b"")
            after = self._place(m, codes, slot)
            if not after:
                break
            slot, behind = after, found.start(len(codes) + 1) if following else found.end()
            count += 1
            if count % _STEP == 0:
                self._account(m, behind)
            if not following or len(data) - behind < _LEAST:
                break
            if following != again and _value(m, following[:-2]) is not cls:
                break
            again, at = following, found.end()
        if not behind:
            return 0
        m.skipped += slot - m.next_slot
        taken = Literal("object", ROWS, "")
        taken.inner = len(self.name) - count, len(self.name)
        m.stack[-2:] = [taken, None]
        return behind

    def _account(self, m: LongMachine, behind: int) -> None:
        m.opcodes += _STEP
        m.charged += _OBJECT_COST * _STEP
        m.check_budget()
        m.context.step(m.base + behind, m.total)

    def _place(self, m: LongMachine, codes: list[bytes], slot: int) -> int:
        """Keep one place; return the memo slot behind those it fills, 0 where it is of another form."""
        fqn, name, index, offset, size, start, info, relative, path, where, at, long, length = codes
        words = (fqn, index, offset, size, info, relative, where, long)
        if words not in self._known and not self._understood(m, words):
            return 0
        starts, names, files = self._start_numbers.get(start), self.names.number(m, name), self.files.number(m, path)
        if starts is None:
            first = integers(start) if start else None
            if start and first is None:
                return 0
            starts = self._start_numbers[start] = len(self.starts)
            self.starts.append(first)
        if names < 0 or files < 0:
            return 0
        slot += 2
        if name[0] == 0x8C:
            self._slots.append(slot)
            self._slot_names.append(names)
            slot += 1
        slot += (4 if start == b")" else 5) if start else 2
        if path[0] == 0x8C:
            m.skipped += slot - m.next_slot
            m.put(slot, self.files.texts[files])
            slot += 1
        self.name.append(names)
        self.start.append(starts)
        self.file.append(files)
        self.offset.append(integer(at))
        self.length.append(integer(length))
        return slot

    def _understood(self, m: LongMachine, words: tuple[bytes, ...]) -> bool:
        """Whether attributes and classes are those of a place; an object that is no tensor has no offset."""
        if any(code and _meant(m, code) != word for code, word in zip(words, _WORDS, strict=True)):
            return False
        self._known.add(words)
        return True


def _value(m: LongMachine, code: bytes) -> Value:
    return m.get(int.from_bytes(code[1:], "little"))


def _meant(m: LongMachine, code: bytes) -> str:
    value = _value(m, code)
    return value.qualified if isinstance(value, Global) else value if isinstance(value, str) else ""


class MetadataPickle(PickleReader):
    """Reads the metadata of a distributed checkpoint, in memory that does not grow with its number of chunks.

    Attributes:
        bulk: what was taken beside the value.
    """

    machine_type = LongMachine

    def __init__(self, source: Bytes, home: StorageHome, *, context: Context = SILENT, place: str = "") -> None:
        """Prepare to read a source that is one pickle."""
        super().__init__(source.read_at(0, min(source.size, PIECE)), home, context=context, place=place)
        self.bulk = MetadataBulk()
        machine = self.machine
        assert isinstance(machine, LongMachine)
        machine.source, machine.total, machine.bulk = source, source.size, self.bulk
        machine.budget = budget_for(source.size)
