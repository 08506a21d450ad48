"""An S3 server in memory (moto), on a free port of the loopback.

It answers conditional PUTs as AWS does. It checks no secrets and keeps nothing: see `radosgw.py` for a store
that does both. It does not know pytest.
"""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from tests.rigs.endpoint import Endpoint

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


@contextmanager
def moto_server() -> Iterator[Endpoint]:
    """Run the server in threads of this process; yields how to reach it."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs every request
    app = _OneAtATime(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=MotoRequestHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Endpoint(f"http://127.0.0.1:{server.port}", access_key="moto-access", secret_key="moto-secret")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _OneAtATime:
    """Does one request after the other once they have come whole. Moto looks whether a key is there and then writes it,
    and two threads between the two would both be told that theirs was the first."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app
        self._turn = threading.Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # Nothing is read where neither a length nor an end is told.
        num_bytes = -1 if environ.get("wsgi.input_terminated") else int(environ.get("CONTENT_LENGTH") or 0)
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(num_bytes))
        with self._turn:
            answer = self._app(environ, start_response)
            try:
                return [b"".join(answer)]
            finally:
                if hasattr(answer, "close"):
                    answer.close()
