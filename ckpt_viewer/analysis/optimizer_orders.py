"""The orders in which parameters are usually given to an optimizer, tried on slots and weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise, permutations
from typing import NamedTuple, Protocol

from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.value import Value

PERMUTED = 4
"""Groups that are tried in every order."""
Shape = tuple[int, ...] | None
Choice = list[int | None]
"""For each slot the number of a weight."""
Match = Callable[[list[int], list[Shape], "list[Weight]"], "Choice | None"]
"""Chooses weights for slots among some of them; None where they do not fit."""


class State(Protocol):
    """What is asked of a slot."""

    @property
    def key(self) -> Value: ...
    @property
    def group(self) -> int: ...
    @property
    def given(self) -> str: ...
    @property
    def shape(self) -> Shape: ...


class Weight(NamedTuple):
    """A parameter of a model.

    Attributes:
        name: in its state_dict, the first where several names share it. tensor: its bytes.
        row: of the model in the outline. tied: the tensors under its other names.
    """

    name: str
    tensor: TensorSpec
    row: int
    tied: tuple[TensorSpec, ...] = ()


Test = Callable[[Weight], bool]
DECAYED: tuple[Test, ...] = (
    lambda weight: len(weight.tensor.shape or ()) > 1,
    lambda weight: not weight.name.endswith("bias"),
    lambda weight: not weight.name.endswith("bias") and "norm" not in weight.name.lower(),
    lambda weight: not weight.name.endswith("bias") and not _of_a_norm(weight.name),
)
"""What weight decay is usually given to, as trainers split their groups."""


def _of_a_norm(name: str) -> bool:
    """Whether a name's module is a norm: ``ln_1``, ``bn2``, ``LayerNorm``."""
    parts = name.lower().split(".")
    return any("norm" in part or part.startswith(("ln", "bn")) for part in parts[-2:])


def usual_orders(slots: Sequence[State], shapes: list[Shape], weights: list[Weight]) -> Iterator[Choice | None]:
    """Yield a choice for every usual order that fits, the likeliest first; None for those that do not.

    Groups that are as large as what weight decay is kept from, and the rest, are rarely so by chance; and what is
    frozen is rather the beginning of a model than its end, and rather one stretch of it than several.
    """
    groups = _groups(slots)
    everything = list(range(len(weights)))
    if len(slots) == len(weights):
        if len(groups) == 2:
            yield from (_split(groups, shapes, weights, test, flip) for test in DECAYED for flip in (False, True))
        yield _fit(everything, shapes, weights)
        if 1 < len(groups) <= PERMUTED:
            yield from (_blocks(groups, order, shapes, weights) for order in permutations(range(len(groups))))
    elif len(slots) < len(weights):
        made = [match(everything, shapes, weights) for match in (_latest, _earliest)]
        if len(groups) > 1:
            made += [_each_group(groups, shapes, weights, match) for match in (_latest, _earliest)]
        yield from sorted(made, key=_breaks)


def _breaks(choice: Choice | None) -> int:
    """Return how often weights are passed over between two slots."""
    places = [each for each in choice or () if each is not None]
    return sum(after != before + 1 for before, after in pairwise(places))


def _groups(slots: Sequence[State]) -> list[list[int]]:
    """Return the numbers of the slots of each group, groups without any left out."""
    found: dict[int, list[int]] = {}
    for number, slot in enumerate(slots):
        found.setdefault(slot.group, []).append(number)
    return list(found.values())


def _agrees(shape: Shape, weight: Weight) -> bool:
    return shape is None or shape == weight.tensor.shape


def _fit(chosen: list[int], shapes: list[Shape], weights: list[Weight]) -> Choice | None:
    """The weights in this very order, if all shapes agree."""
    fits = all(_agrees(shape, weights[number]) for number, shape in zip(chosen, shapes, strict=True))
    return list(chosen) if fits else None


def _split(
    groups: list[list[int]], shapes: list[Shape], weights: list[Weight], test: Test, flip: bool
) -> Choice | None:
    """Two groups by what weight decay is usually kept from: vectors; biases; biases and norms. Either group first."""
    parts: tuple[list[int], list[int]] = ([], [])
    for number, weight in enumerate(weights):
        parts[test(weight) is flip].append(number)
    if [len(part) for part in parts] != [len(group) for group in groups]:
        return None
    return _fit([number for part in parts for number in part], shapes, weights)


def _blocks(
    groups: list[list[int]], order: tuple[int, ...], shapes: list[Shape], weights: list[Weight]
) -> Choice | None:
    """Groups that are consecutive parts of the model, in another order than in the model (a head before its body)."""
    starts, start = {}, 0
    for group in order:
        starts[group] = start
        start += len(groups[group])
    chosen = [starts[g] + place for g, members in enumerate(groups) for place in range(len(members))]
    return _fit(chosen, shapes, weights)


def _earliest(among: list[int], shapes: list[Shape], weights: list[Weight]) -> Choice | None:
    """Each slot gets the first weight that is still to come and agrees; those between were not given (frozen)."""
    left = iter(among)
    choice: Choice = []
    for shape in shapes:
        found = next((each for each in left if _agrees(shape, weights[each])), None)
        if found is None:
            return None
        choice.append(found)
    return choice


def _latest(among: list[int], shapes: list[Shape], weights: list[Weight]) -> Choice | None:
    choice = _earliest(among[::-1], shapes[::-1], weights)
    return None if choice is None else choice[::-1]


def _each_group(groups: list[list[int]], shapes: list[Shape], weights: list[Weight], match: Match) -> Choice | None:
    """Each group by itself follows the order of the model; no weight is in two."""
    free, choice = list(range(len(weights))), [None] * len(shapes)
    result: Choice = list(choice)
    for group in groups:
        made = match(free, [shapes[number] for number in group], weights)
        if made is None:
            return None
        for number, chosen in zip(group, made, strict=True):
            result[number] = chosen
        taken = set(made)
        free = [number for number in free if number not in taken]
    return result


class Kinds(NamedTuple):
    """Which slots and weights can belong together beyond their shapes: those of the same part."""

    of_slot: list[int]
    of_weight: list[int]


def kinds_of(slots: Sequence[State], shapes: list[Shape], weights: list[Weight]) -> Kinds:
    """Tell two groups apart by what weight decay is usually kept from, if their shapes come out even that way."""
    groups = _groups(slots)
    if len(groups) == 2 and len(slots) == len(weights):
        wanted = [Counter(shapes[number] for number in group) for group in groups]
        of_slot = [0 if slot.group == slots[0].group else 1 for slot in slots]
        for test in DECAYED:
            for flip in (False, True):
                of_weight = [int(test(weight) is flip) for weight in weights]
                parts = [
                    Counter(w.tensor.shape for w, part in zip(weights, of_weight, strict=True) if part == n)
                    for n in (0, 1)
                ]
                if parts == wanted:
                    return Kinds(of_slot, of_weight)
    return Kinds([0] * len(slots), [0] * len(weights))
