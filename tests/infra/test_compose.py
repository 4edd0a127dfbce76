"""compose.yaml and the Dockerfile keep what docs/operate/security.md says; asks no engine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from prefect.settings import Settings
from prefect.settings.legacy import _get_valid_setting_names

INFRA = Path(__file__).parents[2] / "infra"
TEXT = (INFRA / "compose.yaml").read_text()
PROJECT: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = PROJECT["services"]
EXAMPLE = (INFRA / "env.example").read_text()
STORES = {"postgres", "redis"}
SERVERS = {"server", "services"}
CLIENTS = {"deploy", "worker", "http", "docker-worker"}
AUTH = "${FACECROP_AUTH:?set it in infra/.env, see infra/env.example}"
PASSWORD = "${FACECROP_DB_PASSWORD:?set it in infra/.env, see infra/env.example}"
SECRET = re.compile(r"PASSWORD|SECRET|AUTH_STRING|KEY|TOKEN")
SOCKET = "/var/run/docker.sock"


def stages() -> dict[str, list[str]]:
    """The Dockerfile's lines by the name of their stage."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in (INFRA / "Dockerfile").read_text().splitlines():
        if matched := re.fullmatch(r"FROM \S+ AS (\S+)", line):
            lines = found.setdefault(matched[1], [])
        lines.append(line)
    return found


def networks(service: dict[str, Any]) -> set[str]:
    return set(service.get("networks", ["default"]))


def volumes() -> Iterator[tuple[str, str]]:
    """What each service has mounted."""
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            yield name, volume


def test_each_service_is_of_a_kind() -> None:
    assert set(SERVICES) == STORES | SERVERS | CLIENTS | {"seaweedfs"}


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_has_privileges(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert service["pids_limit"] > 0
    forbidden = {"privileged", "cap_add", "devices", "network_mode", "pid", "ipc", "userns_mode"}
    assert not forbidden & set(service)


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_is_root(name: str) -> None:
    service = SERVICES[name]
    if "build" in service:
        target = service["build"]["target"]
        users = [line for line in stages()[target] if line.startswith("USER ")]
        assert users == ["USER 10001:10001"]
        assert service.get("user") in (None, "${FACECROP_USER:-10001:10001}")
    else:
        assert service["user"] == name  # the images of PostgreSQL and Redis have such users


def test_only_this_machine_reaches_the_ports() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(ports) == {"server", "http", "seaweedfs"}
    for (port,) in ports.values():
        assert re.fullmatch(r"127\.0\.0\.1:\$\{\w+:-\d+}:\d+", port)


def test_nothing_but_the_servers_reaches_the_stores() -> None:
    assert PROJECT["networks"] == {"stores": {"internal": True}}
    for name, service in SERVICES.items():
        assert ("stores" in networks(service)) is (name in STORES | SERVERS), name
        assert ("default" in networks(service)) is (name not in STORES), name


def test_prefect_asks_for_a_password_that_has_to_be_set() -> None:
    for name in SERVERS:
        assert SERVICES[name]["environment"]["PREFECT_SERVER_API_AUTH_STRING"] == AUTH
    for name in CLIENTS:
        environment = SERVICES[name]["environment"]
        assert environment["PREFECT_API_AUTH_STRING"] == AUTH
        assert not [one for one in environment if one.startswith("PREFECT_SERVER_")]
    assert {"PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING"} <= (
        _get_valid_setting_names(Settings)
    )
    for variable in ("FACECROP_AUTH", "FACECROP_DB_PASSWORD"):
        assert re.search(rf"^{variable}=$", EXAMPLE, re.MULTILINE)


def test_secrets_come_from_the_environment_alone() -> None:
    found = {
        (name, value)
        for service in SERVICES.values()
        for name, value in service.get("environment", {}).items()
        if SECRET.search(name)
    }
    expected = {
        "POSTGRES_PASSWORD": PASSWORD,
        "PREFECT_SERVER_DATABASE_PASSWORD": PASSWORD,
        "PREFECT_SERVER_API_AUTH_STRING": AUTH,
        "PREFECT_API_AUTH_STRING": AUTH,
        # without a value here they are handed on
        "AWS_ACCESS_KEY_ID": None,
        "AWS_SECRET_ACCESS_KEY": None,
        "AWS_SESSION_TOKEN": None,
        "FACECROP_WEBHOOK_SECRET": None,
        "FACECROP_HTTP_KEYS": "/run/secrets/api-keys",
    }
    assert found == set(expected.items())
    assert PROJECT["secrets"] == {"api-keys": {"file": "${FACECROP_HTTP_KEYS_FILE:-./api-keys}"}}


def test_only_a_profile_of_its_own_has_the_docker_socket() -> None:
    assert [name for name, volume in volumes() if "docker.sock" in volume] == ["docker-worker"]
    assert [name for name, one in SERVICES.items() if "group_add" in one] == ["docker-worker"]
    worker = SERVICES["docker-worker"]
    assert worker["profiles"] == ["docker"]
    assert worker["volumes"] == [f"${{FACECROP_DOCKER_SOCKET:-{SOCKET}}}:{SOCKET}"]


def test_the_http_service_asks_for_keys() -> None:
    http = SERVICES["http"]
    assert http["profiles"] == ["http"]
    assert http["secrets"] == ["api-keys"]


def images(text: str) -> set[str]:
    """Every image that is named, with what a variable has by default in its place."""
    found = re.findall(r"^\s*(?:FROM|image:|ARG \w+_IMAGE=)\s*(\S+)", text, re.MULTILINE)
    return {re.sub(r"^\$\{\w+:-(.*)\}$", r"\1", image) for image in found}


def test_every_base_image_has_a_digest() -> None:
    built = set(stages()) | {"${FACECROP_PYTHON_IMAGE}", "facecrop", "facecrop-seaweedfs"}
    others = (images((INFRA / "Dockerfile").read_text()) | images(TEXT)) - built
    assert {image.partition("@")[0] for image in others} == {
        "python:3.11-slim",
        "postgres:15",
        "redis:7",
    }
    for image in others:
        assert re.fullmatch(r"[a-z]+:[\w.-]+@sha256:[0-9a-f]{64}", image), image


def test_every_base_image_can_be_named_otherwise() -> None:
    for name in ("postgres", "redis"):
        assert SERVICES[name]["image"].startswith(f"${{FACECROP_{name.upper()}_IMAGE:-{name}:")
    for name in ("worker", "seaweedfs"):
        assert SERVICES[name]["build"]["args"] == ["FACECROP_PYTHON_IMAGE"]
    for name in ("PYTHON", "POSTGRES", "REDIS"):
        assert f"FACECROP_{name}_IMAGE" in EXAMPLE


def test_what_builds_needs_stays_out_of_the_image() -> None:
    final = stages()["facecrop"]
    assert not [line for line in final if "secret" in line]
    copied = [line for line in final if line.startswith("COPY")]
    assert copied
    assert all(line.startswith("COPY --from=") for line in copied)
