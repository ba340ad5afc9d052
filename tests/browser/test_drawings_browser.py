"""Fig. 1 to 3 as a browser draws them: no text lies on another, leaves its box or the page, or is small."""

from pathlib import Path
from typing import Any

import pytest

from modnet_lib import paths

pytestmark = [pytest.mark.browser, pytest.mark.slow]
FAULTS = """() => {
  const faults = [], page = document.documentElement.viewBox.baseVal;
  const texts = [...document.querySelectorAll("text")].map(text => [text, text.getBBox()]);
  const inside = (a, b) => a.x >= b.x && a.y >= b.y &&
    a.x + a.width <= b.x + b.width && a.y + a.height <= b.y + b.height;
  const meet = (a, b) => Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x) > 0 &&
    Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y) > 3;  // lines of one label share their leading
  const boxes = [...document.querySelectorAll("rect.box")].map(box => box.getBBox());
  texts.forEach(([text, box], number) => {
    const name = text.textContent;
    if (parseFloat(getComputedStyle(text).fontSize) < 13) faults.push(name + " is small");
    if (!inside(box, page)) faults.push(name + " leaves the page");
    texts.slice(number + 1).filter(([, other]) => meet(box, other)).forEach(
      ([other]) => faults.push(name + " lies on " + other.textContent));
    boxes.filter(other => meet(box, other) && !inside(box, other)).forEach(() => faults.push(name + " leaves its box"));
  });
  return faults;
}"""


@pytest.mark.parametrize("name", ["fig1", "fig2", "fig3"])
def test_texts_keep_to_their_place(page: Any, name: str) -> None:
    page.goto((paths.NOTEBOOKS / "figures" / f"{name}.svg").as_uri())
    assert page.evaluate(FAULTS) == []


def test_a_text_in_the_wrong_place_is_noticed(page: Any, tmp_path: Path) -> None:
    svg = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 100">
      <rect class="box" x="10" y="10" width="30" height="30"/>
      <text x="20" y="30" font-size="14">too long for its box</text>
      <text x="60" y="31" font-size="14">on another</text>
      <text x="150" y="90" font-size="9">off the page</text></svg>"""
    (tmp_path / "bad.svg").write_text(svg, encoding="utf-8")
    page.goto((tmp_path / "bad.svg").as_uri())
    assert {fault.rpartition(" ")[2] for fault in page.evaluate(FAULTS)} == {"small", "page", "box", "another"}
