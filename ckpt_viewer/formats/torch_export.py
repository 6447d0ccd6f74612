"""torch.export programs (``.pt2``): weights as raw bytes described by JSON, or, before torch 2.8, as nested files.

FORMATS section 1.2. Source: torch/export/pt2_archive/_package.py, torch/_export/serde/schema.py.
"""

from __future__ import annotations

from ckpt_viewer.core.progress import stepped
from ckpt_viewer.core.value import Mapping, Value
from ckpt_viewer.errors import CheckpointError, Damaged, NotACheckpoint, OverBudget
from ckpt_viewer.formats.base import InnerOpener, Inside, Opened, described
from ckpt_viewer.formats.export_weights import UNFINISHED, Weights, config_left
from ckpt_viewer.formats.json_values import json_value
from ckpt_viewer.formats.parts import Parts
from ckpt_viewer.formats.zip_directory import Record, ZipDirectory
from ckpt_viewer.formats.zip_members import Members
from ckpt_viewer.sources import backing
from ckpt_viewer.unpickle.weights_only import EXPORT, OLD_EXPORT

CONFIGS = (
    ("data/weights/", "_weights_config.json", "weights"),
    ("data/constants/", "_constants_config.json", "constants"),
)
SAMPLES = "data/sample_inputs/"
OLD = "serialized_"
PROGRAM = ("models/", "data/aotinductor/", "data/executorch/")
"""Folders of the program: a graph as JSON, and machine code that a compiler made of it."""


def read(archive: ZipDirectory, inside: Inside, inner: InnerOpener) -> Opened:
    """Read weights, constants and sample inputs.

    Args:
        inner: opens a nested torch.save file.

    Raises:
        CheckpointError: nothing of it can be read.
    """
    if inside.depth > 3:
        raise OverBudget("archives are nested too deep in each other; unpack the outer ones")
    reader = _Reader(archive, inside, inner)
    old = any(name.startswith(OLD) for name in archive.records)
    root = reader.old_tree() if old else reader.tree()
    if not root.pairs:
        raise reader.parts.failure or NotACheckpoint("this torch.export program has no weights in it")
    reader.note_program()
    return reader.parts.opened(root, OLD_EXPORT if old else EXPORT)


class _Reader:
    """Reads the parts of one program."""

    def __init__(self, archive: ZipDirectory, inside: Inside, inner: InnerOpener) -> None:
        self.archive, self.inside, self.inner = archive, inside, inner
        self.parts = Parts(backing(archive.source), archive.notes)
        self.files = Members(archive)
        self.base = f"{archive.root}/" if archive.root else ""

    def tree(self) -> Mapping:
        """Return a dict of weights, constants and sample inputs; one for each model where there are several."""
        models: dict[str, Mapping] = {}
        others = Mapping()
        for name, record in self._records():
            found = self._config(name, record)
            if found is None and name.startswith(SAMPLES):
                found = name[len(SAMPLES) :].rpartition(".")[0], "sample_inputs", self._nested(record)
            if found is not None:
                model, kind, value = found
                models.setdefault(model, Mapping()).pairs += (kind, value)
            elif name.startswith("extra/"):
                others.pairs += (name, self.files.value(record))
        root = Mapping()
        if len(models) == 1:
            root = next(iter(models.values()))
        else:
            for model, parts in models.items():
                root.pairs += (model, parts)
        root.pairs += others.pairs
        return root

    def old_tree(self) -> Mapping:
        """Return a dict of the nested files of torch 2.1 to 2.7, by the words behind ``serialized_``."""
        root = Mapping()
        for name, record in self._records():
            stem = name.rpartition(".")[0]
            if stem.startswith(OLD) and stem != "serialized_exported_program":
                root.pairs += (stem[len(OLD) :], self._nested(record))
            elif name.startswith("extra_files/"):
                root.pairs += (name, self.files.value(record))
        return root

    def _records(self) -> list[tuple[str, Record]]:
        records = stepped(self.archive.records.values(), self.inside.context)
        return [(each.name.removeprefix(self.base), each) for each in records if not each.name.endswith("/")]

    def _config(self, name: str, record: Record) -> tuple[str, str, Value] | None:
        """Return (model, kind, tensors by name) where a record describes weights or constants."""
        for folder, ending, kind in CONFIGS:
            if name.startswith(folder) and name.endswith(ending):
                return name[len(folder) : -len(ending)], kind, self._tensors(folder, record)
        return None

    def _tensors(self, folder: str, record: Record) -> Value:
        config = self._described(record)
        weights = Weights(self.archive, self.inside, folder)
        result = Mapping("collections.OrderedDict")
        for name, fields in stepped(config.string_items().items(), self.inside.context):
            if isinstance(fields, Mapping) and fields.get("use_pickle") is True:
                payload = weights.record(fields)
                result.pairs += (name, self._nested(payload) if payload is not None else None)
            else:
                result.pairs += (name, weights.tensor(name, fields))
        return self.parts.add(described(result, weights.storages), tuple(weights.notes))

    def _described(self, record: Record) -> Mapping:
        """Return name -> fields of every tensor that a record describes; raises Damaged, OverBudget."""
        data, justified = self.archive.read(record), backing(self.archive.source)
        try:
            document = json_value(data, justified)
        except Damaged:
            if not self.archive.rebuilt:
                raise
            left = config_left(data, justified)
            message = f"{record.name!r} breaks off or is damaged behind {len(left)} tensors, so others have no names"
            self.parts.note("error", UNFINISHED, message)
            return left
        config = document.get("config") if isinstance(document, Mapping) else None
        if not isinstance(config, Mapping):
            raise Damaged(f"{record.name!r} describes no weights; copy or download the file again")
        return config

    def _nested(self, record: Record) -> Value:
        """Return what a nested file holds, and its size where it cannot be read."""
        try:
            if self.parts.full:
                raise OverBudget("the program holds more than is read at once")
            name = record.name.removeprefix(self.base)
            opened = self.inner(self.files.source(record), self.inside.member(name))
        except CheckpointError as error:
            shown = self.files.placeholder(record)
            self.parts.failed(record.name, record.size, error, shown)
            return shown
        if opened is None:
            return self.files.value(record)
        return self.parts.add(opened.unpickled, opened.notes)

    def note_program(self) -> None:
        """Note that the archive has a program in it, and whether a part of it is machine code."""
        names = [name.removeprefix(self.base) for name in self.archive.records]
        native = sum(name.startswith(PROGRAM[1:]) for name in names)
        count = sum(name.startswith((*PROGRAM, "serialized_exported_program")) for name in names)
        message = f"the archive holds a program ({count} files), which is not shown"
        if native:
            message += f"; {native} of them are compiled code, which loading would run"
        self.parts.note("warning" if native else "info", "program", f"{message}; nothing of it was run here")
