"""All cases in one process: `python -m benchmarks.scaling.trial --largest N` in the environment that `rounds.py` makes.

Prints a JSON list of points.
"""

import argparse
import importlib
import json
import sys
from dataclasses import asdict

import django


def main() -> None:
    """Measure the cases up to the size given on the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling.trial", description=__doc__)
    parser.add_argument("--largest", type=int, required=True, help="jobs waiting in the largest case")
    options = parser.parse_args()
    django.setup()
    # Only now: what has to do with models cannot be imported before Django is set up.
    measuring = importlib.import_module("benchmarks.scaling.measuring")
    json.dump([asdict(point) for point in measuring.measure(options.largest)], sys.stdout)


if __name__ == "__main__":
    main()
