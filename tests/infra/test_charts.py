"""The values for Prefect's charts: keys that the charts have, and what our manifests say otherwise.

Their schemas are not to be had here, so the keys are held against the list below, made by hand from
the `values.yaml` of version 2026.8.18172642. FACECROP_PREFECT_HELM=FOLDER, a checkout of
PrefectHQ/prefect-helm, has them held against its schemas, too. Nothing renders the charts.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]
from prefect.settings import Settings
from prefect.settings.legacy import _get_valid_setting_names

from deployments.worker import FacecropWorker
from tests.infra.test_kubernetes import OBJECTS, SECRET, VERSIONS, containers, find, names, values

FOLDER = Path(__file__).parents[2] / "infra" / "charts"
GUIDE = (FOLDER.parents[1] / "docs" / "operate" / "kubernetes.md").read_text("utf-8")
OVERLAY: dict[str, Any] = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
CHARTS = {
    "server": "prefect-server",
    "process-worker": "prefect-worker",
    "kubernetes-worker": "prefect-worker",
}
VALUES: dict[str, dict[str, Any]] = {
    name: yaml.safe_load((FOLDER / f"{name}.yaml").read_text()) for name in CHARTS
}
VERSION = "2026.8.18172642"
_POD = "replicaCount command resources podSecurityContext containerSecurityContext "
KEYS = {
    "prefect-server": {
        "global.prefect": "image.repository image.prefectTag env",
        "server": _POD + "automountServiceAccountToken extraEnvVarsCM",
        "backgroundServices": _POD
        + "automountServiceAccountToken extraEnvVarsCM runAsSeparateDeployment "
        + "messaging.redis.host",
        "migrations": "enabled",
        "externalDatabase": "existingSecret connectionStringSecretKey",
        "postgresql": "enabled",
        "redis": "enabled",
    },
    "prefect-worker": {
        "worker": _POD
        + "image.repository image.prefectTag extraArgs extraEnvVars apiConfig "
        + "selfHostedServerApiConfig.apiUrl livenessProbe.enabled livenessProbe.config",
        "worker.config": "workPool type name limit queryInterval installPolicy http2",
        "serviceAccount": "create name",
        "role": "create",
        "rolebinding": "create",
        "": "fullnameOverride",
    },
}
named = pytest.mark.parametrize("name", CHARTS)


def known(chart: str) -> set[str]:
    return {
        f"{parent}.{key}".strip(".") for parent, keys in KEYS[chart].items() for key in keys.split()
    }


def unknown(given: dict[str, Any], keys: set[str], parent: str = "") -> Iterator[str]:
    """The keys that a chart does not have."""
    for name, value in given.items():
        path = f"{parent}.{name}".strip(".")
        if path not in keys:
            if isinstance(value, dict) and any(key.startswith(f"{path}.") for key in keys):
                yield from unknown(value, keys, path)
            else:
                yield path


@named
def test_the_chart_knows_every_key(name: str) -> None:
    chart = CHARTS[name]
    assert list(unknown(VALUES[name], known(chart))) == []
    assert list(unknown({"worker": {"replica": 2}, "server": {"replica": 2}}, known(chart)))
    assert f"{chart}, version {VERSION}" in (FOLDER / f"{name}.yaml").read_text()
    if folder := os.environ.get("FACECROP_PREFECT_HELM"):
        schema = Path(folder, "charts", chart, "values.schema.json").read_text()
        jsonschema.Draft7Validator(json.loads(schema)).validate(VALUES[name])


def test_servers_and_workers_have_what_our_manifests_give_them() -> None:
    server, services = VALUES["server"]["server"], VALUES["server"]["backgroundServices"]
    process, kubernetes = (VALUES[f"{kind}-worker"]["worker"] for kind in ("process", "kubernetes"))
    for given, ours in (
        (server, "prefect-server"),
        (services, "prefect-services"),
        (process, "facecrop-worker"),
        (kubernetes, "facecrop-kubernetes-worker"),
    ):
        manifest = find("Deployment", ours)
        [container] = containers(manifest)
        assert given["resources"] == container["resources"]
        user = manifest["spec"]["template"]["spec"]["securityContext"]["runAsUser"]
        assert given["podSecurityContext"]["runAsUser"] == user
        assert given["podSecurityContext"]["fsGroup"] == user
        assert given["containerSecurityContext"]["runAsUser"] == user
        assert given["command"] == ["env"]
        environment = VALUES["server"]["global"]["prefect"]["env"]
        if given in (process, kubernetes):
            environment = given["extraEnvVars"]
            flags = dict(re.findall(r"--(\w+)=(\S+)", " ".join(container["args"])))
            assert flags["pool"] == given["config"]["workPool"]
            assert flags["type"] == given["config"]["type"]
            assert flags.get("limit") == (str(given["config"].get("limit", "")) or None)
        # what the chart sets by keys of its own, or the image's place
        by_key = {
            "PREFECT_SERVER_DATABASE_CONNECTION_URL",
            "PREFECT_WORKER_QUERY_SECONDS",
            "PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES",
        }
        theirs = {one["name"]: one.get("valueFrom") for one in environment}
        assert theirs == {
            one["name"]: one.get("valueFrom")
            for one in container["env"]
            if one["name"] not in by_key
        }
    assert process["config"]["type"] == FacecropWorker.type


def test_one_image_is_named() -> None:
    images = [VALUES["server"]["global"]["prefect"]["image"]]
    images += [VALUES[name]["worker"]["image"] for name in CHARTS if name != "server"]
    assert all(image == {"repository": "facecrop", "prefectTag": "latest"} for image in images)
    [image] = OVERLAY["images"]
    assert (image["newName"], image["newTag"]) == ("facecrop", "latest")
    kubernetes = VALUES["kubernetes-worker"]["worker"]["extraEnvVars"]
    [run] = [one["value"] for one in kubernetes if one["name"] == "FLOW_RUN_IMAGE"]
    assert run == "facecrop:latest"


def test_what_is_referred_to_is_there() -> None:
    every = list(VALUES.values())
    keys = {one["key"] for one in values(every, "secretKeyRef")}
    assert {one["name"] for one in values(every, "secretKeyRef")} == {SECRET}
    ours = [one["key"] for one in values(OBJECTS, "secretKeyRef")]
    assert keys | {VALUES["server"]["externalDatabase"]["connectionStringSecretKey"]} == {*ours}
    assert {*values(every, "extraEnvVarsCM")} <= names("ConfigMap")
    accounts = {VALUES[name]["serviceAccount"]["name"] for name in CHARTS if name != "server"}
    account = yaml.safe_load((FOLDER / "service-account.yaml").read_text())
    assert accounts == {account["metadata"]["name"], *names("ServiceAccount")}
    for version in VERSIONS:
        assert kubernetes_validate.validate(account, version, strict=True) == version
    client = find("ConfigMap", "prefect-client")["data"]
    assert {*values(every, "apiUrl")} == {client["PREFECT_API_URL"]}
    given = {
        one["name"] for env in ("env", "extraEnvVars") for o in values(every, env) for one in o
    }
    plugins = ("PREFECT_REDIS_", "PREFECT_INTEGRATIONS_")
    prefects = {n for n in given if n.startswith("PREFECT_") and not n.startswith(plugins)}
    assert prefects <= _get_valid_setting_names(Settings)


def test_of_our_manifests_the_rest_is_applied() -> None:
    assert OVERLAY["resources"] == ["../kubernetes", "service-account.yaml"]
    gone = set()
    for patch in OVERLAY["patches"]:
        target, does = patch["target"], yaml.safe_load(patch["patch"])
        found = [o for o in OBJECTS if o["kind"] == target["kind"]]
        if "name" in target:
            found = [o for o in found if o["metadata"]["name"] == target["name"]]
        assert found, target
        if isinstance(does, dict):
            assert does["$patch"] == "delete"
            assert (does["kind"], does["apiVersion"]) == (target["kind"], found[0]["apiVersion"])
            gone.add(target["kind"])
            continue
        for step in does:  # it replaces what is there
            *parents, last = step["path"].strip("/").split("/")
            node: Any = found[0]
            for parent in parents:
                node = node[int(parent) if isinstance(node, list) else parent]
            assert last in node
    left = {(o["kind"], o["metadata"]["name"]) for o in OBJECTS if o["kind"] not in gone}
    assert {kind for kind, _ in left} == {
        *("Namespace", "NetworkPolicy", "ConfigMap", "Job"),
        *("ServiceAccount", "Role", "RoleBinding"),
    }


def test_the_guide_names_each_file() -> None:
    for name, chart in CHARTS.items():
        assert f"prefect/{chart} --version {VERSION} --values infra/charts/{name}.yaml" in GUIDE
