"""Tesseract as an engine: what it reads, and what becomes of hangs and crashes."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from quire.engines.cpu.tesseract_engine import TesseractEngine, parse_tsv
from quire.engines.cpu.tesseract_languages import missing_for_tesseract
from quire.errors import EngineAway, EngineDead, MissingDependency, PageRejected, QuireError
from quire.processes.cage import CageMode
from quire.records import Request
from tests.engines import drawing
from tests.engines.drawing import as_page
from tests.runs import quire, set_options, write_samples
from tests.waiting import wait_in_loop

REQUEST = Request("native")


@pytest.fixture
async def engine() -> AsyncIterator[TesseractEngine]:
    if shutil.which("tesseract") is None and "CI" not in os.environ:
        pytest.skip("tesseract is not on PATH")
    engine = TesseractEngine(1)
    yield engine
    await engine.close()


async def test_two_columns(engine: TesseractEngine) -> None:
    result = await engine.recognize(as_page(drawing.two_columns()), REQUEST)
    assert result.blocks is not None
    assert (result.blocks[0].label, result.blocks[0].text) == ("sub_title", "A History of the Harbour")
    body = " ".join(block.text for block in result.blocks[1:])
    assert body.rindex("length of its keel") < body.index("Winter storms")
    assert all(0 <= edge <= 1 for block in result.blocks for edge in block.box or ())
    assert result.mean_logprob is not None
    assert result.mean_logprob < 0


async def test_a_photo_is_an_empty_page(engine: TesseractEngine) -> None:
    result = await engine.recognize(as_page(drawing.photo()), REQUEST)
    assert (result.text, result.blocks, result.mean_logprob) == ("", (), None)


async def test_pages_at_once_keep_to_themselves(engine: TesseractEngine) -> None:
    first, second = as_page(drawing.one_column()), as_page(drawing.two_columns())
    alone = [await engine.recognize(page, REQUEST) for page in (first, second)]
    together = await asyncio.gather(*(engine.recognize(page, REQUEST) for page in (first, second)))
    assert list(together) == alone


def _program(folder: Path, script: str) -> str:
    path = folder / "tesseract-stand-in"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("while :; do :; done", "engine_timeout"),
        ("exec sleep 1000", "engine_timeout"),
        ("echo broken >&2; exit 3", "engine_crash"),
        ("kill -9 $$", "engine_crash"),
    ],
)
async def test_faults(tmp_path: Path, script: str, kind: str) -> None:
    engine = TesseractEngine(1, page_cpu_s=1.0, executable=_program(tmp_path, script), stuck_after_s=1.0)
    try:
        with pytest.raises(PageRejected) as caught:
            await engine.recognize(as_page(np.zeros((900, 900, 3), np.uint8)), REQUEST)
    finally:
        await engine.close()
    assert caught.value.kind == kind


async def test_a_process_that_is_killed_once_costs_no_page(tmp_path: Path) -> None:
    """As where the machine was short of memory."""
    real, killed = shutil.which("tesseract"), tmp_path / "killed"
    script = f"test -e '{killed}' || {{ touch '{killed}'; kill -9 $$; }}; exec {real} \"$@\""
    engine = TesseractEngine(1, cage="off", executable=_program(tmp_path, script))
    read = await engine.recognize(as_page(drawing.two_columns()), REQUEST)
    await engine.close()
    assert killed.exists() and read.text


async def test_a_program_that_was_stopped_is_no_fault_of_the_page(tmp_path: Path) -> None:
    program = _program(tmp_path, "kill -STOP $$")
    engine = TesseractEngine(1, executable=program, stuck_after_s=1.0)
    with pytest.raises(QuireError, match="two Tesseract processes could not work.*it was stopped"):
        await engine.recognize(as_page(drawing.photo()), REQUEST)
    await engine.close()


async def test_close_ends_what_runs(tmp_path: Path) -> None:
    started = tmp_path / "started"
    engine = TesseractEngine(1, cage="off", executable=_program(tmp_path, f"touch '{started}'; exec sleep 60"))
    task = asyncio.create_task(engine.recognize(as_page(drawing.photo()), REQUEST))
    await wait_in_loop("the program to run", lambda: started.exists() or task.done(), saw=lambda: task)
    assert not task.done(), task
    await engine.close()
    with pytest.raises(EngineDead):
        await task
    with pytest.raises(EngineDead):
        await engine.recognize(as_page(drawing.photo()), REQUEST)


async def test_close_ends_what_is_being_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TesseractEngine(1, page_cpu_s=1.0, executable=_program(tmp_path, "exec sleep 60"))
    start = asyncio.create_subprocess_exec

    async def start_while_closing(*arguments: Any, **options: Any) -> asyncio.subprocess.Process:
        process = await start(*arguments, **options)
        await engine.close()
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start_while_closing)
    with pytest.raises(EngineDead):  # and not the page's failure after a second
        await engine.recognize(as_page(drawing.photo()), REQUEST)


def test_a_missing_program_says_what_to_install() -> None:
    with pytest.raises(MissingDependency, match="apt-get install tesseract-ocr"):
        TesseractEngine(1, executable="no-such-tesseract")


@pytest.mark.parametrize(
    ("languages", "missing"),
    [
        ("eng", ""),
        ("eng+osd", ""),
        ("eng+~osd", ""),
        ("klingon", "data for 'klingon' (it has eng, "),
        ("eng+klingon+~nosuch", "data for 'klingon' and 'nosuch' (it has "),
        ("", "data for ''"),
    ],
)
def test_languages_without_data_are_named(engine: TesseractEngine, languages: str, missing: str) -> None:
    assert missing_for_tesseract(languages).startswith(missing)
    assert bool(missing_for_tesseract(languages)) == bool(missing)


def test_a_program_that_does_not_run_is_quoted(tmp_path: Path) -> None:
    broken = _program(tmp_path, "echo 'no such library' >&2; exit 127")
    assert missing_for_tesseract("eng", broken) == f"a {broken} that runs: no such library"


@pytest.mark.parametrize("cage", get_args(CageMode))
async def test_a_program_that_is_gone_is_no_pages_fault(tmp_path: Path, cage: CageMode) -> None:
    program = _program(tmp_path, "exit 0")
    engine = TesseractEngine(1, cage=cage, executable=program)
    Path(program).unlink()
    with pytest.raises(EngineAway, match="cannot be run"):
        await engine.recognize(as_page(np.zeros((9, 9, 3), np.uint8)), REQUEST)


def _convert(tmp_path: Path, languages: str, **variables: str) -> tuple[int, str]:
    write_samples(tmp_path / "in", 2)
    options = [
        f"tesseract.languages={languages}",
        f"flow.cache_dir={tmp_path / 'cache'}",
        "tesseract.num_processes=1",
    ]
    source, output = str(tmp_path / "in"), str(tmp_path / "out")
    done = quire(
        "convert", source, "--output", output, "--engine", "tesseract", *set_options(tuple(options)), **variables
    )
    return done.returncode, done.stderr


def test_a_language_that_is_not_there_stops_a_run_before_it_begins(
    tmp_path: Path, engine: TesseractEngine
) -> None:
    exit_code, words = _convert(tmp_path, "klingon")
    assert exit_code == 1
    (line,) = words.splitlines()
    assert "the engine tesseract needs data for 'klingon' (it has eng" in line and "tesseract.languages" in line
    assert not (tmp_path / "out").exists()


def test_a_tesseract_that_fails_on_every_page_stops_the_run_and_leaves_no_row(tmp_path: Path) -> None:
    """Each page would be `engine_crash`, for good."""
    script = 'test "$1" = --list-langs && printf "List:\\neng\\n" && exit; echo "no room for data" >&2; exit 3'
    _program(tmp_path, script)
    (tmp_path / "tesseract-stand-in").rename(tmp_path / "tesseract")
    exit_code, words = _convert(tmp_path, "eng", PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert exit_code == 1
    assert "fails on a page of Quire's own, too: engine_crash" in words.splitlines()[-1]
    assert "no room for data" in words.splitlines()[-1]
    assert not (tmp_path / "out/pages").exists()


def test_quotes_in_words_are_just_characters() -> None:
    head = "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext"
    rows = [
        '5\t1\t1\t1\t1\t1\t10\t20\t30\t9\t91.5\t"Quoted',
        "5\t1\t1\t1\t1\t2\t44\t20\t30\t9\t80\tword",
        "4\t1",
    ]
    words = parse_tsv("\n".join([head, *rows]))
    assert [word.line.text for word in words] == ['"Quoted', "word"]
    assert words[0].line.box == (10, 20, 40, 29)
    assert words[0].line.score == pytest.approx(0.915)
