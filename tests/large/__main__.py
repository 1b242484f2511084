"""Opens a private PostgreSQL, and runs the trial in a process whose settings name it."""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.services import PrivatePostgres

ROOT = Path(__file__).resolve().parents[2]
ACT = "import sys, django; django.setup(); from tests.large import trial; sys.exit(trial.main(*sys.argv[1:]))"


def main() -> int:
    """Exit code 0: nobody had to wait for longer than a second, and memory stayed flat; 1: else; 2: wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m tests.large", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, metavar="N", help="jobs that have ended (1,000,000)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the server goes first: `finally` must run
    with tempfile.TemporaryDirectory(prefix="jobcenter-large-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)  # PostgreSQL runs as somebody else
        server = PrivatePostgres(Path(name) / "postgres")
        server.start()
        try:
            env = {"DJANGO_SETTINGS_MODULE": "tests.settings_live", "DATABASE_URL": server.url}
            words = [sys.executable, "-c", ACT, str(options.rows), server.url]
            return subprocess.run(words, cwd=ROOT, env=os.environ | env, check=False).returncode
        finally:
            server.stop()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
