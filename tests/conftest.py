"""Fixtures: object stores to test against.

    s3             a new bucket in moto, or with `--store=radosgw` in a real store
    moto_bucket    only moto
    rados_bucket   only radosgw
    shared_gateway radosgw itself; who kills it starts it again
    gs, az         a new bucket of Google's, a new container of Azure's, in servers of this repository
    folder         an empty folder: local, or in what `s3` is

and models: `small_checkpoint` is a small random DeepSeek-OCR, made once. What tests that hang wait for is told by
`tests.hangs`, where those that crash did by `tests.crashes`.

The clouds' variables point at the servers; no other credentials are in reach.
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
from quire.config.sections import StorageSettings
from quire.storage import Folder, open_folder
from tests.rigs.azure_server import ACCOUNT, KEY, AzureHandler
from tests.rigs.endpoint import Endpoint
from tests.rigs.google_server import TOKEN, GoogleHandler
from tests.rigs.moto_server import moto_server
from tests.rigs.object_server import Objects, serving_objects
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


@dataclass(frozen=True, slots=True)
class TestCloud:
    """An empty bucket of Google, or container of Azure. `objects` is the server, to act behind the back of the code
    under test."""

    __test__ = False
    scheme: str
    name: str
    objects: Objects

    @property
    def uri(self) -> str:
        return f"{self.scheme}://{self.name}"

    def folder(self, name: str = "", settings: StorageSettings | None = None) -> Folder:
        return open_folder(f"{self.uri}/{name}", settings or StorageSettings())

    def put(self, key: str, data: bytes = b"x") -> None:
        self.objects.put(self.name, key, data)


@pytest.fixture(scope="session")
def google_objects() -> Iterator[Objects]:
    with serving_objects(GoogleHandler, Objects()) as objects:
        yield objects


@pytest.fixture(scope="session")
def azure_objects() -> Iterator[Objects]:
    with serving_objects(AzureHandler, Objects()) as objects:
        yield objects


@pytest.fixture
def gs(google_objects: Objects, monkeypatch: pytest.MonkeyPatch) -> TestCloud:
    _only(monkeypatch, "GOOGLE_", {"GOOGLE_BASE_URL": google_objects.url, "GOOGLE_BEARER_TOKEN": TOKEN})
    return _new_container("gs", google_objects)


@pytest.fixture
def az(azure_objects: Objects, monkeypatch: pytest.MonkeyPatch) -> TestCloud:
    variables = {"ACCOUNT_NAME": ACCOUNT, "ACCOUNT_KEY": KEY, "ENDPOINT": azure_objects.url}
    _only(monkeypatch, "AZURE_", {f"AZURE_STORAGE_{name}": value for name, value in variables.items()})
    return _new_container("az", azure_objects)


def _new_container(scheme: str, objects: Objects) -> TestCloud:
    name = f"test-{uuid.uuid4().hex[:16]}"
    objects.containers[name] = {}
    return TestCloud(scheme, name, objects)


def _only(monkeypatch: pytest.MonkeyPatch, prefix: str, variables: dict[str, str]) -> None:
    """Of the variables with this prefix, these and no others."""
    for variable in [name for name in os.environ if name.startswith(prefix)]:
        monkeypatch.delenv(variable)
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)


@pytest.fixture(params=["local", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    if request.param == "local":
        return open_folder(str(tmp_path / "folder"), StorageSettings())
    bucket: TestBucket = request.getfixturevalue("s3")
    return bucket.folder("a/folder")


def new_bucket(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> TestBucket:
    """The name is new, and so are the clients: they are kept by bucket and settings."""
    _only(monkeypatch, "AWS_", endpoint.environment())
    name = f"test-{uuid.uuid4().hex[:16]}"
    client = endpoint.client()
    client.create_bucket(Bucket=name)
    return TestBucket(name, endpoint, StorageSettings(endpoint_url=endpoint.url), client)
