"""Column types of our own. They convert; they never validate (the door did) and never touch other rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import models

from jobs.core import encoding


@dataclass(frozen=True)
class Unreadable:
    """A stored value that this version cannot read, such as a tag of a newer one: kept as it is, and shown as text."""

    text: str
    problem: str


class PayloadField(models.TextField):  # type: ignore[type-arg]
    """A value in our tagged encoding, kept as text so that it comes back exactly as it was submitted.

    `jsonb` would reorder keys and turn 1e22 into an integer. NULL is "no value"; None is stored as `null`.
    """

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> Any:
        try:
            return None if value is None else encoding.loads(value)
        except ValueError as error:
            return Unreadable(str(value), str(error))

    def get_prep_value(self, value: Any) -> str | None:
        if isinstance(value, Unreadable):
            return value.text
        return None if value is None else encoding.dumps(value, field=self.column or "value")

    def to_python(self, value: Any) -> Any:
        return value
