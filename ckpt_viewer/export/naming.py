"""New names for old: what wrappers put before names is taken off, then rules rename. Pure text, no values.

A rule is OLD=NEW. OLD is a name, or what names lie below: ``backbone=encoder`` makes ``encoder.conv.weight`` of
``backbone.conv.weight`` and leaves ``backbone2.weight`` alone. ``*`` in OLD stands for any characters, as few as will
do, and each ``*`` of NEW for what the same one of OLD stood for: ``layers.*.attn=blocks.*.attention``. With nothing
for NEW the part goes (``backbone=``). Rules are applied in their order, each to what the one before made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ckpt_viewer.core.progress import SILENT, Context, stepped
from ckpt_viewer.errors import CannotExport
from ckpt_viewer.export.choice import AUTO

RESERVED = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Parts of names that only wrappers make (torch.compile, FSDP, activation checkpointing), wherever they stand."""
PARALLEL = "module."
"""What DataParallel, DistributedDataParallel and AveragedModel put before every name; a model may have such a part of
its own, so it goes only where all names have it."""
LIGHTNING = "model."
"""What a LightningModule with its network in `self.model` puts before every name."""
AVERAGE_COUNT = "n_averaged"
"""The one buffer that an AveragedModel adds beside the names of its model."""


class Rule(NamedTuple):
    """One rename rule.

    Attributes:
        old, new: as given, without dots at their ends.
        pieces: `old` between its ``*``; one piece is a name without any.
    """

    old: str
    new: str
    pieces: tuple[str, ...]

    def apply(self, name: str) -> str:
        """Return the new name; the same where the rule does not match, or would leave nothing."""
        found = self._match(name)
        if found is None:
            return name
        stood_for, rest = found
        made = _filled(self.new, stood_for) + rest
        return (made if self.new else made.removeprefix(".")) or name

    def _match(self, name: str) -> tuple[list[str], str] | None:
        """Return what each ``*`` stands for and what follows, from a dot on; None where the rule does not match."""
        first, *more = self.pieces
        if not name.startswith(first):
            return None
        if not more:
            return ([], name[len(first) :]) if _ends_part(name, len(first)) else None
        stood_for: list[str] = []
        at = len(first)
        for number, piece in enumerate(more):
            start = _find(name, piece, at, ends_part=number == len(more) - 1)
            if start < 0:
                return None
            stood_for.append(name[at:start])
            at = start + len(piece)
        return stood_for, name[at:]


def _ends_part(name: str, at: int) -> bool:
    return at == len(name) or name[at] == "."


def _find(name: str, piece: str, start: int, *, ends_part: bool) -> int:
    if not ends_part:
        return name.find(piece, start)
    if not piece:  # a rule that ends with its ``*``: to the end of the part
        end = name.find(".", start)
        return end if end >= 0 else len(name)
    while (start := name.find(piece, start)) >= 0:
        if _ends_part(name, start + len(piece)):
            return start
        start += 1
    return -1


def _filled(new: str, stood_for: list[str]) -> str:
    texts = new.split("*")
    return texts[0] + "".join(found + text for found, text in zip(stood_for, texts[1:], strict=False))


def parse_rule(old: str, new: str) -> Rule:
    """Return a rule; raises CannotExport where OLD is empty or NEW has more ``*`` than OLD."""
    old, new = old.removesuffix("."), new.removesuffix(".")
    if not old:
        raise CannotExport("a rename rule needs a name before its '='; write OLD=NEW")
    if new.count("*") > old.count("*"):
        raise CannotExport(f"the rename rule {old}={new} has more * behind its '=' than before; each stands for one")
    return Rule(old, new, tuple(old.split("*")))


class Naming(NamedTuple):
    """How old names become new ones.

    Attributes:
        reserved: whether the parts of RESERVED go. prefix: what goes from the beginning, with its dot.
        rules: applied after that.
    """

    reserved: bool = False
    prefix: str = ""
    rules: tuple[Rule, ...] = ()

    def name(self, old: str) -> str:
        """Return the new name of an entry."""
        name = old
        if self.reserved and any(word in name for word in RESERVED):
            name = without_reserved(name)
        if self.prefix and len(name) > len(self.prefix):
            name = name.removeprefix(self.prefix)
        for rule in self.rules:
            name = rule.apply(name)
        return name

    def module(self, old: str) -> str:
        """Return the new name of a module: entries below it would be called so. Of the root that is ``""``."""
        new = self.name(f"{old}.{_ANY}" if old else _ANY)
        return new.removesuffix(_ANY).removesuffix(".") if new.endswith(_ANY) else old

    @property
    def changes(self) -> bool:
        """Whether a name may change at all."""
        return bool(self.reserved or self.prefix or self.rules)


_ANY = "\0"
"""A last part of names that no rule names."""


def without_reserved(name: str) -> str:
    """Return a name without the parts that only wrappers make; the same where nothing else would be left."""
    return ".".join(part for part in name.split(".") if part not in RESERVED) or name


def plan_naming(
    names: Sequence[str],
    strip_prefix: str | None,
    rules: Iterable[tuple[str, str]],
    *,
    lightning: bool = False,
    context: Context = SILENT,
) -> Naming:
    """Work out how names change.

    Args:
        names: all that are exported. strip_prefix: see `Choice`.
        lightning: whether the file is PyTorch Lightning's; `AUTO` takes off its ``model.`` only there, since many
            networks have a part of that name.

    Raises:
        CannotExport: a rule says nothing. Cancelled: by `context`.
    """
    parsed = tuple(parse_rule(old, new) for old, new in rules)
    if strip_prefix == AUTO:
        return _automatic(names, lightning, context)._replace(rules=parsed)
    return Naming(False, f"{strip_prefix.removesuffix('.')}." if strip_prefix else "", parsed)


def _automatic(names: Sequence[str], lightning: bool, context: Context) -> Naming:
    reserved = any(word in name for name in stepped(names, context) for word in RESERVED)
    left = [without_reserved(name) for name in stepped(names, context)] if reserved else list(names)
    left = [name for name in left if name != AVERAGE_COUNT]
    wrappers = (PARALLEL, LIGHTNING) if lightning else (PARALLEL,)
    prefix = ""
    while left and (found := next((one for one in wrappers if _all_begin(left, prefix + one)), "")):
        prefix += found
    return Naming(reserved, prefix)


def _all_begin(names: list[str], prefix: str) -> bool:
    return all(len(name) > len(prefix) and name.startswith(prefix) for name in names)


def above(names: Iterable[str]) -> set[str]:
    """Return the modules that names lie in, the root ``""`` among them."""
    found = {""}
    for name in names:
        module = name.rpartition(".")[0]
        while module not in found:
            found.add(module)
            module = module.rpartition(".")[0]
    return found


def unused_rules(naming: Naming, names: Iterable[str]) -> Iterator[Rule]:
    """Yield the rules that match none of the names, so that a slip of the pen is told."""
    idle = dict.fromkeys(naming.rules)
    bare = naming._replace(rules=())
    for old in names:
        if not idle:
            return
        name = bare.name(old)
        for rule in naming.rules:
            new = rule.apply(name)
            if new != name:
                idle.pop(rule, None)
            name = new
    yield from idle
