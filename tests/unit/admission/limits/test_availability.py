"""Budgets over time: who takes what until when, and when there is room."""

from __future__ import annotations

import pytest

from jobs.admission.limits.availability import NEVER, Allocation, Profile

GB = {"memory_mb": 100.0}


def _profile(*allocations: tuple[float, float, float]) -> Profile:
    return Profile(GB, [Allocation(start, end, {"memory_mb": size}) for start, end, size in allocations])


@pytest.mark.parametrize(
    ("allocations", "need", "first"),
    [
        ([], 100, 0),
        ([], 101, NEVER),
        ([(0, 10, 40)], 60, 0),
        ([(0, 10, 40)], 61, 10),
        ([(0, NEVER, 40)], 61, NEVER),
        ([(0, 10, 40), (0, 30, 40)], 50, 10),
        ([(0, 10, 40), (0, 30, 40)], 70, 30),
        ([(0, 10, 60), (10, 20, 60)], 50, 20),
        ([(0, 10, 60), (20, 30, 60)], 50, 30),
    ],
)
def test_the_first_moment_from_which_it_is_sure_to_fit(
    allocations: list[tuple[float, float, float]], need: float, first: float
) -> None:
    assert _profile(*allocations).first_fit({"memory_mb": need}, 0) == first


def test_what_ends_in_time_fits_before_what_is_booked() -> None:
    booked = _profile((0, 100, 20), (50, 150, 80))
    assert booked.fits({"memory_mb": 80}, 0, 50)
    assert not booked.fits({"memory_mb": 80}, 0, 51)
    assert not booked.fits({"memory_mb": 1}, 0, 51)
    assert booked.fits({"memory_mb": 20}, 100, 51)


def test_all_or_none() -> None:
    profile = Profile({"gpu": 1.0, "memory_mb": 10.0}, [Allocation(0, 5, {"gpu": 1.0})])
    assert not profile.fits({"gpu": 1.0, "memory_mb": 1.0}, 0)
    assert profile.first_fit({"gpu": 1.0, "memory_mb": 1.0}, 0) == 5
    assert profile.short({"gpu": 1.0, "memory_mb": 12.0}, 0) == {"gpu": 1.0, "memory_mb": 2.0}


def test_what_has_no_budget_always_fits() -> None:
    assert _profile((0, NEVER, 100)).fits({"disk_mb": 10**9}, 0)


def test_fractions_do_not_add_up_to_too_much() -> None:
    profile = Profile({"cpu_weight": 1.0}, [Allocation(0, NEVER, {"cpu_weight": 0.1})] * 9)
    assert profile.fits({"cpu_weight": 0.1}, 0)
