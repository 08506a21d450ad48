"""How long listing a million keys takes, and how much memory.

    python -m quire.jobs.bench.listing [--keys 1000000] [--local FOLDER] [--documents]

Without `--local` a server of its own, in another process, makes up the pages of an S3 listing, so that what
is measured is this side alone. With it, that many empty files are made in the folder first (a thousand to a
directory) and left there. `--documents` measures `discover` on top of the listing.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from quire.config.sections import StorageSettings
from quire.planning.discover import discover
from quire.storage import open_folder

_PAGE_KEYS = 1000


@dataclass(frozen=True, slots=True)
class Measured:
    """`growth_mb`: peak resident memory above what it was before the first key."""

    num_keys: int
    wall_s: float
    cpu_s: float
    growth_mb: float

    def __str__(self) -> str:
        per_key_us = self.cpu_s / max(1, self.num_keys) * 1e6
        return (
            f"{self.num_keys:,} keys in {self.wall_s:.1f} s, {self.cpu_s:.1f} s CPU "
            f"({per_key_us:.1f} µs a key), peak memory +{self.growth_mb:.1f} MB"
        )


class ListingHandler(BaseHTTPRequestHandler):
    """Answers every GET as ListObjectsV2 over made-up keys. The server carries `num_keys`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        start = int(query.get("continuation-token", ["0"])[0])
        body = listing_page(start, int(os.environ["QUIRE_BENCH_KEYS"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


def listing_page(start: int, num_keys: int) -> bytes:
    """The page of a listing that begins at key number `start`."""
    stop = min(num_keys, start + _PAGE_KEYS)
    is_last = stop == num_keys
    contents = "".join(
        f"<Contents><Key>{made_up_key(index)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        f"<ETag>&quot;{index:032x}&quot;</ETag><Size>{index + 1}</Size>"
        f"<StorageClass>STANDARD</StorageClass></Contents>"
        for index in range(start, stop)
    )
    token = "" if is_last else f"<NextContinuationToken>{stop}</NextContinuationToken>"
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><EncodingType>url</EncodingType>'
        f"<IsTruncated>{'false' if is_last else 'true'}</IsTruncated>{token}{contents}</ListBucketResult>"
    ).encode()


def made_up_key(index: int) -> str:
    return f"in/batch-{index // _PAGE_KEYS:06d}/document-{index:09d}.pdf"


def serve() -> None:
    """Run the server until killed; its port is the first line of output."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), ListingHandler)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


@contextmanager
def made_up_bucket(num_keys: int) -> Generator[StorageSettings]:
    """A bucket of any name with that many keys."""
    environment = {**os.environ, "QUIRE_BENCH_KEYS": str(num_keys)}
    command = [sys.executable, "-m", "quire.jobs.bench.listing", "--serve"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None  # asked for above
            port = int(server.stdout.readline())
            yield StorageSettings(endpoint_url=f"http://127.0.0.1:{port}", region="us-east-1", anonymous=True)
        finally:
            server.kill()


def make_files(root: Path, num_keys: int) -> None:
    for index in range(num_keys):
        path = root / made_up_key(index)
        if index % _PAGE_KEYS == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def measure(uri: str, settings: StorageSettings, is_discovery: bool) -> Measured:
    """Count what a listing gives, without keeping it. The first key is taken before the clock starts, so
    that loading the client is not measured."""
    keys = discover([uri], settings) if is_discovery else open_folder(uri, settings).list()
    num_keys = sum(1 for _ in zip(range(1), keys, strict=False))
    memory_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    num_keys += sum(1 for _ in keys)
    return Measured(
        num_keys=num_keys,
        wall_s=time.perf_counter() - wall_s,
        cpu_s=time.process_time() - cpu_s,
        growth_mb=(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory_kb) / 1024,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=re.split(r"\n\n", __doc__)[0])
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--local", type=Path)
    parser.add_argument("--documents", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve()
    elif arguments.local:
        make_files(arguments.local, arguments.keys)
        result = measure(str(arguments.local / "in"), StorageSettings(), arguments.documents)
        sys.stdout.write(f"local: {result}\n")
    else:
        with made_up_bucket(arguments.keys) as settings:
            result = measure("s3://made-up/in/", settings, arguments.documents)
        sys.stdout.write(f"S3: {result}\n")


if __name__ == "__main__":
    main()
