"""The IAM policies: known to AWS by cfn-lint's lists, and the storage policy enough for a run and no more than that, by
an S3 server that enforces it (moto)."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from quire.config.sections import StorageSettings
from quire.errors import PermissionDenied
from quire.run.convert import convert
from quire.run.inputs import Inputs
from quire.storage import Folder, open_folder
from tests.documents import pdf
from tests.rigs.endpoint import Endpoint
from tests.runs import scripted_settings
from tests.waiting import BOUND_S

_USER = "quire"
_AWS = Path(__file__).resolve().parents[2] / "infra/aws"


def policy(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((_AWS / f"{name}-policy.json").read_text())
    return document


def problems(document: dict[str, Any]) -> list[str]:
    """What cfn-lint, which knows AWS's actions and takes seconds to be imported, says of a policy."""
    import cfnlint.api
    from cfnlint.core import get_rules

    resource = {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": document}}
    template = json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": {"Policy": resource}})
    rules = get_rules([], [], ["I", "W", "E"], include_experimental=False)
    return [match.message for match in cfnlint.api.lint(template, rules, ["eu-central-1"])]


@pytest.mark.parametrize("name", ["storage", "autoscaler"])
def test_a_policy_is_known_to_aws(name: str) -> None:
    assert not problems(policy(name))


def test_an_action_that_does_not_exist_is_found() -> None:
    document = policy("storage")
    document["Statement"][0]["Action"] = "s3:ListObjects"
    assert problems(document)


def test_nobody_may_do_everything() -> None:
    statements = [*policy("storage")["Statement"], *policy("autoscaler")["Statement"]]
    assert not [statement for statement in statements if "*" in json.dumps(statement["Action"])]
    assert not [s for s in policy("storage")["Statement"] if s["Resource"] == "*"]


@pytest.fixture(scope="module")
def user(moto_endpoint: Endpoint) -> dict[str, str]:
    """The variables of a user who may do nothing. One for all tests: clients are kept by bucket and settings."""
    iam = _iam(moto_endpoint)
    iam.create_user(UserName=_USER)
    key = iam.create_access_key(UserName=_USER)["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


@pytest.fixture
def enforced(
    moto_endpoint: Endpoint, user: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Two buckets named as in the policy, and the user's variables; a call holds the user to a policy."""
    s3 = moto_endpoint.client()
    for bucket in ("corpus", "results"):
        s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket="corpus", Key="scans/a.pdf", Body=pdf(["one", "two"]))
    for name, value in {**moto_endpoint.environment(), **user}.items():
        monkeypatch.setenv(name, value)

    def enforce(document: dict[str, Any]) -> None:
        text = json.dumps(document)
        _iam(moto_endpoint).put_user_policy(UserName=_USER, PolicyName="storage", PolicyDocument=text)
        _authorize_after(moto_endpoint, "0")

    yield enforce
    _authorize_after(moto_endpoint, "inf")
    for bucket in ("corpus", "results"):
        for item in s3.list_objects_v2(Bucket=bucket).get("Contents", ()):
            s3.delete_object(Bucket=bucket, Key=item["Key"])
        s3.delete_bucket(Bucket=bucket)


def _iam(endpoint: Endpoint) -> Any:
    keys = {"aws_access_key_id": endpoint.access_key, "aws_secret_access_key": endpoint.secret_key}
    return boto3.client("iam", region_name="us-east-1", endpoint_url=endpoint.url, **keys)


def _authorize_after(endpoint: Endpoint, num_requests: str) -> None:
    """moto's own switch: how many requests pass unlooked at."""
    request = urllib.request.Request(
        f"{endpoint.url}/moto-api/reset-auth", num_requests.encode(), {"Content-Type": "application/octet-stream"}
    )
    urllib.request.urlopen(request, timeout=BOUND_S).close()


def test_the_storage_policy_is_enough_for_a_run(
    enforced: Callable[[dict[str, Any]], None], moto_endpoint: Endpoint, tmp_path: Path
) -> None:
    enforced(policy("storage"))
    settings = scripted_settings(tmp_path, f"storage.endpoint_url={moto_endpoint.url}")
    account = asyncio.run(convert(Inputs(("s3://corpus/scans",), (), "s3://results/run"), settings, use_ray=False))
    assert account.is_complete and account.pages["ocr"] == 2 and not account.problems
    results = open_folder("s3://results/run", settings.storage)
    results.delete("latents/damaged")
    for forbidden in (
        lambda: results.delete("quire.json"),
        lambda: open_folder("s3://corpus", settings.storage).put("scans/b.pdf", b"x"),
    ):
        with pytest.raises(PermissionDenied):
            forbidden()


OPERATIONS: dict[str, Callable[[Folder], object]] = {
    "ListBoth": lambda folder: list(folder.list()),
    "ReadAndWriteResults": lambda folder: folder.put("b", b"x"),
    "RemoveDamagedLatents": lambda folder: folder.delete("latents/a"),
}


@pytest.mark.parametrize("statement", OPERATIONS)
def test_without_a_statement_something_is_missing(
    enforced: Callable[[dict[str, Any]], None], moto_endpoint: Endpoint, statement: str
) -> None:
    """So that the policy holds nothing which is not needed. What KMS allows, the server does not enforce."""
    document = policy("storage")
    document["Statement"] = [entry for entry in document["Statement"] if entry["Sid"] != statement]
    folder = open_folder("s3://results/run", StorageSettings(endpoint_url=moto_endpoint.url))
    enforced(document)
    with pytest.raises(PermissionDenied):
        OPERATIONS[statement](folder)
