"""The tables of cancelling. What they measure is proved by running it."""

from pathlib import Path

import pytest

from benchmarks.cancelling.figures import Cancelling
from benchmarks.cancelling.report import BEGIN, END, render, write_docs

pytestmark = pytest.mark.unit

SLOWER = Cancelling(100_000, 2000, 1000, [0.001] * 4, [0.003] * 4, [0.5, 2.0], [0.1, 0.2], 400, 300, 9)


def _stands(text: str) -> list[str]:
    return [line.split("|")[5].strip() for line in text.splitlines()[2:7]]


def test_table_says_how_the_bounds_stand() -> None:
    good = Cancelling(100_000, 1000, 3000, [0.002] * 4, [0.003] * 4, [0.5, 0.6], [0.1, 0.2], 400, 390, 9)
    assert _stands(render(good)) == ["aim met"] * 5
    assert _stands(render(SLOWER)) == ["not reached", "not reached", "not reached", "aim met", "not reached"]
    assert "the same while 9 were cancelled by force" in render(good)


def test_document_gets_the_tables(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_docs(document, SLOWER)
    assert render(SLOWER) in document.read_text()
    assert "old" not in document.read_text()


def test_the_real_document_has_its_place() -> None:
    text = (Path(__file__).parents[2] / "docs" / "performance.md").read_text()
    assert text.index(BEGIN) < text.index(END)
