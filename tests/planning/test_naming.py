"""No name of a document, however hostile, leaves the output folder or meets another's."""

import os
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.planning.naming import collision_key, safe_name, with_suffix_of


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a/b report.pdf", "a/b report.pdf"),
        ("Größe/表.pdf", "Größe/表.pdf"),
        ("../../etc/passwd", "%2E%2E/%2E%2E/etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        ("a//b", "a/%/b"),
        ("a/./b", "a/%2E/b"),
        ("nul\x00.pdf", "nul%00.pdf"),
        ("50%.pdf", "50%25.pdf"),
        ("back\\slash", "back%5Cslash"),
        ("ends.", "ends%2E"),
        ("a.md/b", "a%2Emd/b"),
        ("byte\udcff.pdf", "byte%FF.pdf"),
        ("", "%"),
        ("gpj.\u202efdp", "gpj.%E2%80%AEfdp"),
        ("a\u2067b\u2069", "a%E2%81%A7b%E2%81%A9"),
        ("\ufeffa\u200bb\u2060\u200f.pdf", "%EF%BB%BFa%E2%80%8Bb%E2%81%A0%E2%80%8F.pdf"),
        ("می\u200cخواهم.pdf", "می\u200cخواهم.pdf"),
    ],
)
def test_examples(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@given(st.text(alphabet=st.characters(codec=None), max_size=400))
def test_the_path_stays_below_the_folder_and_can_be_written(name: str) -> None:
    safe = safe_name(name)
    parts = safe.split("/")
    assert not PurePosixPath(safe).is_absolute()
    assert os.path.normpath(os.path.join("/out", safe)) == "/out/" + safe
    for part in parts:
        assert part not in ("", ".", "..")
        assert len(part.encode()) <= 200
        assert not any(ord(c) < 32 for c in part)


def test_long_names_keep_their_beginning_and_stay_apart() -> None:
    one, other = safe_name("x" * 400 + "1"), safe_name("x" * 400 + "2")
    assert one != other
    assert one.startswith("x" * 100)


@given(st.text(alphabet="%:/é", min_size=300, max_size=1024))
def test_no_name_is_longer_than_a_store_can_take(name: str) -> None:
    assert len(safe_name(name).encode()) <= 700


def test_case_and_composition_collide() -> None:
    assert collision_key("Report.PDF") == collision_key("report.pdf")
    assert collision_key("caf\u00e9") == collision_key("cafe\u0301")
    assert with_suffix_of("a", "s3://b/a") != with_suffix_of("a", "s3://b/A")
