"""The clients of one bucket: obstore for data, boto3 for credentials, for listings and for awkward keys.

boto3 decides everything that a person configures for AWS (profile, region, endpoint, role, single sign-on);
obstore is told what boto3 found, so that the two cannot disagree. Knows nothing of objects.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TypedDict
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.store import S3Store

from quire.config.sections import StorageSettings
from quire.errors import CredentialsRefused, StoreMisconfigured
from quire.storage.obstore_bucket import (
    CONNECT_TIMEOUT_S,
    READ_TIMEOUT_S,
    client_options,
    insist_on_url,
    retry_config,
)
from quire.storage.s3 import S3Bucket, S3Client
from quire.storage.s3_errors import CREDENTIALS_REMEDY, S3_VOCABULARY
from quire.storage.tries import Notice

_CREDENTIALS_TTL = timedelta(minutes=10)  # botocore renews 15 minutes before they expire


class Encryption(TypedDict, total=False):
    """Two of obstore's own options."""

    server_side_encryption: str
    sse_kms_key_id: str


def open_s3_bucket(name: str, settings: StorageSettings) -> S3Bucket:
    """The clients of a bucket. Raises CredentialsRefused where no credentials are found."""
    try:
        session = _session(settings)
        client = _client(session, settings)
        provider = None if settings.anonymous else _credential_provider(name, session)
    except (BotoCoreError, ValueError) as exc:  # boto3 raises ValueError for an endpoint that is no URL
        raise StoreMisconfigured(f"cannot open s3://{name}: {exc}") from exc
    endpoint_url = str(client.meta.endpoint_url)
    insist_on_url(endpoint_url)
    is_path_style = uses_path_style(endpoint_url, settings)
    store = S3Store(
        name,
        endpoint=bucket_endpoint(name, endpoint_url, is_path_style),
        virtual_hosted_style_request=not is_path_style,
        region=client.meta.region_name or "us-east-1",
        skip_signature=settings.anonymous,
        credential_provider=provider,
        disable_bulk_delete=True,
        request_payer=settings.request_payer,
        **_encryption(settings),
        client_options=client_options(endpoint_url),
        retry_config=retry_config(settings),
    )
    payer = {"RequestPayer": "requester"} if settings.request_payer else {}
    return S3Bucket(name, endpoint_url, store, Notice(), S3_VOCABULARY, client, payer)


def _encryption(settings: StorageSettings) -> Encryption:
    """Options that make obstore write encrypted objects; boto3 writes none."""
    if not settings.sse_kms_key_id:
        return {}
    return {"server_side_encryption": "aws:kms", "sse_kms_key_id": settings.sse_kms_key_id}


def _session(settings: StorageSettings) -> boto3.Session:
    core = botocore.session.get_session()
    # Listings have a date for each key, which is never used; parsing it takes two thirds of a listing's time.
    # The AWS command line skips it too, so botocore also handles credentials whose expiry is text.
    core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_as_it_is)
    return boto3.Session(botocore_session=core, region_name=settings.region)


def _as_it_is(value: object) -> object:
    return value


def _client(session: boto3.Session, settings: StorageSettings) -> S3Client:
    """A client that agrees with `uses_path_style`, which needs the endpoint; that may come from AWS's files."""
    client = _client_in_style("auto", session, settings)
    if uses_path_style(client.meta.endpoint_url, settings):
        return _client_in_style("path", session, settings)
    return client if settings.path_style is None else _client_in_style("virtual", session, settings)


def _client_in_style(style: str, session: boto3.Session, settings: StorageSettings) -> S3Client:
    config = Config(
        signature_version=UNSIGNED if settings.anonymous else None,
        s3={"addressing_style": style},
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        max_pool_connections=32,
        retries={"mode": "standard", "total_max_attempts": 1},  # `tries.insist` retries
        request_checksum_calculation="when_required",
    )
    client: S3Client = session.client("s3", endpoint_url=settings.endpoint_url, config=config)
    return client


def _credential_provider(bucket: str, session: boto3.Session) -> Boto3CredentialProvider:
    try:
        provider = Boto3CredentialProvider(session, ttl=_CREDENTIALS_TTL)
        provider()  # so that an expired login is reported here, in words
    except (BotoCoreError, ValueError, AssertionError) as exc:
        reason = "no AWS credentials found" if isinstance(exc, ValueError) else str(exc)
        raise CredentialsRefused(f"cannot open s3://{bucket}: {reason}; {CREDENTIALS_REMEDY}") from exc
    return provider


def uses_path_style(endpoint_url: str, settings: StorageSettings) -> bool:
    """As set. If not set: path style except for AWS itself, because only there every bucket name is a host name."""
    if settings.path_style is not None:
        return settings.path_style
    host = urlsplit(endpoint_url).hostname or ""
    return ".amazonaws." not in f".{host}."


def bucket_endpoint(bucket: str, endpoint_url: str, is_path_style: bool) -> str:
    """obstore wants the bucket in the host name where requests are virtual-hosted."""
    if is_path_style:
        return endpoint_url
    scheme, separator, rest = endpoint_url.partition("://")
    return f"{scheme}{separator}{bucket}.{rest}"
