"""`manage.py jobs_pool`: pause, drain or resume a pool, or show how full it is."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs.control import pools
from jobs.core.conf import settings
from jobs.exceptions import UnknownPool
from jobs.management import arguments, output
from jobs.models import Pool
from jobs.monitoring import formatting, usage
from jobs.monitoring.usage import PoolUse

VERBS = ("pause", "drain", "resume", "show")
OPEN = "open"  # the state of a pool that is not paused and does not drain


class Command(BaseCommand):
    help = (
        "pause: start no more jobs of this pool; queued jobs go back to waiting, running jobs go on. "
        "drain: the same, to let the pool run empty. resume: start jobs again. show: print how much of it is in use."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("verb", type=arguments.one_of(VERBS, "verb"), metavar="|".join(VERBS))
        parser.add_argument("name", metavar="NAME", help="the pool's name")
        parser.add_argument("--reason", help="why; shown with the pool; for resume it is only logged")
        arguments.add_person(parser)
        arguments.add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        verb, name, reason = options["verb"], options["name"], options["reason"]
        if reason is not None and verb == "show":
            raise arguments.usage("--reason goes with pause, drain and resume, not with show.")
        try:
            changed = _do(verb, name, reason or "", arguments.person(options, "jobs_pool"))
            use = _use(name)
        except UnknownPool as error:
            raise CommandError(str(error)) from error
        if options["as_json"]:
            self.stdout.write(output.as_json({"changed": changed, **_data(use)}))
        elif verb == "show":
            self.stdout.write(output.printable("\n".join(_lines(use))))
        else:
            state = formatting.closed(use.pool, use.now) or OPEN
            self.stdout.write(output.printable(f"{name}: {state}{'' if changed else ' (no change)'}"))


def _do(verb: str, name: str, reason: str, actor: str) -> bool:
    """Do what the verb says; whether that changed anything."""
    if verb == "pause":
        return pools.pause(name, reason=reason, actor=actor)
    if verb == "drain":
        return pools.drain(name, reason=reason, actor=actor)
    return verb == "resume" and pools.resume(name, reason=reason, actor=actor)


def _use(name: str) -> PoolUse:
    rows = Pool.objects.using(settings.DATABASE)
    uses = usage.of_pools(rows.filter(name=name))
    if not uses:
        raise UnknownPool(name, rows.values_list("name", flat=True))
    return uses[0]


def _data(use: PoolUse) -> dict[str, Any]:
    """Everything, as plain data. Moments as ISO 8601, waits in seconds."""
    pool = use.pool
    return {
        "name": pool.name,
        "in_flight": use.in_flight.used,
        "max_concurrent": pool.max_concurrent,
        "live_slots": use.slots,
        "waiting": use.waiting.number.number,
        "waiting_more": use.waiting.number.more,
        "oldest_wait": use.oldest_wait,
        "budgets": {gauge.key: {"used": gauge.used, "size": gauge.size} for gauge in use.budgets},
        "paused_at": pool.paused_at,
        "draining_at": pool.draining_at,
        "paused_by": pool.paused_by,
        "pause_reason": pool.pause_reason,
    }


def _lines(use: PoolUse) -> list[str]:
    """Everything, as lines of text."""
    maximum = "no maximum" if use.pool.max_concurrent is None else f"of {formatting.number(use.pool.max_concurrent)}"
    wait = "" if use.oldest_wait is None else f", the oldest for {formatting.duration(use.oldest_wait)}"
    facts = [
        ("pool", use.pool.name),
        ("in flight", f"{formatting.number(use.in_flight.used)}, {maximum}"),
        ("live slots", formatting.number(use.slots)),
        ("waiting", f"{use.waiting.number}{wait}"),
    ]
    for gauge in use.budgets:
        size = "no limit" if gauge.size is None else f"of {formatting.number(gauge.size)}"
        facts.append((gauge.name, f"{formatting.number(gauge.used)}, {size}"))
    facts.append(("state", formatting.closed(use.pool, use.now) or OPEN))
    return [f"{name + ':':18}{value}" for name, value in facts]
