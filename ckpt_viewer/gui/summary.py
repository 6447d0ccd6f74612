"""What the summary strip and the root panel say about a file, as plain text. No widgets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ckpt_viewer.analysis.loading import FOLDERS, LoadProblem
from ckpt_viewer.analysis.overview import Overview
from ckpt_viewer.analysis.role_rules import Role
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.location import Locator
from ckpt_viewer.core.model import is_module
from ckpt_viewer.core.node import Node
from ckpt_viewer.core.outline import Pointers
from ckpt_viewer.core.tensor import StorageSpec, TensorSpec
from ckpt_viewer.core.text import bytes_text, grouped, parameters_text, shape_text
from ckpt_viewer.errors import BadMapLocation
from ckpt_viewer.gui.labels import NAME_LIMIT, plain
from ckpt_viewer.gui.tree.index import TreeIndex
from ckpt_viewer.gui.tree.names import display_name, role_word

if TYPE_CHECKING:
    from ckpt_viewer.analysis.resume import Resume
    from ckpt_viewer.analysis.safety import Verdict

FORMATS = {"torch-zip": "zip", "torch-legacy": "legacy stream", "pickle": "bare pickle", "safetensors": "safetensors",
           "sharded": "sharded set", "torch-tar": "tar of torch 0.1", "torchscript": "TorchScript",
           "torch-package": "torch.package", "torch-export": "torch.export program",
           "zip": "zip of files", "distributed": "distributed checkpoint"}  # fmt: skip
KINDS = {"state_dict": "state_dict", "torchscript": "TorchScript", "other": "Other contents"}
CONTENTS_LIMIT = 14
"""Entries of the root that are listed as links."""
TAGS_LIMIT = 4
"""Device tags that a line names before it counts them."""


class Fact(NamedTuple):
    """One row of the root panel. `severity` is ``""`` where there is nothing to heed."""

    name: str
    text: str
    severity: str = ""


class Link(NamedTuple):
    """One entry of the file: its name, what it is, and the pointer that leads to it."""

    name: str
    text: str
    pointer: str


def device_of(locator: Locator, tag: str | None) -> str:
    """Return where storages of a tag go; ``?`` where a callable would have to see each of them."""
    try:
        return locator.storage(StorageSpec("", tag, "", 0, None))
    except BadMapLocation:
        return "?"


def kind_text(overview: Overview) -> str:
    """Return ``Training checkpoint, epoch 3``."""
    kind = KINDS.get(overview.kind) or overview.kind[:1].upper() + overview.kind[1:]
    if not overview.progress:
        return kind
    best = next((each for each in overview.progress if "epoch" in each.name), overview.progress[0])
    return f"{kind}, {plain(best.name, NAME_LIMIT)} {_number(best.value)}"


def devices_text(overview: Overview, locator: Locator) -> str:
    """Return ``cuda:1 → cpu``; ``cpu`` where nothing moves."""
    parts: list[str] = []
    for tag, _ in overview.locations:
        target = device_of(locator, tag)
        saved = "no device" if tag is None else plain(tag, 30)
        part = saved if target == (tag or "cpu") else f"{saved} → {plain(target, 30)}"
        if part not in parts:
            parts.append(part)
    if len(parts) > TAGS_LIMIT:
        parts = [*parts[:TAGS_LIMIT], f"{len(parts) - TAGS_LIMIT} more"]
    return ", ".join(parts)


def resume_fact(going_on: Resume | None) -> Fact:
    """Say whether a training can go on from this file; None while that is being looked at."""
    if going_on is None:
        return Fact("Resume", "looking whether it can be resumed …")
    counts = [sum(each.severity == severity for each in going_on.advice) for severity in ("error", "warning")]
    severity = "error" if counts[0] else "warning" if counts[1] else ""
    return Fact("Resume", plain(going_on.verdict, 400) + warnings_text(going_on), severity)


def warnings_text(going_on: Resume) -> str:
    """Return what stands behind ``can be resumed`` where that is not all: ``, with 2 warnings``."""
    count = sum(each.severity == "warning" for each in going_on.advice)
    if not count or not going_on.possible:
        return ""
    return f", with {grouped(count)} warning{'' if count == 1 else 's'}"


def format_text(checkpoint: Checkpoint) -> str:
    """Return the container's name, of how many files a folder is, and whether it is broken."""
    name = FORMATS.get(checkpoint.format, checkpoint.format)
    if checkpoint.format in FOLDERS:
        name = f"{name}, {files_text(checkpoint)}"
    return f"{name}, salvaged" if checkpoint.contents.salvaged else name


def files_text(checkpoint: Checkpoint) -> str:
    """Return ``7 files``."""
    count = len(checkpoint.contents.files)
    return f"{grouped(count)} file{'' if count == 1 else 's'}"


def lost_fact(checkpoint: Checkpoint) -> Fact | None:
    """Name the tensors whose values are lost; None if there are none."""
    lost = list(checkpoint.lost)
    if not lost:
        return None
    pointers = Pointers(checkpoint.outline)
    named = ", ".join(plain(pointers.of(row) or "the root", 80) for row in lost[:TAGS_LIMIT])
    more = f" and {grouped(len(lost) - TAGS_LIMIT)} more" if len(lost) > TAGS_LIMIT else ""
    return Fact("Lost", f"{grouped(len(lost))} tensor{'s' if len(lost) > 1 else ''}: {named}{more}", "error")


def strip_parts(checkpoint: Checkpoint, overview: Overview, going_on: Resume | None) -> list[str]:
    """Return what the summary strip says, most important first; `going_on` is None while it is being looked at."""
    parts = [kind_text(overview)]
    if overview.kind == "training checkpoint" and checkpoint.models and checkpoint.models[0].kind == "module":
        parts.append("model saved whole")  # a module, and not its parameters as usual
    if overview.parameters is not None:
        parts.append(parameters_text(overview.parameters))
    parts += [bytes_text(checkpoint.size), format_text(checkpoint)]
    devices = devices_text(overview, checkpoint.locator)
    if devices:
        parts.append(devices)
    if going_on is not None:
        parts.append(plain(going_on.verdict, 200) + warnings_text(going_on))
    return parts


def load_fact(
    overview: Overview, locator: Locator, problems: tuple[LoadProblem, ...], devices: tuple[str, ...] | None, note: str
) -> Fact:
    """Say whether torch.load would work on this machine; `note` says why the devices are not known."""
    if problems:
        targets = list(dict.fromkeys(plain(problem.target, 30) for problem in problems))
        shown = ", ".join(targets[:TAGS_LIMIT]) + (" ..." if len(targets) > TAGS_LIMIT else "")
        return Fact("Loads here", f"no: {shown} {'is' if len(targets) == 1 else 'are'} not on this computer", "warning")
    wanted = {device_of(locator, tag) for tag, _ in overview.locations}
    if wanted <= {"cpu", "meta"}:
        return Fact("Loads here", "yes, on the CPU")
    if devices is None:
        return Fact("Loads here", note)
    return Fact("Loads here", f"yes, onto {', '.join(sorted(plain(each, 30) for each in wanted)[:TAGS_LIMIT])}")


def size_text(checkpoint: Checkpoint, overview: Overview) -> str:
    """Return how large everything is, in words."""
    parts = []
    if overview.parameters is not None:
        parts.append(parameters_text(overview.parameters))
    plural = "" if overview.tensors == 1 else "s"
    parts.append(f"{grouped(overview.tensors)} tensor{plural}, {bytes_text(overview.tensor_bytes)}")
    if overview.storage_bytes != overview.tensor_bytes:
        parts.append(f"{bytes_text(overview.storage_bytes)} stored")
    what = f"{files_text(checkpoint)}," if checkpoint.format in FOLDERS else "file"
    parts.append(f"{what} {bytes_text(checkpoint.size)}")
    return "; ".join(parts)


def weights_only_fact(checkpoint: Checkpoint) -> Fact:
    """Say whether torch.load's safe mode takes the file."""
    reason = checkpoint.contents.weights_only
    if checkpoint.contents.protocol < 0:
        words = "there is no pickle in it; torch.load takes safetensors by the name"
        return Fact("Safe mode", plain(reason, 300) if reason else words)
    from ckpt_viewer.analysis.safety import verdict

    said = verdict(checkpoint)
    if checkpoint.format == "folder":
        return _each_file_fact(said)
    if said.loads:
        return Fact("Safe mode", f"torch.load(weights_only=True) of torch {said.version} reads it")
    return Fact("Safe mode", f"torch.load(weights_only=True) refuses it: {plain(said.reason, 300)}", "info")


def code_note(checkpoint: Checkpoint, code: str, problems: Sequence[LoadProblem]) -> str:
    """Say what the line of code that loads a file does not: why it names the CPU, and that safe mode refuses it."""
    notes = ["As the box Load onto has it, torch.load would refuse the file here."] if problems else []
    if code.startswith("torch.load("):
        from ckpt_viewer.analysis.safety import verdict

        if not verdict(checkpoint).loads:
            notes.append("Safe mode, which is torch.load's default, refuses it; the tab Loading has code for that.")
    return " ".join(notes)


def _each_file_fact(said: Verdict) -> Fact:
    """Say it of a folder, whose files torch.load opens one by one."""
    if said.loads:
        return Fact("Safe mode", f"torch.load(weights_only=True) of torch {said.version} reads each of its files")
    return Fact(
        "Safe mode", f"torch.load(weights_only=True) refuses some of its files: {plain(said.reason, 300)}", "info"
    )


def root_facts(checkpoint: Checkpoint, overview: Overview, load: Fact, going_on: Resume | None) -> list[Fact]:
    """Return the rows of the root panel; `going_on` is None while it is being looked at."""
    protocol = checkpoint.contents.protocol
    form = format_text(checkpoint)
    facts = [
        Fact("Size", size_text(checkpoint, overview)),
        Fact("Devices", devices_text(overview, checkpoint.locator) or "none: it holds no tensors"),
        load,
        resume_fact(going_on),
        Fact("Format", f"{form}, pickle protocol {protocol}" if protocol >= 0 else form),
        weights_only_fact(checkpoint),
    ]
    if checkpoint.contents.salvaged:
        load = Fact("Loads here", "no: torch.load refuses a broken file; export what is left of it", "warning")
        facts = [*filter(None, (lost_fact(checkpoint),)), facts[0], facts[1], load, facts[4]]
    dangerous = [use.name for use in checkpoint.contents.globals if use.status == "dangerous"]
    if dangerous:
        named = ", ".join(plain(name, 60) for name in dangerous[:TAGS_LIMIT])
        more = f" and {len(dangerous) - TAGS_LIMIT} more" if len(dangerous) > TAGS_LIMIT else ""
        facts.append(Fact("Danger", f"loading it in Python would run {named}{more}; nothing was run here", "error"))
    facts += [Fact("Note", plain(note.message, 400), note.severity) for note in overview.findings[:6]]
    return facts


def contents_links(checkpoint: Checkpoint, overview: Overview, tree: TreeIndex) -> tuple[list[Link], int]:
    """Return links to what is in the file, and how many entries are not listed.

    Args:
        tree: finds pointers without walking all siblings, as a Node has to.
    """
    root, outline = checkpoint.root, checkpoint.outline
    nodes = (
        (row, Node(checkpoint, outline.values[row], root, outline.steps[row], index))
        for index, row in enumerate(outline.children(0))
    )
    if is_module(root.value):
        nodes = ((row, node) for row, node in nodes if not _is_idle(node))
    links = []
    for row, node in islice(nodes, CONTENTS_LIMIT):
        pointer = tree.pointer(tree.rows[row])
        links.append(
            Link(display_name(node.step, NAME_LIMIT), _entry_text(node, overview.role_details.get(pointer)), pointer)
        )
    return links, max(0, (root.length or 0) - len(links))


def _is_idle(node: Node) -> bool:
    """Whether an attribute is one of the dozen that torch gives every module, with nothing in it."""
    return node.name.startswith("_") and (node.value is None or node.length == 0)


def _entry_text(node: Node, role: Role | None) -> str:
    if role is not None and role.name != "progress":
        return ", ".join(
            word for word in (role_word(role.name), plain(role.detail, 80), *_length(node, role.name)) if word
        )
    value = node.value
    if isinstance(value, str | int | float | bool) or value is None:
        return plain(repr(value) if isinstance(value, str) else _number(value), 80)
    if isinstance(value, TensorSpec):
        return plain(f"{shape_text(value.shape)}, {value.dtype}", 80)
    return ", ".join((plain(node.type, 60), *_length(node, "")))


def _number(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 256:
        return f"an integer of {value.bit_length()} bits"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _length(node: Node, role: str) -> Iterator[str]:
    if node.length is not None and role in ("", "model", "ema"):
        yield f"{grouped(node.length)} {'entry' if node.length == 1 else 'entries'}"


def file_name(path: str) -> str:
    """Return a file's own name, for the screen."""
    return plain(Path(path).name or path, NAME_LIMIT)
