"""The guard: the worker's main process stops exactly the attempt that must not go on, and names what happened.

A thread beside the pulse, with a connection of its own: it looks at what this worker's children run, asks each
of the `reasons` whether that may go on, stops the process that holds the attempt, and takes the edge of the verdict.
"""

from __future__ import annotations

from jobs.execution.termination import Termination
from jobs.worker.guard.guard import Guard
from jobs.worker.guard.kill import stop
from jobs.worker.guard.running import Holder

__all__ = ["Guard", "Holder", "Termination", "stop"]
