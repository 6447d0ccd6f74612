"""How a step is written in the tree: a string key bare, everything else in brackets: 0 is not "0". No Qt."""

from __future__ import annotations

from ckpt_viewer.core.path import Arg, Item, Step, python_repr, step_text
from ckpt_viewer.core.text import escape_text, shorten

NAME_LIMIT = 160
"""Characters of a name that a row shows; the tool tip shows `TEXT_LIMIT`."""
TEXT_LIMIT = 2000
"""Characters of a text that a tool tip shows."""


def role_word(role: str) -> str:
    """Return how a role is called on the screen."""
    return {"ema": "averaged model (EMA)", "config": "settings"}.get(role, role)


def raw_name(step: Step) -> str:
    """Return a step as one types it in the filter: no brackets, no quotes; never fails (a huge int has no digits)."""
    if isinstance(step, str):
        return step
    return python_repr(step) if type(step) is int else step_text(step)


def display_name(step: Step, limit: int = NAME_LIMIT) -> str:
    """Return the name of a row, escaped and cut in its middle.

    ``weight`` is a string key, ``[0]`` an int (dict key or index), ``[True]`` another key, ``[#2]`` the third member of
    a set, ``(1)`` the second argument of a call. A string that could be taken for one of these, or that is empty or
    begins or ends with a blank, is quoted: ``"[0]"``.
    """
    if isinstance(step, str):
        text = escape_text(shorten(step, limit))
        return f'"{text}"' if not text or text[0] in '[("' or text[0].isspace() or text[-1].isspace() else text
    if isinstance(step, Arg):
        return f"({step.number})"
    text = escape_text(shorten(raw_name(step), limit))
    return f"[#{step.number}]" if isinstance(step, Item) else f"[{text}]"
