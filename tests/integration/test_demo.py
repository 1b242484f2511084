"""`manage.py jobs_demo` as somebody would call it: it does what it says, and leaves nothing behind.

It brings broker, database and workers of its own, so the stack of this run is hidden from it.
"""

import re
import signal
from pathlib import Path

import psutil
import pytest

from tests.services.demo import demo

ROW = re.compile(r"^(demo\.\w+|together) +(\d+) +(\d+) +(\d+) +(\d+) +(\d+) +([\d.]+)$", re.MULTILINE)


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a name short enough for a socket below it."""
    return tmp_path_factory.mktemp("demo")


@pytest.mark.timeout(180)
def test_once_runs_the_work_checks_it_and_ends(place: Path) -> None:
    with demo(place, "--once") as run:
        code = run.process.wait()
        assert code == 0, run.text
        run.assert_nothing_is_left()
    rows = {row[0]: row[1:] for row in ROW.findall(run.text)}
    index = rows["demo.index_package"]
    assert int(index[0]) > 150
    assert index[1:5] == (index[0], "0", "0", "0")
    assert rows["demo.mandelbrot"][:5] == ("3", "3", "0", "0", "0")
    assert rows["demo.second_try"][:5] == ("1", "1", "0", "0", "1")
    assert rows["demo.check_line_length"][:5] == ("1", "0", "1", "0", "0")
    assert rows["demo.twin_primes"][:5] == ("1", "0", "0", "1", "0")
    assert int(rows["together"][0]) == int(index[0]) + 6
    assert re.findall(r"^ok  (\w+):", run.text, re.MULTILINE) == [
        "index",
        "pictures",
        "retry",
        "failure",
        "cancel",
        "web",
    ]


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("options", "number", "code"), [((), signal.SIGINT, 0), (("--once",), signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_stopped_in_the_middle_it_leaves_nothing(
    place: Path, options: tuple[str, ...], number: signal.Signals, code: int
) -> None:
    with demo(place, *options) as run:
        run.wait_for("jobs submitted")
        run.process.send_signal(number)
        assert run.process.wait(60) == code, run.text
        run.assert_nothing_is_left()
    assert run.text.endswith(f"Stopped by {number.name}, nothing is left behind.\n")


@pytest.mark.timeout(180)
def test_a_worker_that_dies_ends_it_with_the_reason(place: Path) -> None:
    with demo(place) as run:
        run.wait_for("jobs submitted")
        (worker,) = (
            process
            for process in psutil.Process(run.process.pid).children()
            if any(word.startswith("worker-2@") for word in process.cmdline())
        )
        worker.kill()
        assert run.process.wait(60) == 1, run.text
        run.assert_nothing_is_left()
    assert f"worker-2 (process {worker.pid}) was killed by SIGKILL. It wrote last:\n    " in run.text
