"""`tests/run.py` and the rule about skips: a run that could not do everything must not look like one that did."""

import os
import subprocess
import sys

import pytest

from tests import run

WITHOUT_STACK = ["tests/integration/test_services.py", "-k", "frozen", "-p", "no:randomly", "-p", "no:cacheprovider"]


@pytest.mark.parametrize(
    ("words", "groups", "options"),
    [
        ([], list(run.GROUPS), []),
        (["-x"], list(run.GROUPS), ["-x"]),
        (["unit", "-k", "faults"], ["unit"], ["-k", "faults"]),
        (["faults:sqlite+redis", "unit"], ["unit", "faults:sqlite+redis"], []),
        (["integration", "-q"], [group for group in run.GROUPS if group.startswith("integration:")], ["-q"]),
    ],
)
def test_words_name_groups_then_options(words: list[str], groups: list[str], options: list[str]) -> None:
    assert run._split(words) == (groups, options)


@pytest.mark.parametrize(("required", "code"), [("", 0), ("1", 1)])
def test_a_skip_fails_where_services_are_required(required: str, code: int) -> None:
    env = {key: text for key, text in os.environ.items() if not key.startswith("JOBCENTER_TEST")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *WITHOUT_STACK],
        cwd=run.ROOT,
        check=False,
        env=env | {"REQUIRE_SERVICES": required},
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stdout
    assert "python -m tests.run integration" in done.stdout


@pytest.mark.parametrize("lanes", ["1", "2"])
def test_groups_end_in_a_table_and_fail_together(lanes: str) -> None:
    words = [sys.executable, "-m", "tests.run", "unit", "property", "--nonsense"]
    env = os.environ | {"LANES": lanes}
    done = subprocess.run(words, cwd=run.ROOT, env=env, check=False, capture_output=True, text=True)
    *_, title, unit, proofs = done.stdout.splitlines()
    assert done.returncode == 1
    assert title == "=== all groups"
    assert [line.split()[:2] for line in (unit, proofs)] == [["FAIL", "unit"], ["FAIL", "property"]]
