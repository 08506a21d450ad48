"""An estimate as it is kept: what comes back, and what is left aside because it is for something else or unreadable."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from quire.config.sections import StorageSettings
from quire.estimate.figures import Figure
from quire.estimate.record import KEY, Estimate, read_estimate, to_json, write_estimate
from quire.storage import Folder, open_folder

ESTIMATE = Estimate(
    fingerprint="abc",
    made_at="2026-01-31T02:00:00+00:00",
    num_documents=120,
    num_bytes=10**9,
    seen_documents=30,
    seen_bytes=10**8,
    seen_pages=400,
    device="A100-40G",
    num_devices=8,
    price_per_hour=2.74,
    figures={"pages": Figure(1000, 900, 1100), "gpu_hours": Figure(0.1, 0.05, 0.3)},
    notes=("speed: reckoned – für DeepSeek-OCR",),
)


def test_what_was_kept_comes_back(folder: Folder) -> None:
    write_estimate(folder, ESTIMATE)
    assert read_estimate(folder, "abc") == ESTIMATE
    assert json.loads(folder.get(KEY)) == json.loads(to_json(ESTIMATE))
    later = replace(ESTIMATE, seen_documents=60)
    write_estimate(folder, later)
    assert read_estimate(folder, "abc") == later


def test_there_need_not_be_one_and_one_for_other_settings_counts_for_nothing(folder: Folder) -> None:
    assert read_estimate(folder, "abc") is None
    write_estimate(folder, ESTIMATE)
    assert read_estimate(folder, "of other settings") is None


@pytest.mark.parametrize(
    "kept",
    [
        b"not JSON",
        b"[]",
        b"{}",
        b'{"fingerprint": "abc"}',
        b'{"fingerprint": "abc", "figures": {"pages": 7}, "notes": []}',
        b'{"fingerprint": "abc", "figures": {}, "notes": [], "of_a_later_version": 1}',
        b"\xff\xfe",
    ],
)
def test_what_cannot_be_read_is_left_aside_with_a_word(
    tmp_path: Path, kept: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    folder = open_folder(str(tmp_path), StorageSettings())
    folder.put(KEY, kept)
    assert read_estimate(folder, "abc") is None
    assert KEY in caplog.text
