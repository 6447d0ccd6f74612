"""Can a training go on from this checkpoint? What is there, whether its parts agree, and the code that mends it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ckpt_viewer.analysis.advice import Advice
from ckpt_viewer.analysis.optimizer import OptimizerView
from ckpt_viewer.analysis.overview import Overview
from ckpt_viewer.analysis.resume_agreement import agreement
from ckpt_viewer.analysis.resume_facts import Facts
from ckpt_viewer.analysis.resume_model import model_advice
from ckpt_viewer.analysis.resume_values import value_advice
from ckpt_viewer.analysis.scheduler import SchedulerView
from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.finding import Finding
from ckpt_viewer.core.progress import SILENT, Context

NAMED = 3
"""Parameters that a sentence names."""
OF_TORCH = frozenset(
    """ASGD Adadelta Adafactor Adagrad Adam AdamW Adamax LBFGS Muon NAdam RAdam RMSprop Rprop SGD SparseAdam""".split()
)
"""Classes of torch.optim."""


class Resume(NamedTuple):
    """Whether a training can go on.

    Attributes:
        reason: why not; ``""`` where it is possible.
        advice: what was noticed, each with what it means and the code that mends it.
        optimizers: what is known of each.
    """

    reason: str
    advice: tuple[Advice, ...]
    optimizers: tuple[OptimizerView, ...]

    @property
    def possible(self) -> bool:
        """Whether there are a model and an optimizer that fit each other, in a file that is whole."""
        return not self.reason

    @property
    def findings(self) -> tuple[Finding, ...]:
        """`advice` as findings."""
        return tuple(each.finding for each in self.advice)

    @property
    def verdict(self) -> str:
        """The answer in words."""
        return "can be resumed" if self.possible else f"cannot be resumed: {self.reason}"

    def with_values(
        self, checkpoint: Checkpoint, view: Overview, nan: Iterable[int], infinite: Iterable[int]
    ) -> Resume:
        """Return the same with what a scan of all values found.

        Args:
            nan, infinite: rows of the tensors with a NaN, with an infinity.
        """
        more = tuple(value_advice(checkpoint, view, nan, infinite))
        reason = self.reason or _first_error(more)
        return self._replace(reason=reason, advice=(*more, *self.advice))


def resume(checkpoint: Checkpoint, view: Overview, context: Context = SILENT) -> Resume:
    """Look through everything that a training needs to go on; reads single numbers, no weights. Raises Cancelled."""
    rows = [row for row, role in view.role_rows.items() if role.name == "optimizer"]
    optimizers = tuple(OptimizerView(checkpoint, row, context) for row in rows)
    facts = Facts(checkpoint, view, optimizers)
    advice = [*_present(facts), *model_advice(checkpoint, view, context)]
    for seen in optimizers:
        advice += _optimizer(facts, seen)
        context.step(0, 0)
    advice += agreement(facts)
    return Resume(_reason(facts, advice), tuple(advice), optimizers)


def _reason(facts: Facts, advice: list[Advice]) -> str:
    if facts.checkpoint.contents.salvaged:
        return "the file is damaged; what was salvaged of it is not all"
    missing = [role for role in ("model", "optimizer") if not facts.has(role)]
    if missing:
        return f"it holds no {' and no '.join(missing)}"
    return _first_error(advice)


def _first_error(advice: Iterable[Advice]) -> str:
    """Return what is wrong, without what comes of it; ``""`` where nothing is."""
    return next((each.meaning.partition(", so ")[0] for each in advice if each.severity == "error"), "")


def _present(facts: Facts) -> Iterator[Advice]:
    """What a training checkpoint has, and this one has not. A bare state_dict lacks nothing."""
    training = facts.has("optimizer") or facts.has("lr_scheduler") or facts.has("progress")
    if not training or not (facts.has("model") or facts.has("ema")):
        return
    if not facts.has("optimizer"):
        yield Advice(
            "warning", "no-optimizer", (), "no optimizer is in it, so a training starts anew from these weights",
            "save it with", 'torch.save({**checkpoint, "optimizer": optimizer.state_dict()}, "checkpoint.pth")',
        )  # fmt: skip
        return
    if not facts.has("progress"):
        yield Advice(
            "info", "no-progress", (), "neither epoch nor step is in it, so a training counts from zero again",
            "set by hand, to the number of epochs that are done:", "start_epoch = 0",
        )  # fmt: skip
    if not facts.has("lr_scheduler"):
        yield Advice(
            "info", "no-scheduler", (), "no lr_scheduler is in it: the learning rate stays where the groups have it",
            "where the training has one, set it to the epochs that are done:", "scheduler.last_epoch = start_epoch",
        )  # fmt: skip
    if not facts.has("rng"):
        yield Advice(
            "info", "no-rng", (), "no state of a random generator is in it, so what follows is not repeated bit by bit",
            "save it with", 'torch.save({**checkpoint, "rng": torch.get_rng_state()}, "checkpoint.pth")',
        )  # fmt: skip


def _optimizer(facts: Facts, seen: OptimizerView) -> Iterator[Advice]:
    """Whether the state of an optimizer and the model fit each other."""
    path, join, count = facts.path(seen.row), seen.join, len(seen.slots)
    code = facts.code(path)
    load = f"optimizer.load_state_dict({code})"
    if facts.has("model") and count and join.method == "none":
        yield Advice(
            "error", "optimizer-other-model", path, f"the optimizer was saved for another model: its {count} "
            "parameters have other shapes", "go on without it, with moments from zero: leave out", load,
        )  # fmt: skip
        return
    if join.method == "flat":
        words = "it loads with the same wrapper and number of ranks"
        yield Advice("info", "optimizer-flat", path, join.reason, words)
        return
    if count > join.matched and join.method != "none":
        yield Advice(
            "warning", "optimizer-uncovered", path, f"{count - join.matched} of the optimizer's {count} parameters are "
            "not found in the model of this file", "build the same parameters before", load,
        )  # fmt: skip
    if seen.orphans:
        yield Advice(
            "warning", "optimizer-orphans", path, f"{len(seen.orphans)} states belong to no parameter of any group and "
            "are lost on loading", "list them with", f'set({code}["state"]) - {{p for group in '
            f'{code}["param_groups"] for p in group["params"]}}',
        )  # fmt: skip
    if seen.missing:
        some = ", ".join(each.weight.name for each in seen.missing[:NAMED] if each.weight) or "unnamed ones"
        yield Advice(
            "info", "optimizer-missing-state", path, f"{len(seen.missing)} of the optimizer's {count} parameters have "
            f"no state ({some}): they were frozen or never used; their moments start from zero",
        )  # fmt: skip
    if seen.left_out and join.confidence != "guess":
        some = ", ".join(weight.name for weight in seen.left_out[:NAMED])
        yield Advice(
            "info", "optimizer-left-out", path, f"{len(seen.left_out)} parameters of the model are in none of "
            f"the optimizer's groups ({some}): they were not trained",
            "give the optimizer the same parameters before", load,
        )  # fmt: skip
    if join.confidence == "guess":
        yield Advice(
            "info", "optimizer-order", path, f"which state belongs to which parameter is a guess, {join.reason}",
            "names are kept where the optimizer is built from",
            f"optimizer = torch.optim.{_class(seen)}(model.named_parameters())",
        )  # fmt: skip


def _class(seen: OptimizerView) -> str:
    """Return a class of torch.optim that the state may be of; our own names, none is from the file."""
    return next((name for name in seen.guess.names if name in OF_TORCH), "AdamW")


def scheduler_views(going_on: Resume, checkpoint: Checkpoint, view: Overview) -> list[SchedulerView]:
    """Return the schedulers of a checkpoint, each with the groups of the optimizer that it steers."""
    found = []
    rows = [row for row, role in view.role_rows.items() if role.name == "lr_scheduler"]
    for number, row in enumerate(rows):
        seen = SchedulerView(checkpoint, row)
        fitting = [each for each in going_on.optimizers if len(each.groups) == len(seen.rates)] or going_on.optimizers
        chosen = fitting[min(number, len(fitting) - 1)] if fitting else None
        found.append(SchedulerView(checkpoint, row, [group.fields for group in chosen.groups] if chosen else []))
    return found
