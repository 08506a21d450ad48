"""The demo's documents are whole where they should be and broken where they should be. Quire is not run here."""

from __future__ import annotations

from pathlib import Path

import pymupdf
import pytest
from click.testing import CliRunner
from PIL import Image

from quire.jobs.demo_documents import LISTED_PASSWORD, draw_documents, main


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    draw_documents(folder)
    return folder / "documents"


def _texts(path: Path) -> list[str]:
    with pymupdf.open(path) as document:
        return [" ".join(page.get_text().split()) for page in document]


def test_drawing_again_gives_the_same_bytes_but_for_the_locked(documents: Path, tmp_path: Path) -> None:
    for path in draw_documents(tmp_path):
        relative = path.relative_to(tmp_path / "documents")
        if relative.parts[0] != "locked":
            assert path.read_bytes() == (documents / relative).read_bytes(), str(relative)


@pytest.mark.parametrize(
    ("name", "num_pages", "words"),
    [
        ("article.pdf", 2, "A library is a promise made to people who are not born yet."),
        ("two-column paper.pdf", 2, "Narrow columns are the least even"),
        ("office/invoice 2041-B.pdf", 1, "Japanese tissue, sheets 300 0.85 255.00"),
        ("Bücher – książki – 書.pdf", 1, "das größte Wörterbuch"),
        ("pamphlet with a blank page.pdf", 3, "The next page of this pamphlet is one of them."),
    ],
)
def test_a_whole_document_has_its_pages_and_its_words(
    documents: Path, name: str, num_pages: int, words: str
) -> None:
    texts = _texts(documents / name)
    assert len(texts) == num_pages
    assert words in " ".join(texts)


def test_the_middle_of_the_pamphlet_is_blank(documents: Path) -> None:
    first, middle, last = _texts(documents / "pamphlet with a blank page.pdf")
    assert first and last
    assert middle == ""


def test_the_rotated_page_is_wide_once_it_is_turned(documents: Path) -> None:
    with pymupdf.open(documents / "office/opening hours (rotated).pdf") as document:
        assert document[0].rotation == 90
        assert document[0].rect.width > document[0].rect.height


def test_the_scan_has_pictures_and_no_text(documents: Path) -> None:
    path = documents / "scans/letter.pdf"
    assert _texts(path) == ["", ""]
    with pymupdf.open(path) as document:
        images = [document.extract_image(page.get_images()[0][0]) for page in document]
    assert [image["ext"] for image in images] == ["jpeg", "jpeg"]


@pytest.mark.parametrize(("name", "num_pages"), [("scans/poster.png", 1), ("office/fax.tiff", 2)])
def test_a_picture_has_its_pages(documents: Path, name: str, num_pages: int) -> None:
    with Image.open(documents / name) as picture:
        assert getattr(picture, "n_frames", 1) == num_pages
        picture.load()


@pytest.mark.parametrize(("name", "opens"), [("password is listed.pdf", True), ("password is lost.pdf", False)])
def test_the_listed_password_opens_one_of_the_locked_documents(documents: Path, name: str, opens: bool) -> None:
    passwords = (documents.parent / "passwords.txt").read_text().split()
    assert passwords == [LISTED_PASSWORD]
    with pymupdf.open(documents / "locked" / name) as document:
        assert document.needs_pass
        assert bool(document.authenticate(passwords[0])) is opens


def test_the_broken_ones_are_broken(documents: Path) -> None:
    broken = documents / "broken"
    assert (broken / "empty.pdf").stat().st_size == 0
    assert b"%PDF" not in (broken / "really a text file.pdf").read_bytes()
    assert b"%%EOF" not in (broken / "cut off.pdf").read_bytes()[-2048:]
    assert (broken / "copy of the article.pdf").read_bytes() == (documents / "article.pdf").read_bytes()
    with pymupdf.open(broken / "cut off.pdf") as document:
        assert document.is_repaired
        assert "The vatman stood at his vat" in document[0].get_text()


def test_the_command_says_where_the_documents_are(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, [str(tmp_path / "demo")])
    assert result.exit_code == 0
    assert result.output.startswith("15 documents in ")
    assert len([path for path in (tmp_path / "demo/documents").rglob("*") if path.is_file()]) == 15


def test_a_folder_that_cannot_be_written_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "documents").write_text("a file is in the way")
    result = CliRunner().invoke(main, [str(tmp_path)])
    assert result.exit_code == 1
    assert result.output.startswith("Error: cannot write the demo's documents")
