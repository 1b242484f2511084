"""Tables: medians with ranges, ratios beside the bounds, facts; for terminal and document. Must not measure."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import BOUNDS, Figure, Goal, Spread, Trial, drain, ratio, spread, submit_in, submit_many
from benchmarks.systems.catalog import BY_NAME, ENTRIES

BEGIN = "<!-- benchmark tables begin: written by python -m benchmarks --write-docs -->"
END = "<!-- benchmark tables end -->"
NONE = "–"


class MarkerError(Exception):
    """The document has no place for the tables; the text says which lines it needs."""


def render(facts: dict[str, str], trials: Sequence[Trial]) -> str:
    """All tables as Markdown that also reads well in a terminal."""
    parts = [
        "Median [lowest–highest] of the rounds.",
        _heading("Ratios to peers in the same round"),
        _ratios(trials),
        _heading("Speed"),
        _speed(trials),
        _heading("Submitting one by one"),
        _submitting(trials),
        _heading("Cost of a job while draining"),
        _cost(trials),
        _heading("How it was measured"),
        _method(trials),
        table(["fact", "value"], [[name, value] for name, value in facts.items()]),
        *[
            f"Failed in round {trial.round}: {trial.system}: {_last_line(trial.error)}"
            for trial in trials
            if trial.error
        ],
    ]
    return "\n\n".join(parts) + "\n"


def write_between(path: Path, begin: str, end: str, text: str) -> None:
    """Replace what stands between two markers. Raises `MarkerError`."""
    before, found, rest = path.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise MarkerError(f"{path} must have the lines {begin!r} and {end!r}; the tables go between them")
    path.write_text(f"{before}{begin}\n\n{text}\n{end}{after}")


def _ratios(trials: Sequence[Trial]) -> str:
    rows = []
    for bound in BOUNDS:
        found = ratio(trials, bound)
        if found is None and bound.goal is None:
            continue  # a peer that is measured only when asked for
        rows.append([bound.figure, _show(found, 2), *against(bound.goal, found.median if found else None)])
    return table(["ours ÷ peer", "ratio", "must reach", "aims for", "stands"], rows)


def against(goal: Goal | None, value: float | None) -> list[str]:
    """Three cells: what must be reached, what is aimed for, how the value stands."""
    if goal is None:
        return [NONE, NONE, NONE]
    sign = "≤ " if goal.at_most else ""
    stands = "not measured" if value is None else goal.verdict(value)
    return [f"{sign}{goal.must_reach:g}", f"{sign}{goal.aims_for:g}", stands]


def _speed(trials: Sequence[Trial]) -> str:
    rows = []
    for name in _measured(trials):
        many = _show(spread(trials, name, submit_many))
        idle = [_show(spread(trials, name, _idle(cut)), 1) for cut in ("p50", "p95", "p99")]
        rows.append([BY_NAME[name].title, _show(spread(trials, name, drain)), many, *idle])
    return table(["system", "drain, jobs/s", "submit many, jobs/s", "idle start p50, ms", "p95", "p99"], rows)


def _idle(cut: str) -> Figure:
    return lambda trial: trial.idle_ms.get(cut)


def _submitting(trials: Sequence[Trial]) -> str:
    rows = []
    for name in _measured(trials):
        for room in dict.fromkeys(room for trial in trials if trial.system == name for room in trial.submit_per_s):
            rate = _show(spread(trials, name, submit_in(room)))
            sql = [_show(spread(trials, name, _submit_sql(room, figure)), 2) for figure in ("statements", "commits")]
            rows.append([BY_NAME[name].title, room, rate, *sql])
    return table(["system", "situation", "jobs/s", "SQL statements a job", "commits a job"], rows)


def _submit_sql(room: str, figure: str) -> Figure:
    return lambda trial: trial.submit_sql.get(room, {}).get(figure)


def _cost(trials: Sequence[Trial]) -> str:
    names = ("statements", "data_statements", "commits", "connections", "exec_ms")
    columns = [*map(_cpu_per_thousand, ("worker", "postgres", "redis")), *map(_sql, names)]
    head = [
        "system",
        "CPU s/1,000 jobs: worker",
        "PostgreSQL",
        "Redis",
        "SQL statements",
        "of these on data",
        "commits",
    ]
    rows = []
    for name in _measured(trials):
        figures = [_show(spread(trials, name, column), 2) for column in columns]
        rows.append([BY_NAME[name].title, *figures, _show(spread(trials, name, _others_percent))])
    return table([*head, "connections", "ms in PostgreSQL", "others' CPU, %"], rows)


def _others_percent(trial: Trial) -> float | None:
    return trial.cpu["others_share"] * 100 if trial.cpu else None


def _cpu_per_thousand(tree: str) -> Figure:
    return lambda trial: trial.cpu[tree] / trial.jobs * 1000 if tree in trial.cpu else None


def _sql(name: str) -> Figure:
    return lambda trial: trial.sql.get(name)


def _method(trials: Sequence[Trial]) -> str:
    rounds, jobs = max(trial.round for trial in trials), trials[0].jobs
    clocks = [f"- {BY_NAME[name].title}: {BY_NAME[name].clock}." for name in _measured(trials)]
    return "\n".join([f"{rounds} round(s) of {jobs:,} jobs. Last finish, by system:", "", *clocks])


def _measured(trials: Sequence[Trial]) -> list[str]:
    there = {trial.system for trial in trials if not trial.error}
    return [entry.name for entry in ENTRIES if entry.name in there]


def _show(found: Spread | None, digits: int = 0) -> str:
    if found is None:
        return NONE
    middle, low, high = (f"{value:,.{digits}f}" for value in (found.median, found.low, found.high))
    return middle if low == high else f"{middle} [{low}–{high}]"


def _heading(text: str) -> str:
    return f"### {text}"


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else "it printed nothing"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns stand in line."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)
