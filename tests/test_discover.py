"""Sources → documents: folders, single objects, patterns, manifests, what is left out, what is missing."""

from __future__ import annotations

import fnmatch
import os
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import StorageSettings
from pipeline.discover import compile_pattern, discover, is_match, read_manifest
from pipeline.errors import ConfigError, CredentialsRefused, NotFound
from pipeline.storage import Folder, open_object
from tests.conftest import TestBucket

SETTINGS = StorageSettings()


def settings_of(folder: Folder) -> StorageSettings:
    return getattr(folder, "settings", SETTINGS)


def names(source: str, settings: StorageSettings = SETTINGS, exclude: tuple[str, ...] = ()) -> list[str]:
    return [ref.name for ref in discover([source], settings, exclude)]


@pytest.fixture
def scans(folder: Folder) -> Folder:
    for key in ["in/a.pdf", "in/b.PNG", "in/sub/c.pdf", "in/sub/deep/d.pdf", "in/.hidden", "in-other/x.pdf"]:
        folder.put(key, key.encode())
    return folder


def test_a_folder_gives_everything_below_it(scans: Folder) -> None:
    expected = [".hidden", "a.pdf", "b.PNG", "sub/c.pdf", "sub/deep/d.pdf"]
    assert names(f"{scans.uri}/in", settings_of(scans)) == expected
    assert names(f"{scans.uri}/in/", settings_of(scans)) == expected


def test_references_lead_to_the_objects(scans: Folder) -> None:
    settings = settings_of(scans)
    for ref in discover([f"{scans.uri}/in"], settings):
        found, key = open_object(ref.uri, settings)
        assert found.get(key) == f"in/{ref.name}".encode()
        assert (ref.size_bytes, ref.etag) == (len(f"in/{ref.name}"), found.info(key).etag)


def test_a_single_object(scans: Folder) -> None:
    assert names(f"{scans.uri}/in/sub/c.pdf", settings_of(scans)) == ["c.pdf"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("in/*.pdf", ["a.pdf"]),
        ("in/**/*.pdf", ["a.pdf", "sub/c.pdf", "sub/deep/d.pdf"]),
        ("in/**", [".hidden", "a.pdf", "b.PNG", "sub/c.pdf", "sub/deep/d.pdf"]),
        ("in*/*.pdf", ["in/a.pdf", "in-other/x.pdf"]),
        ("in/s*/*.pdf", ["sub/c.pdf"]),
        ("in/?.[pP][!d]*", ["b.PNG"]),
        ("**/d.pdf", ["in/sub/deep/d.pdf"]),
    ],
)
def test_patterns(scans: Folder, pattern: str, expected: list[str]) -> None:
    assert sorted(names(f"{scans.uri}/{pattern}", settings_of(scans))) == sorted(expected)


def test_an_object_whose_name_looks_like_a_pattern_is_taken_for_itself(folder: Folder) -> None:
    folder.put("scan [1]*.pdf", b"x")
    folder.put("scan 1x.pdf", b"x")
    assert names(f"{folder.uri}/scan [1]*.pdf", settings_of(folder)) == ["scan [1]*.pdf"]
    assert names(f"{folder.uri}/scan 1*.pdf", settings_of(folder)) == ["scan 1x.pdf"]


def test_sources_come_in_turn_and_each_once(scans: Folder) -> None:
    sources = [f"{scans.uri}/in/sub", f"{scans.uri}/in/a.pdf", f"{scans.uri}/in/sub"]
    found = [ref.name for ref in discover(sources, settings_of(scans))]
    assert found == ["c.pdf", "deep/d.pdf", "a.pdf"]


@pytest.mark.parametrize("source", ["absent", "absent.pdf", "in/*.docx", "absent/**/*.pdf", "in/a.pdf/below"])
def test_what_matches_nothing_is_named(scans: Folder, source: str) -> None:
    with pytest.raises(NotFound) as caught:
        names(f"{scans.uri}/{source}", settings_of(scans))
    assert source in str(caught.value)


def test_the_results_folder_is_passed_over(scans: Folder) -> None:
    settings = settings_of(scans)
    excluded = (f"{scans.uri}/in/sub",)
    assert names(f"{scans.uri}/in", settings, excluded) == [".hidden", "a.pdf", "b.PNG"]
    with_slash = (f"{scans.uri}/in/s/", f"{scans.uri}/in/sub/")
    assert names(f"{scans.uri}/in", settings, with_slash) == [".hidden", "a.pdf", "b.PNG"]
    assert names(f"{scans.uri}/in/sub", settings, excluded) == []


def test_the_results_folder_is_known_by_any_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real/out").mkdir(parents=True)
    for name in ("real/a.pdf", "real/out/a.md"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    assert names("link", exclude=(str(tmp_path / "real/out"),)) == ["a.pdf"]
    assert names("real", exclude=("link/out",)) == ["a.pdf"]


def test_relative_sources_start_at_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.pdf").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    for source in ("in", "in/a.pdf", "*/a.pdf", ".", f"file://{tmp_path}/in"):
        assert [ref.uri for ref in discover([source], SETTINGS)] == [str(tmp_path / "in/a.pdf")]


def test_local_names_that_are_not_unicode(tmp_path: Path) -> None:
    with open(os.path.join(os.fsencode(tmp_path), b"b\xff%.pdf"), "wb") as file:
        file.write(b"x")
    (ref,) = discover([str(tmp_path)], SETTINGS)
    assert ref.name == "b%FF%.pdf"
    assert ref.uri == f"file://{tmp_path}/b%FF%25.pdf"
    found, key = open_object(ref.uri, SETTINGS)
    assert found.get(key) == b"x"


def test_awkward_keys_come_out_with_the_rest(s3: TestBucket) -> None:
    keys = ["in//b.pdf", "in/../a.pdf", "in/a%2F#?.pdf", "in/a.pdf", "in/\x7f.pdf"]
    for key in [*keys, "in/", "in/sub/"]:
        s3.put(key, b"" if key.endswith("/") else b"x")
    refs = list(discover([f"{s3.uri}/in"], s3.settings))
    assert [ref.uri for ref in refs] == [f"{s3.uri}/{key}" for key in sorted(keys)]
    assert [ref.name for ref in refs] == [key.removeprefix("in/") for key in sorted(keys)]


# Manifests


def test_a_manifest_gives_its_lines_in_order(s3: TestBucket, tmp_path: Path) -> None:
    s3.put("in/a b%41.pdf", b"12345")
    s3.put("in//b.pdf", b"123")
    local = tmp_path / "c.pdf"
    local.write_bytes(b"1")
    lines = [
        "# scans of the first quarter",
        f"{s3.uri}/in/a b%41.pdf",
        "",
        f"{s3.uri}/in/absent.pdf",
        f"{s3.uri}/in//b.pdf",
        f"{local}\r",
        "gs://elsewhere/d.pdf",
        "s3://no-such-bucket-here/e.pdf",
        "   ",
        "/nowhere/f\0.pdf",
        f"{s3.uri}/in/g\udcff.pdf",
        "s3://no bucket/h.pdf",
    ]
    text = "\ufeff" + "\n".join(lines)
    s3.put("lists/today.txt", text.encode(errors="surrogateescape"))
    (tmp_path / "list").write_bytes(text.encode(errors="surrogateescape"))
    expected = [
        (f"{s3.uri}/in/a b%41.pdf", f"{s3.name}/in/a b%41.pdf", 5),
        (f"{s3.uri}/in/absent.pdf", f"{s3.name}/in/absent.pdf", -1),
        (f"{s3.uri}/in//b.pdf", f"{s3.name}/in//b.pdf", 3),
        (str(local), str(local).lstrip("/"), 1),
        ("gs://elsewhere/d.pdf", "gs://elsewhere/d.pdf", -1),
        ("s3://no-such-bucket-here/e.pdf", "no-such-bucket-here/e.pdf", -1),
        ("/nowhere/f\0.pdf", "nowhere/f\0.pdf", -1),
        (f"{s3.uri}/in/g%FF.pdf", f"{s3.name}/in/g%FF.pdf", -1),
        ("s3://no bucket/h.pdf", "s3://no bucket/h.pdf", -1),
    ]
    for uri in (f"{s3.uri}/lists/today.txt", str(tmp_path / "list")):
        refs = list(read_manifest(uri, s3.settings))
        assert [(ref.uri, ref.name, ref.size_bytes) for ref in refs] == expected
        assert all(bool(ref.etag) == (ref.size_bytes >= 0) for ref in refs)
        assert list(discover([f"@{uri}"], s3.settings)) == refs
        assert list(discover([f"@{uri}"], s3.settings, exclude=[str(tmp_path / "out")])) == refs


def test_a_manifest_is_read_as_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"x")
    (tmp_path / "list").write_text(f"{tmp_path}/a.pdf\n" * 5000)
    documents = read_manifest(str(tmp_path / "list"), SETTINGS)
    assert next(documents).size_bytes == 1
    (tmp_path / "a.pdf").unlink()
    assert [ref.size_bytes for ref in documents].count(-1) > 4900


def test_a_manifest_left_half_way_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    (tmp_path / "list").write_text("/absent\n" * 100)
    documents = read_manifest(str(tmp_path / "list"), SETTINGS)
    next(documents)
    documents.close()  # type: ignore[attr-defined]
    assert os.listdir(tmp_path / "temporary") == []


def test_an_absent_or_empty_manifest_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("# nothing\n\n")
    with pytest.raises(NotFound, match="absent"):
        names(f"@{tmp_path}/absent")
    with pytest.raises(NotFound, match=r"empty.*no lines"):
        names(f"@{tmp_path}/empty")


def test_a_manifest_names_local_files_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.pdf").write_bytes(b"x")
    (tmp_path / "list").write_text("in/a.pdf\n./in/../in/a.pdf\n")
    monkeypatch.chdir(tmp_path)
    refs = list(discover(["@list"], SETTINGS))
    assert [(ref.uri, ref.name) for ref in refs] == [(str(tmp_path / "in/a.pdf"), "in/a.pdf")] * 2


# Refusals


@pytest.mark.parametrize("source", ["gs://bucket/in", "https://example.org/a.pdf", "s3://", "s3:///in"])
def test_other_stores_are_refused(source: str) -> None:
    with pytest.raises(ConfigError):
        names(source)


def test_a_pattern_for_the_bucket_is_refused() -> None:
    with pytest.raises(ConfigError, match="names no bucket"):
        names("s3://scans-*/in")


def test_missing_credentials_are_reported(moto_bucket: TestBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(CredentialsRefused, match="no AWS credentials found"):
        names(f"{moto_bucket.uri}/in", moto_bucket.settings)


# Patterns by themselves


@given(st.text("ab*?[]!-^&~|\\.z", max_size=8), st.text("ab[]!-^\\.z", max_size=6))
def test_within_a_name_patterns_mean_what_they_mean_in_a_shell(pattern: str, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert is_match([name], compile_pattern(pattern)) == (
            pattern == "**" or fnmatch.fnmatchcase(name, pattern)
        )


@pytest.mark.parametrize(
    ("pattern", "key", "expected"),
    [
        ("**", "a/b/c", True),
        ("**/c", "c", True),
        ("**/c", "a/b/c", True),
        ("a/**/c", "a/c", True),
        ("a/**/c", "a/x/y/c", True),
        ("a/**/c", "b/c", False),
        ("a/**", "a/b/c", True),
        ("a/**", "a", False),
        ("**/**/**/c", "a/c", True),
        ("scan**/**.pdf", "scan1/a.pdf", True),
        ("scan**/**.pdf", "scan1.pdf", False),
        ("a**/**/c", "ab/x/c", True),
        ("*/*", "a/b/c", False),
        ("a**c", "a/c", False),
        ("a*c", "a\nc", True),
    ],
)
def test_patterns_over_folders(pattern: str, key: str, expected: bool) -> None:
    assert is_match(key.split("/"), compile_pattern(pattern)) == expected


def test_patterns_take_no_unbounded_time() -> None:
    assert not is_match(["a"] * 200, compile_pattern("**/" * 50 + "b"))
