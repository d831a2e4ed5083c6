"""The cluster files against the schema and the checks that `ray up` itself uses."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray.autoscaler
import yaml
from click import ClickException
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).resolve().parents[2]
AWS = "ray_cluster.yaml"
ON_PREMISE = "cluster/on_premise.yaml"
FILES = [AWS, ON_PREMISE]
SCHEMA = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text(encoding="utf-8"))


def read(name: str) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    return config


def start_commands(config: dict[str, Any]) -> list[str]:
    commands = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
    return [command for command in commands if "ray start" in command]


@pytest.mark.parametrize("name", FILES)
def test_ray_accepts_the_file(name: str) -> None:
    config = read(name)
    jsonschema.validate(config, SCHEMA)
    validate_config(prepare_config(config))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("where", "wrong"), [((), "max_worker"), (("auth",), "ssh_usr"), ((), "worker_start_ray_command")]
)
def test_a_misspelt_key_is_refused(name: str, where: tuple[str, ...], wrong: str) -> None:
    config = read(name)
    section = config
    for key in where:
        section = section[key]
    section[wrong] = "x"
    with pytest.raises(jsonschema.ValidationError, match=wrong):
        validate_config(prepare_config(config))


def test_a_misspelt_key_of_a_node_type_is_refused() -> None:
    config = read(AWS)
    config["available_node_types"]["gpu"]["label"] = {"device": "gpu"}
    with pytest.raises(jsonschema.ValidationError, match="label"):
        validate_config(prepare_config(config))


def test_node_types_are_refused_on_premise() -> None:
    config = read(ON_PREMISE) | {"available_node_types": copy.deepcopy(read(AWS)["available_node_types"])}
    with pytest.raises(ClickException, match="available_node_types"):
        prepare_config(config)


def test_aws_has_a_head_that_holds_no_stage_and_cpu_and_gpu_workers() -> None:
    config = prepare_config(read(AWS))
    types = config["available_node_types"]
    head = types.pop(config["head_node_type"])
    assert head["resources"] == {"CPU": 0}
    assert head["max_workers"] == 0
    assert {name: kind["labels"] for name, kind in types.items()} == {
        "cpu": {"device": "cpu"},
        "gpu": {"device": "gpu"},
    }
    assert types["cpu"]["resources"].get("GPU", 0) == 0
    assert types["cpu"]["resources"]["CPU"] > 0
    assert types["gpu"]["resources"]["GPU"] > 0
    assert all(kind["max_workers"] > 0 for kind in types.values())


def test_on_premise_a_worker_labels_itself() -> None:
    (worker,) = (command for command in start_commands(read(ON_PREMISE)) if "--address" in command)
    assert '--labels="device=$(nvidia-smi' in worker


@pytest.mark.parametrize("name", FILES)
def test_every_node_asks_for_the_token_and_has_it(name: str) -> None:
    config = read(name)
    commands = start_commands(config)
    assert len(commands) == 2
    assert all("RAY_AUTH_MODE=token ray start " in command for command in commands)
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


@pytest.mark.parametrize("name", FILES)
def test_the_dashboard_listens_on_the_head_alone(name: str) -> None:
    (head,) = (command for command in start_commands(read(name)) if "--head" in command)
    assert "--dashboard-host=127.0.0.1" in head


@pytest.mark.parametrize("name", FILES)
def test_nodes_install_the_project_by_its_own_makefile(name: str) -> None:
    config = read(name)
    assert config["file_mounts"]["~/motley"] == "."
    assert "make -C ~/motley install" in config["setup_commands"]
    assert "\ninstall:" in (ROOT / "Makefile").read_text(encoding="utf-8")
