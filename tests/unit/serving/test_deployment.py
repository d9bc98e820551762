"""What `goldloop deploy` writes fits the published schemas, runs without rights, and holds no secret."""

from __future__ import annotations

import json
import re
from importlib.metadata import requires

import kubernetes_validate
import pytest
import yaml
from compose_spec import PyCompose

from goldloop.deploying import requirements
from goldloop.serving.deployment import KEYS, PORT, Plan, compose, dockerfile, kubernetes

PLANS = [
    Plan("pets", "pets/3", "goldloop-pets:3-abc", "3.11.9", 2048),
    Plan("signs", "signs/12", "team/signs:1", "3.12.1", 4096, cpus=4, gpus=1, replicas=(1, 1)),
]


@pytest.fixture(params=PLANS, ids=lambda plan: plan.name)
def plan(request) -> Plan:
    return request.param


def _kubernetes_versions() -> list[str]:
    return kubernetes_validate.utils.all_versions()[-4:]


@pytest.mark.parametrize("version", _kubernetes_versions())
def test_manifests_fit_kubernetes_own_schemas_strictly(plan, version):
    manifests = kubernetes(plan)
    assert {each["kind"] for each in manifests.values()} == {
        "Deployment",
        "Service",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
    }
    for manifest in manifests.values():
        kubernetes_validate.validate(yaml.safe_load(yaml.safe_dump(manifest)), version, strict=True)


def test_the_schemas_would_find_a_wrong_field(plan):
    manifest = kubernetes(plan)["deployment.yaml"]
    manifest["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, _kubernetes_versions()[-1], strict=True)


def test_the_compose_file_is_one(plan):
    read = PyCompose.from_yaml(yaml.safe_dump(compose(plan)))
    assert read.to_dict()["services"]["serve"]["image"] == plan.image
    with pytest.raises(ValueError, match="services"):
        PyCompose.from_yaml("services: [serve]")


def test_parts_fit_one_another(plan):
    manifests = kubernetes(plan)
    deployment, service = manifests["deployment.yaml"], manifests["service.yaml"]
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    labels = pod["metadata"]["labels"].items()
    assert service["spec"]["selector"].items() <= labels
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels
    assert manifests["disruption-budget.yaml"]["spec"]["selector"]["matchLabels"].items() <= labels
    assert manifests["autoscaler.yaml"]["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert container["ports"][0] == {"name": "http", "containerPort": PORT}
    assert service["spec"]["ports"][0]["targetPort"] == "http"
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts.keys() == {volume["name"] for volume in pod["spec"]["volumes"]}
    assert f"{mounts['api-keys']}/api-keys.json" == KEYS
    assert ("nvidia.com/gpu" in container["resources"]["limits"]) == bool(plan.gpus)


def test_it_runs_without_rights(plan):
    pod = kubernetes(plan)["deployment.yaml"]["spec"]["template"]["spec"]
    security = pod["containers"][0]["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["automountServiceAccountToken"] is False
    assert security["readOnlyRootFilesystem"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    service = compose(plan)["services"]["serve"]
    assert service["read_only"]
    assert service["user"].split(":")[0] != "0"
    lines = dockerfile(plan).splitlines()
    last_user = [line for line in lines if line.startswith("USER ")][-1]
    assert last_user == f"USER {service['user']}"
    assert lines.index(last_user) < next(n for n, line in enumerate(lines) if line.startswith("ENTRYPOINT"))


def test_versions_are_pinned_and_the_commands_of_the_dockerfile_are_json(plan):
    text = dockerfile(plan)
    assert f"FROM python:{plan.python}-slim-bookworm" in text
    commands = re.findall(r"^(?:ENTRYPOINT|HEALTHCHECK .*CMD) (\[.*\])$", text, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        assert json.loads(command)[0] == "python"
    pinned = requirements()
    assert len(pinned) > 50
    assert all(re.fullmatch(r"[a-z0-9-]+==[^\s+]+", line) for line in pinned)
    names = {line.partition("==")[0] for line in pinned}
    asked = {re.split(r"[><=;\[ ]", line)[0] for line in requires("goldloop") or () if "extra" not in line}
    assert {name.lower().replace("_", "-") for name in asked} <= names
    # What they need themselves, too.
    assert {"starlette", "networkx", "click"} <= names
    assert "pytest" not in names


def test_secrets_are_named_and_none_is_written(plan):
    written = yaml.safe_dump([compose(plan), kubernetes(plan)]) + dockerfile(plan)
    assert f"secretName: {plan.name}-api-keys" in written
    assert not re.search(r"goldloop-[A-Za-z0-9_-]{40,}", written)
    assert not re.search(r"(?i)(password|token): *[^F\s]", written)
    assert "env:" not in written
