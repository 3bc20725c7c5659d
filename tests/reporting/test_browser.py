"""The page in a real browser: no error, no request, fits the window, and the walk walks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.reports import Written

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    api = pytest.importorskip("playwright.sync_api", reason="the browser tests need the package playwright")
    names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"]
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"no Chromium on this machine (looked for {', '.join(names)})")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, headless=True, args=ARGUMENTS)
        yield opened
        opened.close()


def open_page(browser: Browser, file: Path, width: int, **more: Any) -> tuple[Page, list[str], list[str]]:
    """The page at a width, with everything it says on the console and every address it asks for."""
    page = browser.new_page(viewport={"width": width, "height": 900}, **more)
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(file.as_uri())
    return page, complaints, requests


@pytest.mark.parametrize(
    ("width", "scheme"), [(1100, "light"), (1100, "dark"), (600, "light"), (360, "light")], ids=str
)
def test_it_opens_without_error_or_request(
    browser: Browser, digits_report: Written, tmp_path: Path, width: int, scheme: str
) -> None:
    """Nothing on the console, no request but the file itself, no sideways scrolling, a screenshot taken."""
    page, complaints, requests = open_page(browser, digits_report.page, width, color_scheme=scheme)
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shot = page.screenshot(path=tmp_path / "page.png", full_page=True)
    page.close()
    assert shot.startswith(b"\x89PNG")
    assert complaints == []
    assert [url for url in requests if not url.startswith("data:")] == [digits_report.page.as_uri()]


def test_dark_and_light_follow_the_reader(browser: Browser, digits_report: Written) -> None:
    """Paper and figures change with the preferred colour scheme."""
    seen = []
    for scheme in ("light", "dark"):
        page, _, _ = open_page(browser, digits_report.page, 800, color_scheme=scheme)
        seen.append(
            page.evaluate("[getComputedStyle(document.body).backgroundColor, document.images[0].currentSrc.length]")
        )
        page.close()
    assert seen[0][0] != seen[1][0]


def test_the_walk_shows_what_was_measured(browser: Browser, digits_report: Written) -> None:
    """At every t tried, region and class are those of the trace; the buttons step from region to region."""
    page, complaints, _ = open_page(browser, digits_report.page, 800)
    trace = digits_report.data.example.trace
    for t in (0.0, 0.123, 0.5, 0.987, 1.0):
        page.evaluate(
            "t => { const s = document.getElementById('walk-t'); s.step = 'any'; s.value = t;"
            " s.dispatchEvent(new Event('input')); }",
            t,
        )
        text = page.inner_text("#walk-text")
        region = min(int((trace.breakpoints <= t).sum()) + 1, trace.regions)
        label = int(trace.output.classes[(trace.output.class_changes <= t).sum()])
        assert f"region {region} of {trace.regions}" in text
        assert f"class {label}" in text
    page.click("#walk-back")
    assert f"region {trace.regions - 1} of" in page.inner_text("#walk-text")
    page.click("#walk-on")
    assert f"region {trace.regions} of" in page.inner_text("#walk-text")
    page.focus("#walk-t")
    page.keyboard.press("Home")
    assert "region 1 of" in page.inner_text("#walk-text")
    page.close()
    assert complaints == []


def test_it_reads_without_script(browser: Browser, digits_report: Written) -> None:
    """With scripts off every figure and every number of the text is there, and only the walk is missing."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(digits_report.page.as_uri())
    assert page.locator("figure img").count() == 7
    assert page.locator("#walk").is_hidden()
    context.close()
