"""A trial on a part of what is there: the first documents, some pages. Nothing passes for whole that is not."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from quire.api.results import Run
from quire.config.sections import StorageSettings
from quire.config.settings import Settings
from quire.engines.scripted_engine import journal_counts
from quire.errors import ConfigError, SettingsChanged
from quire.jobs.answer import Answer
from quire.jobs.convert import convert_command
from quire.jobs.nightly import nightly
from quire.jobs.plan import plan_command
from quire.jobs.status import describe_limits, status_command
from quire.planning.limits import limits
from quire.results.assemble import page_text
from quire.results.ledger import Account, take_account
from quire.run.convert import convert
from quire.run.inputs import Inputs
from quire.run.plan import make_plan
from quire.storage import Folder, open_folder
from tests import documents
from tests.runs import SCRIPTED, documents_by_name, read_table, scripted_settings, set_options, write_samples


@pytest.fixture
def out(tmp_path: Path) -> Folder:
    return open_folder(str(tmp_path / "out"), StorageSettings())


def inputs_of(tmp_path: Path, **options: Any) -> Inputs:
    return Inputs((str(tmp_path / "in"),), (), str(tmp_path / "out"), **options)


async def converted(tmp_path: Path, settings: Settings, **options: Any) -> Account:
    return await convert(inputs_of(tmp_path, **options), settings, use_ray=False)


async def test_only_the_wanted_pages_are_read_and_nothing_looks_whole_that_is_not(
    tmp_path: Path, out: Folder
) -> None:
    """Documents of 1 to 20 pages: whole, in part, of two shards, and one without any page that is wanted."""
    (tmp_path / "in").mkdir()
    for number in (1, 3, 6, 20):
        texts = [f"{number} of page {index}" for index in range(number)]
        (tmp_path / f"in/{number:02}.pdf").write_bytes(documents.pdf(texts))
    account = await converted(tmp_path, scripted_settings(tmp_path, "plan.pages=2-4,7-"))
    assert not account.problems and account.documents == {"partial": 4}
    assert account.pages == {"ocr": 2 + 3 + 17} and account.num_pages == 22
    assert not account.has_losses(), "it is as it was wanted"
    rows = documents_by_name(tmp_path / "out")
    wanted = {"01.pdf": None, "03.pdf": [1, 2], "06.pdf": [1, 2, 3], "20.pdf": [1, 2, 3, *range(6, 20)]}
    assert {name: row["page_indices"] for name, row in rows.items()} == wanted
    assert {row["num_pages"] for row in rows.values()} == {1, 3, 6, 20}
    assert rows["20.pdf"]["detail"] == "pages 2-4,7-20 of 20 are read (setting plan.pages: 2-4,7-)"
    assert rows["01.pdf"]["detail"].startswith("pages none of 1 are read")
    assert rows["01.pdf"]["text"] is None
    for page in read_table(out, "pages").to_pylist():
        row = rows[Path(page["source_uri"]).name]
        position = row["page_indices"].index(page["page_index"])
        assert page_text(row["text"], row["page_ends"], position, "\n\n") == page["markdown"]
        assert page["num_pages"] == row["num_pages"]
    markdown = (tmp_path / "out/markdown/20.pdf.md").read_text()
    assert markdown.startswith("<!-- pages 2-4,7-20 of 20 -->\n\n# Page 2 of")
    with pytest.raises(SettingsChanged, match=r"plan.pages: was '2-4,7-', now ''"):
        await converted(tmp_path, scripted_settings(tmp_path))
    await converted(tmp_path, scripted_settings(tmp_path, "plan.pages=7-,2-3,4"))  # the same pages


async def test_a_choice_that_takes_all_leaves_documents_whole(tmp_path: Path, out: Folder) -> None:
    write_samples(tmp_path / "in", 2)
    await make_plan(inputs_of(tmp_path), scripted_settings(tmp_path, "plan.pages=1-50"))
    assert take_account(out).documents == {"ok": 2}


async def test_a_page_that_is_left_out_is_missed_by_the_books_where_nobody_wants_that(
    tmp_path: Path, out: Folder
) -> None:
    """A plan that says `ok` of a document and has not all of its pages does not balance."""
    write_samples(tmp_path / "in", 3)
    await make_plan(inputs_of(tmp_path), scripted_settings(tmp_path, "plan.pages=1"))
    assert not take_account(out).problems
    part = tmp_path / "out/plan/part-000000.parquet"
    table = pq.read_table(part)
    of_status = table.schema.get_field_index("status")
    pq.write_table(table.set_column(of_status, "status", [["ok"] * len(table)]), part)
    assert len(take_account(out).problems) == 2, "the first document has one page"


async def test_the_first_documents_and_later_the_rest(tmp_path: Path, out: Folder) -> None:
    num_pages = write_samples(tmp_path / "in", 5)
    settings = scripted_settings(tmp_path)
    for limit, num_documents, noted in [(2, 2, [2]), (2, 2, [2]), (None, 5, []), (3, 5, [])]:
        account = await converted(tmp_path, settings, limit=limit)
        assert sorted(documents_by_name(tmp_path / "out")) == sorted(num_pages)[:num_documents]
        assert account.documents.total() == num_documents and not account.problems
        assert [told.num_documents for told in limits(out)] == noted
    assert set(journal_counts(tmp_path / "journal").values()) == {1}, "nothing is read twice"


async def test_a_corpus_of_some_pages_is_kept_night_by_night(tmp_path: Path, out: Folder) -> None:
    """Also with documents that have no page that is wanted, and others with the same bytes."""
    (tmp_path / "in").mkdir()
    for name, number in {"a.pdf": 1, "b.pdf": 3}.items():
        data = documents.pdf([f"{number} of page {index}" for index in range(number)])
        (tmp_path / "in" / name).write_bytes(data)
        (tmp_path / f"in/same as {name}").write_bytes(data)
    report = await nightly(inputs_of(tmp_path), scripted_settings(tmp_path, "plan.pages=2-"), use_ray=False)
    assert report.live == {"partial": 4} and report.pages == {"ocr": 2} and not report.has_failures()
    live = {Path(row["uri"]).name: row["page_indices"] for row in Run(out).live_documents.select("page_indices")}
    assert live == {"b.pdf": [1, 2], "same as b.pdf": [1, 2]}


async def test_a_limit_that_leaves_nothing_out_is_none(tmp_path: Path, out: Folder) -> None:
    write_samples(tmp_path / "in", 2)
    await make_plan(inputs_of(tmp_path, limit=2), scripted_settings(tmp_path))
    assert not limits(out)


async def test_a_limit_does_not_begin_what_it_would_not_hold_back(tmp_path: Path, out: Folder) -> None:
    write_samples(tmp_path / "in", 3)
    settings = scripted_settings(tmp_path)
    await make_plan(inputs_of(tmp_path), settings)
    with pytest.raises(ConfigError, match="3 documents planned .* more than --limit 2: run without it"):
        await converted(tmp_path, settings, limit=2)
    assert not (tmp_path / "out/pages").exists()
    await converted(tmp_path, settings, limit=3)
    await converted(tmp_path, settings, limit=2)  # all of that is done


def test_what_people_are_told(tmp_path: Path, out: Folder) -> None:
    write_samples(tmp_path / "in", 3)
    arguments = [str(tmp_path / "in"), "--output", str(tmp_path / "out"), *set_options(SCRIPTED)]

    def said(command: Any, *more: str) -> str:
        return CliRunner().invoke(command, more, catch_exceptions=False).output

    limited = f"limited    of {tmp_path}/in only the first 2 documents were taken; the rest is still to be planned"
    planned = said(plan_command, *arguments, "--limit", "2", "--pages", "1-2")
    assert "2 documents (2 ok)" in planned and limited in planned
    assert limited in said(convert_command, *arguments, "--limit", "2", "--pages", "1-2")
    assert limited in said(status_command, str(tmp_path / "out"))
    answer = Answer()
    CliRunner().invoke(status_command, [str(tmp_path / "out"), "--json"], obj=answer)
    assert [limit["num_documents"] for limit in answer.fields["limits"]] == [2]
    whole = said(convert_command, *arguments, "--pages", "1-2")
    assert "2 ok, 1 partial" in whole and "limited" not in whole
    assert not describe_limits(out)
    assert "leave out --limit and --pages" in said(plan_command, *arguments, "--estimate", "--limit", "2")
    assert "leave out --limit and --pages" in said(plan_command, *arguments, "--estimate", "--pages", "2")
    assert "write 1-5,9" in str(CliRunner().invoke(plan_command, [*arguments, "--pages", "x"]).exception)
