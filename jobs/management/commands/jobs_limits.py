"""`manage.py jobs_limits`: every limit, and what is taken of it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from jobs.core.conf import settings
from jobs.management import arguments, output
from jobs.models import Limit
from jobs.monitoring import formatting, usage
from jobs.monitoring.usage import LimitUse, Share

HEADS = ("name", "limits", "size", "now", "policy")


class Command(BaseCommand):
    help = "List the limits, with the jobs in flight under each; for a rate, when the next job may start."

    def add_arguments(self, parser: CommandParser) -> None:
        arguments.add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        uses = usage.of_limits(Limit.objects.using(settings.DATABASE).order_by("name"))
        if options["as_json"]:
            self.stdout.write(output.as_json([_data(use) for use in uses]))
        else:
            self.stdout.write(output.table(HEADS, [_row(use) for use in uses]))


def _data(use: LimitUse) -> dict[str, Any]:
    """One limit as plain data; `partitions` are the fullest; of a rate, the longest to wait (seconds)."""
    limit = use.limit
    data = {"name": limit.name, **limit.subject, "size": use.size, "weight": limit.weight, "policy": limit.policy}
    if not use.is_rate:
        shares = [{"partition": share.partition, "in_flight": share.used} for share in use.fullest]
        return {**data, "in_flight": use.used, "partitions": shares}
    waits = [{"partition": share.partition, "opens_in": use.seconds_until_open(share)} for share in use.fullest]
    return {**data, "period": limit.period, "burst": limit.burst, "partitions": waits}


def _row(use: LimitUse) -> tuple[object, ...]:
    limit = use.limit
    return limit.name, formatting.subject(limit), formatting.size(limit, use.size), _now(use), limit.policy


def _now(use: LimitUse) -> str:
    if use.is_rate and not use.size:
        return "never" if use.size == 0 else "at once"
    if not use.shares:
        return "at once" if use.is_rate else "0 in flight"
    more = f", and {use.more} more" if use.more else ""
    return ", ".join(_share(use, share) for share in use.fullest) + more


def _share(use: LimitUse, share: Share) -> str:
    name = f"{share.partition}: " if share.partition else ""
    return name + (
        f"in {formatting.duration(use.seconds_until_open(share))}" if use.is_rate else f"{share.used} in flight"
    )
