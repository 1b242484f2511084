"""The running demo, a headless Chromium, and people who look at the one with the other."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Response,
    expect,
    sync_playwright,
)

from tests.services.demo import Demo, demo

QUIETLY = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WITHIN = 30_000  # ms that anything shown may take on a busy machine
Visit = Callable[..., Page]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("there is no `chromium` on PATH (Debian: apt install chromium)")
    expect.set_options(timeout=WITHIN)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=list(QUIETLY))
        yield started
        started.close()


@pytest.fixture(scope="session")
def running_demo(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """`jobs_demo` at work: server, broker, workers. It has just submitted its jobs, or is through with most of them."""
    with demo(tmp_path_factory.mktemp("demo")) as started:
        started.wait_for("jobs submitted")
        yield started


@pytest.fixture(scope="session")
def address(running_demo: Demo) -> str:
    """Where the pages are, without a slash at the end."""
    return f"http://127.0.0.1:{running_demo.port}"


@pytest.fixture
def troubles() -> Iterator[list[str]]:
    """What went wrong behind what is shown. Whoever expects some takes it out."""
    noted: list[str] = []
    yield noted
    assert noted == []


@pytest.fixture
def arrive(browser: Browser, address: str, troubles: list[str]) -> Iterator[Visit]:
    """`arrive(color_scheme="dark", …)`: an empty page of a new person; the arguments are those of `new_context`."""
    contexts: list[BrowserContext] = []

    def come(**how: Any) -> Page:
        contexts.append(browser.new_context(base_url=address, **how))
        contexts[-1].set_default_timeout(WITHIN)
        page = contexts[-1].new_page()
        _watch(page, troubles)
        return page

    yield come
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def cookies(browser: Browser, address: str) -> Any:
    """What the demo's user carries after signing in once."""
    context = browser.new_context(base_url=address)
    sign_in(context.new_page(), "demo", "demo")
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def visit(arrive: Visit, cookies: Any) -> Visit:
    """Like `arrive`, as the demo's user."""
    return lambda **how: arrive(storage_state=cookies, **how)


def sign_in(page: Page, name: str, password: str) -> None:
    """Come to the pages by their shortest address, and fill in the form that is met there."""
    page.goto("/")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


def _watch(page: Page, troubles: list[str]) -> None:
    def note_console(said: ConsoleMessage) -> None:
        if said.type in ("error", "warning"):
            troubles.append(f"console: {said.text} ({said.location['url']})")

    def note_answer(answer: Response) -> None:
        if answer.status >= 400:
            troubles.append(f"{answer.status}: {answer.request.method} {answer.url}")

    def note_failure(request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # a look for news, when somebody leaves the page meanwhile
            troubles.append(f"{request.failure}: {request.method} {request.url}")

    page.on("console", note_console)
    page.on("response", note_answer)
    page.on("requestfailed", note_failure)
    page.on("pageerror", lambda error: troubles.append(f"script: {error}"))
