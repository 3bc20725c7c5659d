"""The interactive page of a partition in a real browser: hover, zoom, pan, pin, layer switches, no request."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

import netfold as nf
from tests.exact.plane.cases import AXES, square

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]


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


@pytest.fixture(scope="module")
def part() -> nf.Partition:
    torch.manual_seed(1)
    layers = nn.Linear(2, 12), nn.ReLU(), nn.Linear(12, 12), nn.Hardtanh(), nn.Linear(12, 4)
    return nf.partition_plane(nn.Sequential(*layers).double().eval(), AXES, (-3.0, 3.0, -2.0, 2.0))


@pytest.fixture
def page(browser: Browser, part: nf.Partition, tmp_path: Path) -> Iterator[Page]:
    """The page, which must ask for nothing and complain about nothing until the test is over."""
    part.explore(tmp_path / "plane.html")
    opened = browser.new_page(viewport={"width": 1100, "height": 700})
    complaints: list[str] = []
    requests: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda request: requests.append(request.url))
    opened.goto((tmp_path / "plane.html").as_uri())
    wait(opened, "window.netfold && netfold.drawings() > 0")
    yield opened
    assert complaints == []
    assert [url for url in requests if not url.startswith("data:")] == [(tmp_path / "plane.html").as_uri()]
    opened.close()


def wait(page: Page, condition: str) -> None:
    """Wait until a condition holds; the page forbids what playwright's own waiting needs."""
    for _ in range(600):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise TimeoutError(condition)


def pixels(page: Page) -> str:
    """What the canvas shows, after the drawing that is due."""
    page.wait_for_timeout(150)
    return page.evaluate("document.querySelector('canvas').toDataURL()")


def middle(page: Page, part: nf.Partition, region: int) -> tuple[float, float]:
    """Where on the screen a region's centroid lies."""
    a, b = part.centroids[region]
    box = page.locator("canvas").bounding_box()
    assert box is not None
    x, y = page.evaluate(
        "([a, b]) => { const v = netfold.view, c = document.querySelector('canvas'), [x0, y0] = netfold.toPlane(0, 0),"
        "[x1, y1] = netfold.toPlane(c.width, c.height); return [(a - x0) / (x1 - x0), (b - y0) / (y1 - y0)] }",
        [float(a), float(b)],
    )
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def test_hover_tells_region_area_and_class(page: Page, part: nf.Partition) -> None:
    """Pointing at a region shows its number, area and class; pointing away clears the tip."""
    for region in np.argsort(-part.areas)[:5].tolist():
        page.mouse.move(*middle(page, part, region))
        text = page.locator("#about").inner_text()
        rows = dict(line.split("\t") for line in text.splitlines() if "\t" in line)
        assert rows["region"] == f"{region:,}"
        assert float(rows["area"]) == pytest.approx(part.areas[region], rel=1e-3)
        assert rows["class"] == str(part.classes[part.mesh.locate(part.centroids[region : region + 1])[0]])
        assert page.locator("#tip").is_visible()
    page.mouse.move(*(v + 0.5 for v in (1090, 690)))
    assert not page.locator("#tip").is_visible()


def test_pin_and_compare(page: Page, part: nf.Partition) -> None:
    """After a click, pointing elsewhere counts the units in another state, layer by layer."""
    first, second = np.argsort(-part.areas)[:2].tolist()
    page.mouse.click(*middle(page, part, first))
    assert page.evaluate("netfold.pinned()") == first
    page.mouse.move(*middle(page, part, second))
    expected = [int((s[first] != s[second]).sum()) for s in part.states]
    assert page.evaluate("([a, b]) => netfold.differences(a, b)", [first, second]) == expected
    assert f"{sum(expected)}" in page.locator("#about p").inner_text()
    page.mouse.click(*middle(page, part, first))
    assert page.evaluate("netfold.pinned()") == -1


def test_edges_name_their_layer_and_unit(page: Page, part: nf.Partition) -> None:
    """Close to a border the tip names the layer and the unit that made it."""
    found = part.neighbours
    i = int(found.length.argmax())
    corners = {tuple(x) for x in part.polygons[int(found.first[i])]} & {
        tuple(x) for x in part.polygons[int(found.second[i])]
    }
    centre = part.centroids[int(found.first[i])]
    border = np.mean(list(corners), axis=0)
    near = border + 0.01 * (centre - border)
    box = page.locator("canvas").bounding_box()
    assert box is not None
    x, y = page.evaluate(
        "([a, b]) => { const [x0, y0] = netfold.toPlane(0, 0), c = document.querySelector('canvas'),"
        "[x1, y1] = netfold.toPlane(c.width, c.height); return [(a - x0) / (x1 - x0), (b - y0) / (y1 - y0)] }",
        near.tolist(),
    )
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
    assert f"layer {found.layer[i] + 1} " in page.locator("#tip").inner_text()
    assert page.locator("#tip").inner_text().endswith(f"unit {found.unit[i]}")


def test_zoom_keeps_the_place_under_the_pointer(page: Page, part: nf.Partition) -> None:
    """The wheel zooms about the pointer; buttons and keys zoom too; Show all goes back."""
    region = int(part.areas.argmax())
    start = page.evaluate("netfold.view.scale")
    x, y = middle(page, part, region)
    page.mouse.move(x, y)
    before = pixels(page)
    page.mouse.wheel(0, -600)
    wait(page, f"netfold.view.scale > 2 * {start}")
    assert pixels(page) != before
    assert middle(page, part, region) == pytest.approx((x, y), abs=3.0)
    page.get_by_role("button", name="Zoom out").click()
    page.locator("canvas").press("+")
    page.get_by_role("button", name="Show all").click()
    assert page.evaluate("netfold.view.scale") == pytest.approx(start)
    page.mouse.move(1090, 690)
    pixels(page)


def test_dragging_moves_the_picture(page: Page) -> None:
    """A drag moves the plane with the pointer and pins nothing."""
    before = page.evaluate("[netfold.view.x, netfold.view.y, netfold.view.scale]")
    page.mouse.move(300, 300)
    page.mouse.down()
    page.mouse.move(360, 330, steps=4)
    page.mouse.up()
    after = page.evaluate("[netfold.view.x, netfold.view.y, netfold.view.scale]")
    assert after[0] - before[0] == pytest.approx(-60 / before[2])
    assert after[1] - before[1] == pytest.approx(30 / before[2])
    assert page.evaluate("netfold.pinned()") == -1


def test_switches(page: Page) -> None:
    """Every layer's switch, the boundary's, and the fill change the picture; switching back restores it."""
    page.mouse.move(1090, 690)
    whole = pixels(page)
    seen = {whole}
    for box in page.locator("fieldset input").all():
        box.uncheck()
        seen.add(pixels(page))
        box.check()
        assert pixels(page) == whole
    for fill in ("area", "none"):
        page.select_option("#fill", fill)
        seen.add(pixels(page))
    assert len(seen) == 6


def test_a_hundred_thousand_polygons(browser: Browser, tmp_path: Path) -> None:
    """The page of 138,528 regions draws and answers."""
    large = nf.partition_plane(*square("P4"))
    large.explore(tmp_path / "large.html")
    page = browser.new_page(viewport={"width": 900, "height": 700})
    page.goto((tmp_path / "large.html").as_uri())
    wait(page, "window.netfold && netfold.drawings() > 0")
    before = page.evaluate("netfold.drawings()")
    page.mouse.move(300, 300)
    page.mouse.wheel(0, -2000)
    wait(page, f"netfold.drawings() > {before}")
    assert "138,528" in page.locator("aside").inner_text()
    a, b = page.evaluate("netfold.toPlane(300, 300)")
    piece = page.evaluate("([a, b]) => netfold.regionOf(netfold.pieceAt(a, b))", [a, b])
    assert piece == large.region_at([[a, b]])[0]
    page.close()
