"""What obstore's and boto3's errors mean: which of ours they become, and whether to try again.

Messages give the store's error code and a remedy, never its whole answer, which may quote signed headers.
"""

from __future__ import annotations

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
    IncompleteReadError,
    NoCredentialsError,
)
from botocore.parsers import ResponseParserError
from obstore import exceptions

from pipeline.config import StorageSettings
from pipeline.errors import NotFound, PermissionDenied, StorageError

T = TypeVar("T")

OBSTORE_ERRORS: dict[type[Exception], type[StorageError]] = {
    FileNotFoundError: NotFound,  # what obstore raises in place of its own NotFoundError
    exceptions.NotFoundError: NotFound,  # pyrefly: ignore[deprecated]
    exceptions.PermissionDeniedError: PermissionDenied,
    exceptions.UnauthenticatedError: PermissionDenied,
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
CLIENT_ERRORS: tuple[type[Exception], ...] = (*OBSTORE_ERRORS, BotoCoreError, ClientError, ResponseParserError)

_TRANSIENT_BOTO = (HTTPClientError, ConnectionError, IncompleteReadError, ResponseParserError)
_TRANSIENT_CODES = {"SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "Throttling"}
_LONGEST_WAIT_S = 15.0

_CHECK_CREDENTIALS = "check the credentials in use (AWS_PROFILE, or AWS_ACCESS_KEY_ID and its secret)"
_REMEDIES = {
    "NoSuchBucket": "the bucket does not exist; check its name and the endpoint",
    "NoSuchKey": "there is no such object",
    "AccessDenied": "the credentials in use do not allow it; grant s3:ListBucket on the bucket and "
    "s3:GetObject, s3:PutObject, s3:DeleteObject on its objects as needed",
    "InvalidAccessKeyId": _CHECK_CREDENTIALS,
    "SignatureDoesNotMatch": _CHECK_CREDENTIALS,
    "ExpiredToken": "the login has expired; log in again, for example with `aws sso login`",
    "RequestTimeTooSkewed": "this machine's clock is wrong; set it",
    "PermanentRedirect": "the bucket is in another region; set the region",
    "AuthorizationHeaderMalformed": "the bucket is in another region; set the region",
    "SlowDown": "the store keeps asking to slow down; try again later, or with fewer workers",
}


def explain(exc: Exception, operation: str, uri: str, endpoint_url: str) -> StorageError:
    """The error to raise `from exc`."""
    code = error_code(exc)
    remedy = _REMEDIES.get(code) or _remedy_by_kind(exc, endpoint_url)
    reason = code or _first_line(exc)
    return _error_type(exc, code)(f"cannot {operation} {uri}: {reason}: {remedy}")


def error_code(exc: Exception) -> str:
    """S3's own word for what went wrong, empty if it did not say."""
    if isinstance(exc, ClientError):
        code = str(exc.response.get("Error", {}).get("Code", ""))
        return {"404": "NoSuchKey", "403": "AccessDenied", "301": "PermanentRedirect"}.get(code, code)
    found = re.search(r"<Code>(\w+)</Code>", str(exc))
    return found[1] if found else ""


def _error_type(exc: Exception, code: str) -> type[StorageError]:
    if code in ("NoSuchKey", "NoSuchBucket"):
        return NotFound
    if code in ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"):
        return PermissionDenied
    if isinstance(exc, NoCredentialsError):
        return PermissionDenied
    return next((ours for theirs, ours in OBSTORE_ERRORS.items() if isinstance(exc, theirs)), StorageError)


def _remedy_by_kind(exc: Exception, endpoint_url: str) -> str:
    ours = _error_type(exc, "")
    if ours is NotFound:
        return "there is no such object"
    if ours is PermissionDenied:
        return f"{_CHECK_CREDENTIALS}, and what they allow"
    if "redirect" in str(exc):
        return _REMEDIES["PermanentRedirect"]
    return f"check the network and the endpoint {endpoint_url}"


def _first_line(exc: Exception) -> str:
    """obstore appends its whole state below."""
    return str(exc).partition("\n")[0][:300] or type(exc).__name__


def is_transient(exc: Exception) -> bool:
    """Whether the same request may yet succeed.

    obstore tries again by itself, except after a connection is lost during a PUT that must not overwrite,
    which it takes for unsafe (here it is safe: see `Folder.put_if_absent`). It takes 409, AWS's answer to
    simultaneous writes of which one is conditional, for "already exists"; `s3._create` has looked, and the
    object did not exist.
    """
    if isinstance(exc, ClientError):
        status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or status == 429 or error_code(exc) in _TRANSIENT_CODES
    if isinstance(exc, exceptions.AlreadyExistsError):
        return True
    if isinstance(exc, exceptions.GenericError):
        return "HTTP error" in str(exc) or has_given_up(exc)
    return isinstance(exc, _TRANSIENT_BOTO)


def has_given_up(exc: Exception) -> bool:
    """Whether obstore has used up its own tries. How long they last is chance: from a few seconds on."""
    tries = re.search(r"after (\d+) retries, max_retries: (\d+)", str(exc))
    return tries is not None and int(tries[1]) >= int(tries[2])


def insist(call: Callable[[], T], settings: StorageSettings) -> T:
    """Call until it succeeds, or fails for good, or the settings' number of tries or time is used up; where
    obstore had its own tries each time, a third of the time. Waits twice as long each time, give or take, so
    that a crowd does not come back at once."""
    start_s = time.monotonic()
    for attempt in range(settings.max_retries):
        try:
            return call()
        except CLIENT_ERRORS as exc:
            wait_s = min(_LONGEST_WAIT_S, 0.1 * 2**attempt) * random.uniform(0.5, 1.5)
            patience_s = settings.retry_timeout_s / (3 if has_given_up(exc) else 1)
            if not is_transient(exc) or time.monotonic() - start_s + wait_s > patience_s:
                raise
            time.sleep(wait_s)
    return call()
