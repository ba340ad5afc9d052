"""Every page of the book in a browser: nothing in the console, nothing missing, nothing from outside."""

from pathlib import Path
from typing import Any

import pytest

from modnet_lib.notebook.book import build_book

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("book")
    assert build_book(folder) == []
    return folder


def test_pages_are_whole(book: Path, page: Any, tmp_path: Path) -> None:
    said, outside = list[str](), list[str]()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    inside = ("file:", "data:", "blob:")
    page.on(
        "request", lambda request: None if request.url.startswith(inside) else outside.append(request.url)
    )
    for file in sorted(book.rglob("*.html")):
        page.goto(file.as_uri())
        page.wait_for_load_state()
        broken = "[...document.images].filter(image => !image.naturalWidth).map(image => image.alt)"
        assert page.evaluate(broken) == [], file.name
        silent = """Promise.all([...document.querySelectorAll('video')].map(async video => {
            if (video.readyState < 1) await new Promise(done => {
                video.onloadedmetadata = done; video.onerror = done; setTimeout(done, 20000)});
            return video.duration;
        }))"""
        assert all(seconds and seconds > 0 for seconds in page.evaluate(silent)), file.name
        assert page.evaluate("document.querySelectorAll('merror').length") == 0, file.name
    assert said == [] and outside == []


def test_search_finds_the_section(book: Path, page: Any) -> None:
    page.goto((book / "index.html").as_uri())
    page.get_by_label("search").fill("closed-form pseudo matte")
    page.get_by_label("search").press("Enter")
    first = page.locator(".found a").first
    first.wait_for()
    assert "01 dataset compositing" in page.locator("#found").inner_text()
    page.locator("#query").fill("xyzzy")
    page.get_by_text("Nothing found").wait_for()
    page.locator("#query").fill("e-aspp")
    first.click()
    assert page.url.startswith(book.as_uri()) and page.locator("h1").count() >= 1
