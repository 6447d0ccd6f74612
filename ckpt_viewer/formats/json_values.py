"""JSON that lies beside checkpoints or in them (configurations, indices, headers), as neutral values, within bounds.

A second reader beside `json_text`, on purpose. That one reads headers and indexes of 100 MB, member after member, and
as strictly as serde_json. What is read here Python's `json` wrote: a trainer's state has NaN and Infinity in it, a
repeated key has to be seen by whoever refuses it, and the parser of the standard library is three times as fast.
"""

from __future__ import annotations

import json
from typing import Any

from ckpt_viewer.core.value import Mapping, Value
from ckpt_viewer.errors import Damaged, OverBudget

JSON_LIMIT = 100_000_000
"""Bytes of the largest JSON text that is parsed; the limit of the safetensors reference reader for its header."""
DIGITS = 4000
"""Digits of an integer, which Python parses in quadratic time."""

COST, MEMORY = 150, 80_000_000
"""Bytes that an empty object takes in memory, and that the JSON text in a small file may take."""


def json_value(data: bytes, justified: int | None = None) -> Value:
    """Return a JSON text as neutral values: objects as `Mapping` of type ``dict``, the rest as Python has it.

    A repeated key stays twice, so that whoever must refuse it can see it.

    Args:
        justified: bytes of the file that it is a part of, which answer for what it costs; None for no such limit.

    Raises:
        OverBudget: it is too large. Damaged: it is no JSON, or nested deeper than Python's parser goes (about 1,000).
    """
    check_cost(data, justified)
    try:
        parsed = json.loads(data.decode("utf-8"), object_pairs_hook=_mapping, parse_int=_integer)
    except UnicodeDecodeError as error:
        raise Damaged(f"the JSON text is not UTF-8 at byte {error.start}; copy or download the file again") from error
    except (ValueError, RecursionError) as error:
        raise Damaged("the JSON text is damaged; copy or download the file again") from error
    value: Value = parsed
    return value


def check_cost(data: bytes, justified: int | None) -> None:
    """Raise OverBudget where a JSON text is too large, or asks for more than its file can answer for."""
    if len(data) > JSON_LIMIT:
        raise OverBudget(f"a JSON text of {len(data)} bytes is larger than the {JSON_LIMIT} that are read")
    if justified is not None and (data.count(b"{") + data.count(b"[")) * COST > MEMORY + 15 * justified:
        raise OverBudget("a JSON text asks for more memory than its file can justify; it is damaged or hostile")


def _mapping(pairs: list[tuple[str, Any]]) -> Mapping:
    mapping = Mapping()
    for pair in pairs:
        mapping.pairs += pair
    return mapping


def _integer(text: str) -> int:
    if len(text) > DIGITS:
        raise OverBudget(f"the JSON text has a number of {len(text)} digits; it is damaged or hostile")
    return int(text)
