"""The pages as people meet them: in a browser, on the running demo, with real jobs under way."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, ViewportSize, expect

from tests.browser.conftest import Visit, sign_in

DESK, PHONE = ViewportSize(width=1280, height=800), ViewportSize(width=390, height=844)
LONG, PICTURE, BROKEN = "demo.twin_primes", "demo.mandelbrot", "demo.check_line_length"


def test_a_long_job_is_watched_cancelled_and_run_again(arrive: Visit) -> None:
    page = arrive()
    sign_in(page, "demo", "demo")
    page.get_by_role("navigation", name="State").get_by_role("link", name="running").click()
    expect(page).to_have_url(re.compile(r"\?state=running$"))
    row = _row(page, LONG)
    expect(row.locator(".badge")).to_have_text("running")
    _assert_it_changes(page, row.locator(".c-progress .sub"))

    row.get_by_role("link", name=LONG).click()
    state = page.locator('[data-region="state"]')
    _assert_it_changes(page, page.get_by_role("region", name="Progress"))
    page.get_by_text("Cancel…").click()
    page.get_by_label("Reason").fill("seen <b>enough</b>")
    page.get_by_role("button", name="Cancel this job").click()
    expect(page.get_by_role("status").filter(has_text="Asked to stop")).to_be_visible()
    expect(state).to_contain_text("cancelled")
    expect(state).to_contain_text("seen <b>enough</b>")
    expect(page.get_by_text("Cancel…")).to_have_count(0)

    attempts = page.get_by_role("region", name="Attempts").get_by_role("listitem")
    before = attempts.count()  # another test may have paused it
    page.get_by_text("Retry…").click()
    page.get_by_role("button", name="Run this job again").click()
    expect(state.locator(".badge")).to_have_text("running")
    expect(attempts).to_have_count(before + 1)


def test_a_long_job_is_paused_and_goes_on(visit: Visit) -> None:
    page = visit()
    page.goto(f"/jobs/?state=running&task={LONG}")
    _row(page, LONG).first.get_by_role("link", name=LONG).click()
    state = page.locator('[data-region="state"]')
    page.get_by_text("Pause…").click()
    page.get_by_label("Why").fill("new <b>disks</b>")
    page.get_by_role("button", name="Pause this job").click()
    expect(page.get_by_role("status").filter(has_text="Asked to pause")).to_be_visible()
    expect(state.locator(".badge")).to_have_text("paused")
    expect(page.get_by_role("region", name="Why it waits")).to_contain_text("It was paused by demo")
    expect(state).to_contain_text("new <b>disks</b>")
    _assert_accessible_and_fitting(page)
    page.get_by_text("Resume…").click()
    page.get_by_role("button", name="Resume this job").click()
    expect(state.locator(".badge")).to_have_text("running")
    _assert_it_changes(page, page.get_by_role("region", name="Progress"))


def test_a_filter_shows_what_it_says(visit: Visit) -> None:
    page = visit()
    page.goto("/jobs/")
    page.get_by_label("Task").fill(BROKEN)
    page.get_by_role("button", name="Find").click()
    expect(_row(page, BROKEN).locator(".badge")).to_have_text("failed")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(_row(page, BROKEN).locator(".args")).to_have_text("http, 79")
    page.get_by_role("navigation", name="State").get_by_role("link", name="completed").click()
    expect(page.get_by_role("heading", name="No job matches the filters.")).to_be_visible()
    page.get_by_role("link", name="remove this filter").click()
    expect(page.locator("tbody tr").first).to_be_visible()
    assert set(page.locator("tbody .badge").all_inner_texts()) == {"completed"}


def test_a_picture_is_drawn(visit: Visit) -> None:
    page = visit()
    page.goto(f"/jobs/?state=completed&task={PICTURE}")
    _row(page, PICTURE).first.get_by_role("link", name=PICTURE).click()  # it appears by itself when it is drawn
    picture = page.get_by_role("img", name="The picture that this job returned")
    expect(picture).to_be_visible()
    expect(picture).to_have_js_property("complete", True)
    assert picture.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [480, 320]


def test_signing_in_and_the_lists_are_accessible_and_fit(arrive: Visit, visit: Visit) -> None:
    stranger, page = arrive(), visit()
    stranger.goto("/")
    _assert_accessible_and_fitting(stranger)
    for address in ("/jobs/", "/jobs/?task=none", "/jobs/pools/"):
        page.goto(address)
        _assert_accessible_and_fitting(page)


@pytest.mark.parametrize(("task", "state"), [(PICTURE, "completed"), (BROKEN, "failed")])
def test_the_page_of_a_job_is_accessible_and_fits(task: str, state: str, visit: Visit) -> None:
    page = visit()
    page.goto(f"/jobs/?state={state}&task={task}")
    _row(page, task).first.get_by_role("link", name=task).click()
    expect(page.locator('[data-region="state"] .badge')).to_have_text(state)
    _assert_accessible_and_fitting(page)


def test_a_pool_is_watched_paused_and_resumed(visit: Visit) -> None:
    page, admin = visit(), visit()
    page.goto("/jobs/")
    page.get_by_role("link", name="Pools").click()
    pool = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="default"))
    expect(pool.get_by_role("progressbar", name="In flight in default")).to_be_visible()
    _assert_accessible_and_fitting(page)

    admin.goto("/admin/jobs/pool/default/change/")
    admin.get_by_role("button", name="Pause…").click()
    admin.get_by_label("Reason").fill("new <b>disks</b>")
    admin.get_by_role("button", name="Yes, pause default").click()
    expect(admin.locator(".messagelist .success")).to_contain_text("Paused: default.")
    try:
        expect(pool.locator(".badge")).to_have_text("paused")  # it appears by itself
        expect(pool.locator(".note")).to_contain_text("Paused by demo")
        expect(pool.locator(".note")).to_contain_text("new <b>disks</b>")
        _assert_accessible_and_fitting(page)
    finally:
        pool.get_by_role("link", name="Edit").click()
        page.get_by_role("button", name="Resume").click()
    expect(page.locator(".messagelist .success")).to_contain_text("Resumed: default.")


def test_a_foreign_job_is_as_missing_as_none(visit: Visit, arrive: Visit) -> None:
    page = visit()
    page.goto(f"/jobs/?state=failed&task={BROKEN}")
    foreign = _row(page, BROKEN).get_by_role("link", name=BROKEN).get_attribute("href")
    assert foreign
    page.get_by_role("link", name="Admin").click()
    expect(page.locator("#result_list .jobs-badge").first).to_be_visible()
    _add_user(page, "ada", "twelve leaping hares")

    other = arrive()
    sign_in(other, "ada", "twelve leaping hares")
    expect(other.get_by_role("heading", name="No jobs yet.")).to_be_visible()
    assert page.request.get(foreign).status == 200
    asked = [other.request.get(address).status for address in (foreign, f"{foreign}image/", f"/jobs/{'0' * 32}/")]
    assert asked == [404, 404, 404]


def test_a_page_without_an_icon_of_its_own_gets_ours(visit: Visit) -> None:
    answer = visit().request.get("/favicon.ico")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/svg+xml")


def _row(page: Page, task: str) -> Locator:
    return page.locator("tbody tr").filter(has=page.get_by_role("link", name=task, exact=True))


def _assert_it_changes(page: Page, place: Locator) -> None:
    """What is shown there is soon something else, and the page was not loaded again."""
    expect(place).not_to_be_empty()
    before = place.inner_text()
    page.evaluate("window.isTheSame = true")
    expect(place).not_to_have_text(before, use_inner_text=True)
    expect(place).not_to_be_empty()
    assert page.evaluate("window.isTheSame") is True


def _assert_accessible_and_fitting(page: Page) -> None:
    for light, size in (("light", DESK), ("dark", PHONE)):
        page.emulate_media(color_scheme=light)  # type: ignore[arg-type]  # one of the words it knows
        page.set_viewport_size(size)
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        wide, room = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide <= room, f"{page.url} is {wide} pixels wide and scrolls sideways in {room}"


def _add_user(page: Page, name: str, password: str) -> None:
    page.goto("/admin/auth/user/add/")
    page.get_by_label("Username").fill(name)
    page.locator("#id_password1").fill(password)
    page.locator("#id_password2").fill(password)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".messagelist .success")).to_contain_text("was added successfully")
