"""What is measured, and what came out: cases, points, the two bounds. Must not measure or print."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

MOST_FULL = 0.8  # of the lanes; one lane alone is never full
WAITING = (1_000, 10_000, 100_000, 1_000_000)
LANES = (1, 100, 1_000, 10_000)


@dataclass(frozen=True)
class Case:
    """So many jobs wait, spread evenly over so many lanes of one job in flight each, `full` of which have that one."""

    waiting: int
    lanes: int

    @property
    def full(self) -> int:
        """How many lanes have reached their limit."""
        return int(self.lanes * MOST_FULL) if self.lanes > 1 else 0

    def admits(self, batch: int) -> int:
        """How many jobs one admission moves: one of each lane with room, as far as a batch goes."""
        return min(batch, self.lanes - self.full)


@dataclass(frozen=True)
class Point:
    """A case measured: how many jobs each admission moved, and the milliseconds that each took."""

    waiting: int
    lanes: int
    full: int
    admitted: int
    took_ms: Sequence[float]

    @property
    def ms(self) -> float:
        """Of one admission, the median."""
        return statistics.median(self.took_ms)

    @property
    def ms_a_job(self) -> float:
        """The same, by job admitted."""
        return self.ms / self.admitted


BY_WAITING = tuple(Case(waiting, lanes=100) for waiting in WAITING)
BY_LANES = tuple(Case(waiting=100_000, lanes=lanes) for lanes in LANES)


def cases(*, largest: int) -> list[Case]:
    """Both curves, each case once, the quickest first; without those where more than `largest` jobs wait."""
    both = {case for case in (*BY_WAITING, *BY_LANES) if case.waiting <= largest}
    return sorted(both, key=lambda case: (case.waiting, case.lanes))


def curve(points: Sequence[Point], along: Sequence[Case]) -> list[Point]:
    """The measured points of one curve, in its order."""
    by_case = {Case(point.waiting, point.lanes): point for point in points}
    return [by_case[case] for case in along if case in by_case]
