"""The work behind the panel of a whole module: its tree, what is said of it, and why to take its state_dict. No Qt."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

from ckpt_viewer.analysis.module_tree import MODULE, ModuleTree, module_tree
from ckpt_viewer.core.model import is_script_module
from ckpt_viewer.core.node import Node
from ckpt_viewer.core.progress import Context
from ckpt_viewer.core.text import grouped, parameters_text, shorten
from ckpt_viewer.gui.panels.crumbs import outline_row
from ckpt_viewer.gui.panels.facts import count_words
from ckpt_viewer.gui.panels.value_text import readable

OPENED = 60
"""Lines that show at first, at most."""
NAMED = 3
"""Classes and notes that are named."""


class ModuleReport(NamedTuple):
    """What the panel shows.

    Attributes:
        tree: the lines. below: numbers of the lines directly below each line.
        levels: how many levels of lines are open at first.
        sources: class -> a title and the program text of it, ready to be shown.
        heading: its class. sentences: how many modules, parameters ... advice: why to export. notes: what is missing.
    """

    tree: ModuleTree
    below: list[list[int]]
    levels: int
    sources: dict[str, tuple[str, str]]
    heading: str
    sentences: str
    advice: str
    notes: str


def module_report(subject: Node, context: Context) -> ModuleReport:
    """Look into a whole module; raises Cancelled."""
    outline = subject.checkpoint.load_outline(context)
    row = outline_row(outline, subject)
    tree = module_tree(outline, 0 if row is None else row, context)
    below: list[list[int]] = [[] for _ in tree.lines]
    for number, line in enumerate(tree.lines[1:], 1):
        below[line.parent].append(number)
    root = tree.lines[0]
    script = is_script_module(subject.value)
    kind = "a module in TorchScript" if script else "a whole module"
    heading = f"{root.type.rpartition('.')[2]}, {kind}"
    texts = {text.text: readable(text.text) for text in tree.sources.values()}
    sources = {
        name: (f"{name}, as it stood in {shorten(text.file, 120)}. Shown, never run.", texts[text.text])
        for name, text in tree.sources.items()
    }
    return ModuleReport(
        tree,
        below,
        _levels(tree),
        sources,
        heading,
        " ".join(_sentences(tree)),
        _advice(tree, script),
        _listed(tree.notes, " "),
    )


def _levels(tree: ModuleTree) -> int:
    """Return how many levels can be open without too many lines."""
    counts = [0] * (max(line.depth for line in tree.lines) + 1)
    for line in tree.lines:
        counts[line.depth] += 1
    return max(1, sum(total <= OPENED for total in accumulate(counts)) - 1)


def _sentences(tree: ModuleTree) -> Iterator[str]:
    classes = len({line.type for line in tree.lines if line.kind == MODULE})
    yield f"{count_words(tree.modules, 'module')} of {count_words(classes, 'class', 'classes')}:"
    yield f"{parameters_text(tree.parameters[0])}, {count_words(tree.buffers[0], 'number')} in buffers."
    lost = sum(not line.saved for line in tree.lines)
    if lost:
        yield f"{count_words(lost, 'tensor')} {'is' if lost == 1 else 'are'} in no state_dict: made anew by its class."
    modes = [line.training for line in tree.lines if line.training is not None]
    trains = sum(modes)
    if modes:
        mixed = f"{grouped(trains)} of {grouped(len(modes))} modules in training mode, the others in eval mode"
        yield (
            "Saved in training mode." if all(modes) else "Saved in eval mode." if not trains else f"Saved with {mixed}."
        )
    if tree.hooks:
        yield f"{count_words(tree.hooks, 'hook')}: functions that ran with it, named below and not in the file."


def _advice(tree: ModuleTree, script: bool) -> str:
    if script:
        return "To load it, torch runs the program in the file. Its state_dict is the numbers alone."
    if tree.foreign:
        named = _listed(tuple(name.rpartition(".")[2] for name in tree.foreign), ", ")
        code = "its code" if len(tree.foreign) == 1 else "their code"
        return f"To load it, Python must have {named} and runs {code}. Its state_dict loads anywhere."
    return "Its classes are torch's own, yet only weights_only=False loads it. Its state_dict loads anywhere."


def _listed(texts: tuple[str, ...], between: str) -> str:
    more = f" and {grouped(len(texts) - NAMED)} more" if len(texts) > NAMED else ""
    ends = [f"{text[:1].upper()}{text[1:]}." if between == " " else text for text in texts[:NAMED]]
    return between.join(ends) + more
