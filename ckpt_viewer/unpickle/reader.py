"""From one pickle of a container to its root value: the machine, the recipes and the storages of that container."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.finding import GlobalUse, Note, merge_into, merged
from ckpt_viewer.core.path import python_repr
from ckpt_viewer.core.progress import SILENT, Context
from ckpt_viewer.core.tensor import StorageHome, StorageSpec
from ckpt_viewer.core.text import shorten
from ckpt_viewer.core.value import Global, Instance, SourceText, Value
from ckpt_viewer.errors import Damaged, OverBudget
from ckpt_viewer.unpickle.budget import COST, Budget, budget_for
from ckpt_viewer.unpickle.machine import Machine
from ckpt_viewer.unpickle.names import status_of
from ckpt_viewer.unpickle.recipes import BUILDERS, CONSTANTS, RECIPES
from ckpt_viewer.unpickle.storages import MemoryHome, ViewHome, pid_from_text, storage_dtype
from ckpt_viewer.unpickle.table import TABLE
from ckpt_viewer.unpickle.weights_only import ALLOWED, NO_STORAGE, PERSISTENT, Refusal

Nested = Callable[[bytes, int, str], "Unpickled | None"]
"""Reads a checkpoint inside a pickle: its bytes, its depth, and a prefix for the names of its storages."""
Refer = Callable[[Machine, Value], "Value | None"]
"""Returns what a persistent id stands for; None for one that it does not know."""
TEXT_LIMIT = 4096
"""Characters of a storage's key and of its location."""
BY_SHORTCUT = frozenset({("torch._utils", "_rebuild_tensor_v2"), ("collections", "OrderedDict")})
"""Names that each tensor calls once which was read by the shortcut."""


class Unpickled(NamedTuple):
    """What a pickle describes.

    Attributes:
        value: its root. notes: what was noticed on the way.
        globals: every name it refers to. protocol: the highest stated.
        refused: why weights_only would refuse it; ``""`` if it would not. says: the same in torch's own words.
        storages: by key, in order of first appearance. end: position behind STOP.
        cost: bytes that its objects were charged with. opcodes: how many were executed.
    """

    value: Value
    notes: list[Note]
    globals: tuple[GlobalUse, ...]
    protocol: int
    refused: str
    storages: dict[str, StorageSpec]
    end: int
    cost: int = 0
    opcodes: int = 0
    says: str = ""

    def but(self, refusal: Refusal) -> Unpickled:
        """Return the same with something that torch refuses once the pickle itself is read."""
        return self if self.refused else self._replace(refused=refusal.reason, says=refusal.message)


def with_source(made_by: Value, file: Value, text: Value) -> Value:
    """Return a class that a persistent id names, with the program text that stands beside it, if it is a text."""
    if isinstance(made_by, Global) and type(file) is str and type(text) is str and text:
        made_by.source = SourceText(file, text)
    return made_by


class PickleReader:
    """Reads one pickle of a container.

    Attributes:
        home: where the storages of this container have their bytes.
        storages: by key, in order of first appearance.
        machine_type: what runs the pickle.
    """

    machine_type: type[Machine] = Machine

    def __init__(
        self,
        data: bytes,
        home: StorageHome,
        *,
        context: Context = SILENT,
        depth: int = 0,
        nested: Nested | None = None,
        legacy: bool = False,
        justified: int | None = None,
        place: str = "",
        refer: Refer | None = None,
    ) -> None:
        """Prepare to read.

        Args:
            data: bytes with one pickle or several. home: has the storages' bytes. depth: of nesting in other pickles.
            nested: opens a checkpoint inside the pickle. legacy: persistent ids have the form of the legacy stream.
            justified: bytes of the file that answer for the cost, where `data` was inflated.
            place: what the pickle is called where a name is said to stand in it.
            refer: answers the persistent ids of this container that are no storages in the usual form.

        Raises:
            OverBudget: pickles are nested too deep in each other.
        """
        self.home, self.legacy, self.nested, self.place = home, legacy, nested, place
        self.refer = refer
        self.storages: dict[str, StorageSpec] = {}
        self.views: dict[tuple[str, str], StorageSpec] = {}
        self.inline: list[StorageSpec] = []
        self.uses: dict[str, GlobalUse] = {}
        self.blobs = 0
        budget = budget_for(len(data) if justified is None else min(len(data), justified))
        if depth > budget.nesting:
            raise OverBudget(f"checkpoints are nested more than {budget.nesting} deep in each other")
        self._dtypes: dict[int, str] = {}
        self.machine = self._connected(data, budget, context, depth)

    def _connected(self, data: bytes, budget: Budget, context: Context, depth: int) -> Machine:
        """Return the machine, which asks this reader for what lies outside of the pickle."""
        machine = self.machine_type(
            data,
            budget,
            recipes=RECIPES,
            constants=CONSTANTS,
            builders=BUILDERS,
            persistent=self._persistent,
            context=context,
            depth=depth,
        )
        machine.nested = self._nested
        machine.new_storage = self._storage_in_pickle
        machine.storages, machine.home = self.storages, self.home
        machine.fast_storage = self._fast_storage
        machine.forget = self._forget
        machine.storage_dtype = lambda cls: storage_dtype(cls.module, cls.name)
        return machine

    def read(self, position: int) -> Unpickled:
        """Read the pickle that starts at `position`, once; raises CheckpointError."""
        machine = self.machine
        try:
            value = machine.run(position, TABLE)
        finally:
            machine.disconnect()
        return self._read(value)

    def left(self) -> Unpickled | None:
        """Return what is whole of a pickle for which `read` raised Truncated; None if nothing is."""
        from ckpt_viewer.unpickle.unfinished import finished  # few files need it

        value, doubtful = finished(self.machine)
        for key, before in doubtful:
            key, before = (shorten(python_repr(each), 80) for each in (key, before))
            message = f"the file ends before it says whether {key} lies in {before} or beside it, where it is shown"
            self.machine.note("warning", "place-unknown", value, message)
        return None if value is None else self._read(value)

    def _read(self, value: Value) -> Unpickled:
        machine = self.machine
        return Unpickled(
            value,
            machine.all_notes(),
            self.names(),
            machine.protocol,
            machine.refusal.reason if machine.refusal else "",
            self.storages,
            machine.position,
            machine.charged,
            machine.opcodes,
            machine.refusal.message if machine.refusal else "",
        )

    def _forget(self) -> None:
        for kept in (self.storages, self.views, self.inline, self.uses, self._dtypes):
            kept.clear()
        self.blobs = 0

    def names(self) -> tuple[GlobalUse, ...]:
        """Return every name that was met so far: of a pickle that breaks off, those before its end."""
        return merged((*(self._use(key, value) for key, value in self.machine.globals.items()), *self.uses.values()))

    def _use(self, key: tuple[str, str], value: Value) -> GlobalUse:
        calls, first = self.machine.made.get(id(value), (0, value))
        if key in BY_SHORTCUT:
            calls += self.machine.shortcuts
        known = key in RECIPES or key in CONSTANTS or storage_dtype(*key) is not None
        name, at = f"{key[0]}.{key[1]}", self.machine.named[key]
        place = f"{self.place}{', ' if self.place else ''}byte {at}" if at >= 0 else self.place
        return GlobalUse(name, status_of(*key, known), name in ALLOWED, calls, first, place)

    def _nested(self, data: bytes) -> Value:
        if self.nested is None:
            return None
        machine, prefix = self.machine, f"{self.home.prefix}{self.blobs}!"
        read = self.nested(data, machine.depth + 1, prefix)
        if read is None:
            return None
        self.blobs += 1
        # whoever reads one blob again and again pays for its numbers too, which are free in a pickle of their own
        machine.charged += read.cost + 32 * read.opcodes + COST["nested"]
        machine.opcodes += read.opcodes
        machine.check_budget()
        machine.notes += read.notes
        inside = f"{self.place}, a checkpoint inside".removeprefix(", ")
        merge_into(self.uses, (use._replace(place=f"{inside}, {use.place}") for use in read.globals))
        return read.value

    def _storage_in_pickle(self, device: str, dtype: str, numel: int, data: bytes | None) -> StorageSpec:
        """Return a storage for a tensor that has none in the container: its bytes lie in the pickle, or nowhere."""
        key = f"pickle!{len(self.inline)}"
        home = None if data is None else MemoryHome(self.home.prefix, data)
        storage = StorageSpec(key, device, dtype, numel, home)
        self.inline.append(storage)
        return storage

    # --- persistent ids: storages, and (legacy) classes with their source -----------------------------------------

    def _persistent(self, machine: Machine, pid: Value) -> Value:
        if self.refer is not None:
            found = self.refer(machine, pid)
            if found is not None:
                return found
        if type(pid) is str:
            pid = pid_from_text(machine, pid)
        if type(pid) is tuple and pid and pid[0] == "storage" and len(pid) == 5 + self.legacy:
            return self._storage(pid)
        machine.refuse(PERSISTENT if type(pid) is tuple else NO_STORAGE)
        if self.legacy and type(pid) is tuple and len(pid) == 4 and pid[0] == "module":
            return with_source(pid[1], *pid[2:])  # the value is the class; its text is for people
        unknown = self._as_written(pid)
        message = "an object outside of the pickle is referred to in no known way"
        machine.note("warning", "unknown-persistent-id", unknown, message)
        return unknown

    def _storage(self, pid: tuple[Value, ...]) -> StorageSpec | Instance:
        _, cls, key, location, numel, *view = pid
        dtype = self._dtypes.get(id(cls))
        new_class = dtype is None
        if dtype is None:
            dtype = storage_dtype(cls.module, cls.name) if isinstance(cls, Global) else None
            if dtype is None:
                return self._bad_storage(pid, f"a storage is of unknown class {shorten(python_repr(cls), 80)}")
            self._dtypes[id(cls)] = dtype
        if type(key) is int:  # old writers
            key = str(key)
        if type(key) is not str or type(location) is not str or type(numel) is not int or not 0 <= numel < 1 << 62:
            described = f"key {python_repr(key)}, location {python_repr(location)}, {python_repr(numel)} elements"
            return self._bad_storage(pid, f"a storage cannot be read: {described}")
        if len(key) > TEXT_LIMIT or len(location) > TEXT_LIMIT:
            most = max(len(key), len(location))
            return self._bad_storage(pid, f"a storage cannot be read: a name of {most} characters")
        storage = self.storages.get(key)
        if storage is None:
            storage = StorageSpec(key, location, dtype, numel, self.home)
            self.storages[key] = storage
            self.machine.charged += COST["storage"]
        elif storage.numel != numel or storage.dtype != dtype or storage.location != location:
            self._differs(storage)
        if new_class:
            self.machine.made[id(cls)] = (0, storage)
        return self._view(storage, view[0]) if view and view[0] is not None else storage

    def _fast_storage(self, key: str, location: str, cls: Global, numel: int, legacy: bool) -> StorageSpec | None:
        """Return a storage where `_storage` would do so without a word, else None; `legacy` is the form of its id."""
        storage = self.storages.get(key)
        dtype = self._dtypes.get(id(cls))  # of the classes that `_storage` has met
        if storage is None:
            if not dtype or legacy != self.legacy:
                return None
            storage = self.storages[key] = StorageSpec(key, location, dtype, numel, self.home)
        elif storage.numel != numel or storage.location != location or storage.dtype != dtype or legacy != self.legacy:
            return None
        return storage

    def _differs(self, storage: StorageSpec) -> None:
        key = shorten(storage.key, 40)
        message = f"storage {key} is described twice in different ways; the first description counts"
        self.machine.note("warning", "storage-described-twice", storage, message)

    def _bad_storage(self, pid: Value, message: str) -> Instance:
        """Keep what is no storage as it is written, so that the rest of the file can be seen."""
        bad = self._as_written(pid)
        self.machine.charged += COST["bad"]
        self.machine.note("error", "bad-storage", bad, message)
        return bad

    def _as_written(self, pid: Value) -> Instance:
        self.machine.charged += 2 * COST["instance"]  # with its global
        return Instance(Global("pickle", "persistent_id"), (pid,))

    def _view(self, root: StorageSpec, view: Value) -> StorageSpec:
        """Return the part of a storage that a legacy writer (before 0.4) stored as a storage of its own."""
        if type(view) is not tuple or len(view) != 3:
            raise Damaged("the pickle is damaged: a view of a storage without key, offset and size")
        key, offset, numel = view
        if type(key) is not str or type(offset) is not int or type(numel) is not int:
            raise Damaged("the pickle is damaged: a view of a storage without key, offset and size")
        if offset < 0 or numel < 0 or offset + numel > root.numel:
            raise Damaged(f"storage view {key} reaches beyond storage {root.key}")
        found = self.views.get((root.key, key))
        if found is None:
            home = ViewHome(root, offset * (DTYPES[root.dtype].itemsize if root.dtype else 1))
            found = StorageSpec(key, root.location, root.dtype, numel, home)
            self.views[root.key, key] = found
        return found
