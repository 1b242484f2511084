"""What commands print: tables that fit a terminal, JSON for programs, and nothing that could steer a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.utils.timezone import localtime

from jobs.core import encoding
from jobs.monitoring import formatting


def as_json(value: Any) -> str:
    """JSON with secrets masked, in ASCII; moments as ISO 8601, bytes by their size."""
    return json.dumps(encoding.mask(value), indent=2, default=formatting.plain)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns as wide as their widest cell, at most 60 characters."""
    cells = [list(heads), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(heads))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def printable(text: str) -> str:
    """Text without control characters: the output of a job must not control the terminal."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in text.expandtabs(4))


def jobs(number: int) -> str:
    """ "1 job", "2,000 jobs"."""
    return f"{number:,} {'job' if number == 1 else 'jobs'}"


def moment(value: datetime | None) -> str:
    """A moment in the project's time zone."""
    return "–" if value is None else localtime(value).strftime("%Y-%m-%d %H:%M:%S %Z")


def _cell(value: object) -> str:
    text = printable("–" if value in (None, "") else str(value)).replace("\n", " ")
    return text if len(text) <= 60 else f"{text[:59]}…"
