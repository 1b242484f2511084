"""One system once: submit, drain, idle latency. In a process of its own, because Django is set up once per process.

`python -m benchmarks.trial NAME --jobs N --probes N` in the environment that `rounds.py` makes; prints one JSON object.
"""

import argparse
import importlib
import json
import os
import signal
import statistics
import sys
import time
from typing import Any

import django

from benchmarks.meters import SqlMeter, sample_cpu
from benchmarks.place import Place
from benchmarks.systems.base import Room, System
from benchmarks.systems.catalog import BY_NAME

PROBE_SECONDS = 30
MOST_IDLE_SECONDS = 25  # a system that looks for work once a second gives fewer probes in this time
# Between two probes the system finishes its record and falls idle again.
PAUSE = 0.03
WARM_UP = 10
FEWEST = 2  # for a percentile


def main() -> None:
    """Measure the system named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trial", description=__doc__)
    parser.add_argument("system", choices=sorted(BY_NAME))
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--probes", type=int, required=True)
    options = parser.parse_args()
    # Told to end, it ends its worker first: `finally` must run.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    json.dump(measure(options.system, options.jobs, options.probes), sys.stdout)


def measure(name: str, jobs: int, probes: int) -> dict[str, Any]:
    """All figures of one trial; see `figures.Trial` for their names and units."""
    place = Place.from_environ()
    system = _load(name, place)
    meter = SqlMeter(place) if "DJANGO_SETTINGS_MODULE" in os.environ else None
    try:
        system.prepare()
        submitted = _submit_in_rooms(system, meter, min(jobs, 1000))
        drained = _drain(system, meter, place, jobs)
        system.clear()
        return {**submitted, **drained, "idle_ms": _idle_latency(system, probes)}
    finally:
        system.stop()
        if meter:
            meter.close()


def _load(name: str, place: Place) -> System:
    if "DJANGO_SETTINGS_MODULE" in os.environ:
        django.setup()
    # Only now: a system with models cannot be imported before Django is set up.
    module, _, class_name = BY_NAME[name].place.partition(":")
    system: System = getattr(importlib.import_module(module), class_name)(place)
    return system


def _submit_in_rooms(system: System, meter: SqlMeter | None, jobs: int) -> dict[str, Any]:
    rates: dict[str, float] = {}
    statements: dict[str, dict[str, float]] = {}
    for name, room in system.rooms().items():
        _start_meter(system, meter)
        rates[name] = _submit_rate(system, room, jobs)
        statements[name] = _read_meter(system, meter, jobs + 1)
        system.clear()
    return {"submit_per_s": rates, "submit_sql": statements}


def _submit_rate(system: System, room: Room, jobs: int) -> float:
    with room():
        system.submit()  # connects
        began = time.perf_counter()
        for _ in range(jobs):
            system.submit()
        return jobs / (time.perf_counter() - began)


def _drain(system: System, meter: SqlMeter | None, place: Place, jobs: int) -> dict[str, Any]:
    began = time.perf_counter()
    system.enqueue(jobs)
    enqueued = time.perf_counter() - began
    _start_meter(system, meter)
    ready = system.start_worker()
    roots = {"worker": system.worker.pids, "postgres": [place.postgres_pid], "redis": [place.redis_pid]}
    before = sample_cpu(roots)
    seconds = system.wait_drained(jobs) - ready
    spent = sample_cpu(roots).since(before)
    ran = system.stamps.count()
    if ran != jobs:
        raise AssertionError(f"{ran} bodies ran for {jobs} jobs: the figures would mean nothing")
    figures = {"drain_per_s": jobs / seconds, "drain_seconds": seconds, "cpu": spent}
    if system.submits_many:
        figures["enqueue_per_s"] = jobs / enqueued
    system.stop()
    sql = _read_meter(system, meter, jobs)
    return {**figures, "sql": sql, "dearest": meter.dearest() if meter else []}


def _start_meter(system: System, meter: SqlMeter | None) -> None:
    system.analyze()
    system.disconnect()
    if meter:
        meter.start()


def _read_meter(system: System, meter: SqlMeter | None, jobs: int) -> dict[str, float]:
    """What was counted, per job; empty for a system without a database."""
    system.disconnect()
    return {figure: total / jobs for figure, total in meter.read().items()} if meter else {}


def _idle_latency(system: System, probes: int) -> dict[str, float]:
    """Milliseconds from just before the submission to the body's first act, one job at a time."""
    system.start_worker()
    for number in range(WARM_UP):
        _probe(system, number)
    took: list[float] = []
    end = time.monotonic() + MOST_IDLE_SECONDS
    while len(took) < probes and (len(took) < FEWEST or time.monotonic() < end):
        took.append(_probe(system, WARM_UP + len(took)))
    cuts = statistics.quantiles(took, n=100, method="inclusive")
    return {"p50": cuts[49], "p95": cuts[94], "p99": cuts[98]}


def _probe(system: System, number: int) -> float:
    time.sleep(PAUSE)
    began = time.time()
    system.submit()
    deadline = time.monotonic() + PROBE_SECONDS
    while system.stamps.count() <= number:
        system.worker.check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"probe {number} did not start within {PROBE_SECONDS} s of its submission")
        time.sleep(0.001)
    return (system.stamps.at(number) - began) * 1000


if __name__ == "__main__":
    main()
