"""Every table of a run opens in what people read tables with, with the rows that are there.

The readers are in a folder of their own, which `make` fills: pyarrow imports pandas wherever it finds it, and each
command of each test would wait for that.
"""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pymupdf
import pytest

from quire.jobs.nightly import nightly
from quire.run.inputs import Inputs
from tests import documents
from tests.runs import read_table, scripted_settings
from tests.waiting import BOUND_S

READERS = Path(sys.prefix) / "readers"

# In a process of its own: these libraries start threads, and warn of each other.
PROGRAM = """
import glob, json, sys
import datasets, duckdb, pandas, polars
from datatrove.pipeline.readers import ParquetReader

output, cache = sys.argv[1:]
texts = {"pages": "markdown", "documents": "text", "plan": "uri", "timings": "host", "nights": "uri"}
found = {}
for table, text in texts.items():
    files = f"{output}/{table}/*.parquet"
    readers = {
        "datasets": lambda: datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=cache),
        "datatrove": lambda: list(ParquetReader(f"{output}/{table}", glob_pattern="*.parquet", text_key=text).run()),
        "duckdb": lambda: duckdb.sql(f"from read_parquet('{files}', hive_partitioning = false)").fetchall(),
        "pandas": lambda: pandas.concat(map(pandas.read_parquet, glob.glob(files))),
        "polars": lambda: polars.read_parquet(files, hive_partitioning=False),
    }
    for name, read in readers.items():
        try:
            found.setdefault(table, {})[name] = len(read())
        except Exception as exc:
            found.setdefault(table, {})[name] = repr(exc)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a night over a document that says much of itself, one that is blank, one that is none, and a copy."""
    directory = tmp_path_factory.mktemp("run")
    (directory / "in").mkdir()
    titled = pymupdf.open(stream=documents.pdf(["one", "two"]))
    titled.set_metadata({"title": "T", "author": "A", "producer": "P", "creationDate": "D:20240102"})
    held = {
        "titled.pdf": titled.tobytes(),
        "copy.pdf": titled.tobytes(),
        "blank.pdf": documents.pdf([""]),
        "no.pdf": b"no",
    }
    for name, data in held.items():
        (directory / "in" / name).write_bytes(data)
    return directory / "out"


@pytest.fixture(scope="module")
def found(output: Path) -> dict[str, Any]:
    """The number of rows, or what went wrong, by table and reader."""
    if not READERS.exists():
        reason = f"no readers of tables in {READERS}: make {READERS.parent.name}/readers-installed"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    inputs = Inputs((str(output.parent / "in"),), (), str(output))
    asyncio.run(nightly(inputs, scripted_settings(output.parent, 'engine.modes=["tiny"]'), use_ray=False))
    given = {
        "PYTHONPATH": str(READERS),
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(output.parent / "hub"),
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(output), str(output.parent / "cache")],
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        timeout=BOUND_S,
    )
    assert done.returncode == 0, done.stderr
    rows: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return rows


@pytest.mark.parametrize("table", ["pages", "documents", "plan", "timings", "nights"])
def test_a_table_opens_everywhere(output: Path, found: dict[str, Any], table: str) -> None:
    rows = read_table(output, table)
    expected = dict.fromkeys(("datasets", "datatrove", "duckdb", "pandas", "polars"), rows.num_rows)
    if table == "documents":  # datatrove passes over those without a text
        expected["datatrove"] = sum(map(bool, rows["text"].to_pylist()))
    if table == "pages":
        expected["datatrove"] = sum(map(bool, rows["markdown"].to_pylist()))
    assert found[table] == expected
