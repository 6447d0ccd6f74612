"""What a person types into the filter: parts of names, and words about tensors such as ``dtype:bf16`` or ``max>10``.

No Qt. A word is a key, an operator and a value, or ``nan`` and ``inf`` alone; with ``-`` in front it says what shall
not be. In quotes, and in a text that begins with a slash, everything is a part of a name.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.location import DEVICES
from ckpt_viewer.core.model import ROLES
from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.gui.tree.lost import LOST

Compare = Callable[[float, float], bool]
OPERATORS: dict[str, Compare] = {
    ">=": operator.ge, "<=": operator.le, "!=": operator.ne, ">": operator.gt, "<": operator.lt, "=": operator.eq,
    ":": operator.eq,
}  # fmt: skip
TEXT_KEYS = ("dtype", "shape", "device", "role")
SIZE_KEYS = ("ndim", "size", "params")
FIGURE_KEYS = ("min", "max", "absmax", "mean", "std", "zeros", "nan", "inf")
"""Keys that are known only once a tensor was scanned."""
BARE = ("nan", "inf")
"""Words that stand alone: there is at least one."""
COMPARED_KEY = "compared"
"""Key of the words `tree.compared` knows, which stand alone too and are words only while another file is compared."""
KEYS = (*TEXT_KEYS, *SIZE_KEYS, *FIGURE_KEYS)
ALIASES = {"|max|": "absmax", "bytes": "size", "parameters": "params", "numel": "params", "rank": "ndim"}
DTYPE_ALIASES = {
    "bf16": "bfloat16", "fp16": "float16", "f16": "float16", "half": "float16", "fp32": "float32", "f32": "float32",
    "fp64": "float64", "f64": "float64", "double": "float64", "i8": "int8", "i16": "int16", "i32": "int32",
    "i64": "int64", "long": "int64", "u8": "uint8", "fp8": "float8", "f8": "float8",
}  # fmt: skip
LEAST_WITHOUT = 3
"""Letters from which on a part that a name must not contain counts."""
_UNITS = {
    "": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9, "t": 10**12, "kb": 10**3, "mb": 10**6, "gb": 10**9,
    "tb": 10**12, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}  # fmt: skip
_WORD = re.compile(r"(-?)([a-z_]+|\|max\|)(>=|<=|!=|[:<>=])(.*)", re.DOTALL)
_NUMBER = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)([a-z]*|%)")
_TOKEN = re.compile(r'-?"[^"]*"?|\S+')


class WrongWord(CheckpointError):
    """A word of the filter that means nothing; the sentence says what it could be."""


class Condition(NamedTuple):
    """One word about tensors.

    Attributes:
        key: one of `KEYS`, or COMPARED_KEY. operator: one of `OPERATORS`. number: for keys with numbers.
        text: for `TEXT_KEYS`, and the word about a comparison.
        share: whether `number` is a share of all values. negated: whether it shall not be so.
    """

    key: str
    operator: str
    number: float = 0.0
    text: str = ""
    share: bool = False
    negated: bool = False

    @property
    def needs_scan(self) -> bool:
        """Whether only a scan of the values can tell."""
        return self.key in FIGURE_KEYS


class Query(NamedTuple):
    """What a filter text asks for: rows that satisfy all of it.

    Attributes:
        words, without: parts that a path has to contain, must not contain. conditions: on tensors.
    """

    words: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether it asks for parts of names only; then whatever has such a name is found, not only tensors."""
        return not self.without and not self.conditions

    @property
    def needs_scan(self) -> bool:
        """Whether only a scan of the values can tell."""
        return any(condition.needs_scan for condition in self.conditions)

    def __bool__(self) -> bool:
        return bool(self.words or self.without or self.conditions)


def parse_query(
    text: str,
    is_name: Callable[[str], bool] = lambda _: False,
    compared: tuple[str, ...] = (),
    devices: tuple[str, ...] = (),
) -> Query:
    """Return what a filter text asks for.

    Args:
        is_name: whether a word that is none of ours is a part of a name in the file.
        compared: words about the comparison with another file; none while there is no such.
        devices: tags of the file, which may be none that torch knows.

    Raises:
        WrongWord: a word looks like one about tensors and is not; one that is not finished yet is left out.
    """
    text = text.lower()
    if text.lstrip().startswith("/"):
        return Query((*text.split(),))
    words: list[str] = []
    without: list[str] = []
    conditions: list[Condition] = []
    for token in _TOKEN.findall(text):
        plain = token.removeprefix("-")
        if plain.startswith('"'):
            words_of = words if plain is token or plain == token else without
            if part := plain.strip('"'):
                words_of.append(part)
            continue
        condition = _condition(token, is_name, devices)
        if plain in compared:
            condition = Condition(COMPARED_KEY, "=", text=plain, negated=plain != token)
        if condition is not None:
            conditions.append(condition)
        elif not _is_unfinished(token):
            if plain != token and not is_name(token):
                without += [plain] if len(plain) >= LEAST_WITHOUT else []  # nearly all names have one letter or two
            else:
                words.append(token)
    return Query(tuple(words), tuple(without), tuple(conditions))


def _is_unfinished(token: str) -> bool:
    match = _WORD.fullmatch(token)
    known = match is not None and _key(match[2]) in KEYS
    return token == "-" or bool(known and match is not None and not match[4])


def _key(word: str) -> str:
    return ALIASES.get(word, word)


def _condition(token: str, is_name: Callable[[str], bool], devices: tuple[str, ...]) -> Condition | None:
    """Return what a word says about tensors; None where it is a part of a name, or not finished."""
    plain = token.removeprefix("-")
    if plain in BARE:
        return Condition(plain, ">", negated=plain != token)
    match = _WORD.fullmatch(token)
    if match is None:
        return None
    minus, word, sign, value = match.groups()
    key = _key(word)
    if key not in KEYS:
        meant = sign == ":" or _NUMBER.fullmatch(value) or _close_to(word, [*KEYS, *ALIASES])
        if not meant or is_name(token):
            return None
        raise WrongWord(_unknown(word, sign))
    if not value:
        return None
    if key in TEXT_KEYS:
        if sign not in (":", "=", "!="):
            raise WrongWord(f"“{word}” is not a number; write {word}:{value}")
        return Condition(key, "=", text=_checked(key, value, devices), negated=bool(minus) != (sign == "!="))
    number, share = _number(word, key, sign, value)
    return Condition(key, sign, number, share=share, negated=bool(minus))


def _unknown(word: str, sign: str) -> str:
    close = _close_to(word, [*KEYS, *ALIASES])
    hint = f"did you mean “{close[0]}{sign}”?" if close else f"there are {', '.join(KEYS)}."
    return f"“{word}” is no word of the filter: {hint} For a part of a name put it in quotes."


def _close_to(word: str, known: Sequence[str]) -> list[str]:
    from difflib import get_close_matches  # not at start-up

    return get_close_matches(word, known, 1)


def _checked(key: str, value: str, devices: tuple[str, ...]) -> str:
    if key == "shape":
        sizes = re.split(r"[x×,]", value.strip("[]()"))
        if not all(size.isdecimal() or size in ("*", "") for size in sizes):
            raise WrongWord(f"“{value}” is no shape; write sizes with an x between, as in shape:64x3x7x7 or shape:64x*")
        return "x".join(sizes)
    if key == "dtype":
        value = DTYPE_ALIASES.get(value, value)
        if not any(name.startswith(value) for name in DTYPES):
            close = _close_to(value, [*DTYPES, *DTYPE_ALIASES]) or ["bf16"]
            raise WrongWord(f"there is no dtype “{value}”; write one as torch does, as in dtype:{close[0]}")
    if key == "device" and not any(tag.startswith(value) for tag in devices):
        _check_device(value)
    if key == "role":
        roles = [role for role in (*ROLES, LOST) if role != "none"]
        if not any(role.startswith(value) for role in roles):
            close = _close_to(value, roles)
            hint = f"did you mean role:{close[0]}?" if close else f"there are {', '.join(roles)}"
            raise WrongWord(f"“{value}” is no role of an entry: {hint}")
    return value


def _check_device(value: str) -> None:
    kind, colon, number = value.partition(":")
    fits = kind in DEVICES if colon else any(each.startswith(kind) for each in DEVICES)
    if not fits or not (number == "" or number.isdecimal()):
        close = _close_to(kind, DEVICES)
        hint = (
            f"did you mean device:{close[0]}?"
            if close
            else f"there are {', '.join(DEVICES)}, with or without a number."
        )
        raise WrongWord(f"“{value}” is no device: {hint}")


def _number(word: str, key: str, sign: str, value: str) -> tuple[float, bool]:
    match = _NUMBER.fullmatch(value)
    unit = match[2] if match else ""
    example = {"size": "size>1MB", "params": "params>1M", "zeros": "zeros>50%", "ndim": "ndim:4"}.get(key, f"{key}>10")
    known = unit in _UNITS if key in ("size", "params") else unit == "" or (unit == "%" and key in _SHARED)
    if match is None or not known:
        raise WrongWord(f"“{value}” is no number for {word}{sign}; write one as in {example}")
    if unit == "%":
        return float(match[1]) / 100, True
    return float(match[1]) * _UNITS[unit], False


_SHARED = ("zeros", "nan", "inf")
"""Counts that may be asked for in percent of all values."""
