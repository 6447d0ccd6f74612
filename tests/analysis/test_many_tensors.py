"""What is counted and printed of many tensors together is what it is of each."""

from __future__ import annotations

import pytest
from builders import floats, mapped, pickled, tensor, text, zip_checkpoint
from opening import open_bytes

from ckpt_viewer.analysis import tree_text
from ckpt_viewer.analysis.overview import overview
from ckpt_viewer.core import outline

NAMES = [f"layer.{number}.weight" for number in range(90)]
ODD = {
    "plain": NAMES,
    "two lines": [*NAMES[:40], "a\nb", *NAMES[40:]],
    "a space before": [*NAMES[:40], " a", *NAMES[40:]],
    "a space behind": [*NAMES[:40], "a ", *NAMES[40:]],
    "no name": [*NAMES[:40], "", *NAMES[40:]],
    "turned letters": [*NAMES[:40], "a\u202eb", *NAMES[40:]],
    "long": [*NAMES[:40], "x" * 500, *NAMES[40:]],
    "twice": [*NAMES[:40], NAMES[3], *NAMES[40:]],
}


def checkpoint(names: list[str]):
    """A file of tensors of two shapes; every seventh is a view of the first storage, and one storage is too large."""
    entries = []
    for number, name in enumerate(names):
        key = "0" if number % 7 == 6 else str(number)
        entries.append((text(name), tensor((2,) if number % 3 else (2, 1), key=key, numel=9 if number == 19 else 2)))
    storages = {str(number): floats(*range(9 if number == 19 else 2)) for number in range(len(names))}
    return open_bytes(zip_checkpoint(pickled(mapped(*entries)), storages))


def told(names: list[str]) -> object:
    opened = checkpoint(names)
    view = overview(opened)
    return (
        "\n".join(tree_text.tree_lines(opened)),
        view._replace(packed=None, role_details={}),
        [opened.outline.path(row) for row in range(len(opened.outline))],
        [*opened.outline.parents],
        [*opened.outline.ends],
    )


@pytest.mark.parametrize("kind", ODD)
def test_many_together_are_told_as_one_by_one(kind: str, monkeypatch: pytest.MonkeyPatch):
    together = told(ODD[kind])
    monkeypatch.setattr(tree_text, "WORTH", 1 << 30)
    monkeypatch.setattr(outline, "WORTH", 1 << 30)
    assert together == told(ODD[kind])


def test_lines_of_many_tensors_come_together():
    assert max(piece.count("\n") for piece in tree_text.tree_lines(checkpoint(NAMES))) > 50
