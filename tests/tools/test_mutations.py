"""Each guard of the platform has a mutation, each mutation a guard and a test that is there."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.mutations import GUARDS, MUTATIONS
from tests.run import GROUPS

TESTS = Path(__file__).resolve().parents[1]
DEMANDED = (
    "source in the WHERE",
    "attempt fence",
    "unique active key",
    "pool lock",
    "reconciler",
    "database clock",
)


def test_every_mutation_stands_at_one_guard() -> None:
    assert Counter(name for members in GUARDS.values() for name in members) == Counter(list(MUTATIONS))
    assert set(DEMANDED) <= set(GUARDS)


@pytest.mark.parametrize("name", MUTATIONS)
def test_every_mutation_names_a_test_that_is_there(name: str) -> None:
    mutation = MUTATIONS[name]
    file, _, test = mutation.test.partition("::")
    assert mutation.group in GROUPS
    assert f"def {test.partition('[')[0]}(" in (TESTS / file).read_text()


def test_every_mutation_finds_what_it_takes_away() -> None:
    """In a process of its own, one after the other: a guard that has moved is an AssertionError there."""
    code = (
        "import django; django.setup()\n"
        "from tests.mutations import MUTATIONS\n"
        "for name in MUTATIONS: print(name, flush=True); MUTATIONS[name].apply()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=TESTS.parent, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout.splitlines()[-1:]}: {done.stderr[-2000:]}"
