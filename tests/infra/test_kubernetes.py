"""The manifests hold together and are what Kubernetes takes. No cluster is asked."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]
from prefect.settings import Settings
from prefect.settings.legacy import _get_valid_setting_names

FOLDER = Path(__file__).parents[2] / "infra" / "kubernetes"
README = (FOLDER / "README.md").read_text()
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
TEMPLATE: dict[str, Any] = json.loads((FOLDER / "job-template.json").read_text())
OBJECTS: list[dict[str, Any]] = [
    found
    for name in KUSTOMIZATION["resources"]
    for found in yaml.safe_load_all((FOLDER / name).read_text())
]
VERSIONS = ["1.30", "1.37"]
SECRET = "facecrop-secrets"


def flow_run_job() -> dict[str, Any]:
    """The Job that a flow run becomes, with a value for each of Prefect's placeholders."""
    job: dict[str, Any] = copy.deepcopy(TEMPLATE["job_configuration"]["job_manifest"])
    job["metadata"] = {"name": "a-flow-run", "labels": {"run": "1"}}
    job["spec"]["ttlSecondsAfterFinished"] = 1
    pod = job["spec"]["template"]["spec"]
    del pod["parallelism"], pod["completions"]  # Prefect requires them, Kubernetes drops them
    pod["containers"][0] |= {"image": "facecrop", "args": ["prefect", "flow-run", "execute"]}
    assert "{{" not in json.dumps(job).replace("{{ cpu }}", "").replace("{{ memory }}", "")
    return job


def find(kind: str, name: str) -> dict[str, Any]:
    [found] = [o for o in OBJECTS if (o["kind"], o["metadata"]["name"]) == (kind, name)]
    return found


def names(kind: str) -> set[str]:
    return {found["metadata"]["name"] for found in OBJECTS if found["kind"] == kind}


def values(node: object, key: str) -> Iterator[Any]:
    """All that stands under a key, however deep."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield value
            yield from values(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from values(value, key)


def containers(workload: dict[str, Any]) -> list[dict[str, Any]]:
    pod = workload["spec"]["template"]["spec"]
    return [*pod.get("initContainers", []), *pod["containers"]]


def selects(selector: dict[str, str], workload: dict[str, Any]) -> bool:
    labels: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return selector.items() <= labels.items()


WORKLOADS = [found for found in OBJECTS if found["kind"] in ("Deployment", "Job")]
DEPLOYMENTS = [found for found in WORKLOADS if found["kind"] == "Deployment"]
PODS = [*WORKLOADS, flow_run_job()]
CONTAINERS = [
    pytest.param(container, id=f"{workload['metadata']['name']}-{container['name']}")
    for workload in PODS
    for container in containers(workload)
]


def label(found: dict[str, Any]) -> str:
    return f"{found['kind']}-{found['metadata']['name']}"


def test_kustomization_names_every_file_and_no_other() -> None:
    generated = [name for made in KUSTOMIZATION["configMapGenerator"] for name in made["files"]]
    assert sorted(KUSTOMIZATION["resources"] + generated) == sorted(
        path.name
        for path in FOLDER.iterdir()
        if path.suffix in (".yaml", ".json")
        if path.name != "kustomization.yaml"
    )


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("found", [*OBJECTS, flow_run_job()], ids=label)
def test_kubernetes_knows_every_field(found: dict[str, Any], version: str) -> None:
    assert kubernetes_validate.validate(found, version, strict=True) == version


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Deployment", ["spec", "replica"], 2),
        ("Deployment", ["spec", "replicas"], "two"),
        ("Deployment", ["spec", "template", "spec", "containers", 0, "readOnly"], True),
        ("Deployment", ["spec", "template", "spec", "containers", 0, "ports", 0, "name"], 4200),
        ("Service", ["spec", "ports"], {}),
        ("HorizontalPodAutoscaler", ["spec", "maxReplicas"], "10"),
        ("Role", ["rules", 0, "verb"], ["get"]),
        ("NetworkPolicy", ["spec", "ingres"], []),
        ("ConfigMap", ["data", "PREFECT_SERVER_ANALYTICS_ENABLED"], False),
    ],
)
def test_a_broken_manifest_is_found(kind: str, path: list[str | int], value: object) -> None:
    broken = copy.deepcopy(next(found for found in OBJECTS if found["kind"] == kind))
    *parents, last = path
    node: Any = broken
    for step in parents:
        node = node[step]
    node[last] = value
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)


def test_what_is_referred_to_is_there() -> None:
    everything = [*OBJECTS, flow_run_job()]
    generated = {made["name"] for made in KUSTOMIZATION["configMapGenerator"]}
    configs = [*values(everything, "configMapRef"), *values(everything, "configMap")]
    assert {config["name"] for config in configs} == names("ConfigMap") | generated
    secrets = [*values(everything, "secretKeyRef"), *values(everything, "secretRef")]
    assert {secret["name"] for secret in secrets} == {SECRET}
    documented = set(re.findall(r"--from-literal=([a-z0-9-]+)=", README))
    assert {secret["key"] for secret in secrets} == documented
    assert f"create secret generic {SECRET} " in README
    assert set(values(everything, "serviceAccountName")) == names("ServiceAccount")
    assert not list(values(everything, "secretName"))


def test_selectors_find_pods() -> None:
    for found in OBJECTS:
        spec = found.get("spec", {})
        if found["kind"] == "Deployment":
            assert selects(spec["selector"]["matchLabels"], found)
            for spread in values(found, "labelSelector"):
                assert selects(spread["matchLabels"], found)
        elif found["kind"] == "Service":
            [server] = [d for d in DEPLOYMENTS if selects(spec["selector"], d)]
            named = {port["name"] for port in containers(server)[0]["ports"]}
            assert {port["targetPort"] for port in spec["ports"]} <= named
        elif found["kind"] == "PodDisruptionBudget":
            [deployment] = [d for d in DEPLOYMENTS if selects(spec["selector"]["matchLabels"], d)]
            assert deployment["spec"]["replicas"] > spec["minAvailable"]
        elif found["kind"] == "HorizontalPodAutoscaler":
            scaled = find(spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"])
            assert "replicas" not in scaled["spec"]
        elif found["kind"] == "RoleBinding":
            assert find(found["roleRef"]["kind"], found["roleRef"]["name"])
            assert all(find(one["kind"], one["name"]) for one in found["subjects"])


def test_only_the_api_can_be_reached() -> None:
    deny, allow = (
        find("NetworkPolicy", name)["spec"] for name in ("deny-incoming", "prefect-server")
    )
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress"]}
    assert allow["ingress"] == [{"from": [{"podSelector": {}}], "ports": [{"port": "api"}]}]
    [server] = [d for d in DEPLOYMENTS if selects(allow["podSelector"]["matchLabels"], d)]
    [container] = containers(server)
    assert container["ports"] == [{"name": "api", "containerPort": 4200}]
    assert names("Service") == {"prefect-server"}


@pytest.mark.parametrize("container", CONTAINERS)
def test_containers_are_bounded_and_confined(container: dict[str, Any]) -> None:
    for kind in ("requests", "limits"):
        assert set(container["resources"][kind]) == {"cpu", "memory"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]


@pytest.mark.parametrize("workload", DEPLOYMENTS, ids=label)
def test_deployments_are_probed(workload: dict[str, Any]) -> None:
    for container in containers(workload):
        ports = {port["name"] for port in container.get("ports", [])}
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = container[kind]
            if "httpGet" in probe:
                assert probe["httpGet"]["port"] in ports
            else:
                compile(probe["exec"]["command"][-1], kind, "exec")


@pytest.mark.parametrize("workload", PODS, ids=label)
def test_pods_are_nobody_and_know_nothing(workload: dict[str, Any]) -> None:
    pod = workload["spec"]["template"]["spec"]
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "fsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert pod["enableServiceLinks"] is False
    needs_kubernetes = workload["metadata"]["name"] == "facecrop-kubernetes-worker"
    assert pod["automountServiceAccountToken"] is needs_kubernetes
    assert [volume["name"] for volume in pod["volumes"] if "emptyDir" in volume] == ["tmp"]


def test_the_image_is_set_in_one_place() -> None:
    [image] = KUSTOMIZATION["images"]
    assert image["name"] == "facecrop"
    assert {c["image"] for workload in WORKLOADS for c in containers(workload)} == {"facecrop"}
    [copied] = KUSTOMIZATION["replacements"]
    worker = find("Deployment", copied["source"]["name"])
    given = {entry["name"] for entry in containers(worker)[0]["env"]}
    asked = set(re.findall(r"{{ \$(\w+) }}", json.dumps(TEMPLATE["job_configuration"])))
    assert asked == {"FLOW_RUN_IMAGE", "FLOW_RUN_NAMESPACE"} <= given
    assert "name=FLOW_RUN_IMAGE" in copied["targets"][0]["fieldPaths"][0]


def test_prefect_knows_every_setting() -> None:
    given = {name for data in values(OBJECTS, "data") for name in data}
    given |= {entry["name"] for env in values(OBJECTS, "env") for entry in env}
    # settings of prefect-redis and prefect-kubernetes are theirs to know
    plugins = ("PREFECT_REDIS_", "PREFECT_INTEGRATIONS_")
    ours = {n for n in given if n.startswith("PREFECT_") and not n.startswith(plugins)}
    assert ours <= _get_valid_setting_names(Settings)


def test_the_template_declares_what_it_uses() -> None:
    used = set(re.findall(r"{{ ([$\w]+) }}", json.dumps(TEMPLATE["job_configuration"])))
    assert used == set(TEMPLATE["variables"]["properties"])  # or the server refuses it


def test_no_image_but_ours_and_it_can_be_named_by_digest() -> None:
    assert {image for found in OBJECTS for image in values(found, "image")} == {"facecrop"}
    assert "facecrop=YOUR/facecrop@sha256:" in README
