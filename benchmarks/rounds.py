"""Runs the trials, each in a process of its own: every system once per round, the first one another each round.

Must not know what is measured. Every process it starts is ended here, by its process id.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks.place import Place
from benchmarks.servers import POSTGRES_USER, Servers
from benchmarks.systems.catalog import ENTRIES, Entry

TRIAL_SECONDS = 1800
# For the estimate: a trial's starts and stops, seconds; jobs drained a second; seconds for each job on the idle system.
TRIAL_OVERHEAD, TRIAL_PACE, TRIAL_PROBE = 15, 150, 0.06
ROOT = Path(__file__).resolve().parent.parent


class TrialError(Exception):
    """One trial gave no figures; the text is what it printed last."""


def run_rounds(
    servers: Servers, entries: Sequence[Entry], rounds: int, jobs: int, probes: int, say: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    """Yield the figures of each trial, or `{"error": …}`, with its system, round and place in the round."""
    began, done = time.monotonic(), 0
    for number in range(rounds):
        turn = number % len(entries)
        for order, entry in enumerate([*entries[turn:], *entries[:turn]]):
            about = {"system": entry.name, "round": number + 1, "order": order + 1, "jobs": jobs}
            left = f", about {_minutes(began, done, rounds * len(entries))} min left" if done else ""
            say(f"round {number + 1} of {rounds}: {entry.name}{left}")
            try:
                words = ["benchmarks.trial", entry.name, "--jobs", str(jobs), "--probes", str(probes)]
                figures = run_trial(servers, entry, words)
            except TrialError as failure:
                say(f"  failed: {failure}")
                figures = {"error": str(failure)}
            done += 1
            yield {**about, **figures}


def estimate(trials: int, jobs: int, probes: int) -> float:
    """Roughly the seconds that so many trials take, from what a middling system took on two cores."""
    return trials * (TRIAL_OVERHEAD + jobs / TRIAL_PACE + probes * TRIAL_PROBE)


def _minutes(began: float, done: int, trials: int) -> int:
    """Minutes left for the trials, if the others take what those done have taken."""
    return math.ceil((time.monotonic() - began) / done * (trials - done) / 60)


def run_trial(servers: Servers, entry: Entry, words: Sequence[str]) -> Any:
    """Run `python -m` with these words in the environment of a system, and return the JSON value that it prints."""
    command = [sys.executable, "-m", *words]
    with tempfile.TemporaryDirectory(dir=servers.directory) as directory:
        environ = _environ(servers, entry, directory)
        process = subprocess.Popen(
            command, env=environ, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            out, err = process.communicate(timeout=TRIAL_SECONDS)
        except subprocess.TimeoutExpired:
            raise TrialError(f"no figures after {TRIAL_SECONDS} s") from None
        finally:
            _end(process)
    if process.returncode:
        raise TrialError(err.strip()[-4000:])
    return json.loads(out)


def _environ(servers: Servers, entry: Entry, directory: str) -> dict[str, str]:
    place = Place(
        directory=directory,
        database="bench_" + entry.name.replace("-", "_"),
        postgres_socket=servers.postgres_socket,
        postgres_user=POSTGRES_USER,
        postgres_pid=servers.postgres_pid,
        redis_socket=servers.redis_socket,
        redis_database=ENTRIES.index(entry),
        redis_pid=servers.redis_pid,
    )
    # What the caller's shell says of a Django site or a Celery app must not reach the trial.
    foreign = ("DJANGO_", "CELERY_", "JOB", "DATABASE_URL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, **place.environ(), **entry.environ}


def _end(process: subprocess.Popen[str]) -> None:
    """End a trial that has not ended, and then whatever it left behind."""
    if process.poll() is not None:
        return
    family = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    try:
        process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    for child in family:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
