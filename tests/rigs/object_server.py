"""What servers of objects in memory have in common: one lock, whole and ranged answers, pages of a listing. Knows no
protocol; it does not know pytest.

Such a server proves that the code under test sends the requests that this repository's authors take to be the
protocol's and reads its answers, through real sockets and the real client library. It does not prove that the cloud
does the same: how it signs, throttles and encrypts is not here, and neither are its limits.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

PAGE_SIZE = 3  # keys in one page of a listing, so that every listing of a test has several


@dataclass(slots=True)
class Objects:
    """Containers by their names, each of objects by their keys. `version` goes up with each write."""

    containers: dict[str, dict[str, Stored]] = field(default_factory=dict)
    public: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)  # "GET /path", as they came
    version: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    url: str = ""

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def put(self, container: str, key: str, data: bytes) -> Stored:
        """Behind the back of the code under test; the lock must be free."""
        with self.lock:
            return self.write(container, key, data)

    def write(self, container: str, key: str, data: bytes) -> Stored:
        self.version += 1
        self.containers[container][key] = Stored(data, self.version)
        return self.containers[container][key]


@dataclass(frozen=True, slots=True)
class Stored:
    data: bytes
    version: int

    @property
    def md5(self) -> str:
        return hashlib.md5(self.data, usedforsecurity=False).hexdigest()


class ObjectHandler(BaseHTTPRequestHandler):
    """One request. `operate` is what a protocol does."""

    protocol_version = "HTTP/1.1"
    objects: Objects

    def operate(self, path: str, query: dict[str, str], body: bytes) -> None:
        raise NotImplementedError

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        with self.objects.lock:
            self.objects.requests.append(f"{self.command} {self.path}")
            self.operate(parts.path, query, body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Names of headers have `_` for `-`."""
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            if value:
                self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def error(self, status: int, code: str) -> None:
        self.answer(status, f'<?xml version="1.0"?><Error><Code>{code}</Code></Error>'.encode())

    def give(self, data: bytes, **headers: str) -> None:
        """The whole body, or the range that is asked for."""
        given = {"Last_Modified": formatdate(1_700_000_000, usegmt=True), "Accept_Ranges": "bytes", **headers}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not wanted:
            self.answer(200, data, **given)
            return
        start, end = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
        if start >= len(data):
            self.error(416, "InvalidRange")
            return
        part = data[start : end + 1]
        self.answer(206, part, Content_Range=f"bytes {start}-{end}/{len(data)}", **given)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def page_of(names: list[str], prefix: str, after: str) -> tuple[list[str], str]:
    """The keys of one page, and what to ask for the next with, empty after the last."""
    found = [name for name in sorted(names, key=str.encode) if name.startswith(prefix)]
    found = [name for name in found if name.encode() > after.encode()]
    return found[:PAGE_SIZE], found[PAGE_SIZE - 1] if len(found) > PAGE_SIZE else ""


def split_path(path: str) -> tuple[str, str]:
    container, _, key = path.lstrip("/").partition("/")
    return unquote(container), unquote(key)


@contextmanager
def serving_objects(handler: type[ObjectHandler], objects: Objects) -> Iterator[Objects]:
    """Run the server in threads of this process, on a free port of the loopback."""
    bound = type(handler.__name__, (handler,), {"objects": objects})
    server = ThreadingHTTPServer(("127.0.0.1", 0), bound)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    objects.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield objects
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
