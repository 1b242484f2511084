"""The curves as a table with their bounds, and their place in the documentation. Must not measure."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import Goal
from benchmarks.report import against, table, write_between
from benchmarks.scaling.cases import BY_LANES, BY_WAITING, Point, curve
from benchmarks.scaling.picture import draw

BEGIN = "<!-- scaling begins: written by python -m benchmarks.scaling --write-docs -->"
END = "<!-- scaling ends -->"
PICTURE = "admission-scaling.svg"

_MORE_JOBS = Goal(2, 1.2, at_most=True)
_MORE_LANES = Goal(1, 0.1, at_most=True)


def render(points: Sequence[Point]) -> str:
    """Both tables as Markdown that also reads well in a terminal."""
    return "\n\n".join(filter(None, [_cases(points), _bounds(points)])) + "\n"


def write_docs(document: Path, points: Sequence[Point]) -> None:
    """Replace the tables between the markers of the document, and the picture beside it."""
    picture = f"![One admission by jobs waiting and by lanes waiting]({PICTURE})"
    write_between(document, BEGIN, END, f"{picture}\n\n{render(points)}")
    document.with_name(PICTURE).write_text(draw(points))


def _cases(points: Sequence[Point]) -> str:
    rows = [
        [
            f"{point.waiting:,}",
            f"{point.lanes:,}",
            f"{point.full:,}",
            f"{point.admitted:,}",
            f"{point.ms:.1f} [{min(point.took_ms):.1f}–{max(point.took_ms):.1f}]",
            f"{point.ms_a_job:.3f}",
        ]
        for point in points
    ]
    head = ["jobs waiting", "lanes", "of them full", "jobs admitted at once", "ms an admission", "ms a job admitted"]
    return table(head, rows)


def _bounds(points: Sequence[Point]) -> str:
    by_waiting, by_lanes = curve(points, BY_WAITING), curve(points, BY_LANES)
    rows = []
    if by_waiting and by_waiting[-1].waiting == BY_WAITING[-1].waiting:
        ratio = by_waiting[-1].ms / by_waiting[0].ms
        rows.append(["one admission, 1,000,000 jobs waiting ÷ 1,000", f"{ratio:.2f}", *against(_MORE_JOBS, ratio)])
    if by_lanes and by_lanes[-1].lanes == BY_LANES[-1].lanes:
        ms = by_lanes[-1].ms_a_job
        rows.append(["10,000 lanes: ms a job admitted", f"{ms:.2f}", *against(_MORE_LANES, ms)])
    return table(["figure", "value", "must reach", "aims for", "stands"], rows) if rows else ""
