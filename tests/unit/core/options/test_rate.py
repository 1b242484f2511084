"""Rates: their spelling, and the spacing of starts by GCRA."""

from __future__ import annotations

import pytest

from jobs.core.options.rate import Spacing, parse, spacing
from jobs.exceptions import InvalidOption


@pytest.mark.parametrize(
    ("text", "size", "period", "burst"),
    [
        ("10/s", 10, 1, 1),
        ("10/m", 10, 60, 1),
        ("1/h", 1, 3600, 1),
        ("2/d", 2, 86_400, 1),
        ("100/10m", 100, 600, 1),
        ("0.5/s", 0.5, 1, 1),
        (" 10/m burst 5 ", 10, 60, 5),
    ],
)
def test_a_rate_is_starts_per_period(text: str, size: float, period: float, burst: int) -> None:
    assert parse(text) == (size, period, burst)
    assert spacing(text) == Spacing(period / size, burst)


@pytest.mark.parametrize(
    "text", ["", "10", "10/", "/m", "0/m", "10/0s", "10/y", "-1/s", "10/m burst 0", "1e3/s", "1/s\n2/s"]
)
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(InvalidOption, match=r"rate: .*write starts per second") as caught:
        parse(text)
    assert caught.value.option == "rate"


def _starts(space: Spacing, asked: list[float]) -> list[float]:
    """The moments, of those asked for, at which a start was let through."""
    tat, started = 0.0, []
    for now in asked:
        if space.opens_at(tat) <= now:
            tat = space.after_start(tat, now)
            started.append(now)
    return started


def test_starts_are_evenly_spaced() -> None:
    assert _starts(spacing("6/m"), [1000 + n for n in range(60)]) == [1000, 1010, 1020, 1030, 1040, 1050]


def test_a_burst_comes_after_a_rest() -> None:
    asked = [1000.0] * 5 + [1010.0] * 5 + [1100.0] * 5
    assert _starts(spacing("6/m burst 3"), asked) == [1000.0] * 3 + [1010.0] + [1100.0] * 3


@pytest.mark.parametrize("burst", [1, 2, 7])
def test_no_window_ever_holds_more_than_its_share_and_the_burst(burst: int) -> None:
    space = Spacing(2.5, burst)
    starts = _starts(space, [n * 0.7 for n in range(2000)])
    for first, begin in enumerate(starts):
        for length in (1.0, 10.0, 60.0):
            within = sum(1 for one in starts[first:] if one < begin + length)
            assert within <= length / space.interval + burst


def test_the_stricter_of_two() -> None:
    assert spacing("10/m burst 5").tightened(spacing("6/m burst 9")) == Spacing(10, 5)
    assert spacing("6/m").is_within(spacing("10/m burst 2"))
    assert not spacing("6/m burst 3").is_within(spacing("10/m burst 2"))
    assert not spacing("11/m").is_within(spacing("10/m"))
