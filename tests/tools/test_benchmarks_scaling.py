"""Cases, table and picture of the admission's curves. What they measure is proved by running it."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks.scaling.cases import BY_LANES, BY_WAITING, Case, Point, cases, curve
from benchmarks.scaling.picture import draw
from benchmarks.scaling.report import BEGIN, END, PICTURE, render, write_docs

pytestmark = pytest.mark.unit
SVG = "{http://www.w3.org/2000/svg}"


def point(case: Case, *took: float) -> Point:
    return Point(case.waiting, case.lanes, case.full, case.admits(200), took)


def both_curves() -> list[Point]:
    return [point(case, 10.0 * number, 20.0 * number) for number, case in enumerate(cases(largest=1_000_000), start=1)]


def test_every_lane_with_room_gives_one_job_up_to_a_batch() -> None:
    assert [case.admits(200) for case in BY_LANES] == [1, 20, 200, 200]
    assert {case.admits(200) for case in BY_WAITING} == {20}, "what is compared admits as many"


def test_cases_shared_by_both_curves_are_measured_once() -> None:
    assert len(cases(largest=1_000_000)) == len(BY_WAITING) + len(BY_LANES) - 1
    assert {case.waiting for case in cases(largest=10_000)} == {1_000, 10_000}


def test_curve_keeps_its_order_and_leaves_out_what_is_missing() -> None:
    measured = [point(BY_LANES[3], 4), point(BY_LANES[0], 1)]
    assert [one.lanes for one in curve(measured, BY_LANES)] == [1, 10_000]
    assert curve(measured, BY_WAITING) == []


def test_table_says_how_the_bounds_stand() -> None:
    few, many = point(BY_WAITING[0], 10, 11, 12), point(BY_WAITING[-1], 20, 22, 24)
    lanes = point(BY_LANES[-1], 30, 30)
    text = render([few, many, lanes])
    assert "| one admission, 1,000,000 jobs waiting ÷ 1,000 | 2.00  | ≤ 2        | ≤ 1.2    | reached |" in text
    assert "| 10,000 lanes: ms a job admitted               | 0.15  | ≤ 1        | ≤ 0.1    | reached |" in text
    assert "22.0 [20.0–24.0]" in text


def test_bound_of_a_case_that_was_left_out_is_not_told() -> None:
    assert "÷" not in render([point(BY_WAITING[0], 10)])


def test_picture_is_an_svg_with_a_dot_for_each_point_of_each_curve() -> None:
    root = ET.fromstring(draw(both_curves()))  # noqa: S314  # our own text
    dots = root.findall(f".//{SVG}circle")
    assert len(dots) == len(BY_WAITING) + len(BY_LANES)
    heights = [float(dot.attrib["cy"]) for dot in dots[: len(BY_WAITING)]]
    assert heights == sorted(heights, reverse=True), "what took longer stands higher"
    assert all(0 < float(dot.attrib["cx"]) < 760 for dot in dots)
    assert all(60 <= float(dot.attrib["cy"]) <= 240 for dot in dots)


def test_picture_changes_its_colours_on_dark_paper() -> None:
    assert "prefers-color-scheme: dark" in draw(both_curves())


def test_document_gets_the_table_and_the_picture_beside_it(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_docs(document, both_curves())
    assert f"]({PICTURE})" in document.read_text()
    assert (tmp_path / PICTURE).read_text() == draw(both_curves())


def test_the_real_document_has_its_place() -> None:
    text = (Path(__file__).parents[2] / "docs" / "performance.md").read_text()
    assert text.index(BEGIN) < text.index(END)
