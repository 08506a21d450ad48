"""Documents as they come out of a crawl: each ends as it deserves, and takes nobody along."""

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pymupdf
import pytest

from quire.run.convert import convert
from quire.run.inputs import Inputs
from tests import documents
from tests.runs import read_table, scripted_settings

GOOD = documents.pdf(["an innocent neighbour"])


def big_page(width_pt: float, height_pt: float) -> bytes:
    document = pymupdf.open()
    page = document.new_page(width=width_pt, height=height_pt)
    page.insert_text((width_pt / 10, height_pt / 2), "seen from afar", fontsize=width_pt / 20)
    return bytes(document.tobytes())


def bad_resource_name() -> bytes:
    """A page that draws a resource whose name is no text, and nothing else: the name gets into the message."""
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<<>>>>"
    content = b"/\xe9\xff Do"
    return documents.raw_pdf(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
            page,
            b"<</Length %d>>stream\n%s\nendstream" % (len(content), content),
        ]
    )


CASES: dict[str, tuple[Callable[[], bytes], str, list[str]]] = {
    # name: (bytes, status of the document, outcome of each page)
    "secret.pdf": (lambda: documents.encrypted_pdf("nobody knows"), "encrypted", []),
    "known.pdf": (lambda: documents.encrypted_pdf("swordfish"), "ok", ["ocr"]),
    "owner.pdf": (documents.encrypted_pdf, "ok", ["ocr"]),
    "zero.pdf": (lambda: b"", "empty", []),
    "text.pdf": (lambda: b"Dear Sir or Madam,\nthis is no PDF.\n", "unsupported", []),
    "no-pages.pdf": (lambda: documents.page_tree_pdf(0, 0), "empty", []),
    "huge.pdf": (lambda: big_page(8400, 8400), "ok", ["ocr"]),
    "poster.pdf": (lambda: big_page(18000, 36000), "ok", ["ocr"]),
    "odd-name.pdf": (lambda: bad_resource_name(), "ok", ["failed"]),
    "bomb.pdf": (lambda: documents.page_tree_pdf(4_000_000, 1), "ok", ["failed"]),
    "blank.pdf": (lambda: documents.pdf(["", ""]), "ok", ["blank", "blank"]),
    "Same.pdf": (lambda: documents.pdf(["one case"]), "ok", ["ocr"]),
    "same.pdf": (lambda: documents.pdf(["other case"]), "ok", ["ocr"]),
    "good.pdf": (lambda: GOOD, "ok", ["ocr"]),
    "the good one again.pdf": (lambda: GOOD, "duplicate", []),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One run over all cases; a truncated copy of a longer document besides."""
    tmp_path = tmp_path_factory.mktemp("hostile")
    (tmp_path / "in").mkdir()
    for name, (make, _, _) in CASES.items():
        (tmp_path / "in" / name).write_bytes(make())
    whole = documents.pdf([f"page {i} " + "text " * 50 for i in range(6)])
    (tmp_path / "in/truncated.pdf").write_bytes(whole[: len(whole) * 2 // 3])
    inputs = Inputs((str(tmp_path / "in"),), (), str(tmp_path / "out"), passwords=("letmein", "swordfish"))
    account = asyncio.run(convert(inputs, scripted_settings(tmp_path), use_ray=False))
    return {
        "account": account,
        "out": tmp_path / "out",
        "documents": {
            Path(r["source_uri"]).name: r for r in read_table(tmp_path / "out", "documents").to_pylist()
        },
        "pages": read_table(tmp_path / "out", "pages").to_pylist(),
    }


@pytest.mark.parametrize("name", CASES)
def test_each_ends_as_it_deserves(run: dict[str, Any], name: str) -> None:
    make, status, outcomes = CASES[name]
    row = run["documents"][name]
    assert row["status"] == status, row["detail"]
    pages = [page for page in run["pages"] if Path(page["source_uri"]).name == name]
    assert [page["outcome"] for page in pages] == outcomes, [page["failure"] for page in pages]
    if status not in ("ok", "duplicate"):
        assert row["detail"], "a person is told why"
        assert row["text"] is None
    if status != "encrypted":
        assert row["doc_id"] == hashlib.sha256((run["out"].parent / "in" / name).read_bytes()).hexdigest()
    assert make


def test_a_truncated_document_gives_what_is_left_of_it(run: dict[str, Any]) -> None:
    row = run["documents"]["truncated.pdf"]
    assert row["status"] == "truncated"
    pages = [page for page in run["pages"] if page["doc_id"] == row["doc_id"]]
    assert len(pages) == row["num_pages"]


def test_every_document_has_one_row_and_passwords_are_nowhere(run: dict[str, Any]) -> None:
    assert len(run["documents"]) == len(CASES) + 1
    assert run["account"].documents.total() == len(CASES) + 1
    for path in run["out"].rglob("*"):
        if path.is_file():
            assert b"swordfish" not in path.read_bytes(), path


def test_names_that_differ_in_case_have_files_of_their_own(run: dict[str, Any]) -> None:
    names = {path.name.lower() for path in (run["out"] / "markdown").iterdir()}
    assert len(names) == sum(bool(outcomes) for _, _, outcomes in CASES.values()) + bool(
        run["documents"]["truncated.pdf"]["num_pages"]
    )


def test_names_with_dots_and_control_characters_stay_in_the_output(tmp_path: Path, moto_bucket: Any) -> None:
    keys = ["in/../escape.pdf", "in//double.pdf", "in/bell\x07.pdf", "in/ünïcode%2F.pdf", "in/a b?.pdf"]
    for number, key in enumerate(keys):
        moto_bucket.put(key, documents.pdf([f"document {number}"]))
    settings = scripted_settings(tmp_path, f"storage.endpoint_url={moto_bucket.settings.endpoint_url}")
    inputs = Inputs((f"{moto_bucket.uri}/in/",), (), str(tmp_path / "out"))
    account = asyncio.run(convert(inputs, settings, use_ray=False))
    assert account.pages == {"ocr": len(keys)}
    written = list(tmp_path.rglob("*.md"))
    assert len(written) == len(keys)
    assert all((tmp_path / "out/markdown").resolve() in path.resolve().parents for path in written)
    uris = set(read_table(tmp_path / "out", "pages")["source_uri"].to_pylist())
    assert uris == {f"{moto_bucket.uri}/{key}" for key in keys}
