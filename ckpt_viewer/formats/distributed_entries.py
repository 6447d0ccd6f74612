"""What a distributed checkpoint holds, as its metadata describe it: how tensors are cut, and where each part lies."""

from __future__ import annotations

from array import array
from functools import cached_property
from typing import NamedTuple

from ckpt_viewer.core.finding import Note
from ckpt_viewer.core.regions import Box, tiling_problem

LARGEST = 1 << 62
"""Offsets and lengths beyond are no places in a file."""


class Grid:
    """How a tensor is cut; shared by all tensors of the same shape that are cut alike.

    Attributes:
        shape: of the tensor. boxes: its parts, in the order of the metadata.
    """

    def __init__(self, shape: tuple[int, ...], boxes: tuple[Box, ...]) -> None:
        self.shape, self.boxes = shape, boxes

    @cached_property
    def numbers(self) -> dict[tuple[int, ...], int]:
        """Index of the first element -> number of the part."""
        full = {box.start: number for number, box in enumerate(self.boxes) if 0 not in box.size}
        # an empty part can begin where another does
        return {box.start: number for number, box in enumerate(self.boxes)} | full

    @cached_property
    def problem(self) -> tuple[str, str] | None:
        """(finding code, what is wrong) where the parts do not make the tensor."""
        return tiling_problem(self.shape, self.boxes)


class Item(NamedTuple):
    """Where one part or object lies.

    Attributes:
        file: its number in `Described.files`. offset, length: bytes in that file.
        transforms: what was done to the bytes, as the writer names it; ``()`` as a rule.
    """

    file: int
    offset: int
    length: int
    transforms: tuple[str, ...] = ()


class Places:
    """Where the parts of a tensor lie, 20 bytes for each: a large checkpoint has a million of them."""

    __slots__ = ("_files", "_lengths", "_offsets", "_transforms")

    def __init__(self, count: int) -> None:
        self._files, self._offsets, self._lengths = (
            array("i", [-1]) * count, array("q", [0]) * count, array("q", [0]) * count
        )  # fmt: skip
        self._transforms: dict[int, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self._files)

    def put(self, number: int, file: int, offset: int, length: int, transforms: tuple[str, ...] = ()) -> None:
        """Say where a part lies, as `Item` does."""
        self._files[number], self._offsets[number], self._lengths[number] = file, offset, length
        if transforms:
            self._transforms[number] = transforms

    def get(self, number: int) -> Item | None:
        """Return where a part lies; None if the metadata do not say."""
        if self._files[number] < 0:
            return None
        transforms = self._transforms.get(number, ())
        return Item(self._files[number], self._offsets[number], self._lengths[number], transforms)

    def behind(self, room: list[int]) -> dict[int, int]:
        """Return how many parts of each file reach behind its end; `room` has the bytes of each file."""
        counts: dict[int, int] = {}
        for file, offset, length in zip(self._files, self._offsets, self._lengths, strict=True):
            if offset + length > room[file] and file >= 0:
                counts[file] = counts.get(file, 0) + 1
        return counts

    @property
    def transforms(self) -> list[str]:
        """What was done to parts, once for each of them."""
        return [each for transforms in self._transforms.values() for each in transforms]

    @property
    def missing(self) -> int:
        """How many parts lie nowhere."""
        return self._files.count(-1)


class TensorEntry(NamedTuple):
    """A tensor. `dtype` is torch's name, `requires_grad` as saved."""

    dtype: str
    requires_grad: bool
    grid: Grid
    places: Places

    def number(self, start: tuple[int, ...] | None) -> int | None:
        """Return the number of the part that begins at an index; the first without one."""
        return self.grid.numbers.get(start if start is not None else (0,) * len(self.grid.shape))


class ObjectEntry(NamedTuple):
    """Anything that is no tensor, saved by torch.save."""

    places: Places

    def number(self, start: tuple[int, ...] | None) -> int:
        """It has one part, whatever is said of it."""
        del start
        return 0


Entry = TensorEntry | ObjectEntry


class Described(NamedTuple):
    """The metadata, checked.

    Attributes:
        entries: by their flat names, in order. paths: flat name -> where it was in the nested state_dict.
        files: names of the data files, as they are written, unchecked. notes: what was noticed.
    """

    entries: dict[str, Entry]
    paths: dict[str, tuple[str | int, ...]]
    files: list[str]
    notes: list[Note]
