"""The figures of cancelling as tables, and their place in the documentation. Must not measure."""

import statistics
from pathlib import Path

from benchmarks.cancelling.figures import LINES, Cancelling, p95
from benchmarks.report import against, table, write_between

BEGIN = "<!-- cancelling begins: written by python -m benchmarks --write-docs -->"
END = "<!-- cancelling ends -->"


def render(found: Cancelling) -> str:
    """Both tables as Markdown that also reads well in a terminal."""
    bounds = [[line.text, f"{line.value(found):.2f}", *against(line.goal, line.value(found))] for line in LINES]
    return "\n\n".join(
        [
            table(["figure", "value", "must reach", "aims for", "stands"], bounds),
            table(["measured", "value"], _measured(found)),
            "",
        ]
    )


def write_docs(document: Path, found: Cancelling) -> None:
    """Replace the tables between the markers of the document."""
    write_between(document, BEGIN, END, render(found))


def _measured(found: Cancelling) -> list[list[str]]:
    times = {
        "submit one, ms p50 / p95": found.submit_s,
        "cancel one that waits, ms p50 / p95": found.cancel_s,
        "request → `JobAborted`, ms p50 / p95": found.aborted_s,
        "forced: request → dead, ms p50 / p95": found.dead_s,
    }
    return [
        [f"`submit_many` of {found.waiting:,}, jobs/s", f"{found.submit_many_per_s:,.0f}"],
        [f"cancel of {found.waiting:,} by a filter, jobs/s", f"{found.cancel_many_per_s:,.0f}"],
        *([name, f"{statistics.median(of) * 1000:.1f} / {p95(of) * 1000:.1f}"] for name, of in times.items()),
        ["drain beside one job that runs, jobs/s", f"{found.undisturbed_per_s:,.0f}"],
        [f"the same while {found.forced} were cancelled by force, jobs/s", f"{found.disturbed_per_s:,.0f}"],
    ]
