"""An S3 server in memory (moto), on a free port of the loopback.

It answers conditional PUTs as AWS does. It checks no secrets and keeps nothing: see `radosgw.py` for a store
that does both. It does not know pytest.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from moto.server import ThreadedMotoServer

from tests.rigs.endpoint import Endpoint


@contextmanager
def moto_server() -> Iterator[Endpoint]:
    """Run the server in threads of this process; yields how to reach it."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield Endpoint(f"http://{host}:{port}", access_key="moto-access", secret_key="moto-secret")
    finally:
        server.stop()
