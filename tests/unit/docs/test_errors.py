"""docs/errors.md shows the tree of exceptions as it is in the code, and says cause and cure of each."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.exceptions import JobsError

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "errors.md").read_text()
ROWS = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE)


def tree(root: type[JobsError] = JobsError, depth: int = 0) -> Iterator[tuple[str, int]]:
    """Each public class with its depth; a private class between two is not shown."""
    is_public = not root.__name__.startswith("_")
    if is_public:
        yield root.__name__, depth
    for child in root.__subclasses__():
        if child.__module__ == JobsError.__module__:
            yield from tree(child, depth + is_public)


def test_the_tree_is_that_of_the_code() -> None:
    block = PAGE.split("```")[1]
    shown = re.findall(r"^([│├└─ ]*)(\w+)", block, re.MULTILINE)
    assert sorted((name, len(indent) // 4) for indent, name in shown) == sorted(tree())


@pytest.mark.parametrize("name", [name for name, depth in tree() if depth])
def test_cause_and_cure_are_told(name: str) -> None:
    assert name in {row[0] for row in ROWS}


def test_every_row_is_about_an_error_of_the_code() -> None:
    assert {row[0] for row in ROWS} <= {name for name, _ in tree()}
