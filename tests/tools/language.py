"""Which words the code and the pages do not use: `python -m tests.tools.language [FILE …]` prints each place.

A reader whose first language is not English needs one reading: subject, verb, object, and the noun of the field. These
words and openings are where our sentences used to be hard. Without a file it reads all of `jobs/` and `jobcenter/`.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORDS = re.compile(
    r"\b(nobody|somebody|whoever|whomever|whose turn|anew|meanwhile|heed(?:s|ed)?|deaf|bygone|new-?born|thereof"
    r"|(?:is|was|has|are|were|be|been) told|doorbells?|rung)\b",
    re.IGNORECASE,
)
_PROSE = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
OPENINGS = re.compile(r"(who|whoever|those|whose|one that|he who|that which)\b", re.IGNORECASE)


def main(words: Sequence[str]) -> int:
    """Print a line for each place; 1 when there is one."""
    given = [Path(word) for word in words] or [*_files()]
    places = [place for path in given for place in problems(path)]
    print(*places, sep="\n")
    return 1 if places else 0


def problems(path: Path) -> Iterator[str]:
    """`file:line: what` for each word and each opening of a docstring that a reader must translate."""
    text = path.read_text()
    for number, line in _prose(text) if path.suffix == ".py" else enumerate(text.splitlines(), 1):
        for match in WORDS.finditer(line):
            yield f"{path}:{number}: {match[0]!r} in {line.strip()[:100]}"
    if path.suffix == ".py":
        for number, docstring in _docstrings(text):
            if OPENINGS.match(docstring):
                yield f"{path}:{number}: a docstring begins with {docstring.split()[0]!r}"


def _files() -> Iterator[Path]:
    for top in ("jobs", "jobcenter"):
        for pattern in ("*.py", "*.html", "*.js"):
            yield from (path for path in sorted((ROOT / top).rglob(pattern)) if "migrations" not in path.parts)


def _prose(text: str) -> Iterator[tuple[int, str]]:
    """Comments and strings, with the numbers of their lines."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in _PROSE:
            yield from enumerate(token.string.splitlines(), token.start[0])


def _docstrings(text: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            if docstring:
                yield getattr(node, "lineno", 1), docstring


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
