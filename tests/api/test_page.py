"""One page, read by a call."""

import asyncio
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

import quire
from quire.errors import ConfigError, UnreadableDocument
from quire.records import Outcome
from tests import documents


def written(words: str) -> Image.Image:
    image = Image.new("RGB", (900, 300), "white")
    ImageDraw.Draw(image).text((60, 100), words, fill="black", font=ImageFont.load_default(48))
    return image


def test_a_page_of_each_kind_of_source(tmp_path: Path) -> None:
    path = tmp_path / "two.pdf"
    path.write_bytes(documents.pdf(["first", ""]))
    with quire.PageReader(engine="scripted", scripted={"num_words": 4}) as reader:
        pages = [
            reader.read(path),
            reader.read(str(path)),
            reader.read(path.read_bytes()),
            reader.read(written("x")),
        ]
        assert all(page.outcome == Outcome.OCR and page.markdown for page in pages)
        assert pages[0].markdown == pages[1].markdown == pages[2].markdown != pages[3].markdown
        assert reader.read(path, page_index=1).outcome == Outcome.BLANK
        for index in (-1, 2):
            with pytest.raises(ConfigError, match="has 2 pages"):
                reader.read(path, page_index=index)
        with pytest.raises(UnreadableDocument, match="nowhere.pdf"):
            reader.read(tmp_path / "nowhere.pdf")
        with pytest.raises(UnreadableDocument, match="encrypted"):
            reader.read(documents.encrypted_pdf("secret"))


def test_a_notebook_has_a_loop_already_and_a_real_engine_reads() -> None:
    async def cell() -> str:
        return quire.read_page(
            written("Quire reads this"), engine="rapidocr", rapidocr={"num_processes": 1}
        ).markdown

    assert asyncio.run(cell()).strip() == "Quire reads this"


def test_what_makes_no_sense_is_told_before_anything_starts() -> None:
    with pytest.raises(ConfigError, match="nearest known one is engine.modes"):
        quire.read_page(b"", engine={"name": "scripted", "mode": "x"})
    with pytest.raises(ConfigError, match="unknown engine 'none-such'"):
        quire.PageReader(engine="none-such")
