"""What a run reads and where it writes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from quire.config.settings import Settings
from quire.errors import ConfigError
from quire.planning.discover import discover, refuse_own_output
from quire.records import DocumentRef, DocumentStatus
from quire.storage.uris import SHARED_STORES, is_listable


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a run reads and where it writes."""

    sources: tuple[str, ...]
    manifests: tuple[str, ...]
    output: str
    passwords: tuple[str, ...] = ()
    listing: tuple[DocumentRef, ...] | None = None  # where the sources were listed already
    lost: frozenset[tuple[str, str]] = frozenset()  # to be planned again; see `PlanIndex`
    retry: tuple[DocumentStatus, ...] = (DocumentStatus.UNREADABLE,)  # likewise
    limit: int | None = None  # only so many of the first documents, in the order of the sources and their listings

    @property
    def names(self) -> list[str]:
        """The sources, and the manifests as sources."""
        return [*self.sources, *(f"@{manifest}" for manifest in self.manifests)]

    def insist(self) -> None:
        """Raise `ConfigError` where it cannot be said what is to be read and written."""
        if not self.sources and not self.manifests:
            raise ConfigError("nothing to read: name a bucket, folder, glob or file, or give --manifest FILE")
        if not all(name.removeprefix("@").strip() for name in (*self.sources, *self.manifests, self.output)):
            raise ConfigError("a source, a manifest or --output is empty: is a variable of your script not set?")
        if not is_listable(self.output):
            raise ConfigError(f"web servers are read from only: write to {SHARED_STORES} or a local folder")
        refuse_own_output(self.sources, self.output)

    def refs(self, settings: Settings) -> Iterator[DocumentRef]:
        """All objects of the sources, then of the manifests. Results are never an input."""
        if self.listing is not None:
            yield from self.listing
            return
        yield from discover(self.names, settings.storage, self.output)
