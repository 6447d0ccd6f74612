"""Adds up what is below each row: elements and bytes of distinct tensors, how many, and their devices. No Qt.

Rows are in pre-order, so what is below a row is the difference of two running sums. A tensor that is reached several
times below a row counts once there: each time a view of the same elements comes again, it is taken off at the innermost
row that holds both this place and the last one.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

from ckpt_viewer.core.forms import StorageForm, TensorForm
from ckpt_viewer.core.outline import Outline
from ckpt_viewer.core.progress import Context, drain
from ckpt_viewer.core.tensor import StorageSpec, TensorSpec
from ckpt_viewer.gui.tree.table import EVERY, PLAIN, Table


class Kind(NamedTuple):
    """What tensors of one kind have in common."""

    shape: tuple[int, ...] | None
    dtype: str
    numel: int
    nbytes: int


class Totals:
    """What is at and below each row.

    Attributes:
        samples: one tensor for each way to be saved on a device (its tag; with or without a storage).
        tensor_rows: rows that are tensors, ascending. tensor_kinds: of each of them its number in `kinds`.
        masks: what `tree.conditions` knows already, by the word of the filter.
    """

    __slots__ = ("_elements", "_ends", "_nbytes", "_places", "kinds", "masks", "samples", "tensor_kinds", "tensor_rows")

    def __init__(self, adder: _Adder, ends: array[int], context: Context) -> None:
        self._elements = _running(adder.elements, context)
        self._nbytes = _running(adder.nbytes, context)
        self._places, self._ends, self.samples = adder.places, ends, adder.samples
        self.tensor_rows, self.tensor_kinds, self.kinds = adder.rows, adder.kinds, tuple(map(Kind._make, adder.numbers))
        self.masks: dict[object, bytes] = {}

    def elements(self, row: int) -> int:
        """Return the elements of the distinct tensors: those of other (storage, offset, shape, stride)."""
        return self._elements[self._ends[row]] - self._elements[row]

    def nbytes(self, row: int) -> int:
        """Return the bytes that those elements take."""
        return self._nbytes[self._ends[row]] - self._nbytes[row]

    def tensors(self, row: int) -> int:
        """Return how many entries are tensors, repeated ones included."""
        return bisect_left(self.tensor_rows, self._ends[row]) - bisect_left(self.tensor_rows, row)

    def saved_on(self) -> Iterator[tuple[TensorSpec, array[int]]]:
        """Yield each of the `samples` with the rows of all tensors that are saved so."""
        return zip(self.samples, self._places, strict=True)

    @property
    def tags(self) -> tuple[str, ...]:
        """The device of each of the `samples` as the file has it, in small letters."""
        return tuple((sample.location or "cpu").lower() for sample in self.samples)

    def saved(self, row: int) -> list[TensorSpec]:
        """Return the `samples` of the devices that tensors there are saved on, in order of appearance in the file."""
        end = self._ends[row]
        return [
            sample
            for sample, places in zip(self.samples, self._places, strict=True)
            if (at := bisect_left(places, row)) < len(places) and places[at] < end
        ]


def add_up(table: Table, ends: array[int], outline: Outline, context: Context) -> Totals:
    """Return the totals of every row.

    Raises:
        Cancelled: by `context`.
    """
    adder = _Adder(table, ends, outline)
    sources, kinds, values, total = table.sources, table.kinds, outline.values, len(table)
    above, add = adder.above, adder.tensor
    for row in range(total):
        if not row & EVERY:
            context.step(2 * total + row, 4 * total)
        if kinds[row] == PLAIN:
            value = values[sources[row]]
            if type(value) is TensorSpec:
                add(row, value)
        if ends[row] > row + 1:
            while above and ends[above[-1]] <= row:
                above.pop()
            above.append(row)
    totals = Totals(adder, ends, context)
    drain(adder.first, context)
    drain(adder.last, context)
    return totals


class _Alike(NamedTuple):
    """What tensors come to that have the same form, as have their storages.

    Attributes:
        elements, nbytes: of each. kind: its number in `Totals.kinds`. places: rows of all that are saved on its device.
    """

    elements: int
    nbytes: int
    kind: int
    places: array[int]


class _Adder:
    """Counts tensors.

    Attributes:
        above: rows around the next one, and perhaps some that ended.
        first: storages -> row of the first tensor, -1 once there are several. last: views of those -> row of the last.
    """

    def __init__(self, table: Table, ends: array[int], outline: Outline) -> None:
        self.ends, self._sources, self._values = ends, table.sources, outline.values
        self.elements, self.nbytes = [0] * len(table), [0] * len(table)
        self.rows = array("i")
        self.above: list[int] = []
        self.samples: list[TensorSpec] = []
        self.places: list[array[int]] = []
        self.first: dict[StorageSpec, int] = {}
        self.last: dict[tuple[object, ...], int] = {}
        self.kinds = array("i")
        self.numbers: dict[tuple[object, ...], int] = {}
        self._alike: dict[tuple[TensorForm, StorageForm], _Alike] = {}
        self._devices: dict[tuple[object, ...], array[int]] = {}

    def tensor(self, row: int, tensor: TensorSpec) -> None:
        """Count one tensor; rows have to come in order, with `above` those around it (and perhaps some that ended)."""
        storage = tensor.storage
        plain = storage is not None and tensor.extra is None
        alike = self._alike.get((tensor.form, storage.form)) if plain else None  # type: ignore[union-attr]
        if alike is None:
            alike = self._look_at(tensor, (storage.location,) if plain else _device(tensor))  # type: ignore[union-attr]
            if plain:
                self._alike[tensor.form, storage.form] = alike  # type: ignore[union-attr]
        elements, nbytes, kind, places = alike
        self.elements[row] += elements
        self.nbytes[row] += nbytes
        self.rows.append(row)
        self.kinds.append(kind)
        places.append(row)
        if storage is None or self.first.setdefault(storage, row) != row:
            before = self._before(row, tensor)
            if before is not None:
                common = self._common(before, row)
                self.elements[common] -= elements
                self.nbytes[common] -= nbytes

    def _look_at(self, tensor: TensorSpec, device: tuple[object, ...]) -> _Alike:
        numel, nbytes = tensor.numel, tensor.nbytes
        kind = self.numbers.setdefault((tensor.shape, tensor.dtype, numel, nbytes), len(self.numbers))
        places = self._devices.get(device)
        if places is None:
            places = self._devices[device] = array("i")
            self.places.append(places)
            self.samples.append(tensor)
        return _Alike(numel, nbytes, kind, places)

    def _before(self, row: int, tensor: TensorSpec) -> int | None:
        """Return the last row with the same view of a storage, or the same tensor without one; None for the first."""
        storage = tensor.storage
        if storage is not None and (first := self.first[storage]) >= 0:
            self.first[storage] = -1
            self.last[_view(self._values[self._sources[first]])] = first  # type: ignore[arg-type]
        view = _view(tensor)
        before = self.last.get(view)
        self.last[view] = row
        return before

    def _common(self, before: int, row: int) -> int:
        """Return the innermost row around two others."""
        above = self.above
        while self.ends[above[-1]] <= row:
            above.pop()
        return above[bisect_right(above, before) - 1]


def _view(tensor: TensorSpec) -> tuple[object, ...]:
    return (id(tensor),) if tensor.storage is None else (tensor.storage, tensor.offset, tensor.shape, tensor.stride)


def _device(tensor: TensorSpec) -> tuple[object, ...]:
    special = tensor.extra is not None and tensor.extra.device is not None
    return tensor.location, special, special and tensor.extra is not None and tensor.extra.rebuilt


def _running(amounts: list[int], context: Context) -> list[int] | array[int]:
    """Return running sums, beginning with 0; a list where a shape is so absurd that 64 bits do not hold them."""
    sums: list[int] | array[int] = array("q", [0])
    for low in range(0, len(amounts), 512):
        chunk = accumulate(amounts[low : low + 512], initial=sums[-1])
        next(chunk)
        more = list(chunk)
        context.step(low, len(amounts))
        try:
            sums.extend(more)
        except OverflowError:
            sums = [*sums[: low + 1], *more]
    return sums
