"""The command as a person uses it: help, messages, exit codes, Ctrl-C and going on."""

import errno
import json
import logging
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from jobs import cli
from jobs.cli import main
from pipeline.engines.scripted_engine import journal_counts
from tests.documents import encrypted_pdf, pdf
from tests.runs import (
    SCRIPTED,
    all_pages,
    command,
    heed_ctrl_c,
    page_keys,
    quire,
    read_table,
    set_options,
    write_samples,
)
from tests.waiting import wait_for, wait_for_end

OPTIONS = set_options((*SCRIPTED, 'engine.modes=["tiny"]'))


@dataclass(frozen=True, slots=True)
class Ended:
    exit_code: int
    output: str
    errors: str


@pytest.fixture
def quire_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Ended]]:
    """The command in this process: what it says does not depend on the process, whose start takes a second."""
    logger = logging.getLogger("pipeline")
    level = logger.level

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["quire", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        assert isinstance(code, int)
        return Ended(code, *capsys.readouterr())

    yield run
    logger.setLevel(level)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["plan", "-h"], ["convert", "--help"], ["nightly", "-h"], ["status", "-h"]]
)
def test_help_names_every_option(quire_here: Callable[..., Ended], arguments: list[str]) -> None:
    shown = quire_here(*arguments)
    assert shown.exit_code == 0
    words = {"--help": ["plan", "convert", "status"], "plan": ["--manifest", "--output"], "status": ["--json"]}
    expected = words.get(arguments[0], ["--ray", "--engine", "--passwords", "--endpoint-url", "Exit codes"])
    for word in expected:
        assert word in shown.output


def test_plan_convert_status(tmp_path: Path) -> None:
    pages = write_samples(tmp_path / "in", 4)
    (tmp_path / "in/locked.pdf").write_bytes(encrypted_pdf("secret"))
    arguments = [str(tmp_path / "in"), "--output", str(tmp_path / "out"), *OPTIONS]
    planned = quire("plan", *arguments)
    assert planned.returncode == 0, planned.stderr
    assert "5 documents (4 ok, 1 encrypted)" in planned.stdout
    assert not (tmp_path / "out/pages").exists()
    waiting = quire("status", str(tmp_path / "out"))
    assert waiting.returncode == 5 and "0 of" in waiting.stdout

    converted = quire("convert", *arguments)
    assert converted.returncode == 3, "one document could not be read"
    assert "locked.pdf" in converted.stdout and "password" in converted.stdout

    (tmp_path / "passwords").write_text("wrong\nsecret\n")
    status = quire("status", str(tmp_path / "out"), "--json")
    assert status.returncode == 3
    told = json.loads(status.stdout)
    assert told["num_pages"] == sum(pages.values()) == sum(told["pages"].values())
    assert told["problems"] == []


def test_passwords_from_a_file_and_exit_code_zero(tmp_path: Path) -> None:
    (tmp_path / "locked.pdf").write_bytes(encrypted_pdf("secret"))
    (tmp_path / "passwords").write_text("wrong\nsecret\n")
    arguments = [str(tmp_path / "locked.pdf"), "--output", str(tmp_path / "out"), *OPTIONS]
    assert quire("convert", *arguments, "--passwords", str(tmp_path / "passwords")).returncode == 0


def test_a_manifest_and_a_glob(tmp_path: Path) -> None:
    write_samples(tmp_path / "in", 6)
    (tmp_path / "list.txt").write_text(f"# mine\n{tmp_path}/in/doc00.pdf\n\n{tmp_path}/in/gone.pdf\n")
    done = quire(
        "convert", str(tmp_path / "in/doc*[45].pdf"), "--manifest", str(tmp_path / "list.txt"),
        "--output", str(tmp_path / "out"), *OPTIONS,
    )  # fmt: skip
    assert done.returncode == 3
    assert "4 documents" in done.stderr or "3 ok, 1 unreadable" in done.stdout
    names = {name for name, _ in page_keys(read_table(tmp_path / "out", "pages"))}
    assert names == {"doc00.pdf", "doc04.pdf", "doc05.pdf"}
    assert "gone.pdf" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["convert", "--output", "out"], 1, "nothing to read"),
        (["convert", "no-such-folder", "--output", "out"], 1, "no-such-folder"),
        (["convert", "."], 2, "--output"),
        (["convert", ".", "--output", "out", "--engine", "magic"], 2, "magic"),
        (["convert", ".", "--output", "out", "--set", "engine.nam=x"], 1, "nearest known one is engine.name"),
        (["convert", ".", "--output", "out", "--set", 'engine.modes=["gundamm"]'], 1, "gundam"),
        (["status", "nowhere"], 1, "no output folder of Quire"),
        (["convert", "https://example.org/a.pdf", "--output", "out"], 1, "s3://"),
        (["frobnicate"], 2, "No such command"),
    ],
)
def test_errors_say_what_and_what_next(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    quire_here: Callable[..., Ended],
    arguments: list[str],
    exit_code: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pdf").write_bytes(pdf())
    if "--output" in arguments and "--engine" not in arguments:
        arguments = [*arguments, *OPTIONS] if "engine.modes" not in str(arguments) else arguments
    done = quire_here(*arguments)
    assert done.exit_code == exit_code, done.errors
    assert words in done.errors


def test_what_the_machine_lacks_is_told_without_a_traceback(
    quire_here: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lack(**_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files", "model.bin")

    monkeypatch.setattr(cli.quire, "main", lack)
    done = quire_here("engines")
    assert (done.exit_code, done.output) == (1, "")
    assert "Too many open files: 'model.bin': let this process open more files (ulimit -n)" in done.errors


@pytest.mark.parametrize(("arguments", "exit_code"), [(["status", "nowhere"], 1), (["frobnicate"], 2)])
def test_a_process_ends_as_the_command_does(arguments: list[str], exit_code: int) -> None:
    done = quire(*arguments)
    assert (done.returncode, done.stdout) == (exit_code, "")
    assert arguments[-1] in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_cleanly_and_a_rerun_goes_on(tmp_path: Path, signal_number: int) -> None:
    pages = write_samples(tmp_path / "in", 6)
    journal = tmp_path / "journal"
    slow = [*OPTIONS, *set_options((f"scripted.journal={journal}", "scripted.seconds_per_page=0.6"))]
    arguments = ["convert", str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    run = subprocess.Popen(
        command(*arguments, *slow, "--set", "scripted.window=2"),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_ctrl_c,
    )

    def num_begun() -> int:
        assert run.poll() is None, wait_for_end(run)[1]
        return sum(journal_counts(journal).values())

    wait_for("twenty pages to be begun", lambda: num_begun() >= 20, saw=num_begun)
    run.send_signal(signal_number)
    errors = wait_for_end(run)[1]
    assert run.returncode == 130, errors
    assert "running it again goes on from there" in errors
    assert "Traceback" not in errors
    assert list((tmp_path / "out/pages").iterdir()), "what was finished is committed"
    assert quire(*arguments, *OPTIONS).returncode == 0
    assert page_keys(read_table(tmp_path / "out", "pages")) == all_pages(pages)
