"""Documents on a web server: what a HEAD and a GET say of them, and ranges. See `object_server.py` for what it proves.

All documents are in the container "". Some paths name what servers do otherwise:

    /no-etag/…      Last-Modified only
    /nameless/…     neither
    /endless/…      no Content-Length, the body in chunks
    /weak/…         an ETag that is a weak one
    /no-head/…      405 to a HEAD
    /closed/…       403
    /moved/…        a redirect to the rest of the path
"""

from __future__ import annotations

from urllib.parse import unquote

from tests.rigs.object_server import ObjectHandler


class WebHandler(ObjectHandler):
    def operate(self, path: str, query: dict[str, str], body: bytes) -> None:
        kind = path.split("/")[1]
        stored = self.objects.containers[""].get(path) or self.objects.containers[""].get(unquote(path))
        if kind == "moved":
            self.answer(302, Location=path.removeprefix("/moved"))
        elif kind == "closed":
            self.answer(403, b"<html>No.")
        elif stored is None:
            self.answer(404, b"<html>Not here.")
        elif kind == "no-head" and self.command == "HEAD":
            self.answer(405)
        elif kind == "endless":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"4\r\n%PDF\r\n0\r\n\r\n" if self.command == "GET" else b"")
        else:
            etag = "" if kind in ("no-etag", "nameless") else f'{"W/" if kind == "weak" else ""}"{stored.version}"'
            self.give(stored.data, ETag=etag, **({"Last_Modified": ""} if kind == "nameless" else {}))
