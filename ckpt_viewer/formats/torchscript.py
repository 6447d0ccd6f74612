"""TorchScript, full and lite (torch.jit.save): a tree of modules in ``data.pkl``, beside the program in ``code/``.

The program is text that is shown and never compiled. Only the lists of parameters and buffers that each class declares
are looked up in it, as text.

FORMATS section 1.2. Source: torch/csrc/jit/serialization/export_module.cpp, python_print.cpp.
"""

from __future__ import annotations

import re

from ckpt_viewer.core.progress import stepped
from ckpt_viewer.core.value import Global, Instance, Mapping, Members, Value
from ckpt_viewer.errors import CheckpointError, Truncated
from ckpt_viewer.formats.base import Inside, NestedOpener, Opened
from ckpt_viewer.formats.behind import look_into
from ckpt_viewer.formats.parts import Parts
from ckpt_viewer.formats.salvage_pickle import read_or_left
from ckpt_viewer.formats.torch_zip import Records, check_storages, hidden_pickles, read_pickle_record
from ckpt_viewer.formats.zip_directory import ZipDirectory
from ckpt_viewer.formats.zip_members import Members as Files
from ckpt_viewer.sources import backing
from ckpt_viewer.unpickle.reader import PickleReader
from ckpt_viewer.unpickle.weights_only import TORCHSCRIPT

TRACED = "traced_inputs.pkl"
SHOWN = ("data.pkl", "constants.pkl")
OWN = (TRACED, "bytecode.pkl", "mobile_debug_handles.pkl", "attributes.pkl")
"""Pickles that belong to the program; the names in them are listed."""
CODE_LIMIT = 16 << 20
"""Bytes of program text that is looked through; beyond it what is trained counts as a parameter."""
_CLASS = re.compile(r"^class ([A-Za-z_]\w*)\(Module\):\n((?:  __\w+__ = .*\n)*)", re.MULTILINE)
_LIST = re.compile(r"^  __(parameters|buffers)__ = \[(.*)\]$", re.MULTILINE)
_NAME = re.compile(r'"((?:[^"\\]|\\.)*)"')


def read(archive: ZipDirectory, inside: Inside, nested: NestedOpener | None) -> Opened:
    """Read the tree of modules; raises CheckpointError."""
    if archive.get("data.pkl") is None:
        from ckpt_viewer.formats.torchscript_old import read_old

        return read_old(archive, inside)
    return _Reader(archive, inside, nested).opened()


class _Reader:
    """Reads the pickles of one archive, each with storages of its own folder."""

    def __init__(self, archive: ZipDirectory, inside: Inside, nested: NestedOpener | None) -> None:
        self.archive, self.inside, self.nested = archive, inside, nested
        self.parts = Parts(backing(archive.source), archive.notes)
        self.files = Files(archive)

    def opened(self) -> Opened:
        """Return the root module; what else the archive holds is below it, under the names of its records."""
        root = self._pickle("data.pkl", "data/")
        extras: list[tuple[str, Value]] = []
        folder = "constants/" if self._has("constants/") else "data/"
        constants = self._pickle("constants.pkl", folder)
        if constants not in ((), None):
            extras.append(("constants.pkl", constants))
        if self._has_traced_inputs():
            extras.append((TRACED, self._pickle(TRACED, "traced_inputs/")))
        extras += texts_of(self.archive, self.files, ("extra/", "code/"))
        note_program(self.archive, self.parts)
        self._look_into_others()
        return self.parts.opened(with_extras(root, extras), TORCHSCRIPT)

    def _has_traced_inputs(self) -> bool:
        """Whether the inputs that a module was traced with are there: since torch 1.12 their bytes are left out."""
        start = f"{self.archive.root}/traced_inputs/" if self.archive.root else "traced_inputs/"
        sizes = [record.size for name, record in self.archive.records.items() if name.startswith(start)]
        return self.archive.get(TRACED) is not None and bool(sizes) and 0 not in sizes

    def _has(self, folder: str) -> bool:
        start = f"{self.archive.root}/{folder}" if self.archive.root else folder
        return any(name.startswith(start) for name in self.archive.records)

    def _pickle(self, name: str, folder: str) -> Value:
        record = self.archive.get(name)
        if record is None:
            return None
        home = Records(self.archive, self.inside.prefix + ("" if folder == "data/" else folder), folder)
        reader = PickleReader(
            read_pickle_record(self.archive, record), home, context=self.inside.context, depth=self.inside.depth,
            nested=self.nested, justified=backing(self.archive.source), place=name,
        )  # fmt: skip
        try:
            read = read_or_left(reader, self.inside)
        except Truncated as error:
            if name == "data.pkl" or not self.inside.salvage:
                raise
            self.parts.note("error", "unreadable-member", f"{name!r} cannot be read: {error}")
            return None
        if name == "data.pkl":
            self._declare(reader)
        return self.parts.add(read, tuple(check_storages(home, read, self.inside.context)))

    def _declare(self, reader: PickleReader) -> None:
        """Tell the classes of the modules which of their attributes are parameters and buffers."""
        classes = [each for each in reader.machine.globals.values() if isinstance(each, Global)]
        declared = declarations(self.archive, self.inside)
        for each in classes:
            if each.module.partition(".")[0] == "__torch__":
                each.members = declared.get(each.qualified)

    def _look_into_others(self) -> None:
        """List the names in the program's own pickles, and tell of pickles that do not belong here."""
        base = f"{self.archive.root}/" if self.archive.root else ""
        shown = {base + name for name in SHOWN}
        for name in (base + each for each in OWN):
            record = self.archive.records.get(name)
            if record is not None:
                shown.add(name)
                data = read_pickle_record(self.archive, record)
                self.parts.use(look_into(name, data, self.inside.context, backing(self.archive.source))[1])
        shown.update(name for name in self.archive.records if name.endswith(".debug_pkl"))
        folders = tuple(base + folder for folder in ("data/", "constants/", "traced_inputs/"))
        notes, uses = hidden_pickles(self.archive, shown, folders, self.inside.context)
        self.parts.use(uses)
        self.parts.notes += notes


def declarations(archive: ZipDirectory, inside: Inside) -> dict[str, Members]:
    """Return what the program text declares of each module's class, by qualified name."""
    found: dict[str, Members] = {}
    start = f"{archive.root}/code/" if archive.root else "code/"
    left = CODE_LIMIT
    for record in stepped(archive.records.values(), inside.context):
        if not (record.name.startswith(start) and record.name.endswith(".py")):
            continue
        left -= record.size
        if left < 0:
            return {}
        try:
            text = archive.read(record).decode("utf-8", "replace")
        except CheckpointError:
            continue
        module = record.name[len(start) : -len(".py")].replace("/", ".")
        found.update((f"{module}.{name}", _members(lists)) for name, lists in _CLASS.findall(text))
    return found


def _members(lists: str) -> Members:
    stated = {kind: frozenset(_NAME.findall(names)) for kind, names in _LIST.findall(lists)}
    return Members(stated.get("parameters", frozenset()), stated.get("buffers"))


def texts_of(archive: ZipDirectory, files: Files, folders: tuple[str, ...]) -> list[tuple[str, Value]]:
    """Return (name below the root folder, what is shown) of the records in some folders."""
    base = f"{archive.root}/" if archive.root else ""
    starts = tuple(base + folder for folder in folders)
    found: list[tuple[str, Value]] = []
    for name, record in archive.records.items():
        if name.startswith(starts) and not name.endswith(("/", ".debug_pkl")):
            code = name.endswith(".py")
            value = files.text(record) if code else files.value(record)
            found.append((name[len(base) :], value if value is not None else files.placeholder(record)))
    return found


def note_program(archive: ZipDirectory, parts: Parts) -> None:
    """Note that the archive has a program in it."""
    count = sum(name.endswith(".py") for name in archive.records)
    if count or archive.get("bytecode.pkl") is not None:
        message = f"the archive holds a program ({count} files of code), which can read and write files once it is run"
        parts.note("warning", "program", f"{message}; nothing of it was run here")


def with_extras(root: Value, extras: list[tuple[str, Value]]) -> Value:
    """Return a root that has further entries: the root module itself where it is one."""
    if not extras:
        return root
    pairs = [part for extra in extras for part in extra]
    if isinstance(root, Instance):
        root.pairs += pairs
        return root
    whole = Mapping()
    whole.pairs = ["data.pkl", root, *pairs]
    return whole
