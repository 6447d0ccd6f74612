"""What of the chosen entries is left out, and why: by patterns, as a buffer, for being no value that can be written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fnmatch import translate
from typing import NamedTuple

from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.lost import Losses
from ckpt_viewer.core.progress import SILENT, Context, stepped
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.value import Value
from ckpt_viewer.errors import CannotExport
from ckpt_viewer.export.choice import AUTO, Choice
from ckpt_viewer.export.emit import is_plain, tensors_in
from ckpt_viewer.export.gather import Gathered, Pick
from ckpt_viewer.export.naming import AVERAGE_COUNT, PARALLEL

BUFFER_NAMES = frozenset({"running_mean", "running_var", "num_batches_tracked", AVERAGE_COUNT})
"""Last parts of names that only buffers have, for files that do not say what is one."""
MOST_NAMES = 5
"""Names that a sentence lists."""

LOST = "lost with the broken file"
PATTERNS = "by the patterns"
BUFFER = "a buffer, as its module says"
BUFFER_BY_NAME = "a buffer, by its name"
NOT_PLAIN = "neither a tensor nor a plain value"
NO_TENSOR = "no tensor"
UNNAMED = "its key is no string"
COUNTER = "counts the updates of an averaged model"


class Dropped(NamedTuple):
    """An entry that is left out: its name in the file, and why."""

    name: str
    reason: str


class Left(NamedTuple):
    """What is left of the entries that were chosen.

    Attributes:
        picks: those that are exported. dropped: the others. notes: what to say about them, a sentence each.
    """

    picks: list[Pick]
    dropped: tuple[Dropped, ...]
    notes: list[str]


class Patterns:
    """Globs over names. One matches a name, or what the name lies below: ``layer1`` all of ``layer1``.

    It also matches what it is to the letter: ``blocks[0]`` may be a name.
    """

    def __init__(self, globs: Iterable[str]) -> None:
        self._all = [
            (glob, re.compile(f"{translate(glob)}|{translate(glob + '.*')}|{re.escape(glob)}(?:[.]|\\Z)"))
            for glob in globs
        ]
        self.unused = {glob: None for glob, _ in self._all}

    def match(self, name: str) -> bool:
        """Whether any of them matches; remembers which did."""
        found = False
        for glob, pattern in self._all:
            if pattern.match(name):
                found = True
                self.unused.pop(glob, None)
        return found

    def __bool__(self) -> bool:
        return bool(self._all)


def leave_out(checkpoint: Checkpoint, gathered: Gathered, choice: Choice, context: Context = SILENT) -> Left:
    """Part what is exported from what is not.

    Raises:
        CannotExport: no tensor is left. Cancelled: by `context`.
    """
    judge = _Judge(checkpoint, gathered.picks, choice)
    picks: list[Pick] = []
    dropped: list[Dropped] = []
    for pick in stepped(gathered.picks, context):
        reason = judge.reason(pick)
        if reason:
            dropped.append(Dropped(pick.name, reason))
        else:
            picks.append(pick)
    if not any(_has_tensor(pick.value) for pick in picks):
        raise CannotExport(_why_nothing(gathered.picks, dropped, list(judge.unused())))
    dropped += [Dropped(name, NO_TENSOR) for name in gathered.others]
    dropped += [Dropped(name, UNNAMED) for name in gathered.unnamed]
    return Left(picks, tuple(dropped), [*_said(dropped), *judge.unused()])


class _Judge:
    """Decides for one entry after another."""

    def __init__(self, checkpoint: Checkpoint, picks: list[Pick], choice: Choice) -> None:
        self._losses = Losses() if checkpoint.contents.salvaged else None
        self._include, self._exclude = Patterns(choice.include), Patterns(choice.exclude)
        self._buffers = choice.buffers
        self._averaged = choice.strip_prefix == AUTO and _is_averaged(picks)

    def reason(self, pick: Pick) -> str:
        """Return why an entry is left out; ``""`` if it is not."""
        included = not self._include or self._include.match(pick.name)
        if self._exclude.match(pick.name) or not included:  # asked in any case: it remembers what matched
            return PATTERNS
        if self._losses is not None and any(self._losses.of(tensor) for tensor in _tensors(pick.value)):
            return LOST
        if not self._buffers and isinstance(pick.value, TensorSpec):
            if pick.buffer:
                return BUFFER
            if pick.buffer is None and pick.name.rpartition(".")[2] in BUFFER_NAMES:
                return BUFFER_BY_NAME
        if self._averaged and pick.name == AVERAGE_COUNT:
            return COUNTER
        return "" if isinstance(pick.value, TensorSpec) or is_plain(pick.value) else NOT_PLAIN

    def unused(self) -> Iterator[str]:
        """Yield a sentence for each pattern that matches nothing."""
        for glob in (*self._include.unused, *self._exclude.unused):
            yield f"the pattern {glob!r} matches no name"


def _is_averaged(picks: list[Pick]) -> bool:
    """Whether the names are those of an AveragedModel: a counter, and all else below ``module.``."""
    names = [pick.name for pick in picks if pick.name != AVERAGE_COUNT]
    return 0 < len(names) < len(picks) and all(name.startswith(PARALLEL) for name in names)


def _tensors(value: Value) -> Iterator[TensorSpec]:
    if isinstance(value, TensorSpec):
        yield value
    elif is_plain(value):
        yield from tensors_in(value)


def _has_tensor(value: Value) -> bool:
    return isinstance(value, TensorSpec) or next(tensors_in(value), None) is not None


def _why_nothing(picks: list[Pick], dropped: list[Dropped], unused: list[str]) -> str:
    tensors = sum(isinstance(pick.value, TensorSpec) for pick in picks)
    reasons = {each.reason for each in dropped}
    if not tensors:
        return "there is no tensor in what was chosen; choose a model or a state_dict"
    if reasons == {LOST}:
        return "no tensor of the model is left in this file; copy or download it again"
    why = f" ({unused[0]})" if unused else ""
    return f"nothing is left of the {tensors} tensors that were chosen{why}; leave out less of them"


def _said(dropped: list[Dropped]) -> Iterator[str]:
    names: dict[str, list[str]] = {}
    for each in dropped:
        names.setdefault(each.reason, []).append(each.name)
    if LOST in names:
        yield f"{LOST} and left out: {', '.join(names[LOST])}"
    if BUFFER in names:
        yield f"buffers left out, as the modules say: {names_text(names[BUFFER])}"
    if BUFFER_BY_NAME in names:
        yield f"buffers left out, by their names, since the file does not say: {names_text(names[BUFFER_BY_NAME])}"
    if COUNTER in names:
        yield f"left out with the wrapper: {AVERAGE_COUNT!r}, which {COUNTER}"
    for reason, word in ((NOT_PLAIN, "neither tensors nor plain values"), (NO_TENSOR, "no tensors")):
        if reason in names:
            yield f"left out, being {word}: {names_text(names[reason])}"


def names_text(names: list[str]) -> str:
    """Return the first few of many names, quoted."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(map(repr, names[:MOST_NAMES])) + more
