"""The cluster file for EC2: against Ray's schema, EC2's description of a machine, and Ray's command line."""

from __future__ import annotations

import copy
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import botocore.session
import jsonschema
import pytest
import yaml
from botocore.validate import ParamValidator
from ray.autoscaler._private.util import prepare_config, validate_config

_ROOT = Path(__file__).resolve().parents[2]


def cluster() -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((_ROOT / "infra/aws/ray-cluster.yaml").read_text())
    return config


def check(config: dict[str, Any]) -> None:
    """As `ray up` does before it asks AWS anything."""
    validate_config(prepare_config(copy.deepcopy(config)))
    for node_type in config["available_node_types"].values():
        check_machine(node_type["node_config"])


def check_machine(node_config: dict[str, Any]) -> None:
    """What Ray passes on unseen is what EC2's RunInstances takes."""
    model = botocore.session.get_session().get_service_model("ec2")
    shape = model.operation_model("RunInstances").input_shape
    report = ParamValidator().validate({**node_config, "MinCount": 1, "MaxCount": 1}, shape)
    if report.has_errors():
        raise ValueError(report.generate_report())


def check_ray(words: Sequence[str]) -> None:
    """Whether Ray's command line, which takes seconds to be imported, takes the words."""
    from ray.scripts.scripts import cli as ray_command

    program, name, *arguments = words
    assert program == "ray"
    ray_command.commands[name].make_context(name, list(arguments))


def test_ray_and_ec2_take_it() -> None:
    check(cluster())


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ((), {"max_worker": 3}),
        (("available_node_types", "gpu_spot"), {"min_worker": 1}),
        (("available_node_types", "gpu_spot"), {"min_workers": 99}),
        ((), {"head_node_type": "heads"}),
        (("available_node_types", "gpu_spot", "node_config"), {"InstanceTyp": "p4d.24xlarge"}),
        (("available_node_types", "gpu_spot", "node_config", "InstanceMarketOptions"), {"SpotOption": {}}),
    ],
)
def test_what_is_wrong_is_found(path: Sequence[str], change: dict[str, Any]) -> None:
    config = cluster()
    place = config
    for step in path:
        place = place[step]
    place.update(change)
    with pytest.raises((jsonschema.ValidationError, ValueError)):
        check(config)


def test_spot_comes_first_and_the_head_is_none() -> None:
    types = cluster()["available_node_types"]
    spot = {name for name, found in types.items() if "InstanceMarketOptions" in found["node_config"]}
    assert spot == {"gpu_spot"}
    assert types["gpu_spot"]["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    assert types["gpu_spot"]["max_workers"] + types["gpu_on_demand"]["max_workers"] <= cluster()["max_workers"]


def test_what_goes_to_the_machines_is_there() -> None:
    sources = [source for source in cluster()["file_mounts"].values() if not source.startswith("~")]
    assert all((_ROOT / source).exists() for source in sources)
    copied = {source for source in sources if (_ROOT / source).is_dir()}
    assert copied == {"pipeline", "jobs"}


def test_the_commands_are_rays() -> None:
    config = cluster()
    text = " ; ".join([*config["head_start_ray_commands"], *config["worker_start_ray_commands"]])
    commands = re.findall(r"ray (?:start|stop|drain-node)[^;']*", text)
    assert len(commands) == 5
    for command in commands:
        check_ray(shlex.split(command.replace("$RAY_HEAD_IP", "10.0.0.1")))


def test_machines_have_roles_of_their_own() -> None:
    """Or Ray makes one that may do everything with EC2 and S3."""
    types = cluster()["available_node_types"]
    profiles = {name: found["node_config"]["IamInstanceProfile"]["Arn"] for name, found in types.items()}
    assert profiles.pop("head").endswith("/quire-head")
    assert all(profile.endswith("/quire-storage") for profile in profiles.values())
