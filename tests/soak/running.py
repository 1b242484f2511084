"""One soak from its first job to its verdict, on a private stack that is there already."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from pathlib import Path

from django.core.management import call_command
from django.db import DatabaseError, InterfaceError, connections

from jobs.models import Job, Limit
from tests.invariants import check_probe
from tests.services import PrivatePostgres, PrivateValkey, Stack
from tests.services.processes import wait_until
from tests.soak import harm, load, plan
from tests.soak.fleet import Say, fleet
from tests.soak.verdict import Verdict, judge

QUIET_WITHIN = 180.0  # seconds from the last harm to the end of the last job
# No job is given up: each must end as its order says. The others are tests/settings_live.py's.
WORKER_JOBS = {"MAX_RESCUES": 100_000}


def main(minutes: str, seed: str, directory: str, effects: str) -> int:
    """In a process of its own: see `__main__`."""
    logging.disable(logging.WARNING)
    call_command("migrate", verbosity=0)
    stack = Stack.current()
    assert stack
    say: Say = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731, T201
    verdict = soak(stack, float(minutes) * 60, int(seed), Path(directory), Path(effects), say)
    print("\n".join([f"soak of {minutes} min, seed {seed}", *verdict.lines, *verdict.wrong]))  # noqa: T201
    print("WRONG: see above" if verdict.wrong else "all invariants hold")  # noqa: T201
    return 1 if verdict.wrong else 0


def soak(stack: Stack, seconds: float, seed: int, directory: Path, effects: Path, say: Say) -> Verdict:
    """Work and harm for so many seconds, then quiet, then the verdict. Workers write to `directory`."""
    assert isinstance(stack.server, PrivatePostgres)
    assert isinstance(stack.broker, PrivateValkey)
    Limit.objects.filter(name="system").update(size=plan.SYSTEM)
    env = {"JOBCENTER_TEST_JOBS": json.dumps(WORKER_JOBS)}
    with fleet(plan.WORKERS, plan.PROCESSES, directory, env, say) as workers:
        site = harm.Site(workers, stack.broker, stack.server, say)
        told = _work_and_harm(site, seconds, seed)
        stack.heal()
        connections.close_all()
        wrong, lines = _quieten(say)
        verdict = judge(told, effects)
    faults = ", ".join(f"{kind} {number}" for kind, number in site.done.most_common())
    lines = [f"faults injected    {site.done.total()} ({faults}); {site.missed} met nobody", *lines]
    return Verdict([*verdict.lines[:-2], *lines, *verdict.lines[-2:]], wrong + verdict.wrong)


def _work_and_harm(site: harm.Site, seconds: float, seed: int) -> load.Told:
    over = threading.Event()
    bell = threading.Timer(seconds, over.set)
    bell.start()
    inflictor = threading.Thread(target=harm.inflict, args=(site, plan.faults(seed, seconds), over))
    inflictor.start()
    try:
        return load.submit(plan.orders(seed), over)
    finally:
        over.set()
        bell.cancel()
        inflictor.join()


def _quieten(say: Say) -> tuple[list[str], list[str]]:
    """Until every job has ended by itself, and a probe gets through; returns what is wrong, and what to report."""
    say("quiet from here on")
    begin = time.monotonic()
    try:
        wait_until(_all_ended, QUIET_WITHIN, "the end of all jobs")
        quiet = time.monotonic() - begin
        check_probe()
    except (TimeoutError, AssertionError) as error:
        return [str(error)], []
    probe = time.monotonic() - begin - quiet
    return [], [f"seconds to quiet   {quiet:.1f}, and a probe {probe:.1f}"]


def _all_ended() -> bool:
    try:
        return not Job.objects.unfinished().exists()
    except (DatabaseError, InterfaceError):
        connections.close_all()
        return False
