"""What one admission costs as more jobs wait, and as they wait in more lanes: measure, print, write into the docs."""

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.rounds import ROOT
from benchmarks.scaling import report
from benchmarks.scaling.cases import WAITING, Point
from benchmarks.scaling.running import measure_scaling
from benchmarks.servers import private_servers

DOCUMENT = ROOT / "docs" / "performance.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0: all measured; 2: wrong usage."""
    options = _options(arguments)
    # Told to end, the servers and their directory go first: `finally` must run.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    points = _load(options.from_json) if options.from_json else _measure(options.largest)
    if options.json:
        options.json.write_text(json.dumps([asdict(point) for point in points], indent=1) + "\n")
    print(report.render(points))
    if options.write_docs:
        report.write_docs(DOCUMENT, points)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument(
        "--largest", type=int, default=WAITING[-1], metavar="JOBS", help="leave out the cases where more jobs wait"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every figure")
    parser.add_argument("--from-json", type=Path, metavar="FILE", help="measure nothing, show the figures kept in FILE")
    parser.add_argument("--write-docs", action="store_true", help="put table and picture into docs/performance.md")
    options = parser.parse_args(arguments)
    if options.largest < WAITING[0]:
        parser.error(f"--largest {options.largest} leaves nothing: the smallest case has {WAITING[0]:,} jobs")
    return options


def _measure(largest: int) -> list[Point]:
    with private_servers() as servers:
        return measure_scaling(servers, lambda text: print(text, file=sys.stderr, flush=True), largest)


def _load(path: Path) -> list[Point]:
    return [Point(**point) for point in json.loads(path.read_text())]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
