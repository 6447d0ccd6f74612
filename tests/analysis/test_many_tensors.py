"""What is counted and printed of many tensors together is what it is of each."""

from __future__ import annotations

import pytest
from builders import floats, mapped, pickled, tensor, text, zip_checkpoint
from opening import open_bytes

from ckpt_viewer.analysis import side_by_side, tree_text
from ckpt_viewer.analysis.listing import listing_json
from ckpt_viewer.analysis.overview import overview
from ckpt_viewer.core import outline
from ckpt_viewer.core.checkpoint import Checkpoint

NAMES = [f"layer.{number}.weight" for number in range(90)]
ODD = {
    "plain": NAMES,
    "two lines": [*NAMES[:40], "a\nb", *NAMES[40:]],
    "a space before": [*NAMES[:40], " a", *NAMES[40:]],
    "a space behind": [*NAMES[:40], "a ", *NAMES[40:]],
    "no name": [*NAMES[:40], "", *NAMES[40:]],
    "turned letters": [*NAMES[:40], "a\u202eb", *NAMES[40:]],
    "long": [*NAMES[:40], "x" * 500, *NAMES[40:]],
    "quoted": [*NAMES[:40], 'a"\\\x7f\U0001f600', *NAMES[40:]],
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
        "".join(listing_json(opened)),
        view._replace(packed=None, role_details={}),
        [opened.outline.path(row) for row in range(len(opened.outline))],
        [*opened.outline.parents],
        [*opened.outline.ends],
    )


@pytest.mark.parametrize("kind", ODD)
def test_many_together_are_told_as_one_by_one(kind: str, monkeypatch: pytest.MonkeyPatch):
    together = told(ODD[kind])
    monkeypatch.setattr(side_by_side, "WORTH", 1 << 30)
    monkeypatch.setattr(outline, "WORTH", 1 << 30)
    assert together == told(ODD[kind])


def test_lines_of_many_tensors_come_together():
    assert max(piece.count("\n") for piece in tree_text.tree_lines(checkpoint(NAMES))) > 50


def test_json_of_many_tensors_comes_together():
    assert max(piece.count("\n") for piece in listing_json(checkpoint(NAMES))) > 50


@pytest.mark.parametrize(
    "map_location", [None, "cpu", {"cpu": "cuda:3"}, lambda storage, tag: storage.cuda(int(storage.key) % 3)]
)
def test_devices_of_many_tensors_are_those_of_each(map_location, monkeypatch: pytest.MonkeyPatch):
    opened = checkpoint(NAMES)
    texts = []
    for worth in (16, 1 << 30):
        monkeypatch.setattr(side_by_side, "WORTH", worth)
        located = Checkpoint("x.pth", opened.size, opened.contents, map_location)
        texts.append(("\n".join(tree_text.tree_lines(located)), "".join(listing_json(located))))
    assert texts[0] == texts[1]
