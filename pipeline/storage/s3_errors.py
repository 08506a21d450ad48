"""The error codes of S3, and the exceptions of boto3."""

from __future__ import annotations

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    NoCredentialsError,
)
from botocore.parsers import ResponseParserError

from quire.storage.store_errors import SET_CLOCK, Vocabulary, obstore_answer

CREDENTIALS_REMEDY = (
    "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run `aws sso login`; "
    "for a public bucket, give --anonymous"
)
_CHECK_CREDENTIALS = "check the credentials in use (AWS_PROFILE, or AWS_ACCESS_KEY_ID and its secret)"
_LOG_IN = "the login has expired; log in again, for example with `aws sso login`"


def _answer(exc: Exception) -> tuple[str, int]:
    if isinstance(exc, NoCredentialsError):
        return "", 401
    if not isinstance(exc, ClientError):
        return obstore_answer(exc)
    said = str(exc.response.get("Error", {}).get("Code", ""))
    status = int(exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return "" if said.isdecimal() else said, status  # without a code of the store, boto3 gives the status


S3_VOCABULARY = Vocabulary(
    store="S3",
    check_credentials=_CHECK_CREDENTIALS,
    no_credentials=f"no AWS credentials found; {CREDENTIALS_REMEDY}",
    of_credentials={
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
        "RequestTimeTooSkewed": SET_CLOCK,
        "RequestExpired": SET_CLOCK,
    },
    of_the_bucket={
        "NoSuchBucket": "the bucket does not exist; check its name and the endpoint",
        "InvalidBucketName": "no bucket can have this name; check it",
        "PermanentRedirect": "the bucket is in another region; set the region",
        "AuthorizationHeaderMalformed": "the bucket is in another region; set the region",
        "AllAccessDisabled": "the bucket is closed to everybody; ask its owner",
    },
    of_the_object={
        "AccessDenied": "the credentials in use do not allow it; grant s3:ListBucket on the bucket and "
        "s3:GetObject, s3:PutObject, s3:DeleteObject on its objects as needed",
        "InvalidObjectState": "it is archived; restore it first",
        "InvalidRequest": "the store does not give it so, as where it takes a key of its owner's (SSE-C)",
        "MethodNotAllowed": "it is marked as deleted",
    },
    errors=(BotoCoreError, ClientError, ResponseParserError),
    lost=(HTTPClientError, ConnectionError, ResponseParserError),
    answer=_answer,
)
