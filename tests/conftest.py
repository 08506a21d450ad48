"""Fixtures: object stores to test against.

    s3             a new bucket in moto, or with `--store=radosgw` in a real store
    moto_bucket    only moto
    rados_bucket   only radosgw
    shared_gateway radosgw itself; who kills it starts it again
    folder         an empty folder: local, or in what `s3` is

and models: `small_checkpoint` is a small random DeepSeek-OCR, made once. What tests that hang wait for is told by
`tests.hangs`, where those that crash did by `tests.crashes`.

The AWS variables point at the server; no other credentials are in reach.
"""

from __future__ import annotations

import gc
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

import quire.rasterize.mupdf  # noqa: F401 - leaves out a second of PyMuPDF, whose next importer has it
from quire.config.settings import StorageSettings
from quire.storage import Folder, open_folder
from tests.rigs.endpoint import Endpoint
from tests.rigs.moto_server import moto_server
from tests.rigs.radosgw import RadosGateway, missing_programs, radosgw

# A process keeps the mode that its first cluster had, and a cluster without addresses (`ray.init()`) sets it to "token"
# where nothing is said: a later one in another mode would lose its actors as they are made.
os.environ["RAY_AUTH_MODE"] = "disabled"
# What is left in this process of a cluster that is gone would end the process after a minute: Ray's C++ exits when its
# control store does not answer.
os.environ["RAY_gcs_rpc_server_reconnect_timeout_s"] = str(24 * 3600)  # noqa: SIM112 - Ray's own spelling
# Before anything imports torch: threads that wait for each other burn the cores that several tests share.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# How long an example takes says how busy the machine is.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

pytest_plugins = ["tests.groups", "tests.hangs", "tests.crashes"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--store", choices=["moto", "radosgw"], default="moto", help="the S3 store behind `s3`")


def pytest_collection_finish() -> None:
    gc.freeze()  # what is imported stays: to look through it for garbage again and again is a twentieth of the CPU


@dataclass(frozen=True, slots=True)
class TestBucket:
    """A bucket with nothing in it. `client` is plain boto3, to act behind the back of the code under test."""

    __test__ = False
    name: str
    endpoint: Endpoint
    settings: StorageSettings
    client: Any

    @property
    def uri(self) -> str:
        return f"s3://{self.name}"

    def folder(self, name: str = "") -> Folder:
        return open_folder(f"{self.uri}/{name}", self.settings)

    def through(self, url: str) -> StorageSettings:
        """Settings that reach the bucket by way of a proxy."""
        return replace(self.settings, endpoint_url=url)

    def put(self, key: str, data: bytes = b"x") -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=data)


def keys_of(folder: Folder, prefix: str = "") -> list[str]:
    return [info.key for info in folder.list(prefix)]


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[Endpoint]:
    with moto_server() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def shared_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RadosGateway]:
    missing = missing_programs()
    if missing:
        reason = f"no radosgw here, lacking {', '.join(missing)}: apt-get install radosgw ceph-mon ceph-osd"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with radosgw(tmp_path_factory.mktemp("rgw")) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.rigs.small_model import small_model  # imports torch

    return small_model(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def moto_bucket(moto_endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> TestBucket:
    return new_bucket(moto_endpoint, monkeypatch)


@pytest.fixture
def rados_bucket(shared_gateway: RadosGateway, monkeypatch: pytest.MonkeyPatch) -> TestBucket:
    return new_bucket(shared_gateway.endpoint, monkeypatch)


@pytest.fixture
def s3(request: pytest.FixtureRequest) -> TestBucket:
    store = request.config.getoption("--store")
    bucket: TestBucket = request.getfixturevalue("rados_bucket" if store == "radosgw" else "moto_bucket")
    return bucket


@pytest.fixture(params=["local", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    if request.param == "local":
        return open_folder(str(tmp_path / "folder"), StorageSettings())
    bucket: TestBucket = request.getfixturevalue("s3")
    return bucket.folder("a/folder")


def new_bucket(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> TestBucket:
    """The name is new, and so are the clients: they are kept by bucket and settings."""
    for variable in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(variable)
    for variable, value in endpoint.environment().items():
        monkeypatch.setenv(variable, value)
    name = f"test-{uuid.uuid4().hex[:16]}"
    client = endpoint.client()
    client.create_bucket(Bucket=name)
    return TestBucket(name, endpoint, StorageSettings(endpoint_url=endpoint.url), client)
