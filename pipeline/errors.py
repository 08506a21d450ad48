"""Quire's exceptions. A page or document that fails in an expected way is a record, never one of these.

    QuireError                  anything a person can act on; the command line prints it without a traceback
    ├── ConfigError             the command line or a setting makes no sense, whatever is there
    ├── SettingsChanged         the output folder belongs to a run with other settings
    ├── StorageError            the object store, or this machine, said no
    │   ├── CredentialsRefused  the store does not take whoever asks: it would not give anything
    │   ├── DestinationGone     the folder of a file that is being written is gone
    │   ├── StoreMisconfigured  how to reach the store is said wrongly: no such profile, no URL
    │   └── ObjectError         one object is at fault; others may be as they should
    │       ├── NotFound
    │       │   ├── FolderNotFound  nor is its bucket, or the local folder that it should be in
    │       │   └── NothingThere  what a person named is not there, or holds nothing to read
    │       ├── PermissionDenied
    │       ├── Unreadable      it is there, and cannot be read
    │       │   └── TooLarge    there is more of it than is read
    │       └── SourceChanged   it does not hold the bytes that were listed or planned
    ├── UnreadableDocument      the one document that was asked for cannot be opened
    ├── MissingDependency       an optional package or program is not installed
    ├── NotStarted              a child process cannot be started
    ├── GuardNotApplied         the installed vLLM does not apply the repetition guard
    ├── EngineFailure           the engines cannot go on (they die faster than they may be restarted)
    ├── RunStopped              a limit or the canary ended a run before its end; it can go on
    ├── TooManyGone             so many objects went at once that it looks like a mistake
    ├── AccountingError         pages in and rows out differ: a bug, and the loudest error there is
    ├── DamagedResults          a file of the output folder is damaged or gone
    └── PageError               how one page's attempt ended, between an engine and its caller
        ├── EngineDead          the engine is gone; the page may be innocent
        │   └── EngineAway      it was gone before it had the page, which is innocent
        ├── ImageLost           the page's pixels are gone with their machine; rasterize again
        └── PageRejected        the engine refuses or fails this page; it will again

`jobs/cli.py` turns them into messages and exit codes. Their words reach terminals, logs and tables, and hold no secret:
what `secrets.py` takes for one is hidden in any of them.
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
    """May be written down as the object's own fault. Any other `StorageError` is the store's, the network's or this
    machine's, and must not be."""


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
    """The message shows what the engine answered, and says what to do."""


class EngineFailure(QuireError):
    pass


class RunStopped(QuireError):
    """The message says what was reached, and how to go on."""


class TooManyGone(QuireError):
    """The message says how many objects, names one, and says what to do."""


class AccountingError(QuireError):
    pass


class DamagedResults(QuireError):
    """The message names the file and says what to do. Nothing is built on what is damaged."""


class PageError(QuireError):
    pass


class EngineDead(PageError):
    pass


class EngineAway(EngineDead):
    pass


class ImageLost(PageError):
    pass


ENGINE_FAULTS = frozenset({"engine_crash", "engine_timeout", "refused", "broken_off"})
"""Kinds of `PageRejected` that an engine's set-up may be to blame for, and not the page."""


class PageRejected(PageError):
    """`kind` is counted by, for example `unsupported_script`."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.kind, self.message = self.args

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"
