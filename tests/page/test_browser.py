"""The page used with mouse, keyboard and touch in a headless Chromium."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.page.conftest import png, scene

pytestmark = pytest.mark.slow


def drop(page: Any, content: bytes, name: str, zeros: int = 0) -> None:
    """Drop a file onto the page, as from a file manager; zeros are added at its end."""
    page.evaluate(
        """([bytes, name, zeros]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes), new Uint8Array(zeros)], name));
            const options = { dataTransfer: data, bubbles: true, cancelable: true };
            for (const what of ["dragover", "drop"])
                document.body.dispatchEvent(new DragEvent(what, options));
        }""",
        [[*content], name, zeros],
    )


def paste(page: Any, content: bytes) -> None:
    """Paste a picture, as from a screenshot tool."""
    page.evaluate(
        """bytes => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "image.png", { type: "image/png" }));
            document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
        }""",
        [*content],
    )


def pixels(page: Any) -> np.ndarray:
    """What the canvas shows, without its edges, where the readout and the outline of the focus are."""
    shot = Image.open(io.BytesIO(page.locator("#canvas").screenshot())).convert("RGB")
    return np.asarray(shot).astype(int)[60:-60, 60:-60]


def slide(page: Any, name: str, value: int) -> None:
    """Move a slider."""
    page.locator(f"#{name}").fill(str(value))


def segmented(page: Any) -> None:
    """Wait for a result."""
    page.get_by_text("Done in").wait_for()


def posts(page: Any) -> list[str]:
    """Requests from now on."""
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    return sent


def test_the_example_and_live_painting(open_page):
    """One click gives a result; opacity, threshold, classes and zoom need no request."""
    page = open_page()
    assert page.locator("#segment").is_disabled()
    page.locator("#empty").get_by_role("button", name="Try an example").click()
    segmented(page)
    assert page.locator("#legend tbody tr:visible").count() == 6
    sent, before = posts(page), pixels(page)
    slide(page, "opacity", 0)
    bare = pixels(page)
    assert np.abs(bare - before).mean() > 5
    slide(page, "opacity", 55)
    assert np.abs(pixels(page) - before).mean() < 1
    slide(page, "unsure", 40)
    left_out = page.locator("#legend tr.off td").nth(1)
    assert left_out.text_content() == "40 %" and "40 %: scores below 0.0" in page.text_content("#unsure-shown")
    slide(page, "unsure", 0)
    page.get_by_role("checkbox", name="class", exact=True).uncheck()
    assert np.abs(pixels(page) - bare).mean() < 1
    page.get_by_role("checkbox", name="water").check()
    water = pixels(page)
    assert 0.02 < np.mean(np.abs(water - bare).sum(axis=2) > 20) < 0.3
    page.get_by_role("checkbox", name="class", exact=True).check()
    page.locator("#legend tbody tr").filter(has_text="water").hover()
    assert np.abs(pixels(page) - water).mean() < np.abs(before - water).mean()
    assert sent == []


@pytest.mark.slow
def test_zoom_pan_and_hover(open_page):
    page = open_page()
    drop(page, png(scene(70_001, 256)), "drop it.png")
    segmented(page)
    assert page.text_content("#about").startswith("drop it.png: 256 \N{MULTIPLICATION SIGN} 256 pixels")
    whole, sent = pixels(page), posts(page)
    choosers: list[Any] = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))
    page.locator("#canvas").click()  # the old page opened a file chooser here
    page.mouse.move(420, 380)
    assert " ahead of " in page.text_content("#readout")
    page.mouse.wheel(0, -400)
    near = pixels(page)
    assert np.abs(near - whole).mean() > 5
    page.mouse.down()
    page.mouse.move(520, 430)
    page.mouse.up()
    assert np.abs(pixels(page) - near).mean() > 2
    page.get_by_role("button", name="Show all").click()
    assert np.abs(pixels(page) - whole).mean() < 1
    page.locator("#canvas").focus()
    for key in ("+", "ArrowLeft", "-", "0"):
        page.keyboard.press(key)
        assert " ahead of " in page.text_content("#readout")
    assert np.abs(pixels(page) - whole).mean() < 1
    assert sent == choosers == []


def test_words_history_errors_and_ctrl_enter(open_page):
    page = open_page()
    paste(page, png(scene(5, 128)))
    segmented(page)
    page.fill("#words", "building\n<b>tennis court</b>")
    page.keyboard.press("Control+Enter")
    page.get_by_role("checkbox", name="<b>tennis court</b>").wait_for()
    for words, message in (("road, road", "stands twice"), (" ", "no class names"), ("road|,", "name")):
        page.fill("#words", words)
        page.keyboard.press("Control+Enter")
        page.locator("#wrong").filter(has_text=message).wait_for()
        assert page.locator("#words").get_attribute("aria-invalid") == "true"
    page.fill("#words", "car, tree")
    page.keyboard.press("Control+Enter")
    segmented(page)
    assert page.locator("#wrong").is_hidden()
    page.reload()
    page.get_by_role("button", name="building|house, road").wait_for()
    # Line ends separate classes, so they are kept.
    page.get_by_role("button", name="building <b>tennis court</b>").click()
    assert page.locator("#words").input_value() == "building\n<b>tennis court</b>"
    drop(page, b"no picture", "notes.txt")
    page.locator("#problem").filter(has_text="notes.txt: cannot read this image").wait_for()
    drop(page, png(scene()), "large.png", zeros=5 * 2**20)
    page.locator("#problem").filter(has_text="larger than 4 MB").wait_for()


def test_a_geotiff_and_its_products(open_page, geotiff: Path):
    rasterio = pytest.importorskip("rasterio", reason="needs the extra 'geo'")
    page = open_page()
    page.set_input_files("#file", geotiff)
    segmented(page)
    assert "120 pixels, EPSG:32632" in page.text_content("#about")
    page.fill("#words", "building, road, grass")
    page.click("#segment")
    page.get_by_role("checkbox", name="water").wait_for(state="detached")
    segmented(page)
    assert "m²" in page.locator("#legend tbody tr").first.text_content()
    slide(page, "unsure", 30)
    with page.expect_download() as download:
        page.get_by_role("button", name="All files").click()
    assert download.value.suggested_filename == "plot_1_segmentation.zip"
    archive = zipfile.ZipFile(download.value.path())
    shown = page.locator("#unsure-shown").text_content()
    with rasterio.MemoryFile(archive.read("labels.tif")) as file, file.open() as made:
        ids = made.read(1)[made.read_masks(1) > 0]
    assert made.crs.to_epsg() == 32632
    # The products leave out the same pixels as the page.
    assert f"{100 * np.mean(ids == 3):.0f} %" == shown.partition(":")[0]
    assert json.loads(archive.read("shares.json"))["shares"]["other"] == pytest.approx(np.mean(ids == 3))


def test_the_bar_follows_a_scene(open_page, geotiff: Path):
    page, held = open_page(), []
    page.route("**/segment", lambda route: held.append(route))
    page.route("**/progress/scene-*", lambda route: route.fulfill(json={"filled": 0.428}))
    drop(page, geotiff.read_bytes(), "plot.tif")
    page.get_by_text("Segmenting … 42 %").wait_for()
    assert page.locator("#bar").get_attribute("value") == "0.428"
    held[0].continue_()
    segmented(page)
    assert page.locator("#bar").is_hidden() and page.locator("#bar").get_attribute("value") is None


@pytest.mark.slow
def test_downloads_of_a_photograph(open_page):
    page = open_page()
    drop(page, png(scene(9, 128)), "holiday.png")
    segmented(page)
    for button, name in (("Labels", "holiday_labels.png"), ("Picture", "holiday_classes.png")):
        with page.expect_download() as download:
            page.get_by_role("button", name=button, exact=True).click()
        assert download.value.suggested_filename == name
        assert Image.open(download.value.path()).size == (128, 128)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable(open_page, scheme):
    """Contrast of at least 4.5 to 1 (WCAG AA) between text and its ground."""
    page = open_page(color_scheme=scheme)
    colors = page.evaluate(
        """() => {
            const style = getComputedStyle(document.documentElement);
            return Object.fromEntries(["paper", "ink", "soft", "stage", "accent", "on-accent", "wrong", "wrong-paper"]
                .map(name => [name, style.getPropertyValue("--" + name).trim()]));
        }"""
    )

    def light(name: str) -> float:
        parts = [int(colors[name][i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05

    pairs = (("ink", "paper"), ("soft", "paper"), ("soft", "stage"), ("on-accent", "accent"), ("wrong", "wrong-paper"))
    for text, ground in pairs:
        ratio = light(text) / light(ground)
        assert max(ratio, 1 / ratio) >= 4.5, (text, ground)
    names = page.locator("button:visible, input:visible, textarea:visible, canvas")
    assert all(
        names.nth(i).evaluate("e => !!(e.ariaLabel || e.textContent.trim() || e.labels?.length)")
        for i in range(names.count())
    )


@pytest.mark.slow
def test_a_phone_with_two_fingers(open_page):
    page = open_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.locator("#empty").get_by_role("button", name="Try an example").tap()
    segmented(page)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    page.evaluate("() => scrollTo(0, 0)")
    before = pixels(page)
    fingers = page.context.new_cdp_session(page)
    for kind, gap in (("touchStart", 30), ("touchMove", 60), ("touchMove", 120), ("touchEnd", 0)):
        points = [{"x": 195 + side * gap, "y": 300, "id": side + 1} for side in (-1, 1)] if gap else []
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert np.abs(pixels(page) - before).mean() > 5
