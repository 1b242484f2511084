"""The guard: the worker's main process stops exactly the attempt that must not go on, and names what happened.

A thread beside the pulse, with a connection of its own: it looks at what this worker's children run, asks each
of the `reasons` whether that may go on, stops the process that holds the attempt, and takes the edge of the verdict.
"""

from __future__ import annotations

from jobs.endings import Verdict
from jobs.worker.guard.holders import Holder
from jobs.worker.guard.stopping import stop
from jobs.worker.guard.watch import Guard

__all__ = ["Guard", "Holder", "Verdict", "stop"]
