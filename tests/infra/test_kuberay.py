"""The manifests for KubeRay: against its own schema, Kubernetes' own, and our own commands."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from quire.jobs.exit_codes import (
    EXIT_FAILED_PAGES,
    EXIT_STOPPED,
    EXIT_SUMS_DISAGREE,
    EXIT_TOO_MANY_GONE,
    EXIT_WRONG_USAGE,
)
from tests.infra.commands import check_quire
from tests.infra.test_ray_cluster import check_ray

_ROOT = Path(__file__).resolve().parents[2]
_KUBERNETES = "1.33"


def manifests() -> list[dict[str, Any]]:
    files = sorted((_ROOT / "infra/kuberay").glob("*.yaml"))
    return [manifest for file in files for manifest in yaml.load_all(file.read_text(), yaml.CSafeLoader)]


def manifest(kind: str) -> dict[str, Any]:
    (found,) = [manifest for manifest in manifests() if manifest["kind"] == kind]
    return found


@cache
def ray_schema(kind: str) -> jsonschema.Draft202012Validator:
    """KubeRay's, made strict: Kubernetes itself drops what it does not know without a word."""
    schema: dict[str, Any] = json.loads((Path(__file__).parent / "schemas/rayjob-v1.json").read_text())
    if kind == "RayCluster":
        schema["properties"]["spec"] = schema["properties"]["spec"]["properties"]["rayClusterSpec"]
    schema["properties"]["metadata"] = {"type": "object"}
    return jsonschema.Draft202012Validator({**strict(schema), "type": "object"})


def strict(schema: Any) -> Any:
    """Nothing beside the named properties, wherever some are named; quantities may be numbers or words."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(part) for key, part in schema.items()}
    if isinstance(made.get("properties"), dict) and made["properties"].keys() != {"properties"}:
        open_ended = made.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in made
        return made if open_ended else {**made, "additionalProperties": False}
    return made


def check(manifest: dict[str, Any]) -> None:
    """Raises if the manifest has anything that its kind does not."""
    if manifest["apiVersion"] == "ray.io/v1":
        for error in ray_schema(manifest["kind"]).iter_errors(manifest):
            raise error
    else:
        kubernetes_validate.validate(manifest, _KUBERNETES, strict=True)


@pytest.mark.parametrize("manifest", manifests(), ids=lambda manifest: str(manifest["kind"]))
def test_a_manifest_fits_its_schema(manifest: dict[str, Any]) -> None:
    check(manifest)


def broken(kind: str, *path: str | int, **change: Any) -> dict[str, Any]:
    """The manifest with something changed at a place."""
    found = manifest(kind)
    place: Any = found["spec"]
    for step in path:
        place = place[step]
    place.update(change)
    return found


CONTAINER = ("workerGroupSpecs", 0, "template", "spec", "containers", 0)


@pytest.mark.parametrize(
    "manifest",
    [
        broken("RayCluster", enableInTreeAutoscaler=True),
        broken("RayCluster", "autoscalerOptions", version="v3"),
        broken("RayCluster", "workerGroupSpecs", 0, maxReplica=3),
        broken("RayCluster", *CONTAINER, imagePullPolcy="Always"),
        broken("RayCluster", *CONTAINER, "lifecycle", "preStop", exec={"cmd": ["ray", "stop"]}),
        broken("RayJob", entryPoint="quire"),
        broken("RayJob", shutdownAfterJobFinishes="no"),
        broken("CronJob", "jobTemplate", "spec", backOffLimit=1),
        broken("CronJob", "jobTemplate", "spec", "template", "spec", "containers", 0, image=3),
    ],
)
def test_what_is_wrong_is_found(manifest: dict[str, Any]) -> None:
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
        check(manifest)


def pods(node: Any) -> Iterator[dict[str, Any]]:
    """Every pod's spec below a node."""
    if isinstance(node, dict):
        if "containers" in node:
            yield node
        for part in node.values():
            yield from pods(part)
    elif isinstance(node, list):
        for part in node:
            yield from pods(part)


def all_pods() -> list[dict[str, Any]]:
    return list(pods(manifests()))


def test_no_pod_is_root_and_all_have_the_role_and_one_image() -> None:
    assert len(all_pods()) == 5
    for pod in all_pods():
        assert pod["securityContext"]["runAsNonRoot"] and pod["serviceAccountName"] == "quire"
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
    assert len({container["image"] for pod in all_pods() for container in pod["containers"]}) == 1


def test_the_user_is_the_one_of_the_image() -> None:
    (user,) = set(re.findall(r"^USER (\d+)$", (_ROOT / "Dockerfile").read_text(), re.MULTILINE))
    assert {pod["securityContext"]["runAsUser"] for pod in all_pods()} == {int(user)}


def test_secrets_are_referred_to_and_never_written() -> None:
    for pod in all_pods():
        for variable in pod["containers"][0].get("env", []):
            is_secret = re.search("TOKEN|SECRET|PASSWORD|_KEY", variable["name"])
            assert not is_secret or "secretKeyRef" in variable["valueFrom"]
    (token,) = [variable for variable in submit_container()["env"] if variable["name"] == "RAY_AUTH_TOKEN"]
    assert token["valueFrom"]["secretKeyRef"] == {
        "name": manifest("RayCluster")["metadata"]["name"],
        "key": "auth_token",
    }


def submit_container() -> dict[str, Any]:
    container: dict[str, Any] = manifest("CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"][
        "containers"
    ][0]
    return container


def test_the_versions_are_those_of_the_lock() -> None:
    (version,) = re.findall(r"^ray==(.*)$", (_ROOT / "requirements-gpu.lock").read_text(), re.MULTILINE)
    assert manifest("RayCluster")["spec"]["rayVersion"] == version


def test_shared_memory_holds_the_object_store() -> None:
    for group in manifest("RayCluster")["spec"]["workerGroupSpecs"]:
        store_bytes = int(group["rayStartParams"]["object-store-memory"])
        (memory,) = [v["emptyDir"] for v in group["template"]["spec"]["volumes"] if v["name"] == "shared-memory"]
        assert memory["medium"] == "Memory"
        assert int(memory["sizeLimit"].removesuffix("Gi")) << 30 > store_bytes


def test_a_worker_has_the_time_that_its_draining_takes() -> None:
    for group in manifest("RayCluster")["spec"]["workerGroupSpecs"]:
        pod = group["template"]["spec"]
        script = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-1]
        (told,) = re.findall(r"--deadline-remaining-seconds (\d+)", script)
        (waited,) = re.findall(r"timeout (\d+)", script)
        assert int(told) == int(waited) < pod["terminationGracePeriodSeconds"]
        check_ray(shlex.split(script.partition(";")[0]))


def test_the_commands_are_ours() -> None:
    for command in (manifest("RayJob")["spec"]["entrypoint"], submit_container()["command"][-1]):
        check_quire(shlex.split(command))
        assert "--max-failed-share" in command, "or one bad page of a million fails the run"


def test_what_a_person_has_to_look_at_is_not_tried_again() -> None:
    (rule,) = manifest("CronJob")["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    codes = {EXIT_WRONG_USAGE, EXIT_FAILED_PAGES, EXIT_SUMS_DISAGREE, EXIT_STOPPED, EXIT_TOO_MANY_GONE}
    assert set(rule["onExitCodes"]["values"]) == codes


def test_the_nightly_run_finds_the_cluster() -> None:
    (address,) = [v["value"] for v in submit_container()["env"] if v["name"] == "RAY_API_SERVER_ADDRESS"]
    name = manifest("RayCluster")["metadata"]["name"]
    assert address == f"http://{name}-head-svc:8265"
    assert manifest("RayJob")["spec"]["clusterSelector"] == {"ray.io/cluster": name}
