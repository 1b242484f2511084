"""docs/faults.md has a line for every fault of the list, and every test that it names is there."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "faults.md"
DEMANDED = [*range(1, 39), 42, 43, 45]
ROWS = dict(re.findall(r"^\| (\d+) \| (.+) \|$", PAGE.read_text(), re.MULTILINE))


def test_every_fault_has_its_line() -> None:
    assert [int(number) for number in ROWS] == DEMANDED


@pytest.mark.parametrize("number", ROWS)
def test_every_test_of_a_fault_is_there(number: str) -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", ROWS[number])
    assert named
    for file, test in named:
        assert f"def {test}(" in (TESTS / file).read_text(), f"{file} has no {test}"
