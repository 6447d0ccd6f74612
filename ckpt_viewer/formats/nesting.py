"""A flat state_dict put back into the dicts and lists that it was made of, by the path of each entry."""

from __future__ import annotations

from collections.abc import Iterable

from ckpt_viewer.core.value import Mapping, Value

LONGEST = 100
"""Steps of a path; deeper ones stay flat."""
SPARSE = 1000
"""Positions of a list that may be empty, beyond as many as are filled."""


class _Node(dict[str | int, "Value | _Node"]):
    """A container while its entries come in: the kind of its steps says whether it is a dict or a list."""


def nested(entries: Iterable[tuple[str, tuple[str | int, ...], Value]]) -> tuple[Mapping, list[str]]:
    """Return the nested tree, and the names that their paths put nowhere, which stay entries of the root.

    Args:
        entries: flat name, path, value. A step that is an int is the index of a list (`_nested_dict.set_element`).
    """
    root, flat, left = _Node(), [], []
    for name, path, value in entries:
        if not _put(root, path, value):
            left.append(name)
            flat += [name, value]
    result = Mapping()
    for step, below in root.items():
        result.pairs += (step, _made(below))
    result.pairs += flat
    return result, left


def _put(root: _Node, path: tuple[str | int, ...], value: Value) -> bool:
    """Put a value where its path leads; False where that is taken or impossible, and then nothing has changed."""
    if not path or len(path) > LONGEST or type(path[0]) is not str:
        return False
    node: _Node = root
    for depth, step in enumerate(path[:-1]):
        below = node.get(step)
        if below is None and step not in node:
            made: Value | _Node = value
            for later in reversed(path[depth + 1 :]):
                made = _Node({later: made})
            node[step] = made
            return True
        if not isinstance(below, _Node) or type(next(iter(below))) is not type(path[depth + 1]):
            return False
        node = below
    if path[-1] in node:
        return False
    node[path[-1]] = value
    return True


def _made(value: Value | _Node) -> Value:
    if not isinstance(value, _Node):
        return value
    numbers = [step for step in value if type(step) is int]
    if numbers and min(numbers) >= 0 and max(numbers) < 2 * len(numbers) + SPARSE:
        items: list[Value] = [None] * (max(numbers) + 1)
        for number in numbers:
            items[number] = _made(value[number])
        return items
    result = Mapping()
    for step, below in value.items():
        result.pairs += (step, _made(below))
    return result
