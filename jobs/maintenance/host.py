"""Hosts a steward in a thread of a long-lived process that is no worker, such as the ASGI server.

With it, what dead workers held is found even when no worker is left; the database connection is the thread's own.
"""

from __future__ import annotations

import os
import socket
import threading

from jobs.core.conf import settings
from jobs.maintenance.steward import Steward


def start(role: str) -> threading.Event:
    """Start ticking; set the event that comes back to stop. The thread never keeps the process alive."""
    stop = threading.Event()
    label = f"{role}@{socket.gethostname()}:{os.getpid()}"
    threading.Thread(target=live, args=(label, stop), name="jobs-steward", daemon=True).start()
    return stop


def live(label: str, stop: threading.Event) -> None:
    """Tick until told to stop, then leave the office vacant."""
    steward = Steward(label)
    while not stop.wait(settings.TICK):
        steward.tick()
    steward.resign()
