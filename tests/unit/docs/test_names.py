"""Names of modules and files that the pages mention are in the code: a page cannot speak of what was renamed."""

import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "jobs" / "README.md"]
CODE = re.compile(r"`([^`\n]+)`")
DOTTED = re.compile(r"jobs(?:\.\w+)+")
FILE = re.compile(r"(?:[\w-]+/)+[\w-]+\.py")
LOGGERS = {"jobs.transitions", "jobs.retention", "jobs.drift"}  # public names, whatever the modules are called
PERMISSION_OR_CHECK = re.compile(r"jobs\.(?:(?:cancel|retry|pause|change|view|add|delete)_\w+|[EWI]\d{3})")
TOPS = (ROOT, ROOT / "jobs", ROOT / "tests")  # where a path on a page may begin


def quoted(pattern: re.Pattern[str]) -> list[tuple[str, str]]:
    """Each name of that shape which a page quotes, with the page."""
    found = {(page.name, text) for page in PAGES for text in CODE.findall(page.read_text()) if pattern.fullmatch(text)}
    return sorted(found)


def exists(dotted: str) -> bool:
    """Whether the longest module of the name can be imported and has the rest as attributes."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        try:
            value = import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for name in parts[end:]:
            if not hasattr(value, name):
                return False
            value = getattr(value, name)
        return True
    return False


@pytest.mark.parametrize(("page", "name"), quoted(DOTTED))
def test_every_module_that_a_page_names_is_there(page: str, name: str) -> None:
    assert name in LOGGERS or PERMISSION_OR_CHECK.fullmatch(name) or exists(name), f"{page} names {name}"


@pytest.mark.parametrize(("page", "path"), quoted(FILE))
def test_every_file_that_a_page_names_is_there(page: str, path: str) -> None:
    assert any((top / path).exists() for top in TOPS), f"{page} names {path}"
