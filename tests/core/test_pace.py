import pytest

from ckpt_viewer.core.pace import Pace, duration_text

MB = 1_000_000


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_nothing_is_said_at_first():
    clock = Clock()
    pace = Pace(clock)
    clock.now += 0.5
    pace.note(500 * MB, 1000 * MB)
    assert (pace.rate, pace.seconds_left, pace.text) == (None, None, "")


def test_the_rate_is_that_of_the_last_seconds():
    clock = Clock()
    pace = Pace(clock)
    for second in range(1, 21):
        clock.now += 1
        pace.note(min(second, 10) * 100 * MB + max(0, second - 10) * 10 * MB, 2100 * MB)
    assert pace.rate == pytest.approx(10 * MB)
    assert pace.text == "10 MB/s, 1 min 40 s left"


def test_work_that_stands_still_has_no_end():
    clock = Clock()
    pace = Pace(clock)
    pace.note(100, 1000)
    clock.now += 2
    pace.note(100, 1000)
    for _ in range(10):
        clock.now += 1
        pace.note(100, 1000)
    assert (pace.rate, pace.seconds_left, pace.text) == (0, None, "0 B/s")


def test_the_time_without_news():
    clock = Clock()
    pace = Pace(clock)
    clock.now += 2
    pace.note(20 * MB, 50 * MB)
    clock.now += 4.5
    assert pace.silence == 4.5
    pace.note(40 * MB, 50 * MB)
    assert pace.silence == 0


def test_work_that_starts_anew_is_timed_anew():
    clock = Clock()
    pace = Pace(clock)
    clock.now += 10
    pace.note(1000 * MB, 1000 * MB)
    pace.note(0, 50 * MB)
    assert pace.text == ""
    clock.now += 2
    pace.note(20 * MB, 50 * MB)
    assert pace.text == "10 MB/s, 3 s left"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "1 s"), (7.2, "8 s"), (59.5, "1 min 0 s"), (125, "2 min 5 s"), (3600, "1 h 0 min"), (4800, "1 h 20 min")],
)
def test_durations(seconds, text):
    assert duration_text(seconds) == text
