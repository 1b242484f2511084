"""Runs the tests as they are meant to be run: `python -m tests.run [GROUP …] [options of pytest]`.

A group is a tier (`unit`, `tools`, `property`, `integration`, `faults`, `browser`) or one stack of a tier
(`faults:sqlite+redis`); none means all. Each tier, and each stack of a live tier, is a pytest process of its own:
Django's settings are read once per process, so plain environment variables say which database and broker it uses. A
stack for which there is no server is reported with the reason, and is a failure with REQUIRE_SERVICES=1.

Groups run one after the other, and the table at the end says what CPU each took; one that takes twice what is recorded
fails (`budget.py`). `LANES=2` runs unit, tools and property beside the others, in a lane at idle priority: the kernel
takes no cycle for it from a steward that wants one. (Beside work of equal priority, on two slow cores, a steward missed
its lease of a second now and then.) Each group's output is then shown when it has ended.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.budget import Meter
from tests.services import STACKS, NoService, open_stack
from tests.services.processes import MARK, kill_marked

ROOT = Path(__file__).resolve().parent.parent
PLAIN, LIVE = ("unit", "tools", "property", "browser"), ("integration", "faults")
GROUPS = ("unit", "tools", "property", *(f"{tier}:{stack}" for tier in LIVE for stack in STACKS), "browser")
FULL_FAULTS = "postgres+redis"  # the whole fault list runs there; elsewhere what is marked `every_stack`
FULL = "JOBCENTER_TEST_FULL"  # =1: elsewhere as well, but for what is marked `main_stack_only`; and `BROKER_ONLY`'s all
BROKER_ONLY = "postgres+rabbitmq"  # of `integration` what is marked `broker`: its database is that of another stack
IDLE = ("unit", "tools", "property")  # the groups that step back for live tests
IDLE_LANE = "JOBCENTER_TEST_IDLE"  # and the variable that says so
SPLIT = {"unit": ["-n", "2"]}  # a whole tier whose tests share nothing but the CPU
NOTHING_COLLECTED = 5


@dataclass(frozen=True)
class Outcome:
    """How one group ended, in a line for the table."""

    passed: bool
    line: str


def main(words: Sequence[str]) -> int:
    """Run the groups named by `words`, print one line for each at the end, return 0 if all is well."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if os.environ.get(IDLE_LANE) == "1":
        _step_back()
    groups, options = _split(words)
    groups = [group for group in groups if (ROOT / "tests" / group.partition(":")[0]).is_dir()]
    if os.environ.get("LANES") == "2" and len(groups) > 1:
        outcomes = Lanes(groups, options).run()
    else:
        outcomes = [_run(group, options) for group in groups]
    if len(groups) > 1:
        print("\n=== all groups")
    print(*(outcome.line for outcome in outcomes), sep="\n", flush=True)
    return 0 if all(outcome.passed for outcome in outcomes) else 1


def _step_back() -> None:
    """This process and all that it starts run when nobody else wants to."""
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except (AttributeError, OSError):  # no such policy on this system, or not allowed
        os.nice(19)


@dataclass
class Lanes:
    """Groups side by side, each by a process of its own that runs this module for it alone."""

    groups: Sequence[str]
    options: Sequence[str]
    _outcomes: dict[str, Outcome] = field(default_factory=dict)
    _running: list[subprocess.Popen[str]] = field(default_factory=list)
    _showing: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> list[Outcome]:
        """How each ended, in the order of the groups. Whoever stops this process stops them."""
        waiting = {idle: deque(group for group in self.groups if (group in IDLE) == idle) for idle in (True, False)}
        lanes = [threading.Thread(target=self._drive, args=(groups, idle)) for idle, groups in waiting.items()]
        try:
            for lane in lanes:
                lane.start()
            for lane in lanes:
                lane.join()
        finally:
            for groups in waiting.values():
                groups.clear()
            for child in self._running:
                child.terminate()  # one that has ended is left alone
        return [self._outcomes[group] for group in self.groups]

    def _drive(self, waiting: deque[str], idle: bool) -> None:
        env = os.environ | {IDLE_LANE: "1" if idle else ""}
        while waiting:
            group = waiting.popleft()
            print(f"=== {group} begins", flush=True)
            words = [sys.executable, "-m", "tests.run", group, *self.options]
            child = subprocess.Popen(
                words, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            self._running.append(child)
            told = child.communicate()[0].rstrip()
            with self._showing:
                print(told, flush=True)
            self._outcomes[group] = Outcome(child.returncode == 0, told.rpartition("\n")[2])


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    known = set(GROUPS) | set(LIVE)
    count = next((index for index, word in enumerate(words) if word not in known), len(words))
    named = words[:count] or GROUPS
    return [group for group in GROUPS if group in named or group.partition(":")[0] in named], list(words[count:])


def _run(group: str, options: Sequence[str]) -> Outcome:
    tier, _, stack = group.partition(":")
    begin, meter = time.monotonic(), Meter()
    run = uuid.uuid4().hex
    os.environ[MARK] = run  # private servers, workers and all they start inherit it
    with tempfile.TemporaryDirectory(prefix="jobcenter-test-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o755)  # a private PostgreSQL runs as somebody else
        try:
            run_tier = partial(_run_live, stack) if stack else partial(_pytest, {})
            passed, text = run_tier(tier, directory, _narrowed(tier, stack, options))
        except NoService as reason:
            passed, text = os.environ.get("REQUIRE_SERVICES") != "1", f"SKIPPED: {reason}"
        finally:
            kill_marked(MARK, run)
    is_cheap, cost = meter.told(group, is_whole=not options)
    passed = passed and is_cheap
    line = f"{'ok  ' if passed else 'FAIL'} {group:<28} {time.monotonic() - begin:6.1f} s  {text}  ({cost})"
    return Outcome(passed, line)


def _narrowed(tier: str, stack: str, options: Sequence[str]) -> list[str]:
    """The options of pytest, after those that say which of the tests run here and how."""
    is_full = os.environ.get(FULL) == "1"
    if tier == "faults" and stack != FULL_FAULTS:
        return ["-m", "not main_stack_only" if is_full else "every_stack", *options]
    if tier == "integration" and stack == BROKER_ONLY and not is_full:
        return ["-m", "broker", *options]
    return [*(SPLIT.get(tier, []) if not options else []), *options]


def _run_live(stack: str, tier: str, directory: Path, options: Sequence[str]) -> tuple[bool, str]:
    with open_stack(stack, directory, private=tier == "faults") as env:
        return _pytest(env, tier, directory, ["--ds=tests.settings_live", "--reuse-db", *options])


def _pytest(env: dict[str, str], tier: str, directory: Path, options: Sequence[str]) -> tuple[bool, str]:
    where = [] if any(word.startswith("tests/") for word in options) else [f"tests/{tier}"]
    report = directory / "report.xml"
    live = env | ({"DJANGO_SETTINGS_MODULE": "tests.settings_live"} if env else {})
    words = [sys.executable, "-m", "pytest", f"--junit-xml={report}", *where, *options]
    print(f"\n=== {env.get('JOBCENTER_TEST_STACK', '')} {tier}: {' '.join(words[1:])}", flush=True)
    code = subprocess.run(words, cwd=ROOT, env=os.environ | live, check=False).returncode
    return code in (0, NOTHING_COLLECTED), _count(report, code)


def _count(report: Path, code: int) -> str:
    if code == NOTHING_COLLECTED or not report.exists():
        return "no tests" if code == NOTHING_COLLECTED else f"pytest ended with {code}"
    suite = next(ET.parse(report).getroot().iter("testsuite"))  # noqa: S314  # our own file
    failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    skipped = int(suite.get("skipped", 0))
    passed = int(suite.get("tests", 0)) - failed - skipped
    return f"{passed} passed" + (f", {failed} FAILED" if failed else "") + (f", {skipped} skipped" if skipped else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
