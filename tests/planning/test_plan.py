"""Plans: each page in one shard, duplicates and names settled, only news planned, two planners at once."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.config.page_choice import chosen
from quire.config.sections import PlanSettings, StorageSettings
from quire.errors import DamagedResults, StorageError
from quire.planning.naming import collision_key
from quire.planning.plan import cut_shards, plan
from quire.planning.plan_log import Planned, part_key, part_keys, planned_shards, read_part, shards_of
from quire.records import Document, DocumentRef, DocumentStatus
from quire.results.ledger import take_account
from quire.run.plan import plan_totals
from quire.storage import Folder, ObjectInfo, open_folder
from quire.storage.local import LocalFolder
from quire.storage.uris import local_path
from quire.tables.keys import pages_key
from quire.tables.parquet import table_to_parquet

SETTINGS = PlanSettings(pages_per_shard=10, documents_per_part=4)


def ref(name: str, etag: str = "1") -> DocumentRef:
    return DocumentRef(f"s3://bucket/{name}", etag, 100, name)


def document(ref: DocumentRef, num_pages: int = 3, content: str = "") -> Document:
    doc_id = hashlib.sha256((content or ref.uri + ref.etag).encode()).hexdigest()
    return Document(ref.uri, ref.etag, 100, doc_id, "application/pdf", num_pages, DocumentStatus.OK)


async def probe(ref: DocumentRef) -> Document:
    """Slower for some, so that documents finish out of order."""
    await asyncio.sleep(0.001 * (len(ref.name) % 3))
    return document(ref)


async def planned(folder: Folder, refs: list[DocumentRef], prober: object = probe) -> list[Planned]:
    parts: AsyncIterator[list[Planned]] = plan(folder, refs, prober, SETTINGS, "fp")  # type: ignore[arg-type]
    return [entry async for part in parts for entry in part]


def whole_plan(folder: Folder) -> list[Planned]:
    return [entry for key in part_keys(folder) for entry in read_part(folder, key)]


@pytest.fixture
def out(tmp_path: Path) -> Folder:
    return open_folder(str(tmp_path / "out"), StorageSettings())


@given(
    st.lists(st.integers(min_value=0, max_value=60), max_size=25),
    st.sampled_from(["", "1-3,7,9-11", "5-", "2,40-"]),
)
def test_every_page_is_in_exactly_one_shard(page_counts: list[int], choice: str) -> None:
    documents = [document(ref(str(i)), num_pages) for i, num_pages in enumerate(page_counts)]
    wanted = {
        d.doc_id: [i for start, stop in chosen(choice, d.num_pages) for i in range(start, stop)] for d in documents
    }
    part = cut_shards(documents, 10, "fp", choice)
    shards = list(shards_of(part))
    pages = Counter((r.doc_id, index) for s in shards for r in s.ranges for index in range(r.start, r.stop))
    assert pages == Counter((doc_id, index) for doc_id, indices in wanted.items() for index in indices)
    assert all(0 < shard.num_pages <= 10 for shard in shards)
    assert len({shard.shard_id for shard in shards}) == len(shards)
    for entry in part:
        assert entry.page_indices == wanted[entry.document.doc_id]
        assert len(entry.shard_ids) == min(1, len(entry.page_indices)) or len(entry.page_indices) > 10
        if len(entry.shard_ids) > 1:
            (first,) = (shard for shard in shards if shard.shard_id == entry.shard_ids[0])
            assert {r.doc_id for r in first.ranges} == {entry.document.doc_id}, (
                "whose table is named after the shard"
            )
    whole = [d.doc_id for shard in shards for d in shard.documents]
    assert sorted(whole) == sorted(e.document.doc_id for e in part if len(e.shard_ids) == 1)


def test_a_shards_id_follows_from_its_content_and_the_fingerprint() -> None:
    documents = [document(ref("a")), document(ref("b"))]
    ids = [cut_shards(documents, 10, fingerprint)[0].ranges[0][0] for fingerprint in ("x", "x", "y")]
    assert ids[0] == ids[1] != ids[2]
    changed = [documents[0], replace(documents[1], doc_id="0" * 64)]
    assert cut_shards(changed, 10, "x")[0].ranges[0][0] != ids[0]


async def test_documents_keep_the_order_of_the_listing_and_survive_the_round_trip(out: Folder) -> None:
    refs = [ref("x" * (i % 5) + str(i)) for i in range(11)]
    entries = await planned(out, refs)
    assert [entry.document.uri for entry in entries] == [r.uri for r in refs]
    assert whole_plan(out) == entries
    assert len(part_keys(out)) == 3, "4 documents a part"


async def test_a_plan_of_version_1_is_read_and_gone_on_with(out: Folder) -> None:
    """Its metadata are a map, which not every program reads."""

    async def titled(ref: DocumentRef) -> Document:
        return replace(document(ref), metadata=(("title", f"Of {ref.name}"), ("producer", "x")))

    entries = await planned(out, [ref("a"), ref("b")], titled)
    table = pq.read_table(pa.BufferReader(out.get(part_key(0))))
    index, pairs = table.schema.get_field_index("metadata"), table["metadata"].to_pylist()
    as_map = pa.array([[tuple(pair.values()) for pair in row] for row in pairs], pa.map_(pa.string(), pa.string()))
    old = table.set_column(index, "metadata", as_map).replace_schema_metadata({"quire.table": "plan/1"})
    totals = plan_totals(out)
    out.put(part_key(0), table_to_parquet(old))
    assert whole_plan(out) == entries
    assert plan_totals(out) == totals, "which such a part does not tell by itself"
    assert [entry.document.uri for entry in await planned(out, [ref("b"), ref("c")], titled)] == ["s3://bucket/c"]
    assert [len(entry.document.metadata) for entry in whole_plan(out)] == [2, 2, 2]


async def test_planning_again_probes_only_what_is_new_or_changed(out: Folder) -> None:
    probed: list[str] = []

    async def counting(ref: DocumentRef) -> Document:
        probed.append(ref.name)
        return document(ref)

    await planned(out, [ref("a"), ref("b"), ref("c")], counting)
    probed.clear()
    await planned(out, [ref("a"), ref("b", "2"), ref("c"), ref("d")], counting)
    assert probed == ["b", "d"]
    assert len(whole_plan(out)) == 5


async def test_totals_come_from_the_end_of_each_part(out: Folder) -> None:
    async def some(ref: DocumentRef) -> Document:
        found = document(ref, int(ref.name), content="the same" if ref.name == "25" else "")
        return found if found.num_pages else replace(found, status=DocumentStatus.CORRUPT, size_bytes=7)

    class EndsOnly(LocalFolder):
        def get(self, key: str) -> bytes:
            raise AssertionError(f"all of {key} is read")

    await planned(out, [ref(name) for name in ("25", "0", "3", "4", "5", "6")], some)
    await planned(out, [ref("25", "2")], some)
    totals = plan_totals(EndsOnly(local_path(out.uri)))
    assert totals.documents == Counter(ok=5, corrupt=1, duplicate=1)
    assert (totals.num_pages, totals.num_bytes) == (43, 607)
    assert totals.num_shards == len(list(planned_shards(out)))
    assert totals.parts == (part_key(0), part_key(1), part_key(2))


async def test_duplicates_point_to_the_first_and_have_no_pages(out: Folder) -> None:
    async def same(ref: DocumentRef) -> Document:
        return document(ref, content="the same bytes")

    first, *rest = await planned(out, [ref("a"), ref("b")], same) + await planned(out, [ref("c")], same)
    assert first.document.status is DocumentStatus.OK
    for entry in rest:
        assert entry.document.status is DocumentStatus.DUPLICATE
        assert entry.document.duplicate_of == first.document.uri
        assert entry.ranges == ()


async def test_names_that_a_file_system_takes_for_one_are_told_apart(out: Folder) -> None:
    names = ["Report.pdf", "report.pdf", "../x", "%2E%2E/x", "REPORT.PDF"]
    entries = await planned(out, [ref(name) for name in names[:3]]) + await planned(
        out, [ref(name) for name in names[3:]]
    )
    keys = [collision_key(entry.document.output_name) for entry in entries]
    assert len(set(keys)) == len(names)
    assert entries[0].document.output_name == "Report.pdf", "the first keeps its name"


async def test_a_changed_document_keeps_its_name(out: Folder) -> None:
    (old,) = await planned(out, [ref("a.pdf")])
    (new,) = await planned(out, [ref("a.pdf", "2")])
    assert new.document.output_name == old.document.output_name


async def test_what_could_not_be_read_is_tried_again(out: Folder) -> None:
    readable = False

    async def flaky(ref: DocumentRef) -> Document:
        status = DocumentStatus.OK if readable else DocumentStatus.UNREADABLE
        return replace(document(ref, 3 if readable else 0), status=status, doc_id="aa" * 32 if readable else "")

    await planned(out, [ref("a")], flaky)
    assert await planned(out, [ref("a")], flaky) == [], "no second row that says the same"
    readable = True
    (entry,) = await planned(out, [ref("a")], flaky)
    assert entry.document.status is DocumentStatus.OK
    assert await planned(out, [ref("a")], flaky) == []


async def test_encrypted_documents_get_another_look_when_there_are_passwords(out: Folder) -> None:
    async def locked(ref: DocumentRef) -> Document:
        return replace(document(ref, 0), status=DocumentStatus.ENCRYPTED)

    await planned(out, [ref("a")], locked)
    assert await planned(out, [ref("a")]) == []
    retry = [DocumentStatus.ENCRYPTED]
    parts = [part async for part in plan(out, [ref("a")], probe, SETTINGS, "fp", retry)]
    assert [entry.document.status for entry in parts[0]] == [DocumentStatus.OK]
    assert [part async for part in plan(out, [ref("a")], probe, SETTINGS, "fp", retry)] == []


async def test_a_stray_file_in_the_log(out: Folder) -> None:
    await planned(out, [ref("old")])
    out.put("plan/notes.txt", b"mine")
    await planned(out, [ref("new")])
    assert [entry.document.uri for entry in whole_plan(out)] == ["s3://bucket/old", "s3://bucket/new"]


@pytest.mark.parametrize("gone", [0, 1])
async def test_a_gap_in_the_log_stops_all_who_read_it(out: Folder, gone: int) -> None:
    await planned(out, [ref(f"doc{i}") for i in range(12)])
    before = out.get(part_key(gone))
    out.delete(part_key(gone))
    for reader in (part_keys, take_account, plan_totals):
        with pytest.raises(DamagedResults, match=f"part-00000{gone}.parquet is missing"):
            reader(out)
    with pytest.raises(DamagedResults, match=r"Run again.*copy"):
        await planned(out, [ref("new")])
    out.put(part_key(gone), before)
    assert len(await planned(out, [ref("new")])) == 1


async def test_the_end_of_the_log_is_missed_once_its_pages_are_there(out: Folder) -> None:
    """Nothing in the log tells that there was more of it."""
    await planned(out, [ref(f"doc{i}") for i in range(12)])
    shard = list(planned_shards(out))[-1]
    out.put(pages_key(shard.shard_id), b"committed")
    out.delete(part_key(2))
    with pytest.raises(DamagedResults, match=rf"no part of the plan names.*{shard.shard_id}.*copy"):
        await planned(out, [ref("new")])


async def test_a_part_that_a_listing_passed_by_is_no_gap(tmp_path: Path) -> None:
    """A directory is read while parts are written into it."""

    class Passing(LocalFolder):
        def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
            return (info for info in super().list(prefix) if info.key != part_key(1))

    out = Passing(str(tmp_path))
    await planned(out, [ref(f"doc{i}") for i in range(12)])
    assert part_keys(out) == [part_key(0), part_key(1), part_key(2)]


async def test_two_planners_at_once_plan_each_document_once(out: Folder) -> None:
    refs = [ref(f"doc{i}") for i in range(23)]
    other = [ref(f"doc{i}") for i in range(5, 30)]
    await asyncio.gather(planned(out, refs), planned(out, other), planned(out, refs))
    uris = [entry.document.uri for entry in whole_plan(out)]
    assert Counter(uris) == Counter({f"s3://bucket/doc{i}": 1 for i in range(30)})
    names = [entry.document.output_name for entry in whole_plan(out)]
    assert len(set(names)) == 30


async def test_lost_bytes_are_planned_again_under_another_shard_name(out: Folder) -> None:
    refs = [ref("a"), ref("b")]
    await planned(out, refs)
    (first,) = {shard_id for entry in whole_plan(out) for shard_id, _, _ in entry.ranges}
    lost = {(first, document(ref("a")).doc_id)}
    assert await planned(out, refs) == []
    part = [e async for p in plan(out, refs, probe, SETTINGS, "fp", lost=lost) for e in p]
    assert [entry.document.uri for entry in part] == ["s3://bucket/a"]
    assert part[0].document.output_name == "a"
    again = [e async for p in plan(out, refs, probe, SETTINGS, "fp", lost=lost) for e in p]
    assert again == [], "the second plan of it stands"
    only = [ref("c")]
    await planned(out, only)
    same = whole_plan(out)[-1].ranges
    lost = {(same[0][0], document(ref("c")).doc_id)}
    other = [e async for p in plan(out, only, probe, SETTINGS, "fp", lost=lost) for e in p]
    assert other[0].ranges[0][0] != same[0][0], "or the shard would count as done"


async def test_duplicates_of_lost_bytes_are_looked_at_again(out: Folder) -> None:
    async def same(ref: DocumentRef) -> Document:
        return document(ref, content="the same")

    first, second, third = ref("a"), ref("b"), ref("c")
    (original, _) = await planned(out, [first, second], same)
    lost = {(original.ranges[0][0], original.document.doc_id)}
    part = [e async for p in plan(out, [second, third], same, SETTINGS, "fp", lost=lost) for e in p]
    assert [(entry.document.status.value, entry.document.duplicate_of) for entry in part] == [
        ("ok", ""),
        ("duplicate", "s3://bucket/b"),
    ]


async def test_a_prober_that_fails_stops_planning_and_leaves_no_task(out: Folder) -> None:
    async def failing(ref: DocumentRef) -> Document:
        if ref.name == "doc3":
            raise RuntimeError("the store is down")
        if ref.name not in ("doc0", "doc1", "doc2"):
            await asyncio.Event().wait()  # never done: only being given up ends it
        return document(ref)

    with pytest.raises(RuntimeError, match="the store is down"):
        await planned(out, [ref(f"doc{i}") for i in range(30)], failing)
    assert len(asyncio.all_tasks()) == 1


async def test_where_nothing_was_ever_read_nothing_is_planned_and_later_nothing_is_in_the_way(out: Folder) -> None:
    readable = {"a"}

    async def some_are_refused(ref: DocumentRef) -> Document:
        if ref.name in readable:
            return document(ref)
        return replace(
            document(ref, 0), doc_id="", status=DocumentStatus.UNREADABLE, detail=f"{ref.name} is refused"
        )

    with pytest.raises(StorageError, match="none of 3 documents can be read. The first one: x is refused"):
        await planned(out, [ref("x"), ref("y"), ref("z")], some_are_refused)
    assert whole_plan(out) == []
    assert len(await planned(out, [ref("x")], some_are_refused)) == 1, "a single one may be at fault"
    assert len(await planned(out, [ref("a"), ref("y"), ref("z")], some_are_refused)) == 3
    assert len(await planned(out, [ref("v"), ref("w"), ref("x")], some_are_refused)) == 2, (
        "the store gave others once"
    )
