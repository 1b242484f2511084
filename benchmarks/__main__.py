"""The command: measure, print, and if asked keep the figures and write them into the documentation."""

import argparse
import json
import math
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from benchmarks import facts, report
from benchmarks.cancelling import report as cancelling
from benchmarks.cancelling.figures import WAITING as CANCELLED
from benchmarks.cancelling.figures import Cancelling
from benchmarks.cancelling.running import measure_cancelling
from benchmarks.figures import Trial
from benchmarks.rounds import ROOT, TrialError, estimate, run_rounds
from benchmarks.scaling import report as scaling
from benchmarks.scaling.cases import WAITING, Point
from benchmarks.scaling.running import measure_scaling
from benchmarks.servers import private_servers
from benchmarks.systems.catalog import BY_NAME, ENTRIES, Entry

WAITING_A_SECOND = 8_000  # of the largest case of the admission's curves; for the estimate
CANCELLED_A_SECOND = 700  # submitted and cancelled, with what follows; for the estimate
T = TypeVar("T")
DOCUMENT = ROOT / "docs" / "performance.md"


@dataclass(frozen=True)
class Run:
    """All that one run has measured."""

    facts: dict[str, str]
    trials: list[Trial]
    scaling: list[Point]
    cancelling: Cancelling | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0: all measured; 1: a trial failed; 2: wrong usage."""
    options = _options(arguments)
    # Told to end, the servers and their directory go first: `finally` must run.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    run = _load(options.from_json) if options.from_json else _measure(options)
    if options.json:
        options.json.write_text(json.dumps(asdict(run), indent=1) + "\n")
    print(report.render(run.facts, run.trials))
    if run.scaling:
        print(scaling.render(run.scaling))
    if run.cancelling:
        print(cancelling.render(run.cancelling))
    if options.write_docs:
        report.write_between(DOCUMENT, report.BEGIN, report.END, report.render(run.facts, run.trials))
    if options.write_docs and run.scaling:
        scaling.write_docs(DOCUMENT, run.scaling)
    if options.write_docs and run.cancelling:
        cancelling.write_docs(DOCUMENT, run.cancelling)
    lacks = (options.waiting and not run.scaling) or (options.cancel and not run.cancelling)
    return 1 if (lacks and not options.from_json) or any(trial.error for trial in run.trials) else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    options = parser.parse_args(arguments)
    for name, usual, quick in (("rounds", 3, 1), ("jobs", 5000, 1000), ("probes", 200, 50)):
        given = getattr(options, name)
        if given is not None and given < (2 if name == "probes" else 1):
            parser.error(f"--{name} {given} is too few")
        setattr(options, name, given or (quick if options.quick else usual))
    if options.waiting is None:
        options.waiting = 0 if options.quick or options.only else WAITING[-1]
    if options.cancel is None:
        options.cancel = 0 if options.quick or options.only else CANCELLED
    if 0 < options.waiting < WAITING[0]:
        parser.error(f"--waiting {options.waiting} leaves nothing: the smallest case has {WAITING[0]:,} jobs")
    if not options.from_json and (missing := _missing(options)):
        parser.error(f"not installed: {missing}; `make bench` installs the peers, --only NAME leaves them out")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, help="how often each system is measured (3; quick: 1)")
    parser.add_argument("--jobs", type=int, help="how many waiting jobs are drained (5,000; quick: 1,000)")
    parser.add_argument("--probes", type=int, help="how many jobs are timed on the idle system (200; quick: 50)")
    parser.add_argument(
        "--waiting",
        type=int,
        metavar="JOBS",
        help="the most jobs that wait while admission is measured (1,000,000; quick or --only: 0, which leaves it out)",
    )
    parser.add_argument(
        "--cancel",
        type=int,
        metavar="JOBS",
        help="how many waiting jobs are cancelled by a filter (100,000; quick or --only: 0: cancelling is left out)",
    )
    parser.add_argument("--only", nargs="+", choices=sorted(BY_NAME), metavar="NAME", help=f"of {', '.join(BY_NAME)}")
    parser.add_argument("--quick", action="store_true", help="one short round, to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every figure of every trial")
    parser.add_argument("--from-json", type=Path, metavar="FILE", help="measure nothing, show the figures kept in FILE")
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/performance.md")
    return parser


def _missing(options: argparse.Namespace) -> str:
    """Packages that a system needs and this environment lacks: better said now than after half of the run."""
    needed = {entry.package for entry in _entries(options)} - {""}
    return ", ".join(sorted(package for package in needed if find_spec(package) is None))


def _measure(options: argparse.Namespace) -> Run:
    entries = _entries(options)
    seconds = estimate(len(entries) * options.rounds, options.jobs, options.probes) + options.waiting / WAITING_A_SECOND
    seconds += options.cancel / CANCELLED_A_SECOND
    _say(f"{options.rounds} × {len(entries)} trials: about {math.ceil(seconds / 60)} min on two quiet cores")
    with private_servers() as servers:
        about = facts.gather(servers)
        measured = run_rounds(servers, entries, options.rounds, options.jobs, options.probes, _say)
        trials = [Trial(**figures) for figures in measured]
        curves = _tried(lambda: measure_scaling(servers, _say, options.waiting)) if options.waiting else None
        cancels = _tried(lambda: measure_cancelling(servers, _say, options.cancel)) if options.cancel else None
        return Run(about, trials, curves or [], cancels)


def _tried(measure: Callable[[], T]) -> T | None:
    """None where it failed, for the trials before it shall not be lost."""
    try:
        return measure()
    except TrialError as failure:
        _say(f"  failed: {failure}")
        return None


def _entries(options: argparse.Namespace) -> list[Entry]:
    wanted = {"always"} if options.quick else {"always", "full"}
    return [entry for entry in ENTRIES if (entry.name in options.only if options.only else entry.measured in wanted)]


def _load(path: Path) -> Run:
    kept = json.loads(path.read_text())
    points = [Point(**point) for point in kept["scaling"]]
    cancels = Cancelling(**kept["cancelling"]) if kept.get("cancelling") else None
    return Run(kept["facts"], [Trial(**figures) for figures in kept["trials"]], points, cancels)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
