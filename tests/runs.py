"""Whole runs for tests: sample folders, the command in a process of its own, and reading results back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from quire.config.sections import StorageSettings
from quire.config.settings import Settings
from quire.config.settings_file import load_settings
from quire.records import PageResult, PageTiming, Shard
from quire.storage import Folder, open_folder
from tests import documents
from tests.waiting import wait_for_end

# One rendering process, since a second one costs a test more to start than it saves.
SCRIPTED = (
    "engine.name=scripted",
    "plan.pages_per_shard=8",
    "plan.documents_per_part=6",
    "render.num_workers=1",
)


def scripted_settings(tmp_path: Path, *overrides: str, **scripted: Any) -> Settings:
    """Settings of a run on the scripted engine, with a journal and a document cache of its own."""
    own = [f"scripted.journal={tmp_path / 'journal'}", f"flow.cache_dir={tmp_path / 'cache'}"]
    own += [f"scripted.{key}={_toml(value)}" for key, value in scripted.items()]
    return load_settings(None, [*SCRIPTED, *own, *overrides])


def write_samples(folder: Path, num_documents: int = 12) -> dict[str, int]:
    """A folder of small PDFs, one of them longer than two shards. Returns the number of pages by file name."""
    folder.mkdir(parents=True, exist_ok=True)
    pages: dict[str, int] = {}
    for number in range(num_documents):
        name, num_pages = f"doc{number:02d}.pdf", 19 if number == 3 else 1 + number % 4
        texts = [f"Document {number} page {index}" if index != 2 else "" for index in range(num_pages)]
        (folder / name).write_bytes(documents.pdf(texts))
        pages[name] = num_pages
    return pages


def peak_in_flight(trace: Path) -> int:
    """The most calls that the scripted engine's trace shows at the same moment."""
    calls = [tuple(map(float, line.split())) for line in trace.read_text().splitlines()]
    changes = sorted([(start, 1) for start, _ in calls] + [(end, -1) for _, end in calls])
    return max(accumulate(change for _, change in changes))


def quire(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    with subprocess.Popen(
        command(*arguments),
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            output, errors = wait_for_end(process, bound_s=240)
        finally:
            process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "quire.jobs.cli", *arguments]


def heed_ctrl_c() -> None:
    """For `preexec_fn`: a shell that puts tests into the background has them ignore it, and so would their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def set_options(settings_overrides: tuple[str, ...]) -> list[str]:
    return [argument for override in settings_overrides for argument in ("--set", override)]


def read_table(output: Path | Folder, name: str) -> pa.Table:
    """All rows of a table of a run, in the order of its files' names."""
    folder = output if not isinstance(output, Path) else open_folder(str(output), StorageSettings())
    keys = [info.key for info in folder.list(f"{name}/") if info.key.endswith(".parquet")]
    return pa.concat_tables([pq.read_table(pa.BufferReader(folder.get(key))) for key in keys])


def documents_by_name(output: Path) -> dict[str, dict[str, Any]]:
    """The rows of `documents` by the last part of their source's name."""
    return {Path(row["source_uri"]).name: row for row in read_table(output, "documents").to_pylist()}


def page_keys(table: pa.Table) -> list[tuple[str, int]]:
    rows = table.select(["source_uri", "page_index"]).to_pylist()
    return sorted((Path(row["source_uri"]).name, row["page_index"]) for row in rows)


def all_pages(pages: dict[str, int]) -> list[tuple[str, int]]:
    return sorted((name, index) for name, number in pages.items() for index in range(number))


def results(folder: Folder) -> dict[str, bytes]:
    """The files whose bytes follow from documents and settings alone, by key."""
    names = ("plan/", "pages/", "documents/", "markdown/")
    return {info.key: folder.get(info.key) for name in names for info in folder.list(name)}


class Collector:
    """A writer that keeps what it is given."""

    def __init__(self) -> None:
        self.pages: list[PageResult] = []

    def write(self, shard: Shard, pages: Any, timings: list[PageTiming]) -> bool:
        assert len(pages) == len(timings)
        self.pages += pages
        return True


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}" = "{entry}"' for key, entry in value.items()) + "}"
    return str(value).lower() if isinstance(value, bool) else str(value)
