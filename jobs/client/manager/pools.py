"""Pausing and resuming whole tasks and pools."""

from __future__ import annotations

from jobs.client.async_twins import as_coroutine
from jobs.client.manager.base import ManagerBase
from jobs.control import pools, tasks
from jobs.control.answers import Answer


class PoolMethods(ManagerBase):
    """Pause and resume tasks and pools."""

    def pause_task(self, /, name: str, reason: str = "", *, actor: str = "") -> Answer:
        """Start no more jobs of a task, in any pool; queued ones go back to pending: PAUSED. Raises UnknownTask."""
        tasks.pause(name, reason=reason, actor=actor)
        return Answer.PAUSED

    def resume_task(self, /, name: str, reason: str = "", *, actor: str = "") -> Answer:
        """Resume a paused task: RESUMED or NOT_PAUSED."""
        return Answer.RESUMED if tasks.resume(name, reason=reason, actor=actor) else Answer.NOT_PAUSED

    def pause_pool(self, /, name: str, reason: str = "", *, actor: str = "") -> Answer:
        """Start no more jobs in a pool; queued ones go back to pending: PAUSED. Raises UnknownPool."""
        pools.pause(name, reason=reason, actor=actor)
        return Answer.PAUSED

    def drain_pool(self, /, name: str, reason: str = "", *, actor: str = "") -> Answer:
        """As `pause_pool`, to let a pool run empty before it is taken out of service: DRAINING. Raises UnknownPool."""
        pools.drain(name, reason=reason, actor=actor)
        return Answer.DRAINING

    def resume_pool(self, /, name: str, reason: str = "", *, actor: str = "") -> Answer:
        """Resume a paused or draining pool: RESUMED or NOT_PAUSED. Raises UnknownPool."""
        return Answer.RESUMED if pools.resume(name, reason=reason, actor=actor) else Answer.NOT_PAUSED

    apause_task = as_coroutine(pause_task)
    aresume_task = as_coroutine(resume_task)
    apause_pool = as_coroutine(pause_pool)
    adrain_pool = as_coroutine(drain_pool)
    aresume_pool = as_coroutine(resume_pool)
