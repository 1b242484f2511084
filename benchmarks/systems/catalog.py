"""The systems by name, and what each needs before it can be imported. Must not import them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Entry:
    """One system: where its class is, what its processes find in their environment, what its clock is.

    `measured`: "always", "full" (not in a quick run), or "named" (only when asked for by name).
    """

    name: str
    title: str
    place: str  # module:class
    clock: str
    environ: Mapping[str, str] = field(default_factory=dict)
    measured: Literal["always", "full", "named"] = "always"
    package: str = ""  # what must be importable beside this project's own needs


_RAW = "benchmarks.systems.raw:Raw"
_BODY_CLOCK = "the last body's own time, appended to a file (less than 1 µs a job, the same in every system)"
_RAW_SITE = {"DJANGO_SETTINGS_MODULE": "benchmarks.workers.settings_common"}

_RESULTS = "benchmarks.systems.results:Results"
_RESULTS_CLOCK = "greatest `date_done` in its table, set by the worker as it writes the row"
_RESULTS_SITE = {"DJANGO_SETTINGS_MODULE": "benchmarks.workers.settings_results"}
# The connection is recycled after this many jobs: never, in a trial.
_KEEP = {"BENCH_DB_REUSE_MAX": "1000000"}
_END_ONLY = {"BENCH_TRACK_STARTED": "0"}

_OURS_CLOCK = "greatest `finished_at` in its table, the database's clock at the finishing statement"
_OURS_SITE = {"DJANGO_SETTINGS_MODULE": "benchmarks.workers.settings_ours"}

_PROCRASTINATE_CLOCK = "greatest `at` of its `succeeded` events, the database's clock at the finishing transaction"
_PROCRASTINATE_SITE = {"DJANGO_SETTINGS_MODULE": "benchmarks.workers.settings_procrastinate"}

_TASKS_DB = "benchmarks.systems.tasks_db:TasksDb"
_TASKS_DB_CLOCK = "greatest `finished_at` in its table, set by the worker as it writes the row"
_TASKS_DB_SITE = {"DJANGO_SETTINGS_MODULE": "benchmarks.workers.settings_tasks_db"}
_KEEP_SECONDS = {"BENCH_CONN_MAX_AGE": "600"}

_TITLE = "Celery + django-celery-results"

ENTRIES: tuple[Entry, ...] = (
    Entry("ours", "jobcenter", "benchmarks.systems.ours:Ours", _OURS_CLOCK, _OURS_SITE),
    Entry(
        "ours-ahead",
        "jobcenter, LOOK_AHEAD=8",
        "benchmarks.systems.ours:OursAhead",
        _OURS_CLOCK,
        {**_OURS_SITE, "BENCH_LOOK_AHEAD": "8"},
        measured="full",
    ),
    Entry(
        "ours-limits",
        "jobcenter, limits that do not bind",
        "benchmarks.systems.ours_limited:OursLimited",
        _OURS_CLOCK,
        _OURS_SITE,
        measured="full",
    ),
    Entry("raw", "Celery, nothing recorded", _RAW, _BODY_CLOCK),
    Entry("raw-django", "Celery in a Django site, nothing recorded", _RAW, _BODY_CLOCK, _RAW_SITE, "named"),
    Entry("results", _TITLE, _RESULTS, _RESULTS_CLOCK, _RESULTS_SITE),
    Entry("results-reuse", f"{_TITLE}, connection kept", _RESULTS, _RESULTS_CLOCK, {**_RESULTS_SITE, **_KEEP}),
    Entry(
        "results-minimal",
        f"{_TITLE}, starts not recorded",
        _RESULTS,
        _RESULTS_CLOCK,
        {**_RESULTS_SITE, **_END_ONLY},
        measured="named",
    ),
    Entry(
        "results-minimal-reuse",
        f"{_TITLE}, starts not recorded, connection kept",
        _RESULTS,
        _RESULTS_CLOCK,
        {**_RESULTS_SITE, **_END_ONLY, **_KEEP},
        measured="named",
    ),
    Entry(
        "procrastinate",
        "procrastinate",
        "benchmarks.systems.procrastinate:Procrastinate",
        _PROCRASTINATE_CLOCK,
        _PROCRASTINATE_SITE,
        measured="full",
        package="procrastinate",
    ),
    Entry(
        "tasks-db",
        "django-tasks-db",
        _TASKS_DB,
        _TASKS_DB_CLOCK,
        _TASKS_DB_SITE,
        measured="full",
        package="django_tasks_db",
    ),
    Entry(
        "tasks-db-reuse",
        "django-tasks-db, connection kept",
        _TASKS_DB,
        _TASKS_DB_CLOCK,
        {**_TASKS_DB_SITE, **_KEEP_SECONDS},
        measured="named",
        package="django_tasks_db",
    ),
)

BY_NAME: Mapping[str, Entry] = {entry.name: entry for entry in ENTRIES}
