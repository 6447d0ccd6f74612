"""What a pickle that breaks off has described until then.

The machine's stacks hold every container that was begun. Which of them a group belongs to that was not closed is not
written before its end, but pickle's writers fill dicts and lists in groups of a thousand: one that has another number
of members is whole, and what is begun behind it is the tuple or the call that comes next. Whatever may be a part of
such a tuple or call is left out, so that nothing stands in a place where it does not belong.
Two things cannot be known. A dict of one entry is written without a group, so while that entry is not done, it looks
like the entry behind an empty dict. And a plain value, a text and a dict may become a tuple, or be one entry's value
and the next entry, as in ``{"epoch": 3, "model": {...``. Both are kept as entries, and the doubt is told.
"""

from __future__ import annotations

from typing import NamedTuple

from ckpt_viewer.core.value import Global, Instance, Mapping, NdArray, Value
from ckpt_viewer.unpickle.memory import Memory

BATCH = 1000
"""Members that pickle's writers put into a container at once (`_BATCHSIZE` of Lib/pickle.py)."""
MOST_LOOSE = 3
"""Values without a MARK that an opcode makes a tuple of, at the most (TUPLE3)."""
_PLAIN = frozenset({str, int, float, bool, type(None), bytes, complex, tuple})


class Finished(NamedTuple):
    """What was begun, closed.

    Attributes:
        root: what the pickle gives as far as it goes; None if nothing is whole.
        doubtful: keys of an entry and of the one before it, of which it may be a part.
    """

    root: Value
    doubtful: list[tuple[Value, Value]]


def finished(memory: Memory) -> Finished:
    """Close the containers of a pickle that broke off, with what is whole in them.

    The containers on the stacks are filled, so the machine must not run on.
    """
    levels, doubtful = [*memory.metastack, memory.stack], []
    while len(levels) > 1:
        items, below = levels.pop(), levels[-1]
        _close(items)
        if not below:
            continue
        holder = below[-1]
        if type(holder) is list and len(holder) % BATCH == 0 and memory.stated > 1:  # protocol 0 groups no members
            holder.extend(items[: min(_trusted(items), _begun(items) + 1)])
        elif type(holder) is Mapping and len(holder) % BATCH == 0:
            whole, begun = _trusted_pairs(items), _begun(items)
            if len(items) == whole + 4 and type(items[whole + 2]) is str and type(items[-1]) in (Mapping, Instance):
                doubtful.append((items[whole + 2], items[whole]))
                whole = len(items)
            holder.pairs.extend(items[:whole])
            if begun % 2 and begun + 2 < whole:
                doubtful.append((items[begun + 1], items[begun - 1]))
        elif isinstance(holder, Global | NdArray | Instance):
            below.pop()  # it waits for arguments or a state that are not there
    root = levels[0]
    _close(root)
    while len(root) > 1:
        _set_last(root)
        _close(root)
    return Finished(root[0] if root and type(root[0]) not in {*_PLAIN, Global, NdArray} else None, doubtful)


def _close(items: list[Value]) -> None:
    """Give an object the state that was begun for it, and take away calls that were not made."""
    while items:
        last, before = items[-1], items[-2] if len(items) > 1 else None
        if type(before) is Instance and before.new and before.state is None and type(last) is Mapping:
            before.state = last
        elif type(last) is tuple and type(before) is Global:
            pass  # the arguments of a call
        elif type(last) is not Global and not (type(last) is NdArray and last.shape == (0,)):
            return
        items.pop()


def _set_last(items: list[Value]) -> None:
    """Put the topmost value where it was about to go: into a dict under its key, or into a list."""
    value = items.pop()
    if type(value) in _PLAIN:
        return
    if type(items[-1]) is list:
        items[-1].append(value)
    elif len(items) > 1 and type(items[-1]) is str and type(holder := items[-2]) is Mapping:
        holder.pairs += (items.pop(), value)


def _begun(items: list[Value]) -> int:
    """Return the place of the first empty container at the end that what follows it may belong to, else of the last."""
    at = len(items) - 1
    while at > 0:
        if type(items[at - 1]) is list and not items[at - 1]:
            at -= 1
        elif at > 1 and type(items[at - 1]) is str and type(found := items[at - 2]) is Mapping and not found.pairs:
            at -= 2
        else:
            break
    return at


def _trusted(items: list[Value]) -> int:
    """Return how many values at the beginning are certainly members by themselves."""
    certain = max(0, len(items) - MOST_LOOSE)
    while certain < len(items) and type(items[certain]) not in _PLAIN:
        certain += 1
    return certain


def _trusted_pairs(items: list[Value]) -> int:
    """Return how many keys and values at the beginning certainly belong together."""
    at = 0
    while at + 1 < len(items) and type(items[at]) in (str, int):
        if type(items[at + 1]) in _PLAIN and at + 1 + MOST_LOOSE >= len(items):
            break
        at += 2
    return at
