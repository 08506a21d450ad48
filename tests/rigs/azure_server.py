"""Azure's blobs in memory, as far as their REST interface is used here: blobs, listings, writes that must not overwrite
(`If-None-Match: *`), and deletes in batches. Requests must be signed; the signature is not looked into. See
`object_server.py` for what it proves.
"""

from __future__ import annotations

import re
from xml.sax.saxutils import escape

from tests.rigs.object_server import ObjectHandler, Stored, page_of, split_path

ACCOUNT = "madeup"
KEY = "bWFkZS11cA=="  # as all keys are, in base64


class AzureHandler(ObjectHandler):
    def operate(self, path: str, query: dict[str, str], body: bytes) -> None:
        name, key = split_path(path)
        container = self.objects.containers.get(name)
        is_signed = self.headers.get("Authorization", "").startswith(f"SharedKey {ACCOUNT}:")
        if not is_signed and (name not in self.objects.public or self.command not in ("GET", "HEAD")):
            self.error(403 if "Authorization" in self.headers else 401, "NoAuthenticationInformation")
        elif container is None:
            self.error(404, "ContainerNotFound")
        elif query.get("comp") == "batch":
            self._delete(container, body.decode())
        elif query.get("comp") == "list":
            self._list(container, query)
        elif self.command == "PUT":
            self._put(name, key, body)
        elif key not in container:
            self.error(404, "BlobNotFound")
        else:
            self.give(container[key].data, **_named(container[key]))

    def _put(self, name: str, key: str, body: bytes) -> None:
        if self.headers.get("If-None-Match") == "*" and key in self.objects.containers[name]:
            self.error(409, "BlobAlreadyExists")
        else:
            self.answer(201, **_named(self.objects.write(name, key, body)))

    def _delete(self, container: dict[str, Stored], body: str) -> None:
        (path,) = re.findall(r"^DELETE (\S+) HTTP", body, re.MULTILINE)
        was_there = container.pop(split_path(path)[1], None) is not None
        status = "202 Accepted" if was_there else "404 The specified blob does not exist."
        part = f"Content-Type: application/http\r\nContent-ID: 0\r\n\r\nHTTP/1.1 {status}\r\n\r\n"
        answer = f"--batchresponse\r\n{part}\r\n--batchresponse--\r\n".encode()
        self.answer(202, answer, Content_Type="multipart/mixed; boundary=batchresponse")

    def _list(self, container: dict[str, Stored], query: dict[str, str]) -> None:
        keys, marker = page_of(list(container), query.get("prefix", ""), query.get("marker", ""))
        blobs = "".join(
            f"<Blob><Name>{escape(key)}</Name><Properties><Last-Modified>Thu, 01 Jan 2026 00:00:00 GMT</Last-Modified>"
            f"<Etag>{_etag(container[key])}</Etag><Content-Length>{len(container[key].data)}</Content-Length>"
            "<Content-Type>application/octet-stream</Content-Type><BlobType>BlockBlob</BlobType></Properties></Blob>"
            for key in keys
        )
        self.answer(
            200,
            f'<?xml version="1.0"?><EnumerationResults><Blobs>{blobs}</Blobs>'
            f"<NextMarker>{escape(marker)}</NextMarker></EnumerationResults>".encode(),
        )


def _etag(stored: Stored) -> str:
    return f"0x8D{stored.version:012X}"


def _named(stored: Stored) -> dict[str, str]:
    return {"ETag": f'"{_etag(stored)}"', "x_ms_blob_type": "BlockBlob"}
