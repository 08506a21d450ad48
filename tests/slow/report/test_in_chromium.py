"""The report of a real run, of odd pages and hostile names, looked at in a real headless Chromium."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pymupdf
import pytest
from playwright.async_api import Browser, Page, async_playwright

from quire.results.ledger import Account
from quire.run.convert import convert
from quire.run.inputs import Inputs
from tests import documents
from tests.runs import quire, scripted_settings
from tests.waiting import wait_in_loop

_COLOURS = {"red": (200, 30, 30), "green": (20, 140, 60), "blue": (40, 60, 200), "purple": (130, 40, 150)}
_PWN = "window.pwned=1"
# As a path it is a folder and a file in it; in a page that does not escape, a picture that runs a script.
_HOSTILE_NAME = f"a<b</script><img src=x onerror={_PWN}>.pdf"
_HOSTILE_TEXT = f"</blockquote></script><script>{_PWN}</script><img src=x onerror='{_PWN}'><svg/onload={_PWN}>"
_SECTIONS = ("account", "funnel", "throughput", "attempts", "tokens", "failures", "worst", "slowest", "settings")


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        reason = "no Chromium here: apt-get install chromium"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program)
        yield browser
        await browser.close()


@dataclass(slots=True)
class Watched:
    """A page, and all that it asked for or complained about."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


async def _open(browser: Browser, path: Path, width_px: int, scheme: Any = "light") -> Watched:
    page = await browser.new_page(viewport={"width": width_px, "height": 800}, color_scheme=scheme)
    watched = Watched(page)
    page.on("request", lambda request: watched.requests.append(request.url))
    page.on("console", lambda message: watched.complaints.append(message.text))
    page.on("pageerror", lambda error: watched.complaints.append(str(error)))
    page.on("dialog", lambda dialog: watched.complaints.append(dialog.message))
    await page.goto(path.as_uri())
    return watched


def _coloured(colours: list[str], size_pt: tuple[float, float] = (595, 842)) -> bytes:
    """Pages that are a coloured rectangle in a white margin."""
    document = pymupdf.open()
    for colour in colours:
        page = document.new_page(width=size_pt[0], height=size_pt[1])
        page.draw_rect((60, 60, size_pt[0] - 60, size_pt[1] - 60), fill=[c / 255 for c in _COLOURS[colour]])
    return bytes(document.tobytes())


async def _run(tmp_path: Path) -> Account:
    """A run with pages that are read, blank, rejected, read at a second attempt and never read; then a hostile text for
    every page, as a document might hold it, and hostile names of hosts."""
    hostile = tmp_path / "in" / _HOSTILE_NAME
    hostile.parent.mkdir(parents=True)
    colours = _coloured(["red", "green", "blue"])
    (tmp_path / "in/colours.pdf").write_bytes(colours)
    (tmp_path / "in/lying.pdf").write_bytes(_coloured(["purple"], (842, 595)))
    (tmp_path / "in/blank.pdf").write_bytes(documents.pdf(["", "A page with a line"]))
    (tmp_path / "in/broken.pdf").write_bytes(b"%PDF-1.7 and nothing else")
    (tmp_path / "in/locked.pdf").write_bytes(documents.encrypted_pdf("secret"))
    hostile.write_bytes(documents.pdf(["One", "Two", "Three"]))
    colours_id, hostile_id = (hashlib.sha256(data).hexdigest()[:16] for data in (colours, hostile.read_bytes()))
    behaviours = {f"{colours_id}:0": "reject", f"{colours_id}:1": "loop", f"{hostile_id}:1": "always_truncate"}
    settings = scripted_settings(tmp_path, 'engine.modes=["base", "gundam@0.2"]', pages=behaviours)
    inputs = Inputs((str(tmp_path / "in"),), (), str(tmp_path / "out"), ("secret",))
    account = await convert(inputs, settings, use_ray=False)
    for name, columns in (("pages", ("markdown", "raw_text")), ("timings", ("host",))):
        for path in (tmp_path / "out" / name).iterdir():
            table = pq.read_table(path)
            for column in columns:
                texts = [f"{_HOSTILE_TEXT} {row % 2}" for row in range(table.num_rows)]
                table = table.set_column(table.schema.names.index(column), column, pa.array(texts))
            pq.write_table(table, path)
    return account


async def test_the_report_in_a_browser(tmp_path: Path, chromium: Browser) -> None:
    account = await _run(tmp_path)
    shown = quire("report", str(tmp_path / "out"))
    assert shown.returncode == 0, shown.stderr
    path = tmp_path / "out/report/index.html"
    assert f"Report: {path}" in shown.stdout

    wide = await _open(chromium, path, 1280)
    await _check_sections(wide.page, account)
    await _check_thumbnails(wide.page)
    await _check_keyboard(wide.page)
    narrow = await _open(chromium, path, 390, "dark")
    backgrounds = [await watched.page.evaluate(_BACKGROUND) for watched in (wide, narrow)]
    assert backgrounds == ["rgb(251, 250, 248)", "rgb(20, 23, 26)"], "light and dark"
    for watched in (wide, narrow):
        assert await watched.page.evaluate(_OVERFLOW_PX) == 0
        assert [url for url in watched.requests if not url.startswith("data:")] == [path.as_uri()]
        assert watched.complaints == []
        assert await watched.page.evaluate("window.pwned") is None
        assert await watched.page.evaluate("document.querySelectorAll('script').length") == 0

    assert await wide.page.evaluate(_ADD_A_PICTURE_THAT_FAILS) == "it has failed"
    await wait_in_loop("the browser's complaint of the script", lambda: wide.complaints)
    assert await wide.page.evaluate("window.pwned") is None, "the page's policy holds where escaping would not"
    assert all("Content Security Policy" in complaint for complaint in wide.complaints) and wide.complaints


# Done when the picture's own script, which hears of the failure first, has had its chance.
_ADD_A_PICTURE_THAT_FAILS = f"""new Promise(done => {{
    document.body.insertAdjacentHTML("beforeend", "<img src=x onerror={_PWN}>");
    document.body.lastElementChild.addEventListener("error", () => done("it has failed"));
    setTimeout(() => done("waited 60 s for the picture to fail, in vain"), 60_000);
}})"""
_BACKGROUND = "getComputedStyle(document.body).backgroundColor"
_OVERFLOW_PX = "Math.max(0, document.documentElement.scrollWidth - innerWidth)"


async def _check_sections(page: Page, account: Account) -> None:
    """Every section is there to be seen, with the numbers of the books."""
    assert account.documents == {"ok": 5, "truncated": 1} and account.pages == {"ocr": 7, "blank": 1, "failed": 2}
    for name in _SECTIONS:
        assert await page.locator(f"section#{name} h2").is_visible()
        assert await page.locator(f"nav a[href='#{name}']").count() == 1
    assert "Each of the 10 planned pages has exactly one row" in await page.locator("header .state").inner_text()
    numbers = await page.locator("#account dl > div").evaluate_all(
        "all => all.map(each => [each.querySelector('dt').innerText, each.querySelector('dd').firstChild.textContent])"
    )
    assert dict(numbers) == {
        **{"Documents": "6", "Pages planned": "10", "Rows written": "10"},
        **{"Read": "7", "Blank": "1", "Failed": "2"},
    }
    funnel = await page.locator("table.funnel tbody tr").evaluate_all(
        "all => all.map(row => [...row.querySelectorAll('th, td:not(.bar)')].map(cell => cell.innerText.trim()))"
    )
    assert [row[:2] for row in funnel] == [
        *(["listed", "6"], ["readable", "5"], ["not duplicates", "5"]),
        *(["planned", "10"], ["rendered", "10"], ["with ink", "9"]),
        *(["read at the first attempt", "6"], ["read", "7"]),
    ]
    assert "−1 cut off before the first page" in funnel[1][2] and "+1 read at a later attempt" in funnel[-1][2]
    for drawing in await page.locator("figure svg").all():
        box = await drawing.bounding_box()
        assert box and box["width"] > 200 and box["height"] > 40
        assert await drawing.get_attribute("aria-label")
    assert await page.locator("figure svg").count() == 9
    assert {"truncated", "scripted_reject"} <= set(await page.locator("#failures td b").all_inner_texts())
    assert _HOSTILE_NAME in await _text(page, "#worst")
    assert _HOSTILE_TEXT in await _text(page, "#worst")
    assert f"{_HOSTILE_TEXT} 1" in await _text(page, "#throughput table")


async def _text(page: Page, selector: str) -> str:
    """As it stands in the page, line breaks aside."""
    return str(await page.locator(selector).first.text_content())


async def _check_thumbnails(page: Page) -> None:
    """All pictures can be decoded, and show the page that they say they show, undistorted."""
    await page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    pictures = await page.locator("#worst img, #slowest img").evaluate_all(_LOOK_AT_PICTURES)
    assert len(pictures) == 2 * 10 - 3, "a blank page is in the slowest only; the encrypted one shows words twice"
    seen = set()
    for alt, natural_px, shown_px, centre in pictures:
        assert natural_px[0] > 0 and abs(natural_px[0] / natural_px[1] - shown_px[0] / shown_px[1]) < 0.02
        name, number = Path(alt.partition(" of ")[2]).name, int(re.findall(r"\d+", alt)[0])
        colour = {"colours.pdf": ["red", "green", "blue"], "lying.pdf": ["purple"]}.get(name)
        if colour:
            seen.add(colour[number - 1])
            assert all(abs(a - b) < 12 for a, b in zip(centre, _COLOURS[colour[number - 1]], strict=True)), alt
            assert (natural_px[0] > natural_px[1]) == (name == "lying.pdf")
    assert seen == set(_COLOURS)
    assert "encrypted: give --passwords to see it" in await page.locator("#worst .picture p").all_inner_texts()


_LOOK_AT_PICTURES = """async pictures => {
    const look = async picture => {
        await picture.decode();
        const canvas = new OffscreenCanvas(picture.naturalWidth, picture.naturalHeight);
        const pen = canvas.getContext("2d");
        pen.drawImage(picture, 0, 0);
        const centre = pen.getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data.slice(0, 3);
        const natural = [picture.naturalWidth, picture.naturalHeight];
        return [picture.alt, natural, [picture.clientWidth, picture.clientHeight], [...centre]];
    };
    return await Promise.all(pictures.map(look));
}"""


async def _check_keyboard(page: Page) -> None:
    """The first thing that Tab reaches leads past the navigation, and shows when it has the focus."""
    await page.keyboard.press("Tab")
    focused = page.locator(":focus")
    assert await focused.get_attribute("href") == "#main"
    box = await focused.bounding_box()
    assert box and box["x"] >= 0
