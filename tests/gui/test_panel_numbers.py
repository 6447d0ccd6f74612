"""Slices, digits and axis marks: no widgets."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ckpt_viewer.core.slicing import first_slicing
from ckpt_viewer.gui.panels.axis import Axis
from ckpt_viewer.gui.panels.digits import every_digit, is_special, six_digits
from ckpt_viewer.gui.panels.ticks import count_ticks, log_height, log_ticks, nice_values


@pytest.mark.parametrize(
    ("shape", "rows", "columns"),
    [
        ((), None, None),
        ((7,), 0, None),
        ((7, 5), 0, 1),
        ((64, 3, 7, 7), 2, 3),
        ((64, 3, 1, 1), 0, 1),
        ((1, 1, 9), 1, 2),
        ((1, 1), 0, 1),
        ((2, 3, 4, 5, 2, 3, 2), 5, 6),
    ],
)
def test_the_first_slice_shows_the_last_long_dimensions(shape, rows, columns):
    slicing = first_slicing(shape)
    assert (slicing.rows, slicing.columns) == (rows, columns)
    assert slicing.row_count == (shape[rows] if rows is not None else 1)
    assert slicing.column_count == (shape[columns] if columns is not None else 1)


def test_a_block_indexes_the_tensor_in_its_own_order():
    array = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    slicing = first_slicing(array.shape).with_rows(3).with_columns(0).with_fixed(1, 2).with_fixed(2, 3)
    block = array[slicing.block(slice(1, 4), slice(0, 2))]
    assert slicing.transposed
    assert np.array_equal(block.T, array[:, 2, 3, :].T[1:4, 0:2])
    assert slicing.text == "[:, 2, 3, :]"
    assert slicing.others == [1, 2]


def test_taking_the_other_dimension_swaps():
    slicing = first_slicing((4, 5))
    assert slicing.with_rows(1)[1:3] == (1, 0)
    assert slicing.with_columns(0)[1:3] == (1, 0)


@pytest.mark.parametrize(
    ("value", "shown", "copied"),
    [
        (np.float32(0.1), "0.1", "0.10000000149011612"),
        (np.float64(0.1), "0.1", "0.1"),
        (np.float32(1 / 3), "0.333333", "0.3333333432674408"),
        (ml_dtypes.bfloat16(0.1), "0.100098", "0.10009765625"),
        (np.float16(0.1), "0.0999756", "0.0999755859375"),
        (np.float32("nan"), "NaN", "NaN"),
        (np.float32("-inf"), "-Inf", "-Inf"),
        (ml_dtypes.float8_e5m2("inf"), "Inf", "Inf"),
        (np.int64(-(2**62)), "-4\u202f611\u202f686\u202f018\u202f427\u202f387\u202f904", "-4611686018427387904"),
        (np.bool_(True), "True", "True"),
        (np.complex64(0.1 - 0.2j), "0.1-0.2j", "0.10000000149011612-0.20000000298023224j"),
        (np.complex128(complex(1, math.nan)), "1+NaNj", "1.0+NaNj"),
        (0.1, "0.1", "0.1"),
        (-0.0, "-0", "-0.0"),
    ],
)
def test_numbers_are_short_on_screen_and_whole_in_copies(value, shown, copied):
    assert (six_digits(value), every_digit(value)) == (shown, copied)


@given(st.floats(width=32))
def test_a_copied_float32_reads_back_as_itself(number):
    back = float(every_digit(np.float32(number)))
    assert back == number or (math.isnan(back) and math.isnan(number))


def test_special_values_are_told():
    assert [is_special(value) for value in (math.nan, -math.inf, complex(1, math.inf), 1.0, 3, True)] == [True] * 3 + [
        False
    ] * 3


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(finite, finite, st.integers(1, 12))
@example(1.7976931348623083e308, 1.7976931348623085e308, 2)
def test_marks_lie_inside_ascend_and_differ(a, b, wanted):
    low, high = min(a, b), max(a, b)
    values = nice_values(low, high, wanted)
    assert values
    assert len(values) <= 4 * wanted + 1
    numbers = [value for value, _ in values]
    assert numbers == sorted(numbers)
    assert len({text for _, text in values}) == len(values)
    assert all(low <= value <= high for value in numbers)


@given(finite, finite, st.integers(1, 500), st.integers(1, 12))
def test_positions_of_marks_are_on_the_axis(a, b, bins, wanted):
    scale = Axis(min(a, b), max(a, b), bins)
    for tick in scale.ticks(0, bins, wanted):
        assert -1e-6 * bins <= tick.at <= bins * (1 + 1e-6)
        assert tick.text


def test_marks_are_round():
    assert [text for _, text in nice_values(-0.196, 0.1955, 4)] == ["-0.1", "0.0", "0.1"]
    assert [text for _, text in nice_values(-0.347, 0.308, 3)] == ["-0.2", "0.0", "0.2"]
    assert [text for _, text in nice_values(0, 2e9, 4)] == ["0", "5e8", "1e9", "1.5e9", "2e9"]


def test_values_that_differ_in_their_last_digits_count_from_the_least():
    scale = Axis(1e20, 1e20 + 16384, 10)
    ticks = scale.ticks(0, 10, 4)
    assert [tick.text for tick in ticks] == ["+0", "+5000", "+10000", "+15000"]
    assert ticks[2].at == pytest.approx(10 * 10000 / 16384)
    assert scale.suffix == ", from 1e+20"
    assert Axis(0.0, 1.0, 10).suffix == ""


def test_whole_numbers_stand_below_the_middle_of_their_bin():
    assert [tuple(tick) for tick in Axis(-0.5, 1.5, 2, None, True, ("False", "True")).ticks(0, 2, 5)] == [
        (0.5, "False"),
        (1.5, "True"),
    ]
    assert [tuple(tick) for tick in Axis(-3.5, 3.5, 7, None, True).ticks(0, 7, 3)] == [
        (1.5, "-2"), (3.5, "0"), (5.5, "2"),
    ]  # fmt: skip
    texts = [tick.text for tick in Axis(-20.5, 20.5, 41, None, True).ticks(0, 41, 4)]
    assert texts == ["-20", "-10", "0", "10", "20"]


@given(finite, finite, st.floats(0, 1), st.integers(1, 12))
def test_a_bent_axis_leads_from_values_to_places_and_back(a, b, share, wanted):
    low, high = min(a, b), max(a, b)
    if low < high:
        axis = Axis(low, high, 100, max(abs(low), abs(high)) * 1e-6 or 1e-300)
        at = axis.at(axis.value(100 * share))
        assert -1e-6 <= at <= 100 + 1e-6
        assert at == pytest.approx(100 * share, abs=1e-3)
        for tick in axis.ticks(0, 100, wanted):
            assert -1e-4 <= tick.at <= 100 + 1e-4
            assert tick.text


def test_a_bent_axis_has_marks_at_powers_of_ten_on_both_sides_of_zero():
    axis = Axis(-1.0, 10.0, 100, 0.01)
    texts = [tick.text for tick in axis.ticks(0, 100, 9)]
    assert texts == ["-1", "-0.1", "-0.01", "0", "0.01", "0.1", "1", "10"]
    assert axis.at(0) - axis.at(-0.1) == pytest.approx(axis.at(0.1) - axis.at(0))
    assert [tick.text for tick in axis.ticks(0, 100, 5)] == ["-0.1", "0", "0.1", "10"]
    close = axis.ticks(axis.at(0.19), axis.at(0.41), 3)
    assert [tick.text for tick in close] == ["0.2", "0.3", "0.4"]
    assert axis.suffix == ", logarithmic beyond ±0.01"


def test_counts_have_marks_at_round_counts():
    assert [(tick.at, tick.text) for tick in count_ticks(400, 4)] == [
        (0, "0"), (100, "100"), (200, "200"), (300, "300"), (400, "400"),
    ]  # fmt: skip
    assert [tick.text for tick in count_ticks(1, 5)] == ["0", "1"]
    assert [tick.text for tick in log_ticks(1500, 9)] == ["1", "10", "100", "1K"]
    assert len(log_ticks(10**12, 4)) <= 5


def test_a_count_of_one_has_a_height_and_none_has_not():
    assert log_height(1) > log_height(0)
    assert log_height(1000) == 3
