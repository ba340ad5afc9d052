"""Every page of the book in a browser: nothing wrong in the console, nothing missing, nothing from outside."""

from pathlib import Path
from typing import Any

import pytest

from modnet_lib import paths

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning", "ignore::DeprecationWarning"),
]
SILENT = """Promise.all([...document.querySelectorAll('video')].map(async video => {
    if (video.readyState < 1) await new Promise(done => {
        video.onloadedmetadata = done; video.onerror = done; setTimeout(done, 20000)});
    return video.duration;
}))"""


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    build = pytest.importorskip("sphinx.cmd.build", reason="needs the extra 'book'")
    folder = tmp_path_factory.mktemp("book")
    options = ["--quiet", "--fail-on-warning", "-c", str(paths.NOTEBOOKS), "-d", str(folder / ".doctrees")]
    assert build.main([*options, str(paths.REPOSITORY), str(folder)]) == 0
    return folder


def test_pages_are_whole(book: Path, page: Any) -> None:
    said, outside = list[str](), list[str]()
    page.on("console", lambda m: said.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    inside = ("file:", "data:", "blob:")
    page.on("request", lambda request: None if request.url.startswith(inside) else outside.append(request.url))
    for file in sorted({*book.rglob("*.html")} - {*(book / "_static").rglob("*.html")}):
        page.goto(file.as_uri())
        page.wait_for_load_state()
        broken = "[...document.images].filter(image => !image.naturalWidth).map(image => image.alt)"
        assert page.evaluate(broken) == [], file.name
        assert all(seconds and seconds > 0 for seconds in page.evaluate(SILENT)), file.name
        set_formulas = "[...document.querySelectorAll('.math')].every(e => e.querySelector('mjx-container'))"
        page.wait_for_function(set_formulas)
        assert page.locator("mjx-merror, [data-mjx-error]").count() == 0, file.name
    assert said == [] and outside == []


def test_search_finds_the_notebook(book: Path, page: Any) -> None:
    page.goto((book / "search.html").as_uri() + "?q=closed-form pseudo matte")
    page.locator("#search-results").get_by_text("01 Dataset compositing").first.click()
    page.wait_for_load_state()
    assert page.url.startswith((book / "notebooks" / "01_dataset_compositing.html").as_uri())
    page.goto((book / "search.html").as_uri() + "?q=xyzzy")
    page.get_by_text("did not match any documents").wait_for()
