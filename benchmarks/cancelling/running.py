"""Starts the process that measures, on servers that somebody else has started."""

from collections.abc import Callable

from benchmarks.cancelling.figures import WAITING, Cancelling
from benchmarks.rounds import run_trial
from benchmarks.servers import Servers
from benchmarks.systems.catalog import BY_NAME


def measure_cancelling(servers: Servers, say: Callable[[str], None], waiting: int = WAITING) -> Cancelling:
    """With so many jobs waiting. Raises `TrialError`."""
    say(f"cancelling {waiting:,} waiting jobs, and running ones")
    words = ["benchmarks.cancelling.trial", "--waiting", str(waiting)]
    return Cancelling(**run_trial(servers, BY_NAME["ours"], words))
