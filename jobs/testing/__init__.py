"""What users of the platform test with: `drain()`, `simulation()`, and a pytest plugin with fixtures.

pytest loads the plugin before Django is set up, so nothing here touches Django before it must.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs.testing.drainer import drain
    from jobs.testing.simulator import Simulation, simulation
    from jobs.testing.workers import Worker

__all__ = ["Simulation", "Worker", "drain", "simulation"]

_MODULES = {"Simulation": "simulator", "Worker": "workers", "drain": "drainer", "simulation": "simulator"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"jobs.testing.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'jobs.testing' has no attribute {name!r}")
