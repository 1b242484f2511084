"""Opens a private PostgreSQL and Valkey, and runs the soak on them in a process whose settings name them."""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

from tests.app import ledger
from tests.services import NoService, open_stack
from tests.services.processes import MARK, kill_marked

ROOT = Path(__file__).resolve().parents[2]
STACK = "postgres+redis"
ACT = "import sys, django; django.setup(); from tests.soak import running; sys.exit(running.main(*sys.argv[1:]))"


def main() -> int:
    """Exit code 0: all invariants hold; 1: they do not, or there is no server; 2: wrong usage."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the servers go first: `finally` must run
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, metavar="N", help="of work and harm (10)")
    parser.add_argument("--seed", type=int, metavar="S", help="decides what happens when; drawn where it is not given")
    options = parser.parse_args()
    seed = random.randrange(10_000) if options.seed is None else options.seed  # noqa: S311 - chance, no secret
    logs = ROOT / "var" / "soak" / str(seed)
    logs.mkdir(parents=True, exist_ok=True)
    run = os.environ[MARK] = uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="jobcenter-soak-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)  # a private PostgreSQL runs as somebody else
        try:
            with open_stack(STACK, Path(name), private=True) as env:
                return _run(env, str(options.minutes), str(seed), logs)
        except NoService as reason:
            print(f"no soak: {reason}", file=sys.stderr)  # noqa: T201
            return 1
        finally:
            kill_marked(MARK, run)


def _run(env: dict[str, str], minutes: str, seed: str, logs: Path) -> int:
    effects = logs / "effects"
    for old in logs.iterdir():
        old.unlink()
    print(f"seed {seed}; the workers' logs are in {logs}", file=sys.stderr, flush=True)  # noqa: T201
    settled = {"DJANGO_SETTINGS_MODULE": "tests.settings_live", ledger.VARIABLE: str(effects), **env}
    words = [sys.executable, "-c", ACT, minutes, seed, str(logs), str(effects)]
    return subprocess.run(words, cwd=ROOT, env=os.environ | settled, check=False).returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
