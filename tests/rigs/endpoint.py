"""How a test reaches an S3 server, and what it needs of boto3 to set one up."""

from __future__ import annotations

import contextlib
import secrets
import socket
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config

_GIVEN: set[int] = set()  # a node of Ray is given several before it takes any


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The keys are made up for the server at hand; they open nothing else."""

    url: str
    access_key: str
    secret_key: str

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def environment(self) -> dict[str, str]:
        """The AWS variables that make this server the only one known: no file, no metadata service."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/nonexistent",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        }

    def client(self) -> Any:
        """A plain boto3 client, to put things into the store behind the back of the code under test."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
        )


def free_port() -> int:
    """A port of the loopback that was free a moment ago, and that this process is given once. Others hardly are given
    it meanwhile: Linux gives connections ports from 32768 upwards, and Ray its workers those below 20000."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)  # `random` draws the same in all processes of shuffled tests
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _GIVEN:
                _GIVEN.add(port)
                return port
