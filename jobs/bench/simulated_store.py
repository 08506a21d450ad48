"""A store in memory that counts what is asked of it, and says how long an object store would have taken.

Fulfils the folder contract as far as results need it. Knows nothing of what it holds.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterator, MutableSequence
from dataclasses import dataclass, field
from pathlib import Path

from quire.errors import NotFound
from quire.storage import Downloaded, Folder, ObjectInfo

KEYS_PER_LISTING = 1000
"""Of one answer to ListObjectsV2, at most."""

SECONDS = {"GET": 0.03, "HEAD": 0.03, "PUT": 0.06, "LIST": 0.1, "DELETE": 0.03}
"""Assumed for a request from a machine in the store's region; small objects, whose transfer counts for nothing.
Amazon's own guide speaks of 100 to 200 ms to the first byte; clients commonly see 20 to 60."""


@dataclass(slots=True)
class SimulatedStore:
    """`requests`: number by kind. `spend` is told the seconds of each."""

    spend: Callable[[float], None] = lambda seconds: None
    requests: Counter[str] = field(default_factory=Counter)
    _objects: dict[str, bytes] = field(default_factory=dict)
    _keys: MutableSequence[str] = field(default_factory=list)

    @property
    def uri(self) -> str:
        return "s3://simulated/"

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Keys are taken to be ASCII, so that their order is that of their bytes."""
        for number, position in enumerate(range(bisect_left(self._keys, prefix), len(self._keys) + 1)):
            if number % KEYS_PER_LISTING == 0:
                self._ask("LIST")
            if position == len(self._keys) or not self._keys[position].startswith(prefix):
                return
            yield self._info(self._keys[position])

    def info(self, key: str) -> ObjectInfo:
        self._ask("HEAD")
        return self._info(key)

    def get(self, key: str) -> bytes:
        self._ask("GET")
        self._info(key)
        return self._objects[key]

    def get_range(self, key: str, start: int, length: int) -> bytes:
        return self.get(key)[start : start + length]

    def download(self, key: str, destination: Path, most_bytes: int | None = None) -> Downloaded:
        raise NotImplementedError("results are not downloaded")

    def put(self, key: str, data: bytes) -> None:
        self._ask("PUT")
        if key not in self._objects:
            insort(self._keys, key)
        self._objects[key] = data

    def put_if_absent(self, key: str, data: bytes) -> bool:
        if key in self._objects:
            self._ask("PUT")
            return False
        self.put(key, data)
        return True

    def exists(self, key: str) -> bool:
        self._ask("HEAD")
        return key in self._objects

    def delete(self, key: str) -> None:
        raise NotImplementedError("results are not deleted")

    def sweep(self) -> None:
        pass

    def child(self, name: str) -> Folder:
        raise NotImplementedError("results are in one folder")

    def _info(self, key: str) -> ObjectInfo:
        if key not in self._objects:
            raise NotFound(f"there is no {self.uri}{key}")
        return ObjectInfo(key, self.uri + key, "", len(self._objects[key]))

    def _ask(self, kind: str) -> None:
        self.requests[kind] += 1
        self.spend(SECONDS[kind])
