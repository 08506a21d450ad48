"""Quire's exceptions. A page or document that fails in an expected way is a record, never one of these.

    QuireError                  anything a person can act on; the command line prints it without a traceback
    ├── ConfigError             the command line or a setting makes no sense by itself
    ├── SettingsChanged         the output folder belongs to a run with other settings
    ├── StorageError            the object store, or this machine, failed or refused
    │   ├── CredentialsRefused  the store does not accept the credentials: it would refuse every object
    │   ├── DestinationGone     the folder of a file that is being written is gone
    │   ├── StoreMisconfigured  the store's configuration is wrong: no such profile, no URL
    │   └── ObjectError         one object is at fault; others may be fine
    │       ├── NotFound
    │       │   ├── FolderNotFound  its bucket, or the local folder that it should be in, is missing too
    │       │   └── NothingThere    what a person named does not exist, or holds nothing to read
    │       ├── PermissionDenied
    │       ├── Unreadable      it exists, but cannot be read
    │       │   └── TooLarge    it is larger than the limit
    │       └── SourceChanged   it no longer holds the bytes that were listed or planned
    ├── UnreadableDocument      the one document that was asked for cannot be opened
    ├── MissingDependency       an optional package or program is not installed
    ├── NotStarted              a child process cannot be started
    ├── GuardNotApplied         the installed vLLM does not apply the repetition guard
    ├── EngineFailure           the engines die more often than they may be restarted
    ├── RunStopped              a limit or the canary stopped a run early; it can be resumed
    ├── TooManyGone             so many objects disappeared at once that it looks like a mistake
    ├── AccountingError         the numbers of pages in and rows out differ: always a bug
    ├── DamagedResults          a file of the output folder is damaged or missing
    └── PageError               how an engine tells its caller that an attempt at a page failed
        ├── EngineDead          the engine died; the page may not be the cause
        │   └── EngineAway      it died before it had the page, which is not the cause
        ├── ImageLost           the page's pixels were lost with their machine; rasterize again
        └── PageRejected        the engine refuses this page or fails at it, and would again

`jobs/cli.py` turns them into messages and exit codes. Their words reach terminals, logs and tables, without secrets:
whatever `secrets.py` recognises as one is hidden in all of them.
"""

from __future__ import annotations

from quire.secrets import redacted


class QuireError(Exception):
    """Base of all errors that carry a message for a person."""

    def __init__(self, *words: str) -> None:
        super().__init__(*map(redacted, words))


class ConfigError(QuireError):
    pass


class SettingsChanged(QuireError):
    pass


class StorageError(QuireError):
    """The message names the URI and the operation."""


class CredentialsRefused(StorageError):
    pass


class DestinationGone(StorageError):
    pass


class StoreMisconfigured(StorageError):
    pass


class ObjectError(StorageError):
    """May be recorded as the object's own fault. Any other `StorageError` is the fault of the store, the network or
    this machine, and must not be."""


class NotFound(ObjectError):
    pass


class FolderNotFound(NotFound):
    pass


class NothingThere(NotFound):
    pass


class PermissionDenied(ObjectError):
    pass


class Unreadable(ObjectError):
    pass


class TooLarge(Unreadable):
    pass


class SourceChanged(ObjectError):
    pass


class UnreadableDocument(QuireError):
    pass


class MissingDependency(QuireError):
    """The message says what to install."""


class NotStarted(QuireError):
    pass


class GuardNotApplied(QuireError):
    """The message quotes the engine's answer and says what to do."""


class EngineFailure(QuireError):
    pass


class RunStopped(QuireError):
    """The message names the limit that was reached, and how to resume."""


class TooManyGone(QuireError):
    """The message says how many objects, names one, and says what to do."""


class AccountingError(QuireError):
    pass


class DamagedResults(QuireError):
    """The message names the file and says what to do. A damaged file is never used."""


class PageError(QuireError):
    pass


class EngineDead(PageError):
    pass


class EngineAway(EngineDead):
    pass


class ImageLost(PageError):
    pass


ENGINE_FAULTS = frozenset({"engine_crash", "engine_timeout", "refused", "broken_off"})
"""Kinds of `PageRejected` whose cause may be the engine's set-up instead of the page."""


class PageRejected(PageError):
    """Rejections are counted by `kind`, for example `unsupported_script`."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.kind, self.message = self.args

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"
