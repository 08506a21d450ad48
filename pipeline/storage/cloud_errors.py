"""The error codes of Google Cloud Storage, Azure and web servers. Google uses S3's format."""

from __future__ import annotations

from quire.storage.store_errors import SET_CLOCK, Vocabulary, in_bytes, obstore_answer

_GOOGLE = (
    "set GOOGLE_APPLICATION_CREDENTIALS to a key file, or run `gcloud auth application-default login`, or use a "
    "machine with a service account; for a public bucket, give --anonymous"
)
_CHECK_GOOGLE = "check the credentials in use (GOOGLE_APPLICATION_CREDENTIALS, or those of gcloud)"
_AZURE = (
    "set AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, or AZURE_CLIENT_ID, AZURE_CLIENT_SECRET and "
    "AZURE_TENANT_ID, or use a machine with a managed identity; for a public container, give --anonymous"
)
_CHECK_AZURE = "check the credentials in use (the variables AZURE_…)"

GOOGLE_VOCABULARY = Vocabulary(
    store="GCS",
    check_credentials=_CHECK_GOOGLE,
    no_credentials=f"no Google credentials found; {_GOOGLE}",
    of_credentials={
        "AuthenticationRequired": _CHECK_GOOGLE,
        "InvalidSecurity": _CHECK_GOOGLE,
        "ExpiredToken": _CHECK_GOOGLE,
        "UserProjectAccountProblem": "the project in use is blocked; ask those who keep it",
        "AccountProblem": "the account in use is blocked; ask those who keep it",
        "RequestTimeTooSkewed": SET_CLOCK,
    },
    of_the_bucket={
        "NoSuchBucket": "the bucket does not exist; check its name",
        "InvalidBucketName": "no bucket can have this name; check it",
        "UserProjectMissing": "who reads this bucket has to pay, which is provided for with s3:// only",
    },
    of_the_object={
        "AccessDenied": "the credentials in use do not allow it; grant the roles Storage Object Viewer for what is "
        "read and Storage Object User for what is written",
    },
)


def _by_folders(key: str) -> bytes:
    """The order of accounts with a hierarchical namespace: what is in a folder comes before longer names."""
    return in_bytes(key).replace(b"/", b"\0")


def _in_utf16(key: str) -> bytes:
    """The order of Azure's own emulator, which differs for characters beyond U+FFFF."""
    return key.encode("utf-16-be", "surrogatepass")


AZURE_VOCABULARY = Vocabulary(
    store="Azure",
    check_credentials=_CHECK_AZURE,
    no_credentials=f"no Azure credentials found; {_AZURE}",
    of_credentials={
        "AuthenticationFailed": f"{_CHECK_AZURE}, and this machine's clock",
        "InvalidAuthenticationInfo": _CHECK_AZURE,
        "NoAuthenticationInformation": _AZURE,
        "PublicAccessNotPermitted": f"the account gives nothing to anonymous readers: {_AZURE}",
        "AccountIsDisabled": "the account is blocked; ask those who keep it",
    },
    of_the_bucket={
        "ContainerNotFound": "the container does not exist; check its name and the account's",
        "ResourceNotFound": "the container does not exist, or is not public; check its name and the account's",
        "ContainerBeingDeleted": "the container is being deleted",
        "ContainerDisabled": "the container is closed to everybody; ask its owner",
        "InvalidResourceName": "no container can have this name; check it",
    },
    of_the_object={
        **dict.fromkeys(
            ("AccessDenied", "AuthorizationFailure", "AuthorizationPermissionMismatch"),
            "the credentials in use do not allow it; grant the roles Storage Blob Data Reader for what is read and "
            "Storage Blob Data Contributor for what is written",
        ),
        "BlobNotFound": "there is no such blob",
        "BlobArchived": "it is archived; restore it first",
    },
    missing_buckets=frozenset({"ContainerNotFound", "ResourceNotFound"}),
    missing_objects=frozenset({"BlobNotFound", "NoSuchKey"}),
    denials=frozenset({"AccessDenied", "AuthorizationFailure", "AuthorizationPermissionMismatch"}),
    orders=(in_bytes, _by_folders, _in_utf16),
)


def _web_answer(exc: Exception) -> tuple[str, int]:
    """Only the status: the body of a web server's answer is ignored."""
    return "", obstore_answer(exc)[1]


WEB_VOCABULARY = Vocabulary(
    store="web",
    check_credentials="documents on web servers are read without a login; fetch it into a folder first",
    no_credentials="",
    of_credentials={},
    of_the_bucket={},
    of_the_object={
        "404 Not Found": "there is no such document; on web servers they are named one by one, or in a manifest",
        "410 Gone": "there is no such document any more",
        **dict.fromkeys(
            ("401 Unauthorized", "403 Forbidden", "407 Proxy Authentication Required"),
            "the server does not give it to everybody; documents on web servers are read without a login",
        ),
        "429 Too Many Requests": "the server keeps asking to slow down; try again later, or with fewer workers",
    },
    missing_objects=frozenset({"404 Not Found", "410 Gone"}),
    denials=frozenset({"401 Unauthorized", "403 Forbidden", "407 Proxy Authentication Required"}),
    code_of_status={
        **{401: "401 Unauthorized", 403: "403 Forbidden", 404: "404 Not Found", 410: "410 Gone"},
        **{407: "407 Proxy Authentication Required", 429: "429 Too Many Requests"},
    },
    answer=_web_answer,
)
