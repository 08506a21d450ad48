"""Thumbnails of real documents: undistorted, and words where there is nothing to show."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path

from PIL import Image

from quire.config.settings import Settings
from quire.config.settings_file import load_settings
from quire.records import Outcome, PageRange
from quire.report.notable import NotablePage
from quire.report.thumbnails import Thumbnail, render_thumbnails, within_budget
from tests import documents


def _page(path: Path, data: bytes, page_index: int = 0, *, is_there: bool = True, **page: str) -> NotablePage:
    """A page of a document of these bytes at a path, where it lies or not."""
    if is_there:
        path.write_bytes(data)
    doc_id = hashlib.sha256(data).hexdigest()
    source = PageRange(str(path), "", len(data), doc_id, "application/pdf", 9, 0, 9)
    return NotablePage(source, "shard", page_index, Outcome.OCR, **page)


def _settings(tmp_path: Path) -> Settings:
    return load_settings(None, [f"flow.cache_dir={tmp_path / 'cache'}"])


async def _render(tmp_path: Path, *pages: NotablePage, passwords: tuple[str, ...] = ()) -> list[Thumbnail]:
    made = await render_thumbnails(pages, _settings(tmp_path), passwords)
    return [made[page.key] for page in pages]


def _picture(thumbnail: Thumbnail) -> Image.Image:
    kind, _, data = thumbnail.data_uri.partition(",")
    assert kind == "data:image/webp;base64"
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    assert picture.size == (thumbnail.width_px, thumbnail.height_px)
    return picture.convert("RGB")


async def test_a_page_keeps_its_aspect_and_has_no_padding(tmp_path: Path) -> None:
    upright, lying, strip = await _render(
        tmp_path,
        _page(tmp_path / "upright.pdf", documents.pdf()),
        _page(tmp_path / "lying.pdf", documents.pdf(size_pt=(842, 595))),
        _page(tmp_path / "strip.pdf", documents.pdf(size_pt=(200, 900))),
    )
    for thumbnail, aspect in ((upright, 595 / 842), (lying, 842 / 595), (strip, 200 / 900)):
        assert abs(thumbnail.width_px / thumbnail.height_px - aspect) < 0.01
        assert max(thumbnail.width_px, thumbnail.height_px) == 384
        corners = [(0, 0), (thumbnail.width_px - 1, thumbnail.height_px - 1)]
        assert all(min(_picture(thumbnail).getpixel(corner)) > 245 for corner in corners), "paper up to the edge"


async def test_words_where_there_is_nothing_to_show(tmp_path: Path) -> None:
    changed = _page(tmp_path / "changed.pdf", documents.pdf(["as it was"]))
    (tmp_path / "changed.pdf").write_bytes(documents.pdf(["as it is now"]))
    locked = documents.encrypted_pdf("secret")
    made = await _render(
        tmp_path,
        _page(tmp_path / "gone.pdf", documents.pdf(["gone"]), is_there=False),
        changed,
        _page(tmp_path / "locked.pdf", locked),
        _page(
            tmp_path / "hung.pdf",
            documents.pdf(["hung"]),
            failure_stage="rasterize",
            failure_kind="render_timeout",
        ),
        _page(tmp_path / "unmounted" / "a.pdf", documents.pdf(["far"]), is_there=False),
    )
    assert [thumbnail.data_uri for thumbnail in made] == [""] * 5
    assert [thumbnail.missing for thumbnail in made] == [
        "the document is no longer there",
        "the document has changed since",
        "encrypted: give --passwords to see it",
        "cannot be rendered: render_timeout",
        "the document cannot be reached from here",
    ]
    [opened] = await _render(tmp_path, _page(tmp_path / "locked.pdf", locked), passwords=("secret",))
    assert opened.data_uri


def test_pictures_stay_within_their_budget() -> None:
    large, small, missing = Thumbnail("x" * 4000, 1, 1), Thumbnail("x" * 400, 1, 1), Thumbnail(missing="gone")
    kept = list(within_budget([large, missing, large, large, small], 6000))
    assert kept == [large, missing, large, *[Thumbnail(missing="left out, to keep this page small")] * 2]
