"""Google Cloud Storage in memory, as far as its XML interface is used here: objects, listings, writes that must not
overwrite (`x-goog-if-generation-match: 0`), and a bearer token. See `object_server.py` for what it proves.
"""

from __future__ import annotations

from xml.sax.saxutils import escape

from tests.rigs.object_server import ObjectHandler, Stored, page_of, split_path

TOKEN = "made-up-token"


class GoogleHandler(ObjectHandler):
    def operate(self, path: str, query: dict[str, str], body: bytes) -> None:
        name, key = split_path(path)
        bucket = self.objects.containers.get(name)
        if self.headers.get("Authorization") != f"Bearer {TOKEN}" and (
            name not in self.objects.public or self.command not in ("GET", "HEAD")
        ):
            self.error(401 if "Authorization" not in self.headers else 403, "AccessDenied")
        elif bucket is None:
            self.error(404, "NoSuchBucket")
        elif not key:
            self._list(bucket, query)
        elif self.command == "PUT":
            self._put(name, key, body)
        elif key not in bucket:
            self.error(404, "NoSuchKey")
        elif self.command == "DELETE":
            del bucket[key]
            self.answer(204)
        else:
            self.give(bucket[key].data, **_named(bucket[key]))

    def _put(self, name: str, key: str, body: bytes) -> None:
        if self.headers.get("x-goog-if-generation-match") == "0" and key in self.objects.containers[name]:
            self.error(412, "PreconditionFailed")
        else:
            self.answer(200, **_named(self.objects.write(name, key, body)))

    def _list(self, bucket: dict[str, Stored], query: dict[str, str]) -> None:
        after = query.get("continuation-token") or query.get("start-after", "")
        keys, token = page_of(list(bucket), query.get("prefix", ""), after)
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f'<ETag>"{bucket[key].md5}"</ETag><Size>{len(bucket[key].data)}</Size></Contents>'
            for key in keys
        )
        more = f"<NextContinuationToken>{escape(token)}</NextContinuationToken>" if token else ""
        self.answer(
            200,
            f'<?xml version="1.0"?><ListBucketResult>{contents}{more}<IsTruncated>{"true" if token else "false"}'
            "</IsTruncated></ListBucketResult>".encode(),
        )


def _named(stored: Stored) -> dict[str, str]:
    return {"ETag": f'"{stored.md5}"', "x_goog_generation": str(stored.version)}
