"""Processes that fault tests start to have them die or stop at one exact point: `start("die_before_publishing")`.

Each actor is a function here, called in a process of its own. Its point is reached by putting a fatal step in front of
a function of the platform, in that process only.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import patch

from django.db import transaction

from jobs import job_manager
from jobs.control import deletion
from jobs.core.conf import settings
from jobs.execution import heartbeats
from jobs.execution.rescue import rescue
from jobs.maintenance import expiry, pruner
from jobs.maintenance.steward import Steward
from jobs.workflows import fallbacks
from tests.app import ledger
from tests.app.faulty import hold, touch

ROOT = Path(__file__).resolve().parents[2]
LABEL = "actor"  # of the steward


def start(name: str, *words: str) -> subprocess.Popen[bytes]:
    """Start an actor; it notes in the ledger what it has reached."""
    act = f"import django; django.setup(); from tests.faults import actors; actors.{name}(*{words!r})"
    return subprocess.Popen([sys.executable, "-c", act], cwd=ROOT, stdin=subprocess.DEVNULL)


def die_before_publishing() -> None:
    """Submit; the job is admitted and its doorbell never sent."""
    patch("jobs.admission.publishing.publish", _die).start()
    job_manager.submit(touch)


def die_before_admitting() -> None:
    """Submit; the job is committed and nobody has been told."""
    patch("jobs.admission.passes.admit", _die).start()
    job_manager.submit(touch)


def die_before_committing() -> None:
    """Submit twice, in a transaction that is never committed."""
    with transaction.atomic():
        job_manager.submit(touch)
        job_manager.run_job("castle", touch)
        _die()


def die_before_the_fallback() -> None:
    """Fail a job that was not started in time; its fallback is noted, and nobody has submitted it."""
    job_manager.submit("nobody.knows", expires=0.01, fallback=touch)
    time.sleep(0.1)
    patch.object(fallbacks, "_settle", _die).start()
    expiry.give_up()


def hold_the_key(key: str, gate: str) -> None:
    """Take the key in a transaction that stays open until somebody kills this process."""
    with transaction.atomic():
        job_manager.run_job(key, hold, [gate])
        ledger.note("holding")
        while True:
            time.sleep(60)


def stand_still_before_fencing() -> None:
    """Be the steward, find a worker stale, and stand still in front of the verdict."""
    fence = heartbeats.fence

    def fence_later(*args: Any) -> bool:
        _stand_still()
        done = fence(*args)
        ledger.note("went on", done=done)
        return done

    patch("jobs.execution.heartbeats.fence", fence_later).start()
    _be_steward()


def stand_still_before_rescuing() -> None:
    """Be the steward, find what a dead worker held, and stand still in front of taking it back."""

    def rescue_later(pairs: Any, *args: Any) -> Any:
        if not pairs:
            return []
        _stand_still()
        moved = rescue(pairs, *args)
        ledger.note("went on", done=len(moved))
        return moved

    patch("jobs.maintenance.dead_workers.rescue", rescue_later).start()
    _be_steward()


def die_while_pruning(batch: str) -> None:
    """Delete two batches of what has ended, and die in the middle of the third."""
    deleted: list[int] = []
    delete_rows = deletion.delete_rows

    def delete_or_die(ids: Any) -> int:
        deleted.append(delete_rows(ids))
        return deleted[-1] if len(deleted) < 3 else _die()

    patch("jobs.control.deletion.delete_rows", delete_or_die).start()
    pruner.prune(dict.fromkeys(pruner.configured(), 0.0), batch=int(batch))


def _be_steward() -> None:
    steward = Steward(LABEL)
    while True:
        steward.tick()
        time.sleep(settings.TICK)


def _stand_still() -> None:
    ledger.note("stands still")
    os.kill(os.getpid(), signal.SIGSTOP)


def _die(*_: object) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("dead already")
