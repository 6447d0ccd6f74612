"""Steps, paths and pointers: how a place in a checkpoint is named.

A path is a tuple of steps from the root. A string or an int is the dict key, attribute name or list index itself, so
that key ``0`` and key ``"0"`` stay apart. As text a path is a JSON Pointer (RFC 6901) with two additions: ``~2N`` is
the N-th child, and a key with control characters is also found by what is printed of it.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.text import escape_text
from ckpt_viewer.core.value import Global, Literal, Mapping, Sequence, Value

REPR_LIMIT = 200
"""Characters of a key's repr that are kept."""
INT_BITS = 4096
"""Integers beyond this are described and not printed: Python refuses to write more than 4,300 digits."""


TENSOR_KEY = "<tensor>"
"""Repr of a dict key that is a tensor. Several such keys in one dict keep the same step."""


class Repr(NamedTuple):
    """A dict key that is neither a string nor an int, by its Python repr."""

    text: str


class Item(NamedTuple):
    """The n-th child: of a set, or where an earlier sibling has the same step."""

    number: int


class Arg(NamedTuple):
    """The n-th argument of a call that we do not know."""

    number: int


Step: TypeAlias = str | int | Repr | Item | Arg
Path: TypeAlias = tuple[Step, ...]


_HASHED = (1 << 61) - 1
"""Integers from here on can be chosen to have one hash in CPython."""


def same_step(step: Step) -> object:
    """Return what is equal for equal steps of one type only, and cannot be chosen so that a dict of many is slow."""
    if type(step) is int:
        return step if -_HASHED < step < _HASHED else (f"int {step:x}",)
    return step if type(step) is str else (type(step), step)


def key_step(key: Value) -> Step:
    """Return the step that stands for a dict key."""
    if type(key) is str or (type(key) is int and key.bit_length() <= INT_BITS):
        return key
    return Repr(python_repr(key))


def python_repr(value: Value, depth: int = 3) -> str:
    """Return Python's repr of a plain value, cut at `REPR_LIMIT`; ``<class>`` for what is not plain."""
    text = _repr(value, depth)
    return text if len(text) <= REPR_LIMIT else text[: REPR_LIMIT - 1] + "…"


def _repr(value: Value, depth: int) -> str:
    if value is None or type(value) in (bool, float, complex):
        return repr(value)
    if isinstance(value, str | bytes):
        return repr(value[:REPR_LIMIT])
    if type(value) is int:
        return repr(value) if value.bit_length() <= INT_BITS else f"<int of {value.bit_length()} bits>"
    if isinstance(value, TensorSpec):
        return TENSOR_KEY
    if isinstance(value, Literal):
        return value.text
    if isinstance(value, Global):
        return f"<{value.qualified}>"
    if isinstance(value, tuple | list):
        return _repr_many(value, "[]" if isinstance(value, list) else "()", depth)
    if isinstance(value, Sequence):
        return f"{value.type.rpartition('.')[2]}({_repr_many(value.items, '[]', depth)})"
    if isinstance(value, Mapping):
        return f"<{value.type} of {len(value)}>"
    return f"<{getattr(value, 'type', type(value).__name__)}>"


def _repr_many(items: tuple[Value, ...] | list[Value], brackets: str, depth: int) -> str:
    if depth == 0:
        return f"{brackets[0]}…{brackets[1]}"
    parts: list[str] = []
    room = REPR_LIMIT
    for item in items:
        if room < 0:  # what follows would be cut off anyway
            break
        parts.append(_repr(item, depth - 1))
        room -= len(parts[-1]) + 2
    comma = "," if brackets == "()" and len(items) == 1 else ""
    return f"{brackets[0]}{', '.join(parts)}{comma}{brackets[1]}"


def step_text(step: Step) -> str:
    """Return a step as a person reads it: the key itself, a repr, ``#n`` for an argument or member."""
    if isinstance(step, Repr):
        return step.text
    if isinstance(step, Item | Arg):
        return f"#{step.number}"
    return str(step)


def step_json(step: Step) -> str | int | dict[str, str | int]:
    """Return a step in the form of INTERFACE: a string, an int, or an object with one member."""
    if isinstance(step, Repr):
        return {"repr": step.text}
    if isinstance(step, Item):
        return {"item": step.number}
    if isinstance(step, Arg):
        return {"arg": step.number}
    return step


def escape_token(text: str) -> str:
    """Return a key as one token of a JSON Pointer."""
    return text.replace("~", "~0").replace("/", "~1")


def unescape_token(token: str) -> str:
    """Undo `escape_token`."""
    return token.replace("~1", "/").replace("~0", "~")


def is_printed_as(step: Step, text: str) -> bool:
    """Whether a step is a string that `text` shows, as a terminal or the clipboard gets it."""
    return isinstance(step, str) and escape_text(step) == text


def split_pointer(pointer: str) -> list[str]:
    """Return the raw (still escaped) tokens of a pointer.

    Raises:
        NoSuchNode: it neither is empty nor starts with a slash.
        TypeError: it is no string.
    """
    if not isinstance(pointer, str):
        raise TypeError(f"a pointer is a string such as '/model/conv1.weight', not {type(pointer).__name__}")
    if pointer == "":
        return []
    if not pointer.startswith("/"):
        from ckpt_viewer.errors import NoSuchNode

        raise NoSuchNode(f"{pointer!r} is no pointer; write it as /model/conv1.weight, from the root, with slashes")
    return pointer[1:].split("/")
