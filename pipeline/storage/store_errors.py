"""What stores' errors mean: which of our exceptions they become, and whether to retry. Each store's own error codes are
in its `Vocabulary`; the exceptions of obstore are known here.

Messages give the store's error code and a remedy, never its whole answer, which may quote signed headers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from obstore import exceptions

from quire.errors import (
    CredentialsRefused,
    FolderNotFound,
    NotFound,
    PermissionDenied,
    StorageError,
    Unreadable,
)
from quire.secrets import redacted


class BodyCutShort(Exception):
    """Fewer bytes came than the store announced, or they came too slowly."""


class BodyDamaged(Exception):
    """The bytes that came do not have the MD5 that the store announced."""


OBSTORE_ERRORS: dict[type[Exception], type[StorageError]] = {
    FileNotFoundError: NotFound,  # what obstore raises in place of its own NotFoundError
    exceptions.NotFoundError: NotFound,  # pyrefly: ignore[deprecated]
    exceptions.PermissionDeniedError: PermissionDenied,
    exceptions.UnauthenticatedError: CredentialsRefused,
    exceptions.AlreadyExistsError: StorageError,
    exceptions.PreconditionError: StorageError,
    exceptions.NotModifiedError: StorageError,
    exceptions.NotSupportedError: StorageError,
    exceptions.InvalidPathError: StorageError,
    exceptions.UnknownConfigurationKeyError: StorageError,
    exceptions.JoinError: StorageError,
    exceptions.GenericError: StorageError,
    exceptions.BaseError: StorageError,
}
TRANSIENT_CODES = {"SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "Throttling", "ServerBusy"}
CODE_OF_STATUS = {
    **{301: "PermanentRedirect", 403: "AccessDenied", 404: "NoSuchKey"},
    **{429: "SlowDown", 500: "InternalError", 503: "SlowDown"},
}
"""The code that belongs to a status, for answers without one: the answer to a HEAD has no body."""
AWKWARD_REMEDY = (
    "names with empty parts, '.' or '..' as a part, or control characters are read from S3 only; rename it"
)
SET_CLOCK = "this machine's clock is wrong; set it"
_TRANSIENT_STATUSES = {408, 429}  # and all from 500 on
_REMEDIES = {
    "NoSuchKey": "there is no such object",
    "SlowDown": "the store keeps asking to slow down; try again later, or with fewer workers",
    "InternalError": "the store keeps failing; try again later",
}
_ANSWER = r"Server returned non-2xx status code: (\d{3}) [^:]*"  # in obstore's words
_NO_LENGTH = "Content-Length Header missing"
# Where machines in a cloud get their credentials. Machines elsewhere get none there.
_METADATA = re.compile(r"token request: [^\n]*/(?:computeMetadata/v1|metadata/identity|msi/token)\b")
_LOST = re.compile(r"(?<!Generic )HTTP error: ([^\n]+)")  # the store of web servers is called HTTP
_READS = ("read", "look up")
_REFUSALS = {400, 403, 405, 409, 410, 412, 451}  # as statuses; 404 has its own meaning


def obstore_answer(exc: Exception) -> tuple[str, int]:
    """The store's own error code and the status of its answer, as obstore quotes them; "" and 0 if there is none."""
    said = re.search(r"<Code>([\w.]+)</Code>", str(exc))
    status = re.search(_ANSWER, str(exc))
    return said[1] if said else "", int(status[1]) if status else 0


def in_bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A store's error codes, and the order of its listings. The mappings give a remedy for each code: codes that refuse
    the credentials, codes about a whole bucket, and codes about one object."""

    store: str
    check_credentials: str
    no_credentials: str  # the message if none are found
    of_credentials: Mapping[str, str]
    of_the_bucket: Mapping[str, str]
    of_the_object: Mapping[str, str]
    missing_buckets: frozenset[str] = frozenset({"NoSuchBucket"})
    missing_objects: frozenset[str] = frozenset({"NoSuchKey"})
    denials: frozenset[str] = frozenset({"AccessDenied"})
    code_of_status: Mapping[int, str] = field(default_factory=lambda: CODE_OF_STATUS)
    errors: tuple[type[Exception], ...] = ()  # of its other client, beside obstore
    lost: tuple[type[Exception], ...] = ()  # those of them that the network causes
    answer: Callable[[Exception], tuple[str, int]] = obstore_answer
    orders: tuple[Callable[[str], bytes], ...] = (in_bytes,)  # a listing is in one of them

    @property
    def client_errors(self) -> tuple[type[Exception], ...]:
        return (*OBSTORE_ERRORS, BodyCutShort, BodyDamaged, *self.errors)


def explain(exc: Exception, operation: str, uri: str, endpoint_url: str, vocabulary: Vocabulary) -> StorageError:
    """The error to raise `from exc`."""
    if _METADATA.search(str(exc)):
        return CredentialsRefused(f"cannot {operation} {uri}: {vocabulary.no_credentials}")
    code, status = _answer(exc, vocabulary)
    kind = _error_type(exc, code, status, operation, vocabulary)
    remedies = {
        **_REMEDIES,
        **vocabulary.of_credentials,
        **vocabulary.of_the_bucket,
        **vocabulary.of_the_object,
    }
    remedy = remedies.get(code) or _remedy_of_kind(exc, kind, code, endpoint_url, remedies, vocabulary)
    return kind(f"cannot {operation} {uri}: {code or _first_line(exc)}: {remedy}")


def _answer(exc: Exception, vocabulary: Vocabulary) -> tuple[str, int]:
    """The code and the status. If the answer has no code, the one that belongs to the status."""
    code, status = vocabulary.answer(exc)
    return code or vocabulary.code_of_status.get(status, ""), status


def _error_type(
    exc: Exception, code: str, status: int, operation: str, vocabulary: Vocabulary
) -> type[StorageError]:
    """Whose fault it is. A refused object is at fault itself, unless the store refuses the credentials, or its answer
    is not about an object."""
    if code in vocabulary.of_credentials or (status == 401 and code not in vocabulary.denials):
        return CredentialsRefused
    if code in vocabulary.missing_buckets:
        return FolderNotFound
    if code in vocabulary.of_the_bucket:
        return StorageError
    if code in vocabulary.missing_objects:
        return NotFound
    if code in vocabulary.denials:
        return PermissionDenied
    is_refused = (status in _REFUSALS and code not in TRANSIENT_CODES) or _NO_LENGTH in str(exc)
    if operation in _READS and (is_refused or isinstance(exc, BodyDamaged)):
        return Unreadable
    return next((ours for theirs, ours in OBSTORE_ERRORS.items() if isinstance(exc, theirs)), StorageError)


def _remedy_of_kind(
    exc: Exception,
    kind: type[StorageError],
    code: str,
    endpoint_url: str,
    remedies: Mapping[str, str],
    vocabulary: Vocabulary,
) -> str:
    if code.startswith("KMS."):
        return "its encryption key cannot be used; have the key enabled, or be allowed to use it"
    if isinstance(exc, BodyDamaged):
        return (
            "write it anew; or, if the etags of this store are no MD5s though they look like them, "
            "set storage.etag_is_md5=false"
        )
    if "path segment" in str(exc) or isinstance(exc, exceptions.InvalidPathError):
        return AWKWARD_REMEDY
    if _NO_LENGTH in str(exc):
        return (
            "the server does not say how long it is, and what has no end is not read; fetch it into a folder first"
        )
    if kind is Unreadable:
        return "the store does not give this object"
    if kind is NotFound:
        return remedies["NoSuchKey"]
    if kind in (PermissionDenied, CredentialsRefused):
        return f"{vocabulary.check_credentials}, and what they allow"
    if "redirect" in str(exc) and "PermanentRedirect" in remedies:
        return remedies["PermanentRedirect"]
    return f"check the network and the endpoint {endpoint_url}"


def _first_line(exc: Exception) -> str:
    """obstore puts the store's whole answer after the first line, and then its own state. Redacted before it is cut: in
    half a URL a secret might not be recognised."""
    found = re.search(_ANSWER, str(exc))
    if found:
        return found[0].rpartition(": ")[2]
    if _NO_LENGTH in str(exc):
        return "no Content-Length"
    lost = _LOST.search(str(exc))
    if lost:
        return f"the connection failed ({redacted(lost[1])[:300]})"
    return redacted(str(exc).partition("\n")[0])[:300] or type(exc).__name__


def is_transient(exc: Exception, vocabulary: Vocabulary) -> bool:
    """Whether the same request may still succeed.

    obstore retries by itself, except after it lost the connection during a PUT that must not overwrite, which it
    considers unsafe (here it is safe: see `Folder.put_if_absent`). AWS answers 409 to simultaneous writes of which one
    is conditional. obstore reads that as "already exists"; but `ObstoreBucket.create` has looked, and the object did
    not exist.
    """
    if isinstance(exc, exceptions.AlreadyExistsError):
        return True
    if _METADATA.search(str(exc)):
        return False
    code, status = _answer(exc, vocabulary)
    if status:
        return status >= 500 or status in _TRANSIENT_STATUSES or code in TRANSIENT_CODES
    if isinstance(exc, exceptions.GenericError):
        return _LOST.search(str(exc)) is not None or has_given_up(exc)
    return isinstance(exc, (BodyCutShort, BodyDamaged, *vocabulary.lost))


def has_given_up(exc: Exception) -> bool:
    """Whether obstore has used up its own retries."""
    tries = re.search(r"after (\d+) retries, max_retries: (\d+)", str(exc))
    return tries is not None and int(tries[1]) >= int(tries[2])
