"""docs/quickstart.md, followed as it stands: its files, its commands, a real worker on the Redis of this run.

The blocks are read from the page, so page and test cannot drift apart. A block's first line says what it is: a file to
write, a file to add to, a command, or a command that keeps running in another terminal.
"""

import os
import re
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.services import Stack
from tests.services.processes import answers, free_port, kill_marked, wait_until

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "quickstart.md"
BLOCK = re.compile(r"^```(sh|python)(?: ([^\n]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BROKER, ADDRESS = "redis://localhost:6379/0", "127.0.0.1:8000"  # as the page has them; the test puts its own there
MARK = "JOBCENTER_TEST_QUICKSTART"
PROVIDED = ("pip install",)  # what the environment of this run has already
HIDDEN = ("DATABASE_URL", "CELERY_", "DJANGO_", "JOBCENTER_", "JOB_", "PYTEST_")


@dataclass(frozen=True)
class Block:
    """One code block of the page: its language, what is written behind that, and its text."""

    language: str
    info: str
    text: str


def blocks(replacements: Mapping[str, str]) -> list[Block]:
    """Every block of the page in order, with the page's addresses replaced by those of this run."""
    page = PAGE.read_text()
    for old, new in replacements.items():
        assert old in page, f"the page does not name {old} any more"
        page = page.replace(old, new)
    return [Block(language, info, text) for language, info, text in BLOCK.findall(page)]


class Reader:
    """A reader of the page, in a directory of their own."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory, self.port, self.mark = directory, port, uuid.uuid4().hex
        env = {name: value for name, value in os.environ.items() if not name.startswith(HIDDEN)}
        path = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", "")])
        self.env = {**env, MARK: self.mark, "PATH": path, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self.output: dict[str, str] = {}
        self._processes: list[subprocess.Popen[bytes]] = []

    def follow(self, block: Block) -> None:
        """Do what the block says."""
        if block.language == "python":
            self._write(block)
        elif block.info:
            self._start(block)
        else:
            for line in block.text.splitlines():
                if not line.startswith(PROVIDED):
                    self._run(line)

    def _write(self, block: Block) -> None:
        name, _, how = block.info.partition(" ")
        assert name, f"a block of Python does not say its file: {block.text}"
        with (self.directory / name).open("a" if how == "(add)" else "w") as file:
            file.write(block.text)

    def _run(self, line: str) -> None:
        command = ["sh", "-c", line]
        done = subprocess.run(
            command, cwd=self.directory, env=self.env, capture_output=True, text=True, timeout=60, check=False
        )
        self.output[line] = done.stdout + done.stderr
        assert done.returncode == 0, f"$ {line}\n{self.output[line]}"

    def _start(self, block: Block) -> None:
        log = self.directory / f"{block.info}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["sh", "-c", block.text],
                cwd=self.directory,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.append(process)
        self._wait_for(log, serves_pages="runserver" in block.text)

    def close(self) -> None:
        """End what still runs."""
        kill_marked(MARK, self.mark)
        for process in self._processes:
            process.wait(timeout=10)

    def _wait_for(self, log: Path, *, serves_pages: bool) -> None:
        try:
            if serves_pages:
                wait_until(lambda: answers(self.port), 60, "the pages answer")
            else:
                wait_until(lambda: "ready." in log.read_text(), 60, "the worker is ready")
                wait_until(lambda: "completed" in log.read_text(), 60, "the worker has run the job")
        except TimeoutError as error:
            error.add_note(log.read_text()[-4000:])
            raise


@contextmanager
def a_reader(directory: Path, port: int) -> Iterator[Reader]:
    reader = Reader(directory, port)
    try:
        yield reader
    finally:
        reader.close()


@pytest.mark.timeout(240)
def test_the_page_works_as_it_stands(tmp_path: Path) -> None:
    stack = Stack.current()
    assert stack
    stack.empty_broker()
    port = free_port()
    with a_reader(tmp_path, port) as reader:
        for block in blocks({BROKER: stack.broker_url, ADDRESS: f"127.0.0.1:{port}"}):
            reader.follow(block)
        output = reader.output
        assert "no issues" in output["python manage.py check"]
        assert "pending" in output["python manage.py jobs_list"]
        assert "orders.tasks.render" in output["python manage.py jobs_list --state completed"]
        assert "OK" in output["python manage.py test orders"]
        with closing(urllib.request.urlopen(f"http://127.0.0.1:{port}/jobs/", timeout=20)) as answer:
            assert "/admin/login/" in answer.url  # the pages ask who is there
    stack.empty_broker()


def test_every_block_of_the_page_is_followed() -> None:
    page = PAGE.read_text()
    assert page.count("```") == 2 * len(blocks({}))
