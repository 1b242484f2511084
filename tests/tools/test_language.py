"""The code and the pages use none of the words that made our sentences hard; the linter itself finds them."""

from pathlib import Path

import pytest

from tests.tools import language


def test_the_code_and_the_pages_are_in_plain_english(capsys: pytest.CaptureFixture[str]) -> None:
    assert language.main([]) == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ('"""Whoever asks is told."""\n', 3),
        ("value = 1  # nobody reads it meanwhile\n", 2),
        ('def act() -> None:\n    """Those of one thread."""\n', 1),
        ('"""A worker that stops returns the jobs it has not started."""\n', 0),
    ],
)
def test_the_linter_finds_words_and_openings(text: str, count: int, tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(text)
    assert len([*language.problems(path)]) == count
