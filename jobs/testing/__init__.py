"""What users of the platform test with: `drain()`, and a pytest plugin with the fixtures `jobs_inline`, `jobs_worker`.

pytest loads the plugin before Django is set up, so nothing here touches Django before it must.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs.testing.draining import drain

__all__ = ["drain"]


def __getattr__(name: str) -> Any:
    if name == "drain":
        return import_module("jobs.testing.draining").drain
    raise AttributeError(f"module 'jobs.testing' has no attribute {name!r}")
