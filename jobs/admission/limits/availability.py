"""A pool's budgets over time: what is taken until when, and when there is room for more. Numbers only.

A job that is too large for the free room gets a reservation at the first moment at which it is sure to fit. Later jobs
may only take room that does not delay that moment.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

Needs = Mapping[str, float]
NEVER = math.inf
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Allocation:
    """What one job takes of the budgets, from `start` (epoch seconds) to just before `end`."""

    start: float
    end: float
    needs: Needs


@dataclass
class Profile:
    """Some budgets, and what jobs take of them when."""

    budgets: Needs
    allocations: list[Allocation] = field(default_factory=list)

    def fits(self, needs: Needs, start: float, seconds: float = NEVER) -> bool:
        """Whether these needs fit from `start` on for so long. A need without a budget always fits."""
        end = start + seconds
        moments = [start, *(allocation.start for allocation in self.allocations if start < allocation.start < end)]
        return all(self._has_room(needs, moment) for moment in moments)

    def first_fit(self, needs: Needs, now: float, seconds: float = NEVER) -> float:
        """The first moment from `now` on from which the needs fit for so long; NEVER where that is not sure."""
        moments = sorted({now, *(allocation.end for allocation in self.allocations if now < allocation.end < NEVER)})
        return next((moment for moment in moments if self.fits(needs, moment, seconds)), NEVER)

    def short(self, needs: Needs, moment: float) -> dict[str, float]:
        """By how much each budget is short of these needs at a moment; {} when all fit."""
        missing = {
            name: self._taken(name, moment) + need - self.budgets.get(name, NEVER) for name, need in needs.items()
        }
        return {name: amount for name, amount in missing.items() if amount > _ROUNDING}

    def _has_room(self, needs: Needs, moment: float) -> bool:
        return not self.short(needs, moment)

    def _taken(self, name: str, moment: float) -> float:
        return sum(
            allocation.needs.get(name, 0.0)
            for allocation in self.allocations
            if allocation.start <= moment < allocation.end
        )
