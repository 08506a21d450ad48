"""What rendering processes ask of the kernel over the whole corpus, by strace: no sockets, no files but code and fonts.

Beside `tests/processes/test_cage.py`, which proves what they cannot do: here it is seen that they do not even try.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.corpus import CORPUS
from tests.waiting import BOUND_S

pytestmark = [
    pytest.mark.skipif(not CORPUS.is_dir(), reason="there is no corpus beside this checkout (../shared/corpus)"),
    pytest.mark.skipif("CI" not in os.environ and shutil.which("strace") is None, reason="strace is not on PATH"),
]

_RENDER = "from tests.corpus import render_first_pages; render_first_pages()"
_TRACED = "trace=socket,connect,bind,sendmmsg,execve,open,openat,creat"
_STARTED = '"quire.processes.child_process'  # strace shows the first 32 characters
_ROOT = Path(__file__).resolve().parents[2]
_READABLE = (
    *(
        "/usr/",
        "/lib/",
        "/lib64/",
        "/etc/ld.so.cache",
        "/etc/localtime",
        "/sys/devices/system/cpu",
        "/proc/self/task",
    ),
    *(sys.prefix, sys.base_prefix, str(_ROOT / "pipeline")),
)


def test_no_socket_and_no_other_file_over_the_whole_corpus(tmp_path: Path) -> None:
    command = ["strace", "-ff", "-qq", "--seccomp-bpf", "-e", _TRACED, "-e", "signal=none"]
    command += ["-o", str(tmp_path / "trace"), sys.executable, "-P", "-c", _RENDER]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=2 * BOUND_S)
    assert done.returncode == 0, done.stderr
    num_documents = int(done.stdout)
    traces = [
        trace for path in tmp_path.glob("trace.*") if (trace := _life_of_child(path.read_text(errors="replace")))
    ]
    assert traces and num_documents > 40
    calls = [call for trace in traces for call in trace]
    assert [call for call in calls if not call.startswith(("open(", "openat("))] == []
    written = [call for call in calls if re.search("O_WRONLY|O_RDWR|O_CREAT", call)]
    assert [call for call in written if "/__pycache__/" not in call] == []  # Python compiles what is new
    is_read = [call for call in calls if "O_PATH" not in call and "ENOENT" not in call]
    opened = {call.split('"')[1] for call in is_read}
    listed_by_python = {str(_ROOT)}  # as it looks for modules
    assert {path for path in opened if not path.startswith(_READABLE)} <= listed_by_python
    assert any(path.startswith("/usr/share/fonts") for path in opened) or not Path("/usr/share/fonts").is_dir()
    assert any("/encodings/" in path for path in opened), "the trace has seen files"


def _life_of_child(trace: str) -> list[str]:
    """The calls of a child process from when it is Python, nothing for other processes."""
    calls = trace.splitlines()
    starts = [number for number, call in enumerate(calls) if _STARTED in call]
    return calls[starts[-1] + 1 :] if starts else []
