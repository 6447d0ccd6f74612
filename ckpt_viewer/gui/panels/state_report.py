"""What an optimizer knows of a weight, and whose state an entry of an optimizer is. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ckpt_viewer.core.node import Node
from ckpt_viewer.core.scalar import number_of
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.gui.panels.crumbs import outline_row
from ckpt_viewer.gui.panels.facts import DOT

if TYPE_CHECKING:
    from ckpt_viewer.core.outline import Outline
    from ckpt_viewer.core.progress import Context
    from ckpt_viewer.gui.training_watch import Link, Training

MOST_LINKS = 8
"""Entries of a state that are linked."""


class StateReport(NamedTuple):
    """What stands below the facts of a selection.

    Attributes:
        lead: words before the links. links: (text, row of the outline). facts: step, learning rates, group.
        how: how it was joined and how sure that is, in a sentence.
    """

    lead: str
    links: tuple[tuple[str, int], ...]
    facts: str
    how: str


def state_report(subject: Node, training: Training, context: Context) -> StateReport | None:
    """Return what to say of a weight or of an entry of an optimizer's state; reads one number. None for all else."""
    outline = subject.checkpoint.load_outline(context)
    value = subject.value
    if isinstance(value, TensorSpec) and (link := training.by_tensor.get(id(value))) is not None:
        return _of_weight(outline, link)
    row = outline_row(outline, subject)
    if row is None:
        return None
    link = training.by_state.get(row) or training.by_state.get(outline.parents[row])
    if link is not None:
        return _of_state(outline, link)
    return _of_untrained(value, training)


def _of_weight(outline: Outline, link: Link) -> StateReport:
    slot = link.joined.slot
    if slot.row is None:
        return StateReport("Optimizer", (("its groups", link.view.row),), f"no state{DOT}{_numbers(link)}", _how(link))
    links = [
        (str(outline.steps[row]), row)
        for row in outline.children(slot.row)
        if isinstance(value := outline.values[row], TensorSpec) and number_of(value) is None
    ]
    links = links[:MOST_LINKS] or [("its state", slot.row)]
    return StateReport("Optimizer state", tuple(links), _numbers(link), _how(link))


def _of_state(outline: Outline, link: Link) -> StateReport:
    weight = link.joined.weight
    if weight is None:
        words = "it is not known of which parameter"
        return StateReport("State in the optimizer", (("its groups", link.view.row),), f"{words}{DOT}{_numbers(link)}",
                           _how(link))  # fmt: skip
    row = weight_row(outline, link)
    links = ((weight.name, row),) if row is not None else ()
    lead = "State of" if links else f"State of {weight.name}"
    return StateReport(lead, links, _numbers(link), _how(link))


def weight_row(outline: Outline, link: Link) -> int | None:
    """Return the row of the weight that a state belongs to, inside of its model."""
    weight = link.joined.weight
    if weight is None:
        return None
    own = {id(weight.tensor), *(id(tensor) for tensor in weight.tied)}
    for row in range(weight.row, outline.ends[weight.row]):
        if id(outline.values[row]) in own:
            return row
    return None


def _of_untrained(value: object, training: Training) -> StateReport | None:
    """Say of a parameter of a joined model that no optimizer has it."""
    for seen in training.going_on.optimizers:
        if any(value is weight.tensor for weight in seen.left_out):
            guess = f"{DOT}a guess" if seen.join.confidence == "guess" else ""
            words = f"it is in none of them: not trained{guess}"
            return StateReport("Optimizer", (("its groups", seen.row),), words, f"{seen.join.reason}.")
    return None


def _numbers(link: Link) -> str:
    """Return step, learning rate and group."""
    seen, slot = link.view, link.joined.slot
    step, rate, effective = seen.step(slot), seen.learning_rate(slot), seen.effective_rate(slot)
    parts = [seen.guess.text] if seen.guess.text else []
    if step is not None:
        parts.append(f"step {step:g}")
    if rate is not None:
        parts.append(f"learning rate {rate:.6g}")
    if effective is not None and rate is not None and effective != rate:
        parts.append(f"{effective:.6g} effective")
    if len(seen.groups) > 1:
        parts.append(f"group {slot.group}")
    if not link.joined.sure and link.joined.weight is not None:
        parts.append("a guess")
    return DOT.join(parts)


def _how(link: Link) -> str:
    join = link.view.join
    sure = "sure" if link.joined.sure else "a guess" if link.joined.weight is not None else "unknown"
    return f"Which state belongs to which parameter: {sure}; {join.reason}."
