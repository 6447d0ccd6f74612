"""Sentences of the writers name options of the command line; the window has questions of other names."""

from __future__ import annotations

_NAMES = (
    (" with --from", ""),
    (": --rename ", ": "),
    (": --rename", ""),
    (": --dtype ", " to "),
    ("--max-shard-size", "size of a file"),
)
"""What an option is called here, in the order in which they are looked for."""


def window_words(text: str) -> str:
    """Return a writer's sentence as the window says it."""
    for option, here in _NAMES:
        text = text.replace(option, here)
    return text
