"""`manage.py jobs_demo` as a process, with broker, database and workers of its own; the stack of the run is hidden."""

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.services.processes import answers, kill_marked, marked, wait_until

ROOT = Path(__file__).resolve().parents[2]
MARK = "JOBCENTER_TEST_DEMO"
HIDDEN = ("DATABASE_URL", "CELERY_BROKER_URL", "DJANGO_SETTINGS_MODULE", "JOBCENTER_", "JOB_")


class Demo:
    """One run: its process, what it prints, and the only places where it could leave something."""

    def __init__(self, place: Path, *options: str) -> None:
        self.mark = uuid.uuid4().hex
        self.temporary = place / "tmp"
        self.temporary.mkdir()
        self._output = place / "output"
        env = {name: value for name, value in os.environ.items() if not name.startswith(HIDDEN)}
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "jobs_demo", "--port", "0", *options],
                env={**env, MARK: self.mark, "TMPDIR": str(self.temporary)},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def text(self) -> str:
        return self._output.read_text()

    @property
    def port(self) -> int:
        """The port of its pages, once it has told their address."""
        said = re.search(r"http://127\.0\.0\.1:(\d+)/", self.text)
        assert said, self.text
        return int(said[1])

    def wait_for(self, words: str) -> None:
        """Wait until it prints this."""
        wait_until(lambda: words in self.text or self.process.poll() is not None, 90, f"the demo says {words!r}")
        assert words in self.text, self.text

    def assert_nothing_is_left(self) -> None:
        wait_until(lambda: not [*marked(MARK, self.mark)], 5, "every process is gone")
        assert list(self.temporary.iterdir()) == []
        assert not answers(self.port)


@contextmanager
def demo(place: Path, *options: str) -> Iterator[Demo]:
    started = Demo(place, *options)
    try:
        yield started
    finally:
        kill_marked(MARK, started.mark)
        started.process.wait()
