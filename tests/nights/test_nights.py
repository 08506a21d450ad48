"""The next night from a listing, without a store; and the race for a night's name."""

from dataclasses import replace

import pytest

from quire.nights.changes import Content, gone_objects, known_objects, next_night, unknown_refs
from quire.nights.log import Night, commit_night, latest_night
from quire.records import DocumentRef, DocumentStatus
from quire.storage import Folder
from quire.tables.schema import NIGHTS

NOTHING = Night(0, NIGHTS.empty_table())


def content(doc_id: str, status: str = "ok") -> Content:
    return Content(doc_id, status, "", 1, 0, "name", "documents/shard=s.parquet", ("pages/shard=s.parquet",))


def listed(*objects: tuple[str, str]) -> dict[str, DocumentRef]:
    """A listing of URIs and etags."""
    return {uri: DocumentRef(uri, etag, 9 if etag else -1, uri) for uri, etag in objects}


def after(night: Night, listing: dict[str, DocumentRef], **found: Content) -> Night:
    following = next_night(night, known_objects(night), listing, found)
    assert following is not None
    return following


def changes(night: Night) -> dict[str, tuple[str, str]]:
    return {row["uri"]: (row["change"], row["renamed_from"]) for row in night.table.to_pylist()}


@pytest.fixture
def first() -> Night:
    return after(
        NOTHING, listed(("a", "1"), ("b", "1"), ("c", "1")), a=content("A"), b=content("B"), c=content("C")
    )


def test_each_object_that_moves_has_one_that_went(first: Night) -> None:
    """Two copies of what moved once: one of them is new."""
    night = after(first, listed(("b", "1"), ("x", "1"), ("y", "1"), ("c", "1")), x=content("A"), y=content("A"))
    assert changes(night) == {
        "a": ("deleted", ""),
        "b": ("", ""),
        "c": ("", ""),
        "x": ("renamed", "a"),
        "y": ("added", ""),
    }


@pytest.mark.parametrize(
    ("etag", "found", "change"),
    [
        ("2", content("A"), "touched"),
        ("2", content("Z"), "edited"),
        ("1", content("A", "encrypted"), "opened"),
        ("2", content("", "too_large"), "edited"),
        ("1", replace(content("A"), documents_file="documents/x", pages_files=("pages/x",)), "retried"),
        ("2", replace(content("A"), documents_file="documents/x", pages_files=()), "touched"),
    ],
)
def test_what_happened_to_an_object(first: Night, etag: str, found: Content, change: str) -> None:
    night = after(first, listed(("a", etag), ("b", "1"), ("c", "1")), a=found)
    assert changes(night) == {"a": (change, ""), "b": ("", ""), "c": ("", "")}
    (row,) = night.changes.to_pylist()
    assert (row["night"], row["etag"], row["doc_id"]) == (2, etag, found.doc_id)


def test_nothing_changes_where_bytes_cannot_be_had_or_folders_not_be_seen(first: Night) -> None:
    below = after(first, listed(("a", "1"), ("b", "1"), ("c", "1"), ("d/e", "1")), **{"d/e": content("E")})
    listing = listed(("a", "2"), ("b", "1"), ("c", "1"), ("d", ""))
    known = known_objects(below)
    assert {ref.uri for ref in unknown_refs(known, listing, ())} == {"a", "d"}
    assert gone_objects(known, listing) == set()
    assert next_night(below, known, listing, {}) is None


def test_a_tombstone_is_of_one_night(first: Night) -> None:
    second = after(first, listed(("a", "1"), ("b", "1")))
    assert changes(second)["c"] == ("deleted", "")
    third = after(second, listed(("a", "1"), ("b", "1"), ("d", "1")), d=content("D"))
    assert changes(third) == {"a": ("", ""), "b": ("", ""), "d": ("added", "")}


def test_a_status_that_is_worth_another_look(first: Night) -> None:
    night = after(first, listed(("a", "2"), ("b", "1"), ("c", "1")), a=content("A", "encrypted"))
    listing = listed(("a", "2"), ("b", "1"), ("c", "1"))
    assert not list(unknown_refs(known_objects(night), listing, ()))
    retried = unknown_refs(known_objects(night), listing, [DocumentStatus.ENCRYPTED])
    assert [ref.uri for ref in retried] == ["a"]


def test_a_night_is_recorded_once(folder: Folder, first: Night) -> None:
    assert latest_night(folder).number == 0
    assert commit_night(folder, first)
    other = after(NOTHING, listed(("z", "1")), z=content("Z"))
    assert not commit_night(folder, other)
    stored = latest_night(folder)
    assert stored.number == 1 and stored.table.equals(first.table)
    assert stored.table.schema.metadata[b"quire.table"] == b"nights/1"
