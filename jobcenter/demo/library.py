"""The demo's input: the source of Python's own standard library, counted.

Reads files, counts, and knows neither jobs nor Django: the demo recounts with it what its jobs have told.
"""

from __future__ import annotations

import ast
import heapq
import sys
import sysconfig
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(sysconfig.get_path("stdlib"))
NOT_COUNTED = frozenset({"test", "tests", "idle_test", "__pycache__", "site-packages", "dist-packages"})
LONGEST = 5  # functions that are remembered


@dataclass(frozen=True, order=True)
class Function:
    """One function or method: `lines` long, at `line` of `file`, a path relative to the library."""

    lines: int
    name: str
    file: str
    line: int


@dataclass(frozen=True)
class Figures:
    """What counting gave; the figures of two files may be added. `longest` comes longest first."""

    files: int = 0
    lines: int = 0
    words: int = 0
    functions: int = 0
    longest: tuple[Function, ...] = ()

    def __add__(self, other: Figures) -> Figures:
        return Figures(
            files=self.files + other.files,
            lines=self.lines + other.lines,
            words=self.words + other.words,
            functions=self.functions + other.functions,
            longest=tuple(heapq.nlargest(LONGEST, (*self.longest, *other.longest))),
        )

    def as_data(self) -> dict[str, Any]:
        """The same as plain data."""
        return {**asdict(self), "longest": [asdict(function) for function in self.longest]}


def packages() -> list[str]:
    """The name of every package and top-level module whose source is on this machine, in alphabetical order."""
    return [name for name in sorted(sys.stdlib_module_names) if sources(name)]


def sources(package: str) -> list[Path]:
    """The files of a package without its tests, or the one file of a module; [] when there is no such source."""
    if package not in sys.stdlib_module_names:
        return []
    directory, module = ROOT / package, ROOT / f"{package}.py"
    if (directory / "__init__.py").is_file():
        return sorted(path for path in directory.rglob("*.py") if NOT_COUNTED.isdisjoint(path.relative_to(ROOT).parts))
    return [module] if module.is_file() else []


def read(path: Path) -> str:
    """A source file's text, in the encoding that the file itself declares."""
    with tokenize.open(path) as file:
        return file.read()


def count(path: Path) -> Figures:
    """The figures of one file; SyntaxError where it is not Python of this version."""
    text = read(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own odd escapes are none of ours
        tree = ast.parse(text, path.name)
    file = shown(path)
    functions = [
        Function((node.end_lineno or node.lineno) - node.lineno + 1, name, file, node.lineno)
        for name, node in _functions(tree)
    ]
    return Figures(
        files=1,
        lines=text.count("\n"),
        words=len(text.split()),
        functions=len(functions),
        longest=tuple(heapq.nlargest(LONGEST, functions)),
    )


def count_package(package: str) -> Figures:
    """The figures of all files of a package."""
    return sum((count(path) for path in sources(package)), Figures())


def long_lines(path: Path, limit: int) -> list[tuple[int, int]]:
    """(number, length) of every line of a file with more than `limit` characters."""
    lines = read(path).splitlines()
    return [(number, len(line)) for number, line in enumerate(lines, 1) if len(line) > limit]


def shown(path: Path) -> str:
    """A path as people are shown it: relative to the library."""
    return path.relative_to(ROOT).as_posix()


def _functions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function below a node with its dotted name. Expressions are left out: they hold no `def`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield f"{prefix}{child.name}", child
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield from _functions(child, f"{prefix}{child.name}.")
        elif isinstance(child, (ast.stmt, ast.ExceptHandler, ast.match_case)):
            yield from _functions(child, prefix)
