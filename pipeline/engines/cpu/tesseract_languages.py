"""Which languages the installed Tesseract has data for. Asked before the first page: without data, every page fails."""

from __future__ import annotations

import shutil
import subprocess

from quire.config.engines import EngineSections
from quire.config.settings import environment
from quire.processes.child_process import child_environment

_TIMEOUT_S = 300.0  # a last limit: a busy machine is slow


def lacks(settings: EngineSections) -> str:
    """What Tesseract lacks on this machine to read the languages of the settings, and how to get it."""
    return missing_for_tesseract(settings.tesseract.languages)


def missing_for_tesseract(languages: str, program: str = "tesseract") -> str:
    """What Tesseract lacks to read these, and how to get it; empty if it lacks nothing.

    `languages` as its option `-l` takes them: codes joined by "+", with a "~" before those that are not to be loaded.
    """
    path = shutil.which(program)
    if path is None:
        return f"the program {program}: apt-get install tesseract-ocr"
    try:
        there = _installed(path)
    except (OSError, subprocess.SubprocessError) as exc:
        return f"a {program} that runs: {getattr(exc, 'stderr', None) or exc}".strip()
    wanted = [code.removeprefix("~") for code in languages.split("+")]
    missing = [repr(code) for code in wanted if code not in there]
    if not missing:
        return ""
    return (
        f"data for {' and '.join(missing)} (it has {', '.join(there) or 'none'}): install the package of the language, "
        "tesseract-ocr-CODE, or name another with --set tesseract.languages=CODE"
    )


def _installed(program: str) -> list[str]:
    """The installed languages. In Tesseract's answer a line says where the data lies, then there is one for each
    language."""
    command = [program, "--list-langs"]
    listed = subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_TIMEOUT_S,
        env=environment_of_tesseract(),
    )
    return listed.stdout.splitlines()[1:]


def environment_of_tesseract() -> dict[str, str]:
    """A child process's environment, and where Tesseract finds its models if they are not in its default place."""
    folder = environment("TESSDATA_PREFIX")
    data = {"TESSDATA_PREFIX": folder} if folder else {}
    return {**child_environment(), **data, "OMP_THREAD_LIMIT": "1"}
