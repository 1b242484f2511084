"""Child processes that a job started: they are killed with it.

They are listed before the signal is sent, because orphans cannot be found by their parent. Used by Celery's event loop,
the heartbeat and the guard: every step is one operation on a dict.
"""

from __future__ import annotations

from contextlib import suppress

import psutil

from jobs.worker.process_usage import descendants

_families: dict[psutil.Process, set[psutil.Process]] = {}  # psutil knows a process by its number and its birth


def remember(pid: int) -> None:
    """List what a process has started, before it gets a signal. What it starts later is not listed."""
    with suppress(psutil.NoSuchProcess):
        _families.setdefault(psutil.Process(pid), set()).update(descendants(pid))


def bury() -> None:
    """Kill what has outlived the process that had started it."""
    for process, family in list(_families.items()):
        if is_dead(process):
            for one in family:
                with suppress(psutil.Error):
                    one.kill()
            _families.pop(process, None)


def is_dead(process: psutil.Process) -> bool:
    """Whether it is no more, or only waits to be buried by its parent."""
    try:
        return not process.is_running() or process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return True
