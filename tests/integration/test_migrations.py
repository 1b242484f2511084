"""Migrations with rows in the tables, there and back, on a database of their own. How long they lock: tests/large."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.services import Stack, find_mariadb, find_postgres

ROOT = Path(__file__).resolve().parents[2]
WALK = "import sys, django; django.setup(); from tests.large import walking; sys.exit(walking.walk())"


@pytest.mark.timeout(600)
def test_migrations_go_forward_with_rows_back_to_nothing_and_forward_again(tmp_path: Path) -> None:
    """Fault 43."""
    stack = Stack.current()
    assert stack
    with _empty_database(stack, tmp_path) as url:
        done = subprocess.run(
            [sys.executable, "-c", WALK],
            cwd=ROOT,
            env=os.environ | {"DATABASE_URL": url},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-4000:]


@contextmanager
def _empty_database(stack: Stack, directory: Path) -> Iterator[str]:
    if stack.is_sqlite:
        yield f"sqlite:///{directory / 'walk.sqlite3'}"
        return
    find = find_mariadb if stack.name.startswith("mariadb") else find_postgres
    with find(directory) as service:
        yield service.url
