"""The beginnings of a job's arguments: lists show them for jobs without a key.

The database cuts them, because arguments may be megabytes and a list shows fifty rows.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Case, When
from django.db.models.functions import Left

HEAD = 300  # characters read of each, more than are shown: JSON adds quotes and escapes
HEADS: dict[str, Any] = {
    f"{name}_head": Case(When(key__isnull=True, then=Left(name, HEAD))) for name in ("args", "kwargs")
}
