"""The work behind the panels about training: optimizers, schedulers, where a file loads. No Qt but the rows' own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ckpt_viewer.analysis.optimizer import Joined, OptimizerView
from ckpt_viewer.analysis.overview import Overview, overview
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.node import Node
from ckpt_viewer.core.path import python_repr
from ckpt_viewer.core.progress import Context, stepped
from ckpt_viewer.core.scalar import number_of
from ckpt_viewer.core.text import bytes_text, grouped, shape_text, shorten
from ckpt_viewer.core.value import Mapping, Value
from ckpt_viewer.gui.panels.crumbs import outline_row
from ckpt_viewer.gui.panels.facts import count_words
from ckpt_viewer.gui.panels.safety_report import Row

CONFIDENCE = ("unknown", "guess", "sure", "orphan", "left out")
"""Words for how well a state is joined to its parameter, for a state without one, and for one in no group."""
UNKNOWN, GUESS, SURE, ORPHAN, LEFT_OUT = range(5)
LOADS = ("fails", "loads", "held only")
HELD = 2
MOST_NAMED = 6
"""Names that a sentence lists."""

if TYPE_CHECKING:
    from ckpt_viewer.analysis.safety import Allowance


class Hyper(NamedTuple):
    """One hyper-parameter: its name, its value in each group, and whether these differ."""

    name: str
    values: tuple[str, ...]
    differs: bool


class OptimizerReport(NamedTuple):
    """What the optimizer's panel shows.

    Attributes:
        heading: the class. sentences: what told it, how states were joined, memory, what is odd.
        groups: titles of the groups. hypers: a line each. rows: the parameters.
    """

    heading: str
    sentences: str
    groups: tuple[str, ...]
    hypers: list[Hyper]
    rows: list[Row]


def optimizer_report(subject: Node, known: Sequence[OptimizerView], context: Context) -> OptimizerReport:
    """Put together what is known of an optimizer; reads the steps of its parameters. Raises Cancelled.

    Args:
        known: optimizers of the file that were looked at before.
    """
    checkpoint = subject.checkpoint
    row = outline_row(checkpoint.load_outline(context), subject) or 0
    seen = next((each for each in known if each.row == row), None) or OptimizerView(checkpoint, row, context)
    names = list(dict.fromkeys(name for group in seen.groups for name in group.fields))
    hypers = [
        Hyper(name, tuple(_text(group.fields.get(name)) for group in seen.groups), name in seen.differing)
        for name in names
    ]
    rows = []
    for number, each in enumerate(seen.joined):
        if number % 64 == 0:
            context.step(number, len(seen.slots))
        rows.append(_parameter(seen, each))
    rows += _odd(seen, context)
    titles = tuple(f"Group {number}" for number in range(len(seen.groups)))
    return OptimizerReport(seen.guess.text or "Optimizer of an unknown class", _told(seen), titles, hypers, rows)


def _told(seen: OptimizerView) -> str:
    join = seen.join
    sentences = [
        f"Told by its fields: {seen.guess.reason}.",
        f"{grouped(join.matched)} of {count_words(len(seen.slots), 'parameter')} found in the model: {join.reason}.",
        f"Its state takes {bytes_text(seen.state_bytes)}, the model {bytes_text(seen.model_bytes)}.",
    ]
    if seen.orphans:
        sentences.append(f"{count_words(len(seen.orphans), 'state')} belong to no parameter of any group.")
    if seen.missing:
        sentences.append(f"{count_words(len(seen.missing), 'parameter')} without a state: frozen, or never used.")
    if seen.left_out:
        sentences.append(f"{count_words(len(seen.left_out), 'parameter')} of the model are in none of its groups.")
    return " ".join(sentences)


def _odd(seen: OptimizerView, context: Context) -> Iterator[Row]:
    """Yield a row for each state without a parameter, and for each parameter of the model in no group."""
    outline = seen.checkpoint.outline
    for key, at in seen.orphans:
        entry = outline.values[at]
        held = ", ".join(entry.string_items()) if isinstance(entry, Mapping) else ""
        yield Row(ORPHAN, (python_repr(key), "none", "", "", "", held), at)
    wanted = {id(weight.tensor): weight.name for weight in seen.left_out}
    for model in seen.join.rows if wanted else ():
        for row in stepped(range(model, outline.ends[model]), context):
            name = wanted.pop(id(outline.values[row]), None)
            if name is not None:
                shape = getattr(outline.values[row], "shape", None)
                yield Row(LEFT_OUT, (name, "none", shape_text(shape), "", "", "none"), row)


def _parameter(seen: OptimizerView, each: Joined) -> Row:
    slot, weight = each.slot, each.weight
    rank = UNKNOWN if weight is None else SURE if each.sure else GUESS
    name = weight.name if weight is not None else slot.given or python_repr(slot.key)
    step, rate = seen.step(slot), seen.effective_rate(slot)
    state = ", ".join(slot.entry.string_items()) if slot.entry is not None else "none"
    shape = shape_text(weight.tensor.shape if weight is not None else slot.shape)
    cells = (name, str(slot.group), shape, "" if step is None else f"{step:g}", "" if rate is None else f"{rate:.6g}")
    return Row(rank, (*cells, state), slot.row)


def _text(value: Value) -> str:
    number = number_of(value)
    return python_repr(value) if number is None else f"{number:g}" if type(number) is float else str(number)


class LoadingReport(NamedTuple):
    """What the loading panel shows.

    Attributes:
        heading: whether it loads here. details: torch's words where it does not, and what safe mode would need.
        rows: device tags. code: the lines that load the file.
    """

    heading: str
    details: str
    rows: list[Row]
    code: str


def loading_report(
    checkpoint: Checkpoint, view: Overview | None, devices: tuple[str, ...] | None, context: Context
) -> LoadingReport:
    """Put together where a file would load and how; raises Cancelled."""
    from ckpt_viewer.analysis.load_code import snippet
    from ckpt_viewer.analysis.safety import allowance, verdict
    from ckpt_viewer.analysis.where import where

    answer = where(checkpoint, devices, context)
    rows = [
        Row(0 if place.message else 1, (
            "none stated" if place.tag is None else place.tag, place.device or "nowhere", bytes_text(place.nbytes),
            str(place.storages), ", ".join(place.dtypes), place.message), None)
        for place in answer.places
    ]  # fmt: skip
    rows += [
        Row(HELD if each.later else 0, ("", each.device, "", "", each.what, each.words), None) for each in answer.unheld
    ]
    said = verdict(checkpoint)
    safe = "weights_only=True passes." if said.loads else f"weights_only=True is refused: {said.reason}."
    known = "" if devices is not None else " Which devices this computer has is not known yet."
    details = " ".join(filter(None, (answer.error, "" if said.loads else _needs(allowance(checkpoint)))))
    heading = "torch.load fails here." if answer.error else "torch.load works here."
    code = snippet(checkpoint, view if view is not None else overview(checkpoint, context))
    return LoadingReport(f"{heading} {safe}{known}", details, rows, code)


def _needs(needed: Allowance) -> str:
    """Say what torch.serialization.add_safe_globals would need; nobody is told to allow what could run code."""
    if needed.dangerous:
        return f"Nothing should be allowed: it would run {_some(needed.dangerous)}."
    if needed.helps:
        return f"torch.serialization.add_safe_globals would need {_some(needed.names)}; allow only what you know."
    return "Allowing names would not be enough."


def _some(names: Sequence[str]) -> str:
    more = f" and {grouped(len(names) - MOST_NAMED)} more" if len(names) > MOST_NAMED else ""
    return ", ".join(shorten(name, 80) for name in names[:MOST_NAMED]) + more
