"""What an optimizer multiplies a step of a parameter by at a saved state: its effective learning rate.

Sources: the single-tensor functions of torch/optim/*.py of 2.13, and prodigyopt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import pow, sqrt
from typing import NamedTuple

from ckpt_viewer.core.scalar import number_of
from ckpt_viewer.core.value import Value

LONG = 5.0
"""Length of RAdam's average from which on it rectifies the variance."""


class At(NamedTuple):
    """Where a parameter stands.

    Attributes:
        rate: the learning rate of its group. step: updates so far, at least 1. betas: both of its group, or zeros.
        number: returns a number of its state or of its group, and a default where there is none.
    """

    rate: float
    step: float
    betas: tuple[float, float]
    number: Callable[[str, float], float]

    @property
    def left(self) -> tuple[float, float]:
        """How much of the zeros that they began with is left in both moments."""
        return pow(self.betas[0], self.step), pow(self.betas[1], self.step)


def effective_rate(
    names: tuple[str, ...], rate: float, step: float | None, group: Mapping[str, Value], entry: Mapping[str, Value]
) -> float:
    """Return what the update before the saved state multiplied its direction by.

    The direction is the moment divided by the root of the second one, for Adam and its kin; RAdam's first steps, which
    have no second one, and all others take the moment or gradient as it is. For Adafactor it is the part that does not
    depend on the size of the parameter.

    Args:
        names: the class of the optimizer, or those that cannot be told apart. rate: the learning rate of the group.
        step: updates so far; None where they are not counted. group, entry: hyper-parameters, and the state.
    """
    rule = next((RULES[name] for name in names if name in RULES), None)
    given = group.get("betas")
    found = [number_of(each) for each in given] if isinstance(given, tuple) else []
    betas = (found[0] or 0.0, found[1] or 0.0) if len(found) == 2 else (0.0, 0.0)
    if rule is None or not step or step < 1 or not all(0 <= beta < 1 for beta in betas):
        return rate

    def number(name: str, otherwise: float) -> float:
        for holder in (entry, group):
            held = number_of(holder.get(name))
            if held is not None:
                return float(held)
        return otherwise

    try:
        return float(rule(At(rate, float(step), betas, number)))
    except (ZeroDivisionError, OverflowError, ValueError):  # numbers that no training gives
        return rate


def _adam(at: At) -> float:
    first, second = at.left
    return at.rate * sqrt(1 - second) / (1 - first)


def _adamax(at: At) -> float:
    return at.rate / (1 - at.left[0])


def _radam(at: At) -> float:
    _, second = at.left
    longest = 2 / (1 - at.betas[1]) - 1
    length = longest - 2 * at.step * second / (1 - second)
    if length <= LONG:
        return _adamax(at)
    rectified = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    return _adam(at) * sqrt(rectified)


def _nadam(at: At) -> float:
    ahead = at.betas[0] * (1 - 0.5 * pow(0.96, (at.step + 1) * at.number("momentum_decay", 0.004)))
    return at.rate * ahead / (1 - at.number("mu_product", 0.0) * ahead) * sqrt(1 - at.left[1])


def _adagrad(at: At) -> float:
    return at.rate / (1 + (at.step - 1) * at.number("lr_decay", 0.0))


def _asgd(at: At) -> float:
    return at.number("eta", at.rate)


def _adafactor(at: At) -> float:
    return min(at.rate, 1 / sqrt(at.step))


def _prodigy(at: At) -> float:
    return at.rate * at.number("d", 1.0)


RULES: dict[str, Callable[[At], float]] = {
    **dict.fromkeys(("Adam", "AdamW", "SparseAdam", "FusedAdam (apex)", "FusedAdam", "Adam (fastai)"), _adam),
    "Adamax": _adamax, "RAdam": _radam, "NAdam": _nadam, "Adagrad": _adagrad, "ASGD": _asgd, "Adafactor": _adafactor,
    "Prodigy": _prodigy,
}  # fmt: skip
"""Class -> its rule; all others multiply by the learning rate."""
