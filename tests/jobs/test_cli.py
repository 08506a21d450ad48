"""The command as a person uses it: help, messages, exit codes, Ctrl-C and going on."""

import contextlib
import errno
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from quire.engines.scripted_engine import journal_counts
from quire.jobs import cli
from quire.jobs.cli import main
from tests.documents import encrypted_pdf, pdf, pdf_with_files
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
    logger = logging.getLogger("quire")
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
    (tmp_path / "passwords").write_bytes(b"\xef\xbb\xbfsecret\r\n")  # as some editors do
    arguments = [str(tmp_path / "locked.pdf"), "--output", str(tmp_path / "out"), *OPTIONS]
    assert quire("convert", *arguments, "--passwords", str(tmp_path / "passwords")).returncode == 0


def test_files_that_no_one_means_are_recorded_and_no_failure(
    tmp_path: Path, quire_here: Callable[..., Ended]
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.pdf").write_bytes(pdf())
    (tmp_path / "in/._b.pdf").write_bytes(pdf(["a document all the same"]))
    (tmp_path / "in/.DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (tmp_path / "in/._a.pdf").write_bytes(b"\0\5\x16\7")
    (tmp_path / "in/.gitkeep").write_bytes(b"")
    arguments = [str(tmp_path / "in"), "--output", str(tmp_path / "out"), *OPTIONS]
    night = quire_here("nightly", *arguments)
    assert night.exit_code == 0 and "live        5 objects: 3 ignored, 2 ok" in night.output
    status = quire_here("status", str(tmp_path / "out"))
    assert status.exit_code == 0 and "3 ignored, 2 ok" in status.output
    rows = read_table(tmp_path / "out", "plan").to_pylist()
    assert {Path(row["uri"]).name for row in rows if row["status"] == "ignored"} == {
        ".DS_Store",
        "._a.pdf",
        ".gitkeep",
    }
    (tmp_path / "in/notes.txt").write_bytes(b"no document, and somebody's")
    assert quire_here("convert", *arguments).exit_code == 3


def test_status_says_that_documents_have_files_inside(tmp_path: Path, quire_here: Callable[..., Ended]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.pdf").write_bytes(pdf_with_files([b"a.xml"]))
    (tmp_path / "in/b.pdf").write_bytes(pdf())
    assert quire_here("convert", str(tmp_path / "in"), "--output", str(tmp_path / "out"), *OPTIONS).exit_code == 0
    status = quire_here("status", str(tmp_path / "out"))
    assert status.exit_code == 0 and "1 document has files inside, which are not read" in status.output
    [row] = [row for row in read_table(tmp_path / "out", "documents").to_pylist() if row["name"] == "a.pdf"]
    assert row["detail"] == "1 embedded file is not read (a.xml)"
    assert {"name": "num_embedded_files", "value": "1"} in row["metadata"]


def test_a_folder_that_is_reached_twice_is_read_once(tmp_path: Path, quire_here: Callable[..., Ended]) -> None:
    (tmp_path / "in/real").mkdir(parents=True)
    (tmp_path / "in/real/a.pdf").write_bytes(pdf())
    (tmp_path / "in/link").symlink_to("real")
    (tmp_path / "in/real/back").symlink_to("..")
    planned = quire_here("plan", str(tmp_path / "in"), "--output", str(tmp_path / "out"), *OPTIONS)
    assert "2 documents (1 ok, 1 duplicate)" in planned.output and "1 page in 1 shard" in planned.output


def test_status_names_failed_pages(tmp_path: Path, quire_here: Callable[..., Ended]) -> None:
    (tmp_path / "a\x1b[31m.pdf").write_bytes(pdf([f"page {number}" for number in range(22)]))
    rejecting = set_options(("scripted.reject_share=1.0",))
    arguments = [str(tmp_path / "a\x1b[31m.pdf"), "--output", str(tmp_path / "out"), *OPTIONS, *rejecting]
    assert quire_here("convert", *arguments).exit_code == 3
    told = quire_here("status", str(tmp_path / "out")).output
    assert r"a\x1b[31m.pdf page 1, recognize: " in told and r"a\x1b[31m.pdf page 20, recognize: " in told
    assert "page 21" not in told and "… and 2 more; see the table pages" in told
    failed = json.loads(quire_here("status", "--json", str(tmp_path / "out")).output)["failed_pages"]
    assert len(failed) == 20 and failed[0]["page_index"] == 0
    assert (failed[0]["stage"], failed[0]["kind"]) == ("recognize", "scripted_reject")


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
        (["convert", "--output", "out"], 2, "nothing to read"),
        (["convert", "no-such-folder", "--output", "out"], 2, "no-such-folder"),
        (["convert", "."], 2, "--output"),
        (["convert", ".", "--output", "out", "--engine", "magic"], 2, "magic"),
        (["convert", ".", "--output", "out", "--set", "engine.nam=x"], 2, "nearest known one is engine.name"),
        (["convert", ".", "--output", "out", "--set", 'engine.modes=["gundamm"]'], 2, "gundam"),
        (["status", "nowhere"], 2, "no output folder of Quire"),
        (["convert", "ftp://example.org/a.pdf", "--output", "out"], 2, "s3://"),
        (["frobnicate"], 2, "No such command"),
        (["convert", ".", "--output", ""], 2, "--output is empty"),
        (["plan", "", "--output", "out"], 2, "a source"),
        (["convert", "@", "--output", "out"], 2, "a source, a manifest"),
        (["nightly", ".", "--output", "."], 2, "the source . is the output folder ., or lies in it"),
        (["plan", "a.pdf", "--output", "."], 2, "the source a.pdf is the output folder ., or lies in it"),
        (["plan", "--estimate", "a.pdf", "--output", "."], 2, "lies in it"),
        (["convert", "a.pdf", "--output", "out", "--passwords", "utf16"], 2, "utf16: it has to be UTF-8"),
        (["convert", "--manifest", "quoted", "--output", "out"], 2, "its first line is '\"a.pdf\"'"),
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
    (tmp_path / "quoted").write_text('"a.pdf"\n')
    (tmp_path / "utf16").write_text("secret\n", encoding="utf-16")
    if "--output" in arguments and "--engine" not in arguments:
        arguments = [*arguments, *OPTIONS] if "engine.modes" not in str(arguments) else arguments
    done = quire_here(*arguments)
    assert done.exit_code == exit_code, done.errors
    assert words in done.errors
    assert {path.name for path in tmp_path.iterdir()} == {"a.pdf", "quoted", "utf16"}, "nothing is left behind"


def test_a_damaged_file_is_named_in_one_line(tmp_path: Path, quire_here: Callable[..., Ended]) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf())
    output = tmp_path / "out"
    arguments = [str(tmp_path / "a.pdf"), "--output", str(output), *OPTIONS]
    assert quire_here("plan", *arguments).exit_code == 0
    status, convert = ["status", str(output)], ["convert", *arguments, "--max-cost", "1000"]
    for name, readers in {
        "quire.json": [status, convert],
        "plan/part-000000.parquet": [status, convert],
        "usage/0.json": [convert],
    }.items():
        path = output / name
        before = path.read_bytes() if path.exists() else None
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"{")
        for reader in readers:
            done = quire_here(*reader)
            told = [line for line in done.errors.splitlines() if "is damaged" in line]
            assert done.exit_code == 4 and len(told) == 1, done
            assert str(path) in told[0] and "bring it back from a copy" in told[0]
        path.unlink() if before is None else path.write_bytes(before)


def test_every_command_names_a_damaged_table(tmp_path: Path, quire_here: Callable[..., Ended]) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf())
    output = tmp_path / "out"
    arguments = [str(tmp_path / "a.pdf"), "--output", str(output), *OPTIONS]
    assert quire_here("convert", *arguments).exit_code == 0
    [pages] = (output / "pages").iterdir()
    pages.write_bytes(b"PAR1 and no more")
    for words in (
        ["status", str(output)],
        ["report", "--no-thumbnails", str(output)],
        ["convert", *arguments],
        ["convert", *arguments, "--retry-failed"],
        ["nightly", *arguments],
    ):
        done = quire_here(*words)
        told = [line for line in done.errors.splitlines() if "is damaged" in line]
        assert done.exit_code == 4 and len(told) == 1 and str(pages) in told[0], (words, done)


def test_a_fault_of_quire_is_one_line_and_its_traceback_is_kept(
    tmp_path: Path, quire_here: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        raise ExceptionGroup("of tasks", [KeyError("nobody thought of this")])

    monkeypatch.setattr(cli.quire, "main", fail)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    done = quire_here("engines")
    [kept] = tmp_path.iterdir()
    assert done.exit_code == 70 and done.errors.count("\n") == 1 and "Traceback" not in done.errors
    assert "a fault of Quire: KeyError: 'nobody thought of this'. Please report it" in done.errors
    assert str(kept) in done.errors and "in fail" in kept.read_text()
    monkeypatch.setenv("QUIRE_DEBUG", "1")
    told = quire_here("engines").errors
    assert "Traceback (most recent call last)" in told and told.splitlines()[-1].endswith(
        "its traceback, which is above"
    )


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_a_full_disk_and_a_closed_pipe_are_no_fault(
    tmp_path: Path, quire_here: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    arguments = ["plan", str(tmp_path), "--output", str(tmp_path / "out"), *OPTIONS]
    (tmp_path / "a.pdf").write_bytes(pdf())
    assert quire_here(*arguments).exit_code == 0
    with monkeypatch.context() as patched, open("/dev/full", "w") as full:
        patched.setattr(sys, "stdout", full)
        done = quire_here("status", str(tmp_path / "out"), *words)
        full.close()  # nothing is left to be written
    assert done.exit_code == 1 and done.errors.count("\n") == 1 and "make room on the disk" in done.errors
    reader, writer = os.pipe()
    os.close(reader)
    with contextlib.suppress(BrokenPipeError), monkeypatch.context() as patched, os.fdopen(writer, "w") as closed:
        patched.setattr(sys, "stdout", closed)
        done = quire_here("status", str(tmp_path / "out"), *words)
    assert (done.exit_code, done.errors) == (1, "")


def test_json_is_all_of_stdout_however_a_command_ends(tmp_path: Path, quire_here: Callable[..., Ended]) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf())
    output = str(tmp_path / "out")
    arguments = [str(tmp_path / "a.pdf"), "--output", output, *OPTIONS, "--json"]
    stopped = quire_here("convert", *arguments, "--max-cost", "0")
    told = json.loads(stopped.output)
    assert stopped.exit_code == told["exit_code"] == 6 and "limit" in told["reason"]
    assert told["num_pages"] == 1 and told["pages"] == {}
    done = quire_here("convert", *arguments)
    told = json.loads(done.output)
    assert (done.exit_code, told["exit_code"], told["reason"], told["pages"]) == (0, 0, None, {"ocr": 1})
    assert "1 page in 1 shard" in done.errors and "Markdown: " in done.errors
    assert json.loads(quire_here("status", output, "--json").output).items() > told.items()
    nowhere = quire_here("nightly", str(tmp_path / "nothing"), *arguments[1:])
    told = json.loads(nowhere.output)
    assert nowhere.exit_code == told["exit_code"] == 2 and "nothing" in told["reason"]
    assert told.keys() == {"exit_code", "reason"}


def test_help_imports_no_command() -> None:
    script = "import sys; from quire.jobs.cli import main; sys.argv = ['quire', '--help']\n"
    script += "try: main()\nfinally: print({'boto3', 'pyarrow', 'pydantic', 'tqdm', 'numpy'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert shown.stdout.endswith("set()\n") and "Convert documents to Markdown and Parquet." in shown.stdout


@pytest.mark.parametrize("name", list(cli._COMMANDS))
def test_every_command_is_where_it_is_looked_for(name: str) -> None:
    command = cli.quire.get_command(click.Context(cli.quire), name)
    assert command is not None and command.name == name


def test_ctrl_c_while_modules_are_imported_is_one_line() -> None:
    script = "import os, signal, sys\n"
    script += "class Interrupting:\n    def find_spec(self, name, *_):\n"
    script += "        if name == 'quire.jobs.cli': os.kill(os.getpid(), signal.SIGINT)\n"
    script += "sys.meta_path.insert(0, Interrupting())\nfrom quire.jobs.start import process\nprocess()"
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, preexec_fn=heed_ctrl_c
    )
    assert (ended.returncode, ended.stderr) == (130, "\nquire: interrupted before it began\n")


def test_what_the_machine_lacks_is_told_without_a_traceback(
    quire_here: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lack(**_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files", "model.bin")

    monkeypatch.setattr(cli.quire, "main", lack)
    done = quire_here("engines")
    assert (done.exit_code, done.output) == (1, "")
    assert "Too many open files: 'model.bin': let this process open more files (ulimit -n)" in done.errors


@pytest.mark.parametrize(("arguments", "exit_code"), [(["status", "nowhere"], 2), (["frobnicate"], 2)])
def test_a_process_ends_as_the_command_does(arguments: list[str], exit_code: int) -> None:
    done = quire(*arguments)
    assert (done.returncode, done.stdout) == (exit_code, "")
    assert arguments[-1] in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("variables", "exit_code", "words"),
    [
        ({"LC_ALL": "C"}, 2, "no output folder of Quire"),
        ({"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, 2, "as ascii: set PYTHONUTF8=1"),
    ],
    ids=["which Python sees through", "which it is to keep"],
)
def test_an_ascii_locale_gives_no_other_names(variables: dict[str, str], exit_code: int, words: str) -> None:
    done = quire("status", "nowhere", **variables)
    assert done.returncode == exit_code and words in done.stderr


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
