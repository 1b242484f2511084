"""Base of `jobs_pause` and `jobs_resume`: they act on jobs, or on a task or a pool itself."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from django.core.management.base import CommandError

from jobs.admission import pools
from jobs.control import bulk, tasks
from jobs.core.conf import settings
from jobs.exceptions import UnknownPool, UnknownTask
from jobs.management import arguments, output
from jobs.management.bulk_command import BulkCommand
from jobs.models import Pool, TaskPause


class HoldCommand(BulkCommand):
    """`--task` or `--pool` alone means the task or the pool itself, not the jobs it has now."""

    labels: ClassVar = bulk.PAUSE_WORDS

    @abstractmethod
    def hold_task(self, name: str, options: dict[str, Any]) -> bool:
        """Pause or resume a task; whether that changed anything."""

    @abstractmethod
    def hold_pool(self, name: str, options: dict[str, Any]) -> bool:
        """Pause or resume a pool; whether that changed anything."""

    def handle(self, *args: Any, **options: Any) -> None:
        given = [name for name in arguments.FILTERS if options[name] is not None]
        if options["ids"] or given not in (["task"], ["pool"]):
            super().handle(*args, **options)
            return
        (kind,) = given
        try:
            changed = self._do(kind, options[kind], options)
        except (UnknownTask, UnknownPool) as error:
            raise CommandError(str(error)) from error
        self._print_hold(kind, options[kind], changed, options)

    def _do(self, kind: str, name: str, options: dict[str, Any]) -> bool:
        if options["dry_run"]:
            return _is_paused(kind, name) == (self.verb == "resume")
        return self.hold_task(name, options) if kind == "task" else self.hold_pool(name, options)

    def _print_hold(self, kind: str, name: str, changed: bool, options: dict[str, Any]) -> None:
        if options["as_json"]:
            data = {"dry_run": options["dry_run"], kind: name, "changed": changed, "paused": _is_paused(kind, name)}
            self.stdout.write(output.as_json(data))
            return
        if options["dry_run"]:
            self.stdout.write("Dry run: nothing was changed. It would be:")
        state = "paused: none of its jobs start until it is resumed" if self.verb == "pause" else "resumed"
        note = "" if changed else " (was paused already)" if self.verb == "pause" else " (was not paused)"
        self.stdout.write(output.printable(f"{kind} {name}: {state}{note}"))


def _is_paused(kind: str, name: str) -> bool:
    using = settings.DATABASE
    if kind == "task":
        tasks.must_exist(name)
        return TaskPause.objects.using(using).filter(task=name).exists()
    pools.must_exist(name)
    open_pool = Pool.objects.using(using).filter(name=name, paused_at=None, draining_at=None)
    return not open_pool.exists()
