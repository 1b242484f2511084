"""The simulation on a real database: what it lets happen does not depend on which one."""

from __future__ import annotations

import pytest
from django.test import override_settings

from jobs.testing import Worker, simulation
from tests.services import Stack

JOBS = {"STALE_AFTER": 20, "LOST_AFTER": 15, "LOOK_AHEAD": 0}


def test_limits_rates_and_crashes_on_a_virtual_clock(stack: Stack) -> None:
    first, second = Worker(slots=4), Worker(slots=4)
    with override_settings(JOBS=JOBS), simulation([first, second], takes=30) as sim:
        calls = [((), {"customer": "acme"})] * 8
        sim.submit_many("limited", calls, partition_by="customer", max_concurrent=2)
        sim.submit_many("paced", [((), {})] * 3, rate="6/m")
        sim.lose_doorbells()
        sim.at(5, lambda: sim.crash(first))
        sim.run_until_idle()
        assert sim.peak(task="limited") == 2
        assert sim.busiest(10, task="paced") == 1
        assert len(sim.waits(task="limited")) == 8
        assert max(sim.waits(task="limited")) == pytest.approx(110, abs=40)
        assert sim.utilisation() > 0
