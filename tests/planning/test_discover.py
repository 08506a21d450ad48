"""Sources → documents: folders, single objects, patterns, manifests, what is left out, what is missing."""

from __future__ import annotations

import fnmatch
import os
import warnings
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.config.sections import StorageSettings
from quire.errors import ConfigError, CredentialsRefused, NotFound
from quire.planning.discover import discover, read_manifest, refuse_own_output
from quire.planning.discover.leftovers import is_leftover
from quire.planning.discover.patterns import compile_pattern, is_match
from quire.storage import Folder, open_object
from tests.conftest import TestBucket

SETTINGS = StorageSettings()


def settings_of(folder: Folder) -> StorageSettings:
    return getattr(folder, "settings", SETTINGS)


def names(source: str, settings: StorageSettings = SETTINGS, output: str = "") -> list[str]:
    return [ref.name for ref in discover([source], settings, output)]


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


@pytest.mark.parametrize(
    "source",
    [
        "[2024] Reports",
        "[2024] Reports/",
        "[2024] Reports/*.pdf",
        "[2024] Reports/sub [x]/**",
        "*/[2024] R*/a.pdf",
    ],
)
def test_a_folder_whose_name_looks_like_a_pattern_is_taken_for_itself(folder: Folder, source: str) -> None:
    for key in ["[2024] Reports/a.pdf", "[2024] Reports/sub [x]/b.pdf", "2 Reports/c.pdf", "x/2 R/a.pdf"]:
        folder.put(key, b"x")
    expected = {
        "[2024] Reports": ["a.pdf", "sub [x]/b.pdf"],
        "[2024] Reports/": ["a.pdf", "sub [x]/b.pdf"],
        "[2024] Reports/*.pdf": ["a.pdf"],
        "[2024] Reports/sub [x]/**": ["b.pdf"],
        "*/[2024] R*/a.pdf": ["x/2 R/a.pdf"],
    }
    assert names(f"{folder.uri}/{source}", settings_of(folder)) == expected[source]


def test_a_pattern_where_no_folder_has_its_name(folder: Folder) -> None:
    folder.put("2 Reports/c.pdf", b"x")
    assert names(f"{folder.uri}/[2024] Reports/*", settings_of(folder)) == ["2 Reports/c.pdf"]


RESULTS = (
    "documents/shard=1.parquet", "estimate.json", "latents/m/base/ab/abc.safetensors", "markdown/pages/a.pdf.md",
    "nights/night-000001.parquet", "nights/night-000001.txt", "pages/shard=1.parquet", "plan/part-000000.parquet",
    "quire.json", "report/index.html", "timings/shard=1.parquet", "usage/0123456789abcdef0123456789abcdef.json",
)  # fmt: skip


def test_results_are_passed_over_by_what_they_are(folder: Folder) -> None:
    """Those of earlier runs, wherever they lie; documents between them are documents."""
    for key in [
        *(f"in/old/{key}" for key in RESULTS),
        "in/a.pdf",
        "in/old/pages/b.pdf",
        "in/pages/shard=1.parquet",
    ]:
        folder.put(key, b"{}")
    expected = ["a.pdf", "old/pages/b.pdf", "pages/shard=1.parquet"]
    assert names(f"{folder.uri}/in", settings_of(folder)) == expected
    with pytest.raises(NotFound, match="all that is there are 1 results of Quire"):
        names(f"{folder.uri}/in/old/plan", settings_of(folder))


def test_the_output_is_known_before_it_says_what_it_is(folder: Folder) -> None:
    for key in ["in/a.pdf", "in/out/estimate.json", "in/out/b.pdf"]:
        folder.put(key, b"{}")
    source, output = f"{folder.uri}/in", f"{folder.uri}/in/out"
    assert names(source, settings_of(folder), output) == ["a.pdf", "out/b.pdf"]
    assert names(source, settings_of(folder), f"{output}/") == ["a.pdf", "out/b.pdf"]


def test_the_output_is_known_by_any_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real/out").mkdir(parents=True)
    for name in ("real/a.pdf", "real/out/estimate.json"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    assert names("link", output=str(tmp_path / "real/out")) == ["a.pdf"]
    assert names("real", output="link/out") == ["a.pdf"]


@pytest.mark.parametrize(
    ("source", "output", "is_refused"),
    [
        ("in", "in", True),
        ("in/scans", "in", True),
        ("in/*.pdf", "in/", True),
        ("in/a.pdf", ".", True),
        ("link/scans", "in", True),
        ("in", "link", True),
        ("in", "in/out", False),
        ("in", "in-text", False),
        ("in/*.pdf", "in/*", False),
        ("s3://b/in", "s3://b/in/", True),
        ("s3://b/in/scans", "s3://b/in", True),
        ("s3://b/in/a.pdf", "s3://b", True),
        ("s3://b/in", "s3://b/in/out", False),
        ("s3://b/in", "s3://b/in-text", False),
        ("s3://b/in", "in", False),
        ("@in/list", "in", False),
    ],
)
def test_what_is_read_and_what_is_written_are_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, output: str, is_refused: bool
) -> None:
    (tmp_path / "in/scans").mkdir(parents=True)
    (tmp_path / "link").symlink_to("in")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) if is_refused else nullcontext() as refused:
        refuse_own_output(["s3://other/x", source], output)
    if is_refused:
        assert f"the source {source} is the output folder {output}, or lies in it: write to another" in str(
            refused.value
        )


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
        "ftp://elsewhere/d.pdf",
        "s3://no-such-bucket-here/e.pdf",
        "   ",
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
        ("ftp://elsewhere/d.pdf", "ftp://elsewhere/d.pdf", -1),
        ("s3://no-such-bucket-here/e.pdf", "no-such-bucket-here/e.pdf", -1),
        (f"{s3.uri}/in/g%FF.pdf", f"{s3.name}/in/g%FF.pdf", -1),
        ("s3://no bucket/h.pdf", "s3://no bucket/h.pdf", -1),
    ]
    for uri in (f"{s3.uri}/lists/today.txt", str(tmp_path / "list")):
        refs = list(read_manifest(uri, s3.settings))
        assert [(ref.uri, ref.name, ref.size_bytes) for ref in refs] == expected
        assert all(bool(ref.etag) == (ref.size_bytes >= 0) for ref in refs)
        assert list(discover([f"@{uri}"], s3.settings)) == refs
        assert list(discover([f"@{uri}"], s3.settings, output=str(tmp_path / "out"))) == refs


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
    (tmp_path / "list").write_text(f"{tmp_path}/list\n" + "/absent\n" * 100)
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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_a_manifest_as_shells_write_it(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "ä.pdf").write_bytes(b"1")
    (tmp_path / "b.pdf").write_bytes(b"1")
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    (tmp_path / "list").write_bytes(f"{mark}# ä\r\n{tmp_path}/ä.pdf\r\n{tmp_path}/b.pdf\r\n".encode(encoding))
    assert [ref.uri for ref in read_manifest(str(tmp_path / "list"), SETTINGS)] == [
        str(tmp_path / "ä.pdf"),
        str(tmp_path / "b.pdf"),
    ]


@pytest.mark.parametrize(
    "data",
    ["/a.pdf\n/b.pdf\n".encode("utf-16-le"), b"/a.pdf\n/b\0.pdf\n", "/a.pdf\n".encode("utf-32"), b"\xff\xfe/\0a"],
    ids=["UTF-16 without a mark", "a zero byte", "UTF-32", "half a character"],
)
def test_a_manifest_that_is_no_text_is_refused_as_a_whole(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "list").write_bytes(data)
    with pytest.raises(ConfigError, match=r"list is neither UTF-8 nor UTF-16.*save it as UTF-8"):
        next(read_manifest(str(tmp_path / "list"), SETTINGS))


@pytest.mark.parametrize("line", ['"{}"', "  {} ", "'{}'", "{},1"])
def test_a_manifest_of_which_nothing_is_there_is_refused_as_a_whole(tmp_path: Path, line: str) -> None:
    """As spreadsheets export, or people type."""
    (tmp_path / "a.pdf").write_bytes(b"1")
    first = line.format(tmp_path / "a.pdf")
    (tmp_path / "list").write_text(f"{first}\n/absent.pdf\n")
    with pytest.raises(NotFound) as refused:
        next(read_manifest(str(tmp_path / "list"), SETTINGS))
    assert f"list names is there, or may be seen; its first line is {first!r}" in str(refused.value)


def test_a_path_that_cannot_be_looked_up_is_that_lines_own(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"1")
    (tmp_path / "loop.pdf").symlink_to("loop.pdf")
    lines = [tmp_path / "loop.pdf", tmp_path / ("x" * 300), tmp_path / ("y/" * 3000) / "z.pdf", tmp_path / "a.pdf"]
    (tmp_path / "list").write_text("".join(f"{line}\n" for line in lines))
    refs = list(read_manifest(str(tmp_path / "list"), SETTINGS))
    assert [(ref.uri, ref.size_bytes) for ref in refs] == [
        *((str(line), -1) for line in lines[:3]),
        (str(lines[3]), 1),
    ]


def test_a_listing_goes_on_beside_what_cannot_be_looked_up(tmp_path: Path) -> None:
    (tmp_path / "loop.pdf").symlink_to("loop.pdf")
    (tmp_path / "z.pdf").write_bytes(b"1")
    found = [(ref.name, ref.size_bytes) for ref in discover([str(tmp_path)], SETTINGS)]
    assert found == [("loop.pdf", -1), ("z.pdf", 1)]
    assert names(str(tmp_path / "loop.pdf")) == ["loop.pdf"]


def test_a_pattern_may_be_longer_than_a_files_name(tmp_path: Path) -> None:
    (tmp_path / "zz.pdf").write_bytes(b"1")
    assert names(f"{tmp_path}/[{'az' * 200}]z.pdf") == ["zz.pdf"]


def test_a_manifest_names_local_files_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.pdf").write_bytes(b"x")
    (tmp_path / "list").write_text("in/a.pdf\n./in/../in/a.pdf\n")
    monkeypatch.chdir(tmp_path)
    refs = list(discover(["@list"], SETTINGS))
    assert [(ref.uri, ref.name) for ref in refs] == [(str(tmp_path / "in/a.pdf"), "in/a.pdf")] * 2


# Leftovers


@pytest.mark.parametrize("name", [
    ".DS_Store", "a/.ds_store", "Icon\r", "__MACOSX/._a.pdf", "Thumbs.db", "x/thumbs.db", "ehthumbs_vista.db",
    "Desktop.ini", "~$report.docx", ".~lock.report.odt#", ".directory", ".nfs00000000012ab", ".gitkeep", ".keep",
    "_SUCCESS",
])  # fmt: skip
def test_what_programs_leave_beside_documents(name: str) -> None:
    assert is_leftover(name)


@pytest.mark.parametrize(
    "name",
    ["a.pdf", ".hidden.pdf", "DS_Store", "_a.pdf", "~a.pdf", "x~$a.pdf", "Thumbs.db/a.pdf", "desktop.ini.pdf"],
)
def test_what_is_meant(name: str) -> None:
    assert not is_leftover(name)


# Refusals


@pytest.mark.parametrize("source", ["ftp://bucket/in", "https://example.org/a.pdf?x=1", "s3://", "s3:///in"])
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
    assert not is_match([*["a"] * 500, "c"], compile_pattern("**/a/" * 20 + "**/b"))
    assert is_match(["a"] * 500, compile_pattern("**/a/" * 20 + "**"))
