"""What obstore's and boto3's errors mean: which of ours they become, and whether to try again.

Messages give the store's error code and a remedy, never its whole answer, which may quote signed headers.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable
from typing import TypeVar

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    NoCredentialsError,
)
from botocore.parsers import ResponseParserError
from obstore import exceptions

from quire.config.settings import StorageSettings
from quire.errors import (
    CredentialsRefused,
    FolderNotFound,
    NotFound,
    PermissionDenied,
    StorageError,
    Unreadable,
)
from quire.secrets import redacted

T = TypeVar("T")

_log = logging.getLogger(__name__)


class BodyCutShort(Exception):
    """Fewer bytes came than the store announced, or too few a second."""


class BodyDamaged(Exception):
    """The bytes that came have not the MD5 that the store announced."""


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
CLIENT_ERRORS: tuple[type[Exception], ...] = (
    *(*OBSTORE_ERRORS, BotoCoreError, ClientError, ResponseParserError),
    *(BodyCutShort, BodyDamaged),
)

_TRANSIENT = (HTTPClientError, ConnectionError, ResponseParserError, BodyCutShort, BodyDamaged)
_TRANSIENT_CODES = {"SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "Throttling"}
_TRANSIENT_STATUSES = {408, 429}  # and all from 500 on
_LONGEST_WAIT_S = 15.0
_SILENT_TRIES = 2
_BETWEEN_NOTICES_S = 60.0
_MOST_DAMAGED = 3  # bodies; then it is the object that is damaged

_CODE_OF_STATUS = {
    **{301: "PermanentRedirect", 403: "AccessDenied", 404: "NoSuchKey"},
    **{429: "SlowDown", 500: "InternalError", 503: "SlowDown"},
}
"""What S3 would say, where it says nothing: the answer to a HEAD has no body."""

_CHECK_CREDENTIALS = "check the credentials in use (AWS_PROFILE, or AWS_ACCESS_KEY_ID and its secret)"
_LOG_IN = "the login has expired; log in again, for example with `aws sso login`"
_SET_CLOCK = "this machine's clock is wrong; set it"
_OF_CREDENTIALS = {
    "InvalidAccessKeyId": _CHECK_CREDENTIALS,
    "InvalidClientTokenId": _CHECK_CREDENTIALS,
    "UnrecognizedClientException": _CHECK_CREDENTIALS,
    "SignatureDoesNotMatch": _CHECK_CREDENTIALS,
    "InvalidToken": _CHECK_CREDENTIALS,
    "InvalidSecurity": _CHECK_CREDENTIALS,
    "CredentialsNotSupported": _CHECK_CREDENTIALS,
    "NotSignedUp": _CHECK_CREDENTIALS,
    "AccountProblem": "the account in use is blocked; ask those who keep it",
    "ExpiredToken": _LOG_IN,
    "ExpiredTokenException": _LOG_IN,
    "TokenRefreshRequired": _LOG_IN,
    "RequestTimeTooSkewed": _SET_CLOCK,
    "RequestExpired": _SET_CLOCK,
}
"""S3's words for those whom it gives nothing at all."""
_OF_THE_BUCKET = {
    "NoSuchBucket": "the bucket does not exist; check its name and the endpoint",
    "InvalidBucketName": "no bucket can have this name; check it",
    "PermanentRedirect": "the bucket is in another region; set the region",
    "AuthorizationHeaderMalformed": "the bucket is in another region; set the region",
    "AllAccessDisabled": "the bucket is closed to everybody; ask its owner",
}
_OF_THE_OBJECT = {
    "NoSuchKey": "there is no such object",
    "AccessDenied": "the credentials in use do not allow it; grant s3:ListBucket on the bucket and "
    "s3:GetObject, s3:PutObject, s3:DeleteObject on its objects as needed",
    "InvalidObjectState": "it is archived; restore it first",
    "InvalidRequest": "the store does not give it so, as where it takes a key of its owner's (SSE-C)",
    "MethodNotAllowed": "it is marked as deleted",
}
_REMEDIES = {
    **_OF_CREDENTIALS,
    **_OF_THE_BUCKET,
    **_OF_THE_OBJECT,
    "SlowDown": "the store keeps asking to slow down; try again later, or with fewer workers",
    "InternalError": "the store keeps failing; try again later",
}
_ANSWER = r"Server returned non-2xx status code: (\d{3}) [^:]*"  # in obstore's words
_READS = ("read", "look up")
_REFUSALS = {400, 403, 405, 410, 412, 451}  # as statuses; 404 has its own meaning


def explain(exc: Exception, operation: str, uri: str, endpoint_url: str) -> StorageError:
    """The error to raise `from exc`."""
    code = error_code(exc)
    kind = _error_type(exc, code, operation)
    remedy = _REMEDIES.get(code) or _remedy_of_kind(exc, kind, code, endpoint_url)
    reason = code or _first_line(exc)
    return kind(f"cannot {operation} {uri}: {reason}: {remedy}")


def error_code(exc: Exception) -> str:
    """S3's own word for what went wrong, empty if it did not say and the status of its answer says no more."""
    if isinstance(exc, ClientError):
        said = str(exc.response.get("Error", {}).get("Code", ""))
        said = "" if said.isdecimal() else said  # the status, for want of a word
    else:
        found = re.search(r"<Code>([\w.]+)</Code>", str(exc))
        said = found[1] if found else ""
    return said or _CODE_OF_STATUS.get(_status(exc), "")


def _status(exc: Exception) -> int:
    """The status of the store's answer, 0 where there was none."""
    if isinstance(exc, ClientError):
        return int(exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    found = re.search(_ANSWER, str(exc))
    return int(found[1]) if found else 0


def _error_type(exc: Exception, code: str, operation: str) -> type[StorageError]:
    """Whose fault it is. What a store refuses to give is the object's, unless it refuses whoever asks, or says nothing
    of objects at all."""
    if code in _OF_CREDENTIALS or _status(exc) == 401 or isinstance(exc, NoCredentialsError):
        return CredentialsRefused
    if code == "NoSuchBucket":
        return FolderNotFound
    if code in _OF_THE_BUCKET:
        return StorageError
    if code in ("NoSuchKey", "AccessDenied"):
        return NotFound if code == "NoSuchKey" else PermissionDenied
    is_refused = _status(exc) in _REFUSALS and code not in _TRANSIENT_CODES
    if operation in _READS and (is_refused or isinstance(exc, BodyDamaged)):
        return Unreadable
    return next((ours for theirs, ours in OBSTORE_ERRORS.items() if isinstance(exc, theirs)), StorageError)


def _remedy_of_kind(exc: Exception, kind: type[StorageError], code: str, endpoint_url: str) -> str:
    if code.startswith("KMS."):
        return "its encryption key cannot be used; have the key enabled, or be allowed to use it"
    if isinstance(exc, BodyDamaged):
        return (
            "write it anew; or, if the etags of this store are no MD5s though they look like them, "
            "set storage.etag_is_md5=false"
        )
    if kind is Unreadable:
        return "the store does not give this object"
    if kind is NotFound:
        return _REMEDIES["NoSuchKey"]
    if kind in (PermissionDenied, CredentialsRefused):
        return f"{_CHECK_CREDENTIALS}, and what they allow"
    if "redirect" in str(exc):
        return _REMEDIES["PermanentRedirect"]
    return f"check the network and the endpoint {endpoint_url}"


def _first_line(exc: Exception) -> str:
    """obstore appends its whole state below, and before that the whole answer. A URL that is cut off would no longer be
    seen to hold a secret."""
    found = re.search(_ANSWER, str(exc))
    if found:
        return found[0].rpartition(": ")[2]
    return redacted(str(exc).partition("\n")[0])[:300] or type(exc).__name__


def is_transient(exc: Exception) -> bool:
    """Whether the same request may yet succeed.

    obstore tries again by itself, except after a connection is lost during a PUT that must not overwrite,
    which it takes for unsafe (here it is safe: see `Folder.put_if_absent`). It takes 409, AWS's answer to
    simultaneous writes of which one is conditional, for "already exists"; `s3._create` has looked, and the
    object did not exist.
    """
    status = _status(exc)
    if isinstance(exc, exceptions.AlreadyExistsError):
        return True
    if status:
        return status >= 500 or status in _TRANSIENT_STATUSES or error_code(exc) in _TRANSIENT_CODES
    if isinstance(exc, exceptions.GenericError):
        return "HTTP error" in str(exc) or has_given_up(exc)
    return isinstance(exc, _TRANSIENT)


def has_given_up(exc: Exception) -> bool:
    """Whether obstore has used up its own tries."""
    tries = re.search(r"after (\d+) retries, max_retries: (\d+)", str(exc))
    return tries is not None and int(tries[1]) >= int(tries[2])


class Notice:
    """Tells a person that they wait, and for what: once a minute, however many wait."""

    def __init__(self) -> None:
        self._next_s = 0.0

    def tell(self, message: str) -> None:
        now_s = time.monotonic()
        if now_s >= self._next_s:
            self._next_s = now_s + _BETWEEN_NOTICES_S
            _log.warning("%s", message)


def insist(call: Callable[[], T], settings: StorageSettings, tell: Callable[[Exception], None]) -> T:
    """Call until it succeeds, or fails for good, or the settings' number of tries or time is used up. Waits twice as
    long each time, give or take, so that a crowd does not come back at once. `tell` is told why if it takes more than a
    few tries."""
    start_s = time.monotonic()
    for attempt in range(settings.max_retries):
        try:
            return call()
        except CLIENT_ERRORS as exc:
            wait_s = _wait_s(attempt) * random.uniform(0.5, 1.5)
            if isinstance(exc, BodyDamaged) and attempt + 1 == _MOST_DAMAGED:
                raise
            if not is_transient(exc) or time.monotonic() - start_s + wait_s > settings.retry_timeout_s:
                raise
            if attempt >= _SILENT_TRIES:
                tell(exc)
            time.sleep(wait_s)
    return call()


def _wait_s(attempt: int) -> float:
    return min(_LONGEST_WAIT_S, 0.1 * 2**attempt)
