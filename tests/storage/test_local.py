"""Local folders: names of any bytes, links, permissions, kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from quire.config.sections import StorageSettings
from quire.config.settings import Settings
from quire.errors import NotFound
from quire.results.run_folder import claim
from quire.storage import open_folder, open_object
from quire.storage.local import TEMPORARY_PREFIX
from tests.conftest import keys_of
from tests.waiting import wait_for


def test_local_names_of_any_bytes(tmp_path: Path) -> None:
    names = [b"new\nline", b"p%41", b"h#?", b"not \xff utf-8", b" ", b".hidden", "ü".encode(), b"a\\b", b"*"]
    for name in names:
        with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
            file.write(name)
    folder = open_folder(str(tmp_path), StorageSettings())
    listed = list(folder.list())
    assert [os.fsencode(info.key) for info in listed] == sorted(names)
    for info in listed:
        assert folder.get(info.key) == os.fsencode(info.key)
        found, key = open_object(info.uri, StorageSettings())
        assert found.get(key) == os.fsencode(info.key)
        assert info.uri.encode()


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    (tmp_path / "in/sub").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/b.pdf").write_bytes(b"b")
    (tmp_path / "in/sub/a.pdf").write_bytes(b"a")
    (tmp_path / "in/file").symlink_to(tmp_path / "elsewhere/b.pdf")
    (tmp_path / "in/folder").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/sub/up").symlink_to(tmp_path / "in")
    (tmp_path / "in/itself").symlink_to("itself")
    (tmp_path / "in/dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "in/pipe")
    listed = {info.key: info.size_bytes for info in open_folder(str(tmp_path / "in"), StorageSettings()).list()}
    assert listed == {"dangling": -1, "file": 1, "folder/b.pdf": 1, "itself": -1, "sub/a.pdf": 1}


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotFound, match="no regular file"):
        open_folder(str(tmp_path), StorageSettings()).get("pipe")


def test_deep_trees_are_listed(tmp_path: Path) -> None:
    inner = tmp_path
    for _ in range(400):
        inner = inner / "d"
    inner.mkdir(parents=True)
    (inner / "a.pdf").write_bytes(b"x")
    assert keys_of(open_folder(str(tmp_path), StorageSettings())) == ["d/" * 400 + "a.pdf"]


@pytest.mark.parametrize("key", ["../a", "a/../b", "/a", "a//b", ".", "", "a\0b"])
def test_local_keys_stay_inside(tmp_path: Path, key: str) -> None:
    folder = open_folder(str(tmp_path / "out"), StorageSettings())
    with pytest.raises(NotFound, match="no name of a file"):
        folder.put(key, b"x")


def test_a_file_changed_in_place_has_another_etag(tmp_path: Path) -> None:
    folder = open_folder(str(tmp_path), StorageSettings())
    (tmp_path / "a").write_bytes(b"one")
    status, before = (tmp_path / "a").stat(), folder.info("a").etag
    (tmp_path / "b").write_bytes(b"two")
    os.utime(tmp_path / "b", ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(tmp_path / "b", tmp_path / "a")  # the same time and size, another file
    assert folder.info("a").etag != before


def test_unfinished_writes_are_not_listed(tmp_path: Path) -> None:
    (tmp_path / f"{TEMPORARY_PREFIX}0123").write_bytes(b"half")
    assert keys_of(open_folder(str(tmp_path), StorageSettings())) == []


def test_results_have_the_permissions_that_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        folder = open_folder(str(tmp_path), StorageSettings())
        folder.put("a", b"x")
        folder.put_if_absent("b", b"x")
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in "ab"] == [0o640, 0o640]


UNPRIVILEGED = """
import os, sys
from quire.config.sections import StorageSettings
from quire.errors import StorageError
from quire.storage import open_folder
if os.getuid() == 0:
    os.setuid(65534)
folder = open_folder(sys.argv[1], StorageSettings())
assert [(i.key, i.size_bytes) for i in folder.list()] == [("closed", -1), ("open.pdf", 1), ("secret.pdf", 1)]
for operation in (lambda: folder.get("secret.pdf"), lambda: folder.put("new", b""),
                  lambda: list(folder.child("closed").list()), lambda: folder.get("closed/a.pdf")):
    try:
        operation()
    except StorageError as error:
        assert sys.argv[1] in str(error) and 'denied; let the user' in str(error), error
    else:
        raise AssertionError("not refused")
"""


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that another user can reach; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory(prefix="quire-test-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def test_what_may_not_be_read_is_listed_and_refused(public_folder: Path) -> None:
    (public_folder / "closed").mkdir()
    for name in ("closed/a.pdf", "secret.pdf", "open.pdf"):
        (public_folder / name).write_bytes(b"x")
    (public_folder / "secret.pdf").chmod(0)
    (public_folder / "closed").chmod(0)
    public_folder.chmod(0o555)
    command = [sys.executable, "-c", UNPRIVILEGED, str(public_folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    finally:
        public_folder.chmod(0o755)
        (public_folder / "closed").chmod(0o755)
    assert done.returncode == 0, done.stderr


WRITER = """
import sys
from quire.config.sections import StorageSettings
from quire.storage import open_folder
folder = open_folder(sys.argv[1], StorageSettings())
body = bytes(range(256)) * 8192
for index in range(10**9):
    folder.put(f"put-{index % 50}", body)
    print("put", index, flush=True)
    folder.put_if_absent(f"create-{index}", body)
"""


def test_a_killed_writer_leaves_files_whole_or_absent(tmp_path: Path) -> None:
    """Killed at a moment that chance picks, each time further on in its work."""
    body = bytes(range(256)) * 8192
    for round_index in range(4):
        log = tmp_path / f"log-{round_index}"
        with log.open("w") as told:
            writer = subprocess.Popen(
                [sys.executable, "-c", WRITER, str(tmp_path / "out")], stdout=told, stderr=subprocess.STDOUT
            )
        try:
            _wait_for_puts(8 * (round_index + 1), log, writer)
        finally:
            writer.send_signal(signal.SIGKILL)
            writer.wait(timeout=30)
    folder = open_folder(str(tmp_path / "out"), StorageSettings())
    keys = keys_of(folder)
    assert keys
    assert all(folder.get(key) == body for key in keys)


def _wait_for_puts(number: int, log: Path, writer: subprocess.Popen[bytes]) -> None:
    def are_done() -> bool:
        assert writer.poll() is None, log.read_text()
        return log.read_text().count("put") >= number

    wait_for(f"{number} objects of the writer", are_done, saw=log.read_text)


def test_without_hard_links_put_if_absent_still_writes_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    folder = open_folder(str(tmp_path), StorageSettings())
    assert folder.put_if_absent("a", b"first")
    assert not folder.put_if_absent("a", b"second")
    assert folder.get("a") == b"first"
    assert os.listdir(tmp_path) == ["a"]


def test_what_killed_writers_left_is_swept_after_a_day(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    for name in (f"{TEMPORARY_PREFIX}old", f"{TEMPORARY_PREFIX}new", "old"):
        (tmp_path / "pages" / name).write_bytes(b"half")
    for name in (f"{TEMPORARY_PREFIX}old", "old"):
        os.utime(tmp_path / "pages" / name, (0, 0))
    for _ in range(2):
        claim(open_folder(str(tmp_path), StorageSettings()), Settings())
    assert sorted(os.listdir(tmp_path / "pages")) == [f"{TEMPORARY_PREFIX}new", "old"]
