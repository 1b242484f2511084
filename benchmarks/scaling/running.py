"""Starts the process that measures, on servers that somebody else has started."""

from collections.abc import Callable

from benchmarks.rounds import run_trial
from benchmarks.scaling.cases import WAITING, Point
from benchmarks.servers import Servers
from benchmarks.systems.catalog import BY_NAME


def measure_scaling(servers: Servers, say: Callable[[str], None], largest: int = WAITING[-1]) -> list[Point]:
    """All cases in which no more than `largest` jobs wait. Raises `TrialError`."""
    say(f"admission with up to {largest:,} jobs waiting")
    words = ["benchmarks.scaling.trial", "--largest", str(largest)]
    return [Point(**point) for point in run_trial(servers, BY_NAME["ours"], words)]
