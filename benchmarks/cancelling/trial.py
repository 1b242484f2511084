"""All of it in one process: `python -m benchmarks.cancelling.trial --waiting N` in the environment of `rounds.py`.

Prints a JSON object.
"""

import argparse
import importlib
import json
import signal
import sys
from dataclasses import asdict

import django


def main() -> None:
    """Measure with so many jobs waiting."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cancelling.trial", description=__doc__)
    parser.add_argument("--waiting", type=int, required=True, help="jobs that are cancelled by a filter")
    options = parser.parse_args()
    # Told to end, it ends its worker first: `finally` must run.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    django.setup()
    # Only now: what has to do with models cannot be imported before Django is set up.
    measuring = importlib.import_module("benchmarks.cancelling.measuring")
    json.dump(asdict(measuring.measure(options.waiting)), sys.stdout)


if __name__ == "__main__":
    main()
